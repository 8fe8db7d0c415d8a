"""One run, written: its metrics, artifacts and end, and entries that are sent twice or refused."""

import math
from pathlib import Path

import pytest

from ablate import tracking
from ablate.tracking import Store, TrackingError, TrackingSpec, read_curves, read_runs
from ablate.tracking import writer as writing
from tests.stores import SECRET, entries, start_run, where_at


def test_a_run_comes_back_as_it_was_written(store_uri: str) -> None:
    store = Store(where_at(store_uri))
    writer = start_run(
        store, params={"model.positional": None, "train.lr": 0.001, "data.source": "digits", "x": [1, True]}
    )
    for epoch in (1, 2):
        writer.log({"val/loss": 1 / epoch, "val/top1_percent": 40.0 * epoch}, step=epoch)
    writer.tag({"ablate.identity": "abc"})
    writer.finish("finished")
    (row,) = read_runs(where_at(store_uri)).to_dict("records")
    assert row["run_id"] == writer.run_id
    assert row["status"] == "FINISHED"
    assert row["end_time"] >= row["start_time"]
    assert row["metrics.val/top1_percent"] == 80.0  # the latest
    assert [row[f"params.{key}"] for key in ("model.positional", "train.lr", "data.source", "x")] == [
        "null",
        "0.001",
        "digits",
        "[1, true]",
    ]
    assert (row["tags.ablate.identity"], row["tags.ablate.status"], row["tags.ablate.role"]) == (
        "abc",
        "finished",
        "run",
    )
    assert row["tags.mlflow.runName"] == "p"


@pytest.mark.parametrize(
    ("status", "mlflow_status"),
    [("finished", "FINISHED"), ("diverged", "FINISHED"), ("failed", "FAILED"), ("killed", "KILLED")],
)
def test_finish_tells_mlflow_and_ourselves(store_uri: str, status: tracking.RunStatus, mlflow_status: str) -> None:
    start_run(Store(where_at(store_uri))).finish(status, reason=f"could not open postgresql://me:{SECRET}@db/x")
    (row,) = read_runs(where_at(store_uri)).to_dict("records")
    assert (row["status"], row["tags.ablate.status"]) == (mlflow_status, status)
    assert row["tags.ablate.reason"] == "could not open postgresql://me:***@db/x"


def test_log_keeps_values_that_are_no_numbers(store_uri: str) -> None:
    writer = start_run(Store(where_at(store_uri)))
    writer.log({"nan": math.nan, "inf": math.inf, "-inf": -math.inf})
    (row,) = read_runs(where_at(store_uri)).to_dict("records")
    assert math.isnan(row["metrics.nan"])
    assert row["metrics.inf"] > 1e308 > -1e308 > row["metrics.-inf"]  # MLflow stores the largest finite number


def test_artifacts_lie_beside_the_database_under_their_names(store_uri: str) -> None:
    writer = start_run(Store(where_at(store_uri)))
    writer.artifact("tables/report.md", "± 1\n")
    writer.artifact("predictions.npz", b"\x00\xff")
    with writer.local_artifact("saved/model") as path:
        path.mkdir()
        (path / "weights.h5").write_bytes(b"w")
    root = Path(store_uri.removeprefix("sqlite:///")).parent / "mlartifacts" / "ablate" / writer.run_id / "artifacts"
    assert (root / "tables/report.md").read_text("utf-8") == "± 1\n"
    assert (root / "predictions.npz").read_bytes() == b"\x00\xff"
    assert (root / "saved/model/weights.h5").read_bytes() == b"w"


def test_an_artifact_that_was_not_written_to_the_end_is_not_kept(store_uri: str) -> None:
    writer = start_run(Store(where_at(store_uri)))
    with pytest.raises(RuntimeError, match="disk"), writer.local_artifact("model.keras") as path:
        path.write_bytes(b"half")
        raise RuntimeError("disk")
    assert not list(Path(store_uri.removeprefix("sqlite:///")).parent.rglob("model.keras"))


def test_what_is_delivered_twice_is_recorded_once(store_uri: str) -> None:
    store = Store(where_at(store_uri))
    run = start_run(store)
    for _ in range(2):  # as where the answer to the last entry was lost
        for entry in entries():
            writing._send(store._client, run.run_id, entry, Path())
    assert list(read_curves(where_at(store_uri), [run.run_id], "x")["value"]) == [1.0, 2.0]
    (row,) = read_runs(where_at(store_uri)).to_dict("records")
    assert (row["status"], row["params.a"], row["tags.ablate.status"]) == ("FINISHED", "1", "finished")
    born = {"kind": "create", "name": "n", "time": 5, "again": True, "tags": {"ablate.attempt": "m"}}
    ids = [writing.create(store._client, born, store.experiment_id) for _ in range(2)]
    assert ids[0] == ids[1]


def test_what_the_store_refuses_is_raised_at_once(store_uri: str, tmp_path: Path) -> None:
    run = start_run(Store(TrackingSpec(uri=store_uri, spool=str(tmp_path / "spool"))))
    with pytest.raises(TrackingError):
        run.log({"no/such name: [": 1.0})
    assert not run._journal.waits
