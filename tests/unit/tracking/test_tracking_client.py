"""A store, opened: experiments of any name, and imports that are put off until then."""

import subprocess
import sys
from pathlib import Path

import pytest

from ablate.tracking import Store, TrackingError, TrackingSpec, read_runs
from tests.stores import where_at


@pytest.mark.parametrize("name", ["..", ".", "a/../../b", "/etc", "é" * 200, "a\\..\\b", "x" * 255])
def test_an_experiment_of_any_name_has_its_artifacts_in_a_folder_of_its_own(store_uri: str, name: str) -> None:
    where = TrackingSpec(uri=store_uri, experiment=name)
    Store(where).start_run("a", {}, {}).artifact("a.txt", "a")
    root = Path(store_uri.removeprefix("sqlite:///")).parent
    assert {each.name for each in root.iterdir()} <= {"mlflow.db", "mlflow.db.lock", "mlartifacts"}
    (folder,) = (root / "mlartifacts").iterdir()
    (artifact,) = folder.glob("*/artifacts/a.txt")
    assert artifact.read_text("utf-8") == "a" and len(read_runs(where)) == 1


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "\x1b[31mred", "a\0b", "\udcff"])
def test_an_experiment_without_a_printable_name_is_refused_before_anything_is_made(tmp_path: Path, name: str) -> None:
    with pytest.raises(TrackingError, match=r"tracking\.experiment must be a name in printable characters"):
        Store(TrackingSpec(uri=f"sqlite:///{tmp_path / 'mlflow.db'}", experiment=name))
    assert not list(tmp_path.iterdir())


def test_a_deleted_experiment_is_not_written_to(store_uri: str) -> None:
    store = Store(where_at(store_uri))
    store._client.delete_experiment(store.experiment_id)
    with pytest.raises(TrackingError, match="was deleted: restore it"):
        Store(where_at(store_uri))


def test_tracking_imports_nothing_heavy() -> None:
    code = (
        "import sys, ablate.tracking; print([m for m in ('mlflow','pandas','sqlalchemy','numpy') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
