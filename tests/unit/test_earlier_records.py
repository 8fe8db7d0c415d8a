"""What commit f6fe46a wrote is read, reported and resumed: its store, queue, records and models.

Everything goes through the command line, as a user's own records would. tests/assets/f6fe46a/README.md says what is
there, and how it was made.
"""

import json
import re
import sqlite3
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest

from tests.assets.restore import environment, expected, recorded, restore

FINISHED, INTERRUPTED, SEARCH = "pooling_small", "positional_small", "search_small"
RUNS = "select run_uuid, value from runs join tags using (run_uuid) where key = 'ablate.point' and run_uuid in " \
       "(select run_uuid from tags where key = 'ablate.study' and value like ?)"  # fmt: skip


def ablate(*words, folder, versions=None):
    """What a command prints, given in the folder; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "ablate", *words], cwd=folder, env=environment(folder, versions), capture_output=True,
        text=True, encoding="utf-8", timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def asked(folder, question, *values):
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        return database.execute(question, values).fetchall()


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """The working directory as f6fe46a left it, for tests that train nothing."""
    return restore(tmp_path_factory.mktemp("earlier"))


@pytest.mark.parametrize("sweep", [FINISHED, INTERRUPTED, SEARCH])
@pytest.mark.parametrize("origin", ["store", "records"])
def test_earlier_report_prints_the_same_rows(earlier, sweep, origin):
    """All of the table but intervals, which end at 0 and at 100 % now; head, verdicts and notes are today's."""
    name = f"{sweep}.jsonl" if origin == "records" else sweep
    assert _rows(ablate("report", name, folder=earlier)) == _rows(expected(f"{sweep}.{origin}.txt", earlier))


def _rows(text):
    """Words of each line of the table, which stands between blank lines, without intervals and rules."""
    table = [re.sub(r" ± [\d.]+| \[[\d., ]+\]", "", line) for line in text.split("\n\n")[1].splitlines()]
    return [line.split() for line in table if set(line) - {"-", " "}]


@pytest.mark.parametrize(
    "sweep", [FINISHED, pytest.param(INTERRUPTED, marks=pytest.mark.full), pytest.param(SEARCH, marks=pytest.mark.full)]
)
@pytest.mark.parametrize("origin", ["store", "records"])
def test_earlier_report_has_the_same_numbers_as_json(earlier, sweep, origin):
    """But for the last 3 of 9 digits, in which another kind of processor or SciPy may differ; a later version may say
    more of a row, and cuts off intervals at 0 and 100 %. Verdicts, and what is said of them, are today's."""
    name = f"{sweep}.jsonl" if origin == "records" else sweep
    now = json.loads(ablate("report", name, "format=json", folder=earlier))
    then = json.loads(expected(f"{sweep}.{origin}.json", earlier))
    for row in then["rows"]:
        if (estimate := row["estimate"]) is not None and estimate["low"] is not None:
            estimate |= {"low": max(0.0, estimate["low"]), "high": min(100.0, estimate["high"])}
    then = {key: then[key] for key in ("factors", "metric", "alpha", "higher_is_better", "rows", "audit")}
    assert _as_then(now, then) == _as_then(then, then)


def _as_then(now, then):
    """What an earlier report told, as one of now tells it."""
    if isinstance(now, dict) and isinstance(then, dict):
        return {key: _as_then(now[key], then[key]) for key in then if key in now}
    if isinstance(now, list) and isinstance(then, list) and len(now) == len(then):
        return [_as_then(*pair) for pair in zip(now, then, strict=True)]
    return float(f"{now:.6g}") if isinstance(now, float) else now


@pytest.mark.parametrize(
    ("sweep", "said"),
    [(FINISHED, "4 of 4"), (INTERRUPTED, "3 of 6"), ("alone_again", "1 of 2")],
)
def test_earlier_runs_are_known_again_by_plan(earlier, sweep, said):
    """``alone_again`` is a sweep that was never run; the single run of many settings is one of its points."""
    assert f"already finished: {said} points," in ablate("plan", f"+sweep={sweep}", folder=earlier)


def test_earlier_runs_of_other_versions_are_not_known(earlier, tmp_path):
    """That the recorded versions are what makes the runs known: with another NumPy, none is."""
    folder = restore(tmp_path / "other")
    versions = recorded()["versions"] | {"numpy": "2.0.0"}
    assert "already finished: 0 of 6 points," in ablate(
        "plan", f"+sweep={INTERRUPTED}", folder=folder, versions=versions
    )


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    """A working directory in which the interrupted sweep was resumed, and what that printed."""
    folder = restore(tmp_path_factory.mktemp("resumed"))
    return folder, ablate(f"+sweep={INTERRUPTED}", folder=folder)


