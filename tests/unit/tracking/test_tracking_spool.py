"""What waits for a store: told in its turn, made anew where its run is gone, set aside where nothing can take it."""

import contextlib
import dataclasses
import json
import multiprocessing.pool
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ablate.cli import main as cli
from ablate.tracking import Store, TrackingError, TrackingSpec, list_studies, read_curves, read_runs, run_names
from ablate.tracking.spool import UNDELIVERABLE

POINTS = [json.dumps([["model", "a"], ["seed", seed]], separators=(",", ":")) for seed in range(3)]


@pytest.fixture
def where(store_uri: str, tmp_path: Path) -> TrackingSpec:
    return TrackingSpec(uri=store_uri, spool=str(tmp_path / "spool"))


@pytest.fixture
def renew(where: TrackingSpec, mlflow_template: Path) -> Callable[[], None]:
    """Puts a new store in the place of the one that is there, as who deletes mlflow.db and goes on does."""

    def new() -> None:
        path, engine = Path(where.resolved_uri().removeprefix("sqlite:///")), _engine(Store(where))
        path.unlink()
        shutil.copy(mlflow_template, path)
        engine.dispose()  # as of a new process: an open connection would write to the file that is no more

    return new


def _engine(store: Store) -> Any:
    return store._client._tracking_client.store.engine


def _begun(store: Store, seed: int = 0, **options: Any) -> Any:
    tags = {"ablate.study": "pe-1", "ablate.point": POINTS[seed]}
    writer = store.start_run(f"a {seed}", {"train.lr": 0.1}, tags, **options)
    writer.tag({"ablate.identity": f"i{seed}"})
    writer.log({"val/loss": 1.0}, step=1)
    return writer


def _waits(writer: Any) -> Any:
    """As if the store went away now: the rest of the run waits."""
    journal = writer._journal
    journal.add({"kind": "metrics", "metrics": {"val/loss": 0.5}, "step": 2, "time": 6})
    journal.add({"kind": "tags", "tags": {"ablate.status": "finished"}, "time": 7})
    journal.add({"kind": "finish", "status": "FINISHED", "time": 7})
    journal.release()
    return journal


def _of_an_older_version(journal: Any) -> None:
    (journal.folder / "before.jsonl").unlink()


def _sync(where: TrackingSpec) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main(["sync", f"tracking.uri={where.uri}", f"tracking.spool={where.spool}"])
    return int(stop.value.code or 0)


def test_a_record_that_no_store_can_take_is_set_aside_by_name_and_the_others_are_told(
    where: TrackingSpec, capfd: pytest.CaptureFixture[str]
) -> None:
    store = Store(where)
    runs = [_begun(store, seed) for seed in range(3)]
    journals = [_waits(run) for run in runs]
    store._client.delete_run(runs[0].run_id)
    (journals[1].folder / "said.jsonl").write_text('{"kind": "metrics"}\n{"kind"\n{}\n')  # a damaged disk
    assert _sync(where) == 1
    out, err = capfd.readouterr()
    told = out.splitlines()
    assert told[0] == f"delivered 1 runs to the tracking store; 0 wait in {where.spool}."
    for number in (0, 1):
        folder = Path(where.spool) / UNDELIVERABLE / journals[number].folder.name
        (said,) = [line for line in told if str(folder) in line]
        assert runs[number].run_id in said and f"a {number}" in said
        assert (folder / "said.jsonl").exists() and (folder / "reason.txt").read_text().strip()
    assert out.count("active") == 1 and not err  # MLflow's own word on a run in its bin
    assert list(read_curves(where, [runs[2].run_id], "val/loss")["value"]) == [1.0, 0.5]
    assert _sync(where) == 0


def test_a_journal_that_does_not_say_whose_it_is_blocks_nobody(where: TrackingSpec) -> None:
    store = Store(where)
    damaged, whole = map(_waits, [_begun(store, seed) for seed in range(2)])
    for content in ("{", "[]", '{"store": "x"}'):
        (damaged.folder / "about.json").write_text(content)
        assert len(store.waiting()) == 1
    (damaged.folder / "about.json").unlink()
    os.mkfifo(damaged.folder / "about.json")
    delivered = store.deliver()
    assert (delivered.told, delivered.waiting, len(delivered.aside)) == (1, 0, 1)
    assert not whole.waits and not damaged.waits


def test_a_journal_whose_store_an_older_version_wrote_with_its_secret_is_told(where: TrackingSpec) -> None:
    address = f"sqlite:///file:{where.resolved_uri().removeprefix('sqlite:///')}?uri=true&api_key="
    store = Store(dataclasses.replace(where, uri=f"{address}S3CRE'T"))
    about = _waits(_begun(store)).folder / "about.json"
    assert json.loads(about.read_text())["store"] == f"{address}***"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"store": f"{address}***'T"}))
    delivered = store.deliver()
    assert (delivered.told, delivered.waiting, delivered.elsewhere) == (1, 0, ())


