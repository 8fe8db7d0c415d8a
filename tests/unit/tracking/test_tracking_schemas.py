"""A database whose making was cut off opens again; one that holds anything, or is another's, is left as it is."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import optuna
import pytest
import sqlalchemy

from ablate.design.points import Point
from ablate.design.sweep import SweepError
from ablate.sweep.queue import Standing, Study
from ablate.tracking import Store, TrackingError, TrackingSpec, read_runs
from ablate.tracking.databases import remedy

LONG_AGO = 1_000_000_000


def _store(path: Path, experiment: str = "ablate") -> Store:
    return Store(TrackingSpec(uri=f"sqlite:///{path}", experiment=experiment, spool=str(path.parent / "spool")))


def _tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}


@pytest.fixture(scope="module")
def half_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a kill leaves it: among MLflow's migrations, one is applied and not yet noted as such."""
    from alembic import command
    from mlflow.store.db import utils
    from mlflow.store.tracking.dbmodels.initial_models import Base

    path = tmp_path_factory.mktemp("half") / "mlflow.db"
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    Base.metadata.create_all(engine)
    config = utils._get_alembic_config(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "7f2a7d5fae7d")  # makes the table "datasets"
    with engine.begin() as connection:
        connection.exec_driver_sql("update alembic_version set version_num = '3500859a5d39'")  # the one before
    engine.dispose()
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def test_a_tracking_database_whose_making_was_cut_off_is_made_anew(
    half_made: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mlflow.db"
    shutil.copy2(half_made, path)
    (tmp_path / "mlflow.db.making").write_bytes(b"half of another try")
    _store(path).start_run("a", {}, {})
    assert len(read_runs(TrackingSpec(uri=f"sqlite:///{path}"))) == 1
    assert sorted(each.name for each in tmp_path.iterdir()) == ["mlflow.db", "mlflow.db.lock", "mlflow.db.unfinished"]
    assert (tmp_path / "mlflow.db.unfinished").read_bytes() == half_made.read_bytes()
    assert "was never finished and holds no record: it is made anew, and kept as" in capfd.readouterr().err


def test_a_database_at_which_another_program_may_be_is_waited_for(
    half_made: Path, mlflow_template: Path, tmp_path: Path
) -> None:
    path = tmp_path / "mlflow.db"
    shutil.copy(half_made, path)  # written just now
    opened: list[Store] = []
    thread = threading.Thread(target=lambda: opened.append(_store(path, "template")))
    thread.start()
    thread.join(0.5)
    with closing(sqlite3.connect(mlflow_template)) as whole, closing(sqlite3.connect(path)) as connection:
        whole.backup(connection)  # the other has finished
    thread.join(60)
    assert opened and not (tmp_path / "mlflow.db.unfinished").exists()


@pytest.mark.parametrize("kept", ["experiments", "registered_models", "runs"])
def test_a_half_migrated_database_that_holds_anything_is_never_touched(
    half_made: Path, tmp_path: Path, kept: str
) -> None:
    path = tmp_path / "mlflow.db"
    shutil.copy2(half_made, path)
    rows = {
        "experiments": "insert into experiments (name, lifecycle_stage) values ('a', 'active'), ('b', 'active')",
        "registered_models": "insert into registered_models (name) values ('m')",
        "runs": "insert into runs (run_uuid, lifecycle_stage) values ('r', 'active')",
    }
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("pragma foreign_keys = off")
        connection.execute(rows[kept])
    os.utime(path, (LONG_AGO, LONG_AGO))
    with pytest.raises(TrackingError, match=r"already exists.*its making was cut off"):
        _store(path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["mlflow.db", "mlflow.db.lock"]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute(f"select count(*) from {kept}").fetchone()[0] >= 1


def test_the_tables_of_another_program_stay_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "mine.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table experiments_of_mine (x)")
    os.utime(path, (LONG_AGO, LONG_AGO))
    _store(path)
    assert {"experiments_of_mine", "runs"} <= _tables(path)


def test_an_empty_file_and_a_link_become_a_database_where_they_point(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    place, link = tmp_path / "disk" / "real.db", tmp_path / "mlflow.db"
    place.touch(mode=0o640)
    link.symlink_to(place)
    _store(link)
    assert link.is_symlink() and "runs" in _tables(place) and place.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    "statement", ["delete from alembic_version", "update alembic_version set version_num = 'v2.4.0.a'"]
)
def test_a_queue_whose_making_was_cut_off_is_made_anew(tmp_path: Path, statement: str) -> None:
    path, points = tmp_path / "optuna.db", [Point(levels={"a": 1}, seed=0)]
    optuna.storages.RDBStorage(f"sqlite:///{path}").engine.dispose()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)
        connection.execute("drop index ix_studies_study_name")
    os.utime(path, (LONG_AGO, LONG_AGO))
    Study(f"sqlite:///{path}", "s", points).fill()
    assert (tmp_path / "optuna.db.unfinished").exists()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("select 1 from sqlite_master where name = 'ix_studies_study_name'").fetchall()
        connection.execute("delete from alembic_version")
        connection.commit()
    os.utime(path, (LONG_AGO, LONG_AGO))
    assert Study(f"sqlite:///{path}", "s", points).progress() == Standing(done=0, failed=0, diverged=0, left=1)


