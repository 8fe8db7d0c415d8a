"""Runs, studies and curves read into frames, and cells that differ by chance alone."""

import math
from pathlib import Path

import pytest

from ablate import identity, tracking
from ablate.tracking import Store, TrackingError, TrackingSpec, list_studies, read_curves, read_runs
from tests.stores import start_run, start_sweep, where_at


def test_copies_of_a_run_show_no_chance_and_its_repeats_do(store_uri: str) -> None:
    """A study imported twice, and one trained again from its seeds, gave a standard deviation of 0.00."""
    store, alike = Store(where_at(store_uri)), {"train.epochs": "1"}

    def finished(value: float, **told: str) -> str:
        tags = {"ablate.cell": "c", **{f"ablate.{key.replace('_', '.')}": text for key, text in told.items()}}
        run = store.start_run("x", {"train.epochs": 1}, tags)
        run.log({"final.test_top1_percent": value})
        run.finish("finished")
        return run.run_id

    first = [finished(80.0, identity="seed 0"), finished(80.5, identity="seed 0, repeat 1")]
    for run_id in first:  # the same under another study, then trained anew
        finished(80.0, identity="seed 0", imported_run=run_id)
    finished(80.5, identity="seed 0, repeat 1")
    assert tracking.cells(where_at(store_uri), alike) == {"c": [80.0, 80.5]}
    unnamed = finished(81.0)  # of a version that told no identity
    for _ in range(2):
        finished(81.0, imported_run=unnamed)
        finished(82.0, imported_run="of a store that is elsewhere")
    assert tracking.cells(where_at(store_uri), alike) == {"c": [80.0, 80.5, 81.0, 82.0]}
    finished(83.0, cell="as it is called today", cell_earlier="c")
    finished(84.0, cell="another", identity="seed 3")
    assert tracking.cells(where_at(store_uri), alike) == {"c": [80.0, 80.5, 81.0, 82.0, 83.0], "another": [84.0]}


def test_runs_that_repeat_a_seed_are_two_runs_of_one_cell() -> None:
    leaves = [{"seed": 0, "seeds.init": 0, "repeat": repeat} for repeat in (0, 1)]
    told = [identity.settings(each, {}, code=identity.Code(()), backend="tensorflow") for each in leaves]
    assert len(set(told)) == 2 and len({identity.cell(each, {}) for each in leaves}) == 1


def test_read_runs_equals_mlflows_own_search(store_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow
    import pandas as pd

    store = Store(where_at(store_uri))
    parent = start_sweep(store)
    for number in range(3):
        writer = start_run(
            store, f"p{number}", {"a.b": number, "only": "x"} if number else {"a.b": None}, parent=parent
        )
        writer.log({"val/loss": 0.5 * number}, step=1)
        writer.log({"val/loss": math.nan if number == 1 else 0.25, "final.x": 1.0}, step=2)
        if number:
            writer.finish("failed")
    deleted = start_run(store, "deleted")
    store._client.delete_run(deleted.run_id)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store_uri)
    want = mlflow.search_runs(experiment_names=["ablate"])
    got = read_runs(where_at(store_uri))
    assert set(got.columns) == set(want.columns)
    order = sorted(want.columns)
    got, want = (frame[order].sort_values("run_id", ignore_index=True) for frame in (got, want))
    pd.testing.assert_frame_equal(
        got.astype(object).where(got.notna(), None), want.astype(object).where(want.notna(), None)
    )
    assert {str(got[name].dtype) for name in got if name.startswith("metrics.")} == {"float64"}


def test_read_runs_takes_one_study_and_one_experiment(store_uri: str) -> None:
    store = Store(where_at(store_uri))
    start_run(store, "mine")
    store.start_run("alone", {}, {})
    Store(TrackingSpec(uri=store_uri, experiment="other")).start_run("elsewhere", {}, {"ablate.study": "pe-1"})
    assert list(read_runs(where_at(store_uri), study="pe-1")["tags.mlflow.runName"]) == ["mine"]
    assert len(read_runs(where_at(store_uri))) == 2
    assert read_runs(TrackingSpec(uri=store_uri, experiment="none")).empty
    assert read_runs(where_at(store_uri), study="none").empty


def test_list_studies_puts_the_one_that_ran_last_first(store_uri: str) -> None:
    store = Store(where_at(store_uri))
    first = start_sweep(store, "pe-1")
    start_sweep(store, "pe-2")
    start_sweep(store, "other-1", name="other")
    for outcome in ("finished", "finished", "diverged", "failed"):  # two attempts at one point, and two other points
        writer = start_run(store, "p" if outcome == "finished" else outcome, parent=first)
        writer.finish(outcome)
    records = list_studies(where_at(store_uri), "pe")
    assert [(record.study, record.finished) for record in records] == [("pe-1", 2), ("pe-2", 0)]
    assert records[0].run_id == first
    assert Path(records[0].artifacts) == Path(store_uri.removeprefix("sqlite:///")).parent / "mlartifacts" / "ablate"
    assert {record.definition["name"] for record in list_studies(where_at(store_uri))} == {"pe", "other"}


def test_list_studies_reads_a_definition_longer_than_a_tag(store_uri: str) -> None:
    levels = [f"level-{number}" for number in range(9000)]
    start_sweep(Store(where_at(store_uri)), axes={"model": levels})
    assert list_studies(where_at(store_uri))[0].definition["axes"]["model"] == levels


def test_read_curves_gives_every_step(store_uri: str) -> None:
    store = Store(where_at(store_uri))
    runs = [start_run(store, point) for point in "ab"]
    for step in (2, 1):
        for writer in runs:
            writer.log({"val/loss": math.nan if step == 2 else 0.5, "other": 1.0}, step=step)
    frame = read_curves(where_at(store_uri), [runs[1].run_id, runs[0].run_id], "val/loss")
    assert list(frame["run_id"]) == [runs[1].run_id] * 2 + [runs[0].run_id] * 2
    assert list(frame["step"]) == [1, 2, 1, 2]
    assert frame["value"].isna().tolist() == [False, True] * 2


def test_reading_where_nothing_was_recorded_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=r"there are no records at sqlite:///.*run something first"):
        read_runs(where_at(f"sqlite:///{tmp_path / 'none.db'}"))
    assert not list(tmp_path.iterdir())


def test_the_artifacts_of_a_study_are_shown_without_the_password_of_their_server(store_uri: str) -> None:
    client = Store(where_at(store_uri))._client
    client.create_experiment("far", artifact_location="ftp://me:S3CRE'T@h/x")
    start_sweep(Store(TrackingSpec(uri=store_uri, experiment="far")))
    (study,) = list_studies(TrackingSpec(uri=store_uri, experiment="far"))
    assert study.artifacts == "ftp://me:***@h/x"