def test_records_of_another_store_or_experiment_are_told_by_their_address(
    where: TrackingSpec, new_store: Callable[[], str], capsys: pytest.CaptureFixture[str]
) -> None:
    _waits(_begun(Store(where)))
    mine = Store(dataclasses.replace(where, experiment="mine"))
    for run in [_begun(mine, seed) for seed in range(2)]:
        _waits(run)
    assert _sync(dataclasses.replace(where, uri=new_store())) == 1
    first, *told = capsys.readouterr().out.splitlines()
    assert "delivered 0 runs" in first and "; 3 wait in" in first
    assert told == [
        f"1 waits for {where.uri}, experiment ablate: set tracking.uri to it.",
        f"2 wait for {where.uri}, experiment mine: set tracking.uri to it.",
    ]
    assert _sync(where) == 1
    assert f"2 wait for {where.uri}, experiment mine: set tracking.experiment to it." in capsys.readouterr().out


def test_what_waits_for_a_sweeps_own_record_that_is_gone_is_dropped_and_fails_nothing(
    where: TrackingSpec, renew: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(where)
    parent = store.sweep_run("pe-1", {"ablate.sweep": "{}"})
    journal = _waits(store.resume(parent, "pe-1", sweep=True))
    assert _sync(where) == 0 and not journal.folder.exists()  # told: the record is there
    journal = _waits(store.resume(parent, "pe-1", sweep=True))
    store.discard(parent)  # as in the UI
    assert _sync(where) == 0 and not journal.folder.exists()
    journals = [_waits(store.resume(parent, "pe-1", sweep=marked)) for marked in (True, False)]
    renew()
    assert _sync(where) == 1  # for the one that an earlier version left: it does not say whose it is
    (said,) = [line for line in capsys.readouterr().out.splitlines() if "cannot be delivered" in line]
    assert journals[1].folder.name in said and not journals[0].folder.exists()
    assert _sync(where) == 0


def test_a_run_whose_database_was_deleted_is_made_anew_whole(where: TrackingSpec, renew: Callable[[], None]) -> None:
    store = Store(where)
    parent = store.sweep_run("pe-1", {"ablate.sweep": json.dumps({"name": "pe"})})
    lost, kept = _begun(store, 0, parent=parent), _begun(store, 1, parent=parent)
    whole = store.resume(parent, "pe-1")  # by who did not make it
    whole.tag({"note": "told"})
    for writer in (lost, kept, whole):
        _waits(writer)
    _of_an_older_version(lost._journal)
    renew()
    store = Store(where)
    assert store.waiting() == {lost.run_id, kept.run_id, parent}
    delivered = store.deliver()
    assert (delivered.told, delivered.waiting) == (1, 0)
    assert len(delivered.aside) == 2
    for name, run_id in (("a 0", lost.run_id), ("pe-1", parent)):
        told = f"of run {name} ({run_id}) cannot be delivered: Run with id={run_id} not found"
        assert [told in said for said in delivered.aside].count(True) == 1
    new_parent = store.sweep_run("pe-1", {"ablate.sweep": json.dumps({"name": "pe"})})
    (row,) = [row for row in read_runs(where, study="pe-1").to_dict("records") if row["run_id"] != new_parent]
    assert row["params.train.lr"] == "0.1" and row["tags.ablate.identity"] == "i1" and row["status"] == "FINISHED"
    assert row["tags.mlflow.parentRunId"] == new_parent and row["tags.mlflow.runName"] == "a 1"
    assert list(read_curves(where, [row["run_id"]], "val/loss")["value"]) == [1.0, 0.5]
    assert kept.run_id in run_names(where) and lost.run_id not in run_names(where)  # as the queue knows it
    assert list_studies(where)[0].points == {POINTS[1]}


def test_a_delivery_that_was_cut_off_while_a_run_was_made_anew_makes_no_second_one(
    where: TrackingSpec, renew: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    _waits(_begun(Store(where)))
    renew()
    store, calls = Store(where), []

    def cut(*arguments: Any, **options: Any) -> None:
        calls.append(arguments)
        raise ConnectionError("away")

    with monkeypatch.context() as patch:
        patch.setattr(store._client, "log_batch", cut)
        assert store.deliver().waiting == 1 and calls
    assert Store(where).deliver().told == 1
    assert list(read_runs(where)["status"]) == ["FINISHED"]


def test_a_run_that_goes_on_while_its_database_is_replaced_is_recorded_whole(
    where: TrackingSpec, renew: Callable[[], None]
) -> None:
    before = Store(where)
    writer = _begun(before)
    renew()
    writer._client = Store(where)._client  # as of a process that opens the new file
    writer.log({"val/loss": 0.5}, step=2)
    writer.finish("finished")
    assert Store(where).deliver().told == 1
    (row,) = read_runs(where).to_dict("records")
    assert row["tags.ablate.status"] == "finished" and row["params.train.lr"] == "0.1"
    assert list(read_curves(where, [row["run_id"]], "val/loss")["value"]) == [1.0, 0.5]


def test_a_run_that_was_begun_while_the_store_was_away_outlives_a_second_time(where: TrackingSpec) -> None:
    store = Store(where)
    away, client = _Away(), store._client
    store._client = away
    writer = store.start_run("a", {"train.lr": 0.1}, {"ablate.study": "pe-1", "ablate.point": POINTS[0]})
    assert store.waiting() == {writer.run_id}
    writer._client, writer._again = client, 0.0
    writer.log({"val/loss": 1.0}, step=1)  # it is back
    writer._client = away
    writer.log({"val/loss": 0.5}, step=2)
    writer.finish("finished")
    assert Store(where).deliver().told == 1
    assert list(read_curves(where, [writer.run_id], "val/loss")["value"]) == [1.0, 0.5]
    assert len(read_runs(where)) == 1


class _Away:
    """A client whose server does not answer."""

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> None:
            raise ConnectionError("connection refused")

        return call


def test_one_record_that_fails_for_now_does_not_hold_the_others_up(
    where: TrackingSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(where)
    runs = first, _ = [_begun(store, seed) for seed in range(2)]
    for writer in runs:
        _waits(writer)
    log = store._client.log_batch

    def fail(run_id: str, *arguments: Any, **options: Any) -> None:
        if run_id == first.run_id:
            raise ConnectionError("no answer to this one")
        log(run_id, *arguments, **options)

    monkeypatch.setattr(store._client, "log_batch", fail)
    delivered = store.deliver()
    assert (delivered.told, delivered.waiting, delivered.aside) == (1, 1, ())
    assert "no answer to this one" in delivered.reason


def test_a_database_that_fails_prints_no_traceback_of_mlflows(
    where: TrackingSpec, capfd: pytest.CaptureFixture[str]
) -> None:
    writer = _begun(Store(where))
    path = Path(where.resolved_uri().removeprefix("sqlite:///"))
    path.unlink()
    writer.log({"val/loss": 0.5}, step=2)
    assert writer._journal.waits
    assert "Traceback" not in "".join(capfd.readouterr())


# ----------------------------------------------------------------------------------------- what others have in training


def test_runs_of_others_that_are_open_are_told_with_who_trains_them(where: TrackingSpec) -> None:
    store = Store(where)
    tags = {"ablate.study": "pe-1", "ablate.point": POINTS[0], "ablate.worker": "here:1:1.0"}
    mine = store.start_run("mine", {}, {**tags, "ablate.identity": "i"})
    ended = store.start_run("ended", {}, {**tags, "ablate.study": "other-2", "ablate.identity": "i"})
    ended.finish("killed")
    theirs = store.start_run("theirs", {}, {**tags, "ablate.study": "other-2", "ablate.identity": "i"})
    alone = store.start_run("alone", {}, {"ablate.identity": "j"})
    store.start_run("not begun", {}, {**tags, "ablate.study": "other-2"})
    found = [(each.run_id, each.identity, each.study, each.worker) for each in store.in_training("pe-1")]
    assert found == [(theirs.run_id, "i", "other-2", "here:1:1.0"), (alone.run_id, "j", None, None)]
    assert [each.run_id for each in store.in_training("other-2")] == [mine.run_id, alone.run_id]


def test_two_who_look_and_begin_at_once_begin_one_run(where: TrackingSpec) -> None:
    """Of two studies with queues of their own, which have nothing in common but the store."""
    both, stores = threading.Barrier(2), {study: Store(where) for study in ("pe-1", "other-2")}

    def begin(study: str) -> bool:
        def look() -> bool:
            if stores[study].in_training(study):
                return False
            with contextlib.suppress(threading.BrokenBarrierError):
                both.wait(1)  # who holds no lock would meet the other here
            stores[study].start_run("a", {}, {"ablate.study": study, "ablate.identity": "i"})
            return True

        return stores[study].one_at_a_time(look)

    with multiprocessing.pool.ThreadPool(2) as pool:
        assert sorted(pool.map(begin, stores)) == [False, True]
    assert len(read_runs(where)) == 1


def test_a_run_that_is_deleted_while_it_trains_ends_with_what_can_be_done(where: TrackingSpec) -> None:
    store = Store(where)
    writer = _begun(store)
    store.discard(writer.run_id)  # as in the UI
    with pytest.raises(TrackingError, match="deleted it in the MLflow UI: restore it there, or give the same command"):
        writer.log({"val/loss": 0.5}, step=2)