@pytest.mark.parametrize("words", ["table spans already exists", "duplicate column name: storage_location"])
def test_what_a_cut_off_making_says_is_explained(words: str) -> None:
    told = remedy(words, setting="tracking.uri", library="MLflow")
    assert "its making was cut off" in told and "set tracking.uri to another" in told


# ------------------------------------------------------------------------------------------------------- real kills

_MAKE = """
import sys
from ablate.tracking import Store, TrackingSpec, client
client.client_class()
print("ready", flush=True)
Store(TrackingSpec(uri=sys.argv[1], spool=sys.argv[2]))
print("made", flush=True)
"""
_MAKE_QUEUE = """
import sys
from ablate.design.points import Point
from ablate.design.sweep import SweepError
from ablate.sweep.queue import Study
print("ready", flush=True)
Study(sys.argv[1], "s", [Point(levels={"a": 1}, seed=0)])
print("made", flush=True)
"""


def _cut_off(code: str, uri: str, number: signal.Signals, after: float) -> bool:
    """Whether a process that makes a database was still at it when the signal came."""
    command = [sys.executable, "-c", code, uri, "spool"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        time.sleep(after)  # the moment of the kill, not a wait for something
        process.send_signal(number)
        return "made" not in process.communicate(timeout=60)[0]


@pytest.mark.full
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_kill_at_any_moment_of_the_making_leaves_a_folder_that_opens(tmp_path: Path, number: signal.Signals) -> None:
    cut = 0
    for moment in range(10):
        (folder := tmp_path / str(moment)).mkdir()
        cut += _cut_off(_MAKE, f"sqlite:///{folder}/mlflow.db", number, 0.03 + 0.1 * moment)
        for _ in range(2):
            _store(folder / "mlflow.db").start_run("a", {}, {})
        assert sorted(each.name for each in folder.iterdir()) == ["mlflow.db", "mlflow.db.lock"], moment
    assert cut >= 5


@pytest.mark.full
def test_a_kill_while_a_queue_is_made_leaves_a_folder_that_opens(tmp_path: Path) -> None:
    points = [Point(levels={"a": 1}, seed=0)]
    for moment in range(8):
        (folder := tmp_path / str(moment)).mkdir()
        _cut_off(_MAKE_QUEUE, f"sqlite:///{folder}/optuna.db", signal.SIGKILL, 0.02 * moment)
        study = Study(f"sqlite:///{folder}/optuna.db", "s", points)
        study.fill()
        assert study.progress().left == 1
        assert sorted(each.name for each in folder.iterdir()) == ["optuna.db", "optuna.db.lock"]


@pytest.mark.full
def test_a_kill_while_tables_are_made_in_postgresql_leaves_a_database_that_opens(
    postgres_url: str, tmp_path: Path
) -> None:
    from tests.servers import new_database

    for moment in range(5):
        uri = new_database(postgres_url, f"cut_off_{moment}")
        _cut_off(_MAKE, uri, signal.SIGKILL, 0.1 + 0.4 * moment)
        where = TrackingSpec(uri=uri, spool=str(tmp_path / "spool"))
        Store(where).start_run("a", {}, {})
        assert len(read_runs(where)) == 1


def test_a_folder_in_the_place_of_a_database_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").mkdir()
    (tmp_path / "optuna.db").mkdir()
    with pytest.raises(TrackingError, match=r"mlflow.db is a folder; move it away, or set tracking.uri to a file"):
        _store(tmp_path / "mlflow.db")
    with pytest.raises(SweepError, match=r"optuna.db is a folder; move it away, or set study.storage to a file"):
        Study(f"sqlite:///{tmp_path}/optuna.db", "s", [Point({}, 0)])


@pytest.mark.parametrize("link", [False, True])
def test_a_pipe_or_device_in_the_place_of_a_database_is_called_one_and_stays(tmp_path: Path, link: bool) -> None:
    """A pipe for both: whoever may write to /dev would lose a real device where this fails."""
    places = [tmp_path / f"{'real-' if link else ''}{name}.db" for name in ("mlflow", "optuna")]
    for place, name in zip(places, ("mlflow", "optuna"), strict=True):
        os.mkfifo(place)
        if link:
            (tmp_path / f"{name}.db").symlink_to(place)
    for act in (_store, lambda path: read_runs(TrackingSpec(uri=f"sqlite:///{path}"))):
        with pytest.raises(TrackingError, match=r"mlflow.db is a pipe or a device; move it away, or set tracking.uri"):
            act(tmp_path / "mlflow.db")
    with pytest.raises(SweepError, match=r"optuna.db is a pipe or a device; move it away, or set study.storage"):
        Study(f"sqlite:///{tmp_path}/optuna.db", "s", [Point({}, 0)])
    assert all(place.is_fifo() for place in places)


def _make_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (Path.unlink, "optuna.db is gone; put it back, or give the same command again"),
        (lambda file: file.write_bytes(b""), "no such table: .*; it holds no Optuna records that can be read"),
        (_make_a_folder, "optuna.db is a folder; move it away, or set study.storage to a file"),
    ],
)
def test_a_queue_that_is_touched_meanwhile_is_not_waited_for(
    tmp_path: Path, act: Callable[[Path], object], words: str
) -> None:
    study = Study(f"sqlite:///{tmp_path}/optuna.db", "s", [Point({}, 0)])
    study.fill()
    act(tmp_path / "optuna.db")
    with pytest.raises(SweepError, match=words):
        study.claim()
