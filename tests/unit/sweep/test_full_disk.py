"""Full disks: one sentence that names the place, at once, and nothing that was kept before is lost."""

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy

from ablate.design.points import Point
from ablate.design.sweep import SweepError
from ablate.sweep.queue import Standing, Study
from ablate.tracking import Store, TrackingError, TrackingSpec, read_curves, read_runs
from ablate.tracking.spool import About, Journal
from tests import disks

POINTS = [Point(levels={"a": level}, seed=0) for level in range(3)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    with disks.mounted(tmp_path / "disk", 4) as place:
        yield place


@contextmanager
def _no_file_grows_beyond(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _raises_at_once(act: Callable[[], object]) -> str:
    began = time.monotonic()
    with pytest.raises((SweepError, TrackingError)) as caught:
        act()
    assert time.monotonic() - began < 200, "a full disk is not waited for as a server that is away"
    assert "\n" not in str(caught.value) and "SQL" not in str(caught.value).replace("SQLAlchemy", "").replace(
        "sqlite", ""
    )
    return str(caught.value)


def test_a_queue_that_may_not_grow_says_so_at_once_and_goes_on_with_room(tmp_path: Path) -> None:
    study = Study(f"sqlite:///{tmp_path}/optuna.db", "s", POINTS)
    study.fill()
    kept = study.claim()
    assert kept

    def limit(connection: sqlalchemy.engine.interfaces.DBAPIConnection, _: object) -> None:
        connection.cursor().execute("pragma max_page_count = 1")  # as many as there are: SQLite's own full disk

    study._storage.engine.dispose()
    sqlalchemy.event.listen(study._storage.engine, "connect", limit)

    def try_again_and_again() -> None:
        for _ in range(99):
            claim = study.claim()
            assert claim and study.fail(claim, "x" * 1999, again=True)

    told = _raises_at_once(try_again_and_again)
    assert "study.storage must be a database that Optuna can open and write" in told
    assert told.endswith(
        "database or disk is full; make room there, or set study.storage to a database on another disk."
    )
    sqlalchemy.event.remove(study._storage.engine, "connect", limit)
    study._storage.engine.dispose()
    assert study.complete(kept, 1.0, "r")
    assert study.progress() == Standing(done=1, failed=0, diverged=0, left=2)


def test_a_queue_whose_quota_is_used_up_says_so_at_once(tmp_path: Path) -> None:
    study = Study(f"sqlite:///{tmp_path}/optuna.db", "s", POINTS)
    study.fill()
    claim = study.claim()
    assert claim
    with _no_file_grows_beyond(4096):
        told = _raises_at_once(lambda: study.complete(claim, 1.0, "r"))
    assert "disk I/O error; its disk or its folder's quota may be full" in told
    assert study.complete(claim, 1.0, "r")


def test_a_queue_on_a_full_disk_says_so_at_once_and_goes_on_with_room(disk: Path) -> None:
    study = Study(f"sqlite:///{disk}/optuna.db", "s", POINTS)
    study.fill()
    claim = study.claim()
    assert claim
    filler = disks.fill(disk)
    told = _raises_at_once(lambda: study.complete(claim, 1.0, "r"))
    assert "full; make room there, or set study.storage to a database on another disk" in told
    filler.unlink()
    assert study.complete(claim, 1.0, "r")


def test_databases_that_find_no_room_are_not_made_and_leave_nothing(disk: Path) -> None:
    filler = disks.fill(disk)
    for act, name in (
        (lambda: Study(f"sqlite:///{disk}/optuna.db", "s", POINTS), "study.storage"),
        (lambda: Store(TrackingSpec(uri=f"sqlite:///{disk}/mlflow.db")), "tracking.uri"),
    ):
        told = _raises_at_once(act)
        assert f"make room there, or set {name} to a database on another disk" in told
    assert {each.name for each in disk.iterdir()} <= {"filler", "optuna.db.lock", "mlflow.db.lock"}
    filler.unlink()
    Study(f"sqlite:///{disk}/optuna.db", "s", POINTS)
    Store(TrackingSpec(uri=f"sqlite:///{disk}/mlflow.db"))


def test_a_store_on_a_full_disk_is_one_sentence(disk: Path, mlflow_template: Path) -> None:
    where = TrackingSpec(uri=f"sqlite:///{disk}/mlflow.db", spool=str(disk / "spool"))
    (disk / "mlflow.db").write_bytes(mlflow_template.read_bytes())
    store = Store(where)
    filler = disks.fill(disk)
    told = _raises_at_once(lambda: Store(TrackingSpec(uri=where.uri, experiment="x" * 400)))
    assert "make room there, or set tracking.uri to a database on another disk" in told
    filler.unlink()
    store.start_run("a", {}, {}).finish("finished")
    assert len(read_runs(where)) == 1


# --------------------------------------------------------------------------------------------- what is said meanwhile


def test_what_is_logged_on_a_full_disk_waits_on_another_and_arrives(
    disk: Path, mlflow_template: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    where = TrackingSpec(uri=f"sqlite:///{disk}/mlflow.db", spool=str(tmp_path / "spool"))
    (disk / "mlflow.db").write_bytes(mlflow_template.read_bytes())
    run = Store(where).start_run("a", {}, {})
    filler = disks.fill(disk)
    run.log({"x": 1.0}, step=1)
    run.artifact("a.txt", "a" * 9999)
    assert run._journal.waits and "INSERT" not in "".join(capfd.readouterr()), (
        "MLflow's own dumps stay off the terminal"
    )
    filler.unlink()
    run._again = 0.0  # as if its time to look again had come
    run.finish("finished")
    assert not run._journal.waits
    assert list(read_curves(where, [run.run_id], "x")["value"]) == [1.0]
    assert list(disk.rglob("a.txt"))


def test_what_neither_store_nor_spool_can_take_is_one_sentence(disk: Path, mlflow_template: Path) -> None:
    where = TrackingSpec(uri=f"sqlite:///{disk}/mlflow.db", spool=str(disk / "spool"))
    (disk / "mlflow.db").write_bytes(mlflow_template.read_bytes())
    run = Store(where).start_run("a", {}, {})
    filler = disks.fill(disk)
    told = _raises_at_once(lambda: run.log({"x": 1.0}, step=1))
    assert told.startswith(f"tracking.spool must take what the tracking store cannot, but {disk}/spool: No space left")
    filler.unlink()
    run.log({"x": 2.0}, step=2)
    run.finish("finished")
    assert list(read_curves(where, [run.run_id], "x")["value"]) == [2.0]


def test_half_a_line_in_the_spool_is_taken_back_and_what_stood_there_stays_whole(tmp_path: Path) -> None:
    journal = Journal.new(tmp_path / "spool", About("sqlite:///x", "a", "r", "r"))
    big = tmp_path / "big"
    big.write_bytes(b"x" * 8000)
    journal.add({"kind": "tags", "tags": {"n": "1"}})
    with _no_file_grows_beyond(4096):
        for entry, file in (({"kind": "tags", "tags": {"n": "x" * 8000}}, None), ({"kind": "artifact"}, big)):
            assert "tracking.spool must take" in _raises_at_once(lambda: journal.add(entry, file))  # noqa: B023
    journal.add({"kind": "tags", "tags": {"n": "2"}})
    assert [entry["tags"]["n"] for entry in journal.entries()] == ["1", "2"]
    assert not list((journal.folder / "files").iterdir())


def test_an_artifact_for_which_there_is_no_temporary_room_is_one_sentence(store_uri: str, tmp_path: Path) -> None:
    run = Store(TrackingSpec(uri=store_uri, spool=str(tmp_path / "spool"))).start_run("a", {}, {})
    with _no_file_grows_beyond(4096):
        told = _raises_at_once(lambda: run.artifact("model.keras", b"x" * 8000))
    assert (
        told.startswith("the folder of temporary files must take the artifact model.keras, but ") and "TMPDIR" in told
    )
    run.artifact("model.keras", b"x" * 8000)
