"""Databases that cannot be used: damaged, read-only, of another schema."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ablate.tracking import Store, TrackingError, TrackingSpec, read_runs
from tests.stores import start_run, where_at


@pytest.mark.parametrize("use", [Store, read_runs])
def test_a_damaged_database_is_one_sentence(tmp_path: Path, use: Callable[[TrackingSpec], Any]) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(TrackingError, match=r"file is not a database; move the damaged file away"):
        use(where_at(f"sqlite:///{tmp_path / 'mlflow.db'}"))


def test_a_read_only_database_can_be_read_and_not_written(store_uri: str) -> None:
    start_run(Store(where_at(store_uri)))
    read_only = store_uri.replace("sqlite:///", "sqlite:///file:") + "?mode=ro&uri=true"
    assert len(read_runs(where_at(read_only))) == 1
    with pytest.raises(TrackingError, match="readonly database; make it writable"):
        Store(where_at(read_only))


@pytest.mark.parametrize("kind", ["newer", "another program's"])
def test_a_database_of_another_schema_is_one_sentence(mlflow_template: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "mlflow.db"
    if kind == "newer":
        shutil.copy(mlflow_template, path)
    with sqlite3.connect(path) as connection:
        connection.execute("create table if not exists alembic_version (version_num text)")
        connection.execute("delete from alembic_version")
        connection.execute("insert into alembic_version values ('v9.9.9.future')")
    with pytest.raises(TrackingError, match="another MLflow or another program made it"):
        Store(where_at(f"sqlite:///{path}"))


def test_a_database_without_mlflows_tables_is_one_sentence(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "other.db").execute("create table t (x)").connection.close()
    with pytest.raises(TrackingError, match="it holds no MLflow records"):
        read_runs(where_at(f"sqlite:///{tmp_path / 'other.db'}"))
