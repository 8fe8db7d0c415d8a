"""Records that travel: out of a store, into a file, into another store."""

import json
import math
from dataclasses import replace

import pandas as pd
import pytest

from ablate.cli import main as cli
from ablate.report import Reading, report_records, report_study
from ablate.report.sources import records, studies
from ablate.report.table.runs import attempts, counted
from ablate.tracking import Store, TrackingSpec

DEFINITION = {
    "name": "pe",
    "question": "Does it matter?",
    "table": "",
    "method": "grid",
    "axes": {"model": ["vit", "cct"], "model.positional": ["learnable", "none"]},
    "baseline": {"model": "vit", "model.positional": "learnable"},
    "seeds": [0, 1],
    "points": 8,
}


@pytest.fixture(scope="module")
def where(tmp_path_factory):
    """A store with a study of eight points, one of them diverged."""
    spec = TrackingSpec(uri=f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db")
    store = Store(spec)
    parent = store.sweep_run("pe-1234", {"ablate.sweep": json.dumps(DEFINITION)})
    for n, (model, pe, seed) in enumerate(
        (m, p, s) for m in ("vit", "cct") for p in ("learnable", "none") for s in (0, 1)
    ):
        point = json.dumps([["model", model], ["model.positional", pe], ["seed", seed]], separators=(",", ":"))
        leaves = {"model.name": model, "train.epochs": 2, "train.select": "best", "data.source": "digits"}
        tags = {"ablate.study": "pe-1234", "ablate.point": point}
        run = store.start_run(f"{model} {pe}", leaves, tags, parent=parent)
        for epoch in (1, 2):
            run.log({"val/top1_percent": 50.0 + n + epoch, "train/loss": math.nan if n == 7 else 1 / epoch}, step=epoch)
        run.log({"cost.params": 1000 + n, "cost.macs": 5_000_000})
        if n == 7:
            run.finish("diverged", reason="the loss was nan")
            continue
        run.log({"final.test_top1_percent": 80.0 + 3 * n + 0.25 * seed})
        run.finish("finished")
    store.resume(parent).finish("finished")
    return spec


def _body(text):
    """A report without the lines that say where the records are."""
    return [line for line in text.splitlines() if not line.startswith(("study ", "artifacts", "MLflow UI"))]


def test_a_file_of_records_reports_what_the_store_reports(where, tmp_path):
    path = tmp_path / "pe.jsonl"
    records.write(studies.from_store(where, "pe"), path)
    got = report_records(records.read(path), reading=Reading(margin=1.0), full=True)
    assert _body(got) == _body(report_study(where, "pe", reading=Reading(margin=1.0), full=True))
    assert "1 diverged" in got and str(path) in got


def test_the_same_records_are_the_same_bytes_and_hold_no_place(where, tmp_path):
    a, b = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    records.write(studies.from_store(where, "pe"), a)
    records.write(records.read(a), b)
    assert a.read_bytes() == b.read_bytes()
    assert str(tmp_path) not in a.read_text() and "artifact" not in a.read_text()
    head, *runs = (json.loads(line) for line in a.read_text().splitlines())
    assert len(runs) == 8 and head["shared"]["params.train.epochs"] == "2" and "params.train.epochs" not in runs[0]
    curves = [run["curves"]["train/loss"] for run in runs]
    assert sorted(curves, key=str) == [[1.0, 0.5]] * 7 + [[None, None]]


def test_a_file_keeps_the_order_of_a_studys_axes(where, tmp_path):
    path, study = tmp_path / "steps.jsonl", studies.from_store(where, "pe")
    axes = {"model.positional": ["none", "learnable"], "model": ["vit", "cct"]}  # rows' levels come in this order
    records.write(replace(study, definition={**DEFINITION, "axes": axes}), path)
    assert list(records.read(path).definition["axes"].items()) == list(axes.items())


def test_a_file_names_the_data_and_not_where_they_lie(where, tmp_path):
    path, study = tmp_path / "pe.jsonl", studies.from_store(where, "pe")
    frame = study.frame.assign(**{"params.data.source": "folder", "params.data.root": "/home/me/photos.zip"})
    records.write(replace(study, frame=frame), path)
    assert "/home" not in path.read_text()
    assert "data folder photos.zip" in report_records(records.read(path))


def test_a_file_of_one_run_reads_back(where, tmp_path):
    path, study = tmp_path / "one.jsonl", studies.from_store(where, "pe")
    records.write(replace(study, frame=study.frame[:1]), path)
    assert list(records.read(path).frame["run_id"]) == list(study.frame["run_id"][:1])


def test_records_that_are_imported_report_the_same_and_only_once(where, tmp_path):
    path, other = tmp_path / "pe.jsonl", TrackingSpec(uri=f"sqlite:///{tmp_path}/other.db")
    records.write(studies.from_store(where, "pe"), path)
    assert studies.to_store(records.read(path), other) == 8
    assert studies.to_store(records.read(path), other) == 0
    assert _body(report_study(other, "pe", reading=Reading(margin=1.0))) == _body(
        report_study(where, "pe", reading=Reading(margin=1.0))
    )
    again = studies.from_store(other, "pe")
    run = again.frame[again.frame["tags.ablate.status"] == "finished"]["run_id"].iloc[0]
    assert again.curves[run]["train/loss"] == [1.0, 0.5]


def test_records_keep_start_and_seconds_through_a_store_so_that_they_export_as_they_were(where, tmp_path):
    first, again = tmp_path / "pe.jsonl", tmp_path / "again.jsonl"
    other, study = TrackingSpec(uri=f"sqlite:///{tmp_path}/o.db"), studies.from_store(where, "pe")
    seconds = [30.3 + n for n in range(len(study.frame))]
    frame = study.frame.drop(columns=["start_time", "end_time"]).assign(seconds=seconds)
    records.write(replace(study, frame=frame, started="2024-02-29 07:25 UTC"), first)
    studies.to_store(records.read(first), other)
    assert "started 2024-02-29 07:25 UTC" in report_study(other, "pe", full=True)
    records.write(studies.from_store(other, "pe"), again)
    assert again.read_text() == first.read_text() and '"seconds":30.3' in first.read_text()


def test_records_that_do_not_say_when_they_began_are_not_imported(where, tmp_path):
    study = replace(studies.from_store(where, "pe"), started="")
    with pytest.raises(records.RecordsError, match="when their study started, like 2026-01-31 09:30 UTC, got ''"):
        studies.to_store(study, TrackingSpec(uri=f"sqlite:///{tmp_path}/o.db"))


def test_a_file_has_the_runs_oldest_first_so_that_the_latest_attempt_counts(where, tmp_path):
    path, study = tmp_path / "pe.jsonl", studies.from_store(where, "pe")
    again = study.frame.iloc[[0]].assign(**{"run_id": "0" * 32, "metrics.final.test_top1_percent": 1.0})
    records.write(replace(study, frame=pd.concat([study.frame, again], ignore_index=True)), path)
    read = records.read(path).frame
    assert list(read["run_id"]) == [*study.frame["run_id"], "0" * 32]
    assert [run.value for run in counted(attempts(read)) if run.run_id == "0" * 32] == [1.0]


@pytest.mark.parametrize(
    "content", ["", "{}", '{"format":"other"}', "a,b\n1,2", '{"format":"ablate-records","version":2}']
)
def test_a_file_of_anything_else_is_one_sentence(tmp_path, content):
    path = tmp_path / "x.jsonl"
    path.write_text(content)
    with pytest.raises(records.RecordsError, match="records must be a file that python -m ablate export wrote"):
        records.read(path)


def test_a_file_that_lost_lines_is_noticed(where, tmp_path):
    path = tmp_path / "pe.jsonl"
    records.write(studies.from_store(where, "pe"), path)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(records.RecordsError, match="must hold 8 runs, got 7"):
        records.read(path)
    with pytest.raises(records.RecordsError, match="No such file"):
        records.read(tmp_path / "none.jsonl")


def test_alpha_and_direction_reach_a_store_and_its_page(where, capsys):
    words = ["report", "pe", f"tracking.uri={where.uri}", "alpha=0.01", "higher_is_better=false"]
    for more in ([], ["format=html"], ["at=epoch:1"]):
        with pytest.raises(SystemExit) as stop:
            cli.main([*words, *more])
        assert stop.value.code == 0
        said = capsys.readouterr().out
        assert "99 %" in said and "95 %" not in said and "lower is better" in said
