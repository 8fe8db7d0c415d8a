"""The paper's ablations, and what finished runs are worth to later sweeps: at a tiny budget, read from their tables."""

import csv
import io

from ablate.tracking import TrackingSpec, read_runs
from tests.e2e.test_cli import ablate

SMALL = "base: {model: tiny, data: digits, train.epochs: 1, tracking.log_model: false}\n"


def _runs(folder):
    runs = read_runs(TrackingSpec(uri=f"sqlite:///{folder}/mlflow.db"), parts=("tags", "params"))
    return runs[runs["tags.ablate.role"] == "run"]


def _table(folder, name):
    result = ablate("report", name, "format=csv", cwd=folder)
    assert result.returncode == 0, result.stderr
    return list(csv.DictReader(io.StringIO(result.stdout)))


def _write(folder, name, text):
    (folder / "sweeps").mkdir(exist_ok=True)
    (folder / "sweeps" / f"{name}.yaml").write_text(SMALL + text)


def test_a_finished_run_serves_every_sweep_that_needs_it_and_counts_once_in_each(tmp_path):
    _write(tmp_path, "first", "axes: {model.pooling: [seqpool, mean]}\nseeds: 1\nrepeats: {0: 2}")
    _write(tmp_path, "second", "axes: {model.positional: [learnable, none], model.pooling: [seqpool]}\nseeds: 2")
    assert ablate("+sweep=first", cwd=tmp_path).returncode == 0
    assert len(_runs(tmp_path)) == 4  # two levels, one seed, run twice each
    assert "already finished: 1 of 4 points" in ablate("plan", "+sweep=second", cwd=tmp_path).stdout
    done = ablate("+sweep=second", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    runs = _runs(tmp_path)
    assert len(runs) == 7 and "finished already, by run" in done.stdout
    first, second = _table(tmp_path, "first"), _table(tmp_path, "second")
    assert [row["n"] for row in first] == ["1", "1"] and [row["n"] for row in second] == ["2", "2"]
    shared = set(" ".join(row["run_ids"] for row in first).split()) & set(second[0]["run_ids"].split())
    assert len(shared) == 1 and second[0]["not_run"] == "0"

    again = ablate("+sweep=second", "fresh=true", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert len(_runs(tmp_path)) == 11
    assert not set(_table(tmp_path, "second")[0]["run_ids"].split()) & set(runs["run_id"])