@pytest.mark.full
def test_earlier_sweep_is_resumed_and_trains_the_missing_points_alone(resumed):
    folder, told = resumed
    assert "6 of 6 points finished" in told
    before = {run["run"]: run for run in recorded()["runs"]}
    new = {run: point for run, point in asked(folder, RUNS, f"{INTERRUPTED}-%") if run not in before}
    missing = [("sine", 1), ("none", 0), ("none", 1)]
    wanted = {f'[["model.positional","{level}"],["seed",{seed}]]' for level, seed in missing}
    assert len(new) == 3 and set(new.values()) == wanted
    assert asked(folder, "select count(*) from tags where key = 'ablate.role'") == [(len(before) + 3,)]
    studies = asked(folder, "select distinct value from tags where key = 'ablate.study' and value like 'positional%'")
    assert studies == [(recorded()["runs"][-1]["study"],)], "it goes on in its study, and begins no other"


@pytest.mark.full
def test_earlier_sweep_keeps_the_rows_whose_runs_are_reused(resumed):
    folder, told = resumed
    partly = expected(f"{INTERRUPTED}.store.txt", folder)
    row = re.search(r"^learnable .*$", partly, re.M)[0]
    assert row.split() == re.search(r"^learnable .*$", told, re.M)[0].split()
    counts = re.findall(r"^(learnable|sine|none) .* (\d)  +\d,\d{3}  ", told, re.M)
    assert dict(counts) == {"learnable": "2", "sine": "2", "none": "2"}


@pytest.mark.full
def test_earlier_state_of_an_interrupted_run_is_gone_on_from(resumed):
    folder, _ = resumed
    (stopped,) = [run for run in recorded()["runs"] if run["status"] == "killed" and run["role"] == "run"]
    epochs = int(re.search(r"of epoch (\d+);", expected(f"{INTERRUPTED}.store.txt", folder))[1]) - 1
    question = "select p.value, e.value from tags e join tags p using (run_uuid) " \
               "where e.key = 'ablate.resumed_after_epoch' and p.key = 'ablate.point'"  # fmt: skip
    assert epochs >= 1 and asked(folder, question) == [(stopped["point"], str(epochs))]
    assert not list((folder / "checkpoints").iterdir()), "a run that is on record leaves no state behind"


@pytest.mark.full
@pytest.mark.parametrize("sweep", [FINISHED, SEARCH])
def test_earlier_sweep_that_is_finished_trains_nothing(tmp_path, sweep):
    folder = restore(tmp_path)
    told = ablate(f"+sweep={sweep}", folder=folder)
    table = told[told.rindex(f"{sweep}: ") :]
    assert _rows(table) == _rows(expected(f"{sweep}.store.txt", folder)) and "MLflow UI: " in table
    assert asked(folder, "select count(*) from tags where key = 'ablate.role'") == [(len(recorded()["runs"]),)]


@pytest.mark.full
def test_earlier_run_serves_a_sweep_that_is_new(tmp_path):
    folder = restore(tmp_path)
    (alone,) = [run["run"] for run in recorded()["runs"] if run["role"] == "run" and "study" not in run]
    assert f"finished already, by run {alone}, which serves here too" in ablate("+sweep=alone_again", folder=folder)


@pytest.mark.full
def test_earlier_records_are_imported_and_reported(tmp_path):
    folder = restore(tmp_path)
    (folder / "mlflow.db").unlink()
    ablate("import", f"{FINISHED}.jsonl", folder=folder)
    told = ablate("report", FINISHED, folder=folder)
    assert _rows(told) == _rows(expected(f"{FINISHED}.store.txt", folder)) and "4 of 4 points finished" in told


@pytest.mark.full
def test_earlier_registered_model_says_what_it_said(earlier):
    """MLflow finds our code by the module's name that the model's folder holds."""
    import mlflow
    from sklearn.datasets import load_digits

    ((source, run_id),) = asked(earlier, "select source, run_id from model_versions")
    pixels = np.rint(load_digits().images[..., None] * (255 / 16)).astype(np.float32)
    said = mlflow.pyfunc.load_model(source).predict(pixels)
    kept = earlier / "mlartifacts" / "ablate" / run_id / "artifacts" / "test_predictions.npz"
    with np.load(kept) as predictions:
        probabilities = predictions["probabilities"].astype(np.float32)  # of the test set, which is among all images
    nearest = [np.abs(said - row).max(axis=1).min() for row in probabilities]
    assert len(nearest) == 359 and max(nearest) < 2e-3
