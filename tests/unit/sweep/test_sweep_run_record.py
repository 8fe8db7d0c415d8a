"""The record of a run, whatever its task: it says how the run ended, whatever ended it."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from ablate.contract import Epoch
from ablate.sweep.run_record import Pruned, Superseded, recorded
from ablate.tracking import Store, TrackingError, TrackingSpec, read_runs
from tests.observers import Hears


class _Result:
    """What a run leaves behind that writes one number."""

    def __init__(self, diverged=""):
        self.diverged, self.line, self.metrics, self.released = diverged, "93.00 %", {"final.value": 93.0}, False

    def write(self, record, *, model):
        record.log(self.metrics)
        if model:
            record.artifact("model.txt", "a model")

    def release(self):
        self.released = True


def _runner(result):
    """Runs of two epochs, that had one before; an exception is raised after the first."""

    def run(run, observer):
        observer.started({"ablate.identity": run}, {"cost.macs": 5})
        observer.resumed(1)
        for number in (1, 2):
            observer.batch(1, 1)
            observer.epoch(Epoch(number, {"val/top1_percent": 90.0 + number}, "a line", "a note"))
            if isinstance(result, BaseException):
                raise result
        return result

    return SimpleNamespace(run=run)


@pytest.fixture
def record(store_uri):
    """Records one run; gives what the store has of it."""
    spec = TrackingSpec(uri=store_uri)

    def make(result, *, model=False, ends=None, **options):
        writer = Store(spec).start_run("a run", {}, {})
        with nullcontext() if ends is None else pytest.raises(ends):
            recorded("abc", _runner(result), writer, options.pop("observer", Hears()), model=model, **options)
        return read_runs(spec).iloc[0]

    return make


def test_a_run_that_finished_is_recorded_whole_and_its_state_is_released(record):
    told, result = [], _Result()
    observer = Hears(
        started=lambda tags, metrics: told.append((tags, metrics)),
        resumed=told.append,
        batch=lambda *at: told.append(at),
        epoch=lambda epoch: told.append(epoch.note),
    )
    run = record(result, observer=observer)
    assert (run["tags.ablate.status"], run["tags.ablate.identity"]) == ("finished", "abc")
    assert (run["metrics.cost.macs"], run["metrics.val/top1_percent"], run["metrics.final.value"]) == (5, 92, 93)
    assert run["tags.ablate.resumed_after_epoch"] == "1" and result.released
    assert told == [({"ablate.identity": "abc"}, {"cost.macs": 5}), 1, (1, 1), "a note", (1, 1), "a note"]


def test_a_model_is_kept_where_it_is_asked_for(record, tmp_path):
    record(_Result())
    assert not list(tmp_path.rglob("model.txt"))
    record(_Result(), model=True)
    assert len(list(tmp_path.rglob("model.txt"))) == 1


def test_a_run_that_diverged_has_an_outcome_and_its_reason(record):
    run = record(_Result(diverged="the loss was nan"))
    assert (run["tags.ablate.status"], run["tags.ablate.reason"]) == ("diverged", "the loss was nan")


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (Pruned("after epoch 1"), "pruned", "after epoch 1"),
        (Superseded(), "superseded", "superseded: this worker fell silent"),
        (KeyboardInterrupt(), "killed", "interrupted"),
        (RuntimeError("no memory"), "failed", "RuntimeError: no memory"),
    ],
)
def test_a_run_that_was_cut_short_says_by_what_and_the_error_passes_on(record, tmp_path, error, status, reason):
    run = record(error, ends=type(error))
    assert run["tags.ablate.status"] == status and run["tags.ablate.reason"].startswith(reason)
    assert run["metrics.val/top1_percent"] == 91
    traces = [path.read_text() for path in tmp_path.rglob("traceback.txt")]
    assert len(traces) == (status == "failed") and all("no memory" in trace for trace in traces)


def test_an_observer_ends_the_run_after_its_epoch_is_recorded(record):
    def stop(epoch):
        raise Pruned("behind earlier trials")

    run = record(_Result(), observer=Hears(epoch=stop), ends=Pruned)
    assert run["tags.ablate.status"] == "pruned" and run["metrics.val/top1_percent"] == 91


@pytest.mark.parametrize(
    ("call", "column", "value"),
    [
        ("started", "tags.ablate.identity", "abc"),
        ("started", "metrics.cost.macs", 5),
        ("resumed", "tags.ablate.resumed_after_epoch", "1"),
    ],
)
def test_an_observer_hears_what_is_on_record_already(record, call, column, value):
    def stop(*_):
        raise Pruned("at once")

    run = record(_Result(), observer=Hears(**{call: stop}), ends=Pruned)
    assert run[column] == value


def test_a_point_that_others_took_over_while_it_was_trained_has_no_outcome_here(record):
    def lost():
        raise Superseded

    result = _Result()
    run = record(result, still_ours=lost, ends=Superseded)
    assert run["tags.ablate.status"] == "superseded" and "metrics.final.value" not in run.dropna()
    assert not result.released, "whoever has the point now may go on from the state"


def test_an_outcome_that_the_store_does_not_take_is_told_with_the_error(record, monkeypatch):
    result = _Result()

    def full(log, *, model):
        raise TrackingError("the disk is full.")

    monkeypatch.setattr(result, "write", full)
    run = record(result, ends=TrackingError)
    assert run["tags.ablate.status"] == "failed"
    assert run["tags.ablate.reason"] == "TrackingError: the training ended (93.00 %), but the disk is full."
