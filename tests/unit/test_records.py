"""Records that travel: out of a store, into a file, into another store; and runs that others made."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from ablate.config import ConfigError, compose_report
from ablate.report import Reading, records, report_records, report_study, studies
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
    got = report_records(records.read(path), reading=Reading(margin=1.0))
    assert _body(got) == _body(report_study(where, "pe", margin=1.0))
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
    assert _body(report_study(other, "pe", margin=1.0)) == _body(report_study(where, "pe", margin=1.0))
    again = studies.from_store(other, "pe")
    run = again.frame[again.frame["tags.ablate.status"] == "finished"]["run_id"].iloc[0]
    assert again.curves[run]["train/loss"] == [1.0, 0.5]


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


# ------------------------------------------------------------------------------------------------------- anybody's runs


def _csv(path, extra=""):
    rng = np.random.default_rng(0)
    rows = [
        f"{opt},{sched},{seed},{80 + 6 * (opt == 'adamw') + rng.normal(0, 0.5):.3f}"
        for opt in ("sgd", "adamw")
        for sched in ("cosine", "step")
        for seed in (11, 12, 13, 14)
    ]
    path.write_text("optimizer,schedule,seed,accuracy\n" + "\n".join(rows) + "\n" + extra)
    return path


def _opened(*words):
    return studies.opened(None, compose_report(list(words)))


def test_runs_of_pytorch_in_a_csv_get_table_and_verdicts(tmp_path):
    path = _csv(tmp_path / "runs.csv", "adamw,step,15,nan\n")
    found = _opened(f"source={path}", "factor=[optimizer,schedule]", "value=accuracy", "seed=seed")
    text = report_records(found, reading=Reading("accuracy", margin=2.0))
    lines = [line.split() for line in text.splitlines()]
    assert ["optimizer,", "against", "sgd"] in lines
    kinds = {tuple(line[:3]): line[3] for line in lines if len(line) > 4 and line[1] == "at"}
    assert kinds[("adamw", "at", "cosine")] == "helps" and kinds[("step", "at", "sgd")] == "equivalent"
    assert "1 diverged" in text and "17 runs" in text and "epochs" not in text.splitlines()[1]


def test_a_baseline_and_a_single_factor_can_be_named(tmp_path):
    path = _csv(tmp_path / "runs.csv")
    found = _opened(f"source={path}", "factor=optimizer", "value=accuracy", "baseline.optimizer=adamw")
    assert found.definition["baseline"] == {"optimizer": "adamw"} and found.definition["seeds"] == list(range(8))
    assert "hurts" in report_records(found, reading=Reading("accuracy"))


def test_runs_of_any_mlflow_experiment_are_read_by_their_columns(tmp_path):
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/theirs.db")
    experiment = client.create_experiment("theirs")
    for lr, seed in ((lr, seed) for lr in ("0.1", "0.01") for seed in range(3)):
        run = client.create_run(experiment).info.run_id
        client.log_param(run, "lr", lr)
        client.log_param(run, "seed", seed)
        client.log_metric(run, "acc", 70 + 10 * (lr == "0.01") + 0.1 * seed)
    uri = f"tracking.uri=sqlite:///{tmp_path}/theirs.db"
    found = _opened(uri, "tracking.experiment=theirs", "factor=params.lr", "value=metrics.acc", "seed=params.seed")
    text = report_records(found, reading=Reading("metrics.acc"))
    assert "0.01" in text and "helps" in text and "theirs" in text


@pytest.mark.parametrize(
    ("words", "error", "sentence"),
    [
        (["factor=opt", "value=accuracy"], records.RecordsError, "must have the columns opt, got optimizer, schedule"),
        (["factor=optimizer"], ConfigError, "need factor= and value="),
        (["value=accuracy"], ConfigError, "need factor= and value="),
        (["factor=optimizer", "value=accuracy", "baseline.optimizer=adam"], records.RecordsError, "one of sgd, adamw"),
    ],
)
def test_a_wrong_column_or_level_is_one_sentence(tmp_path, words, error, sentence):
    with pytest.raises(error, match=sentence):
        _opened(f"source={_csv(tmp_path / 'runs.csv')}", *words)


def test_a_source_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(records.RecordsError, match="source must be a CSV file of runs"):
        _opened(f"source={tmp_path}/none.csv", "factor=a", "value=b")
