"""A sweep from the command line: planned, run, interrupted, resumed, tabled."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import mlflow
import optuna
import psutil
import pytest

from ablate.tracking import TrackingSpec, read_runs
from tests.e2e.test_cli import ablate

SWEEP = """
question: Does pooling matter on digits?
base: {model: tiny, data: digits, train.epochs: 1, tracking.log_model: false}
axes:
  model.pooling: [seqpool, mean]
  model.positional: [learnable, none]
seeds: 2
"""


def _folder(path, sweep=SWEEP):
    (path / "sweeps").mkdir()
    (path / "sweeps" / "mine.yaml").write_text(sweep)
    return path


def _points(folder):
    runs = read_runs(TrackingSpec(uri=f"sqlite:///{folder}/mlflow.db"))
    return runs[runs["tags.ablate.point"].notna()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = _folder(tmp_path_factory.mktemp("sweep"))
    return folder, ablate("+sweep=mine", cwd=folder)


def _rows(text):
    """The table's rows: what stands between the line of dashes and a blank one."""
    lines = text.splitlines()
    first = next(n for n, line in enumerate(lines, start=1) if line.startswith("---"))
    return lines[first : lines.index("", first)]


def test_sweep_runs_every_point_once_and_prints_the_table(finished):
    folder, result = finished
    assert result.returncode == 0, result.stderr + result.stdout
    points = _points(folder)
    assert len(points) == points["tags.ablate.point"].nunique() == 8
    assert set(points["status"]) == {"FINISHED"}
    assert "Does pooling matter on digits?" in result.stdout
    assert "not only the factor differs" not in result.stdout, "two variants are no two versions of the code"
    rows = _rows(result.stdout)
    assert [row.split()[:2] for row in rows] == [
        ["seqpool", "learnable"], ["seqpool", "none"], ["mean", "learnable"], ["mean", "none"]
    ]  # fmt: skip
    assert all(" 2 " in row for row in rows)  # n
    assert "mlflow ui" in result.stdout


def test_sweep_again_repeats_nothing(finished):
    folder, _ = finished
    result = ablate("+sweep=mine", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert len(_points(folder)) == 8


def test_report_makes_the_same_table_without_the_study(finished, tmp_path):
    folder, result = finished
    report = ablate("report", "mine", f"tracking.uri=sqlite:///{folder}/mlflow.db", cwd=tmp_path)
    assert report.returncode == 0, report.stderr
    rows = _rows(result.stdout)
    assert len(rows) == 4 and all(row in report.stdout for row in rows)


def test_sweep_pins_an_overridden_axis_in_a_study_of_its_own(finished):
    folder, _ = finished
    result = ablate("+sweep=mine", "model.pooling=mean", "seed=0", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "model.pooling is pinned to mean" in result.stdout
    assert result.stdout.count("which serves here too") == 2  # the study is another, its runs have been made
    assert len(_points(folder)) == 8


@pytest.mark.full
def test_sweep_whose_queue_or_records_are_lost_trains_nothing_twice(finished, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished[0], folder)
    (folder / "optuna.db").unlink()
    result = ablate("+sweep=mine", cwd=folder)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("finished already") == 8
    assert len(_points(folder)) == 8
    gone = _points(folder)["run_id"].iloc[0]
    mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db").delete_run(gone)  # as in the UI
    result = ablate("+sweep=mine", cwd=folder)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "since their record was deleted" in result.stdout
    after = _points(folder)
    assert len(after) == after["tags.ablate.point"].nunique() == 8 and gone not in set(after["run_id"])
    (folder / "mlflow.db").unlink()
    result = ablate("+sweep=mine", cwd=folder)
    assert result.returncode == 2
    assert "has none of the 8 points that are through" in result.stderr and len(result.stderr.splitlines()) == 1


def _start(folder, *words):
    return subprocess.Popen(
        [sys.executable, "-m", "ablate", "+sweep=mine", *words],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(os.environ),
    )  # fmt: skip


LONG = """
question: Does it survive the night?
base: {model: tiny, data: digits, train.epochs: 40, train.batch_size: 32, tracking.log_model: false, workers: 2}
axes:
  model.pooling: [seqpool, mean]
"""


def _train(process, folder):
    """Workers of the sweep, once each of its two points is in training."""
    end = time.monotonic() + 200
    while time.monotonic() < end:
        crew = [each for each in psutil.Process(process.pid).children() if _is_worker(each)]
        epochs = _epochs(folder)
        if len(crew) == 2 and len(epochs) == 2 and min(epochs.values()) >= 2:
            return crew
        assert process.poll() is None, process.communicate()
        time.sleep(0.2)
    raise AssertionError("the points do not train")


def _is_worker(child):
    """Whether a leader's child is one of its workers, and not git, which ends while we look."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return "--multiprocessing-fork" in child.cmdline()
    return False


def _epochs(folder):
    """Run -> its last epoch, while others write."""
    if not (folder / "mlflow.db").exists():
        return {}
    with contextlib.suppress(sqlite3.OperationalError), sqlite3.connect(folder / "mlflow.db") as database:
        return dict(
            database.execute("select run_uuid, max(step) from metrics where key = 'train/loss' group by run_uuid")
        )
    return {}


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("whom", ["leader", "all"])
def test_sweep_that_is_terminated_keeps_every_workers_state_and_goes_on_from_there(tmp_path, number, whom):
    folder = _folder(tmp_path, LONG)
    process = _start(folder)
    crew = _train(process, folder)
    for each in crew if whom == "all" else []:
        each.send_signal(number)
    process.send_signal(number)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 143, said
    assert said.splitlines()[-1] == "ablate: stopped by SIGTERM; the same command goes on from here."
    assert not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in crew)
    assert len(list(folder.glob("checkpoints/*/state.npz"))) == 2
    assert set(_points(folder)["status"]) == {"KILLED"}
    trials = optuna.load_study(study_name=None, storage=f"sqlite:///{folder}/optuna.db").trials
    assert [trial.user_attrs.get("outcome") for trial in trials] == ["interrupted"] * 2
    result = ablate("+sweep=mine", cwd=folder)
    assert result.returncode == 0, result.stderr + result.stdout
    points = _points(folder)
    done = points[points["status"] == "FINISHED"]
    assert len(done) == 2 and (done["tags.ablate.resumed_after_epoch"].astype(int) >= 1).all()


@pytest.mark.full
@pytest.mark.timeout(900)  # half a minute on a quiet machine
def test_sweep_replaces_a_worker_that_is_killed(tmp_path):
    folder = _folder(tmp_path, LONG)
    process = _start(folder, "train.epochs=10")
    _train(process, folder)[0].kill()
    said = process.communicate(timeout=800)[0]
    assert process.returncode == 0, said
    assert "died with exit code -9; its point goes back into the queue, and substitute 1 of 3 starts." in said
    assert sorted(_points(folder)["status"]) == ["FINISHED", "FINISHED", "KILLED"]


def _wait_for_points(process, count):
    """Reads the output until that many points have ended."""
    for line in process.stdout:
        if line.startswith(f"[{count}/"):
            return
    raise AssertionError("the sweep ended before it was interrupted")


@pytest.mark.parametrize(
    ("how", "workers"),
    [
        (signal.SIGKILL, 2),
        pytest.param(signal.SIGINT, 1, marks=pytest.mark.full),
        pytest.param(signal.SIGINT, 2, marks=pytest.mark.full),
        pytest.param(signal.SIGKILL, 1, marks=pytest.mark.full),
        pytest.param(signal.SIGTERM, 1, marks=pytest.mark.full),
        pytest.param(signal.SIGTERM, 2, marks=pytest.mark.full),
    ],
)
def test_sweep_that_is_stopped_resumes_with_what_is_left(tmp_path, how, workers):
    folder = _folder(tmp_path)
    process = _start(folder, f"workers={workers}")
    _wait_for_points(process, 3)
    time.sleep(0.3)  # into the next point
    process.send_signal(how)
    process.communicate(timeout=60)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}.get(how, -how)
    before = _points(folder)
    kept = set(before[before["status"] == "FINISHED"]["run_id"])
    assert 3 <= len(kept) < 8

    result = ablate("+sweep=mine", f"workers={workers}", cwd=folder)
    assert result.returncode == 0, result.stderr
    after = _points(folder)
    done = after[after["status"] == "FINISHED"]
    assert len(done) == done["tags.ablate.point"].nunique() == 8
    assert kept <= set(done["run_id"])
    assert "RUNNING" not in set(after["status"])


def test_sweep_with_a_failing_point_records_the_reason_and_finishes_the_rest(tmp_path):
    (tmp_path / "broken.py").write_text(
        "from dataclasses import dataclass\n"
        "from ablate import Positional, register\n"
        "def layer(spec, geometry):\n"
        "    raise RuntimeError('the planted fault')\n"
        "@register('positional', 'broken', layer=layer)\n"
        "@dataclass\n"
        "class Broken(Positional):\n"
        "    pass\n"
    )
    _folder(tmp_path, SWEEP.replace("[learnable, none]", "[broken, none]").replace("seeds: 2", "seeds: 1"))
    result = ablate("+sweep=mine", "plugins=[broken]", cwd=tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "the planted fault" in result.stdout
    points = _points(tmp_path)
    assert sorted(points["status"]) == ["FAILED", "FAILED", "FINISHED", "FINISHED"]
    failed = points[points["status"] == "FAILED"].iloc[0]
    assert "the planted fault" in failed["tags.ablate.reason"]
    assert "the planted fault" in next(tmp_path.glob(f"**/{failed['run_id']}/artifacts/traceback.txt")).read_text()


def test_sweep_refuses_a_point_that_cannot_be_built_before_any_trains(tmp_path):
    _folder(tmp_path, SWEEP.replace("model.positional: [learnable, none]", "model.heads: [2, 3]"))
    result = ablate("+sweep=mine", cwd=tmp_path)
    assert result.returncode == 2
    assert "seqpool 3 s0" in result.stderr and "divisible" in result.stderr
    assert not (tmp_path / "mlflow.db").exists()


def test_a_broken_sweep_file_harms_no_other_command(tmp_path):
    _folder(tmp_path)
    (tmp_path / "sweeps" / "broken.yaml").write_text("axes: [")
    assert ablate("--help", cwd=tmp_path).returncode == 0
    result = ablate("+sweep=broken", cwd=tmp_path)
    assert result.returncode == 2 and "broken.yaml must be YAML" in result.stderr


@pytest.mark.full
def test_sweep_tries_again_what_may_recover_and_not_what_is_wrong(tmp_path):
    (tmp_path / "flaky.py").write_text(
        "from dataclasses import dataclass\n"
        "from pathlib import Path\n"
        "from ablate import Positional, SpecError, register\n"
        "def full(spec, geometry):\n"
        "    tried = Path('tried')\n"
        "    if not tried.exists():\n"
        "        tried.touch()\n"
        "        raise MemoryError('planted: no room')\n"
        "    from ablate.models.positional.layers import none\n"
        "    return none(spec, geometry)\n"
        "def wrong(spec, geometry):\n"
        "    raise SpecError('planted: never works.')\n"
        "@register('positional', 'full', layer=full)\n"
        "@dataclass\n"
        "class Full(Positional):\n"
        "    pass\n"
        "@register('positional', 'wrong', layer=wrong)\n"
        "@dataclass\n"
        "class Wrong(Positional):\n"
        "    pass\n"
    )
    one = SWEEP.replace("[learnable, none]", "[full, wrong]").replace("seeds: 2", "seeds: 1")
    _folder(tmp_path, one.replace("[seqpool, mean]", "[mean]"))
    result = ablate("+sweep=mine", "plugins=[flaky]", "retries=2", "allow_inert=true", cwd=tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    points = _points(tmp_path)
    outcomes = points.groupby("params.model.positional")["status"].apply(sorted).to_dict()
    assert outcomes == {"full": ["FAILED", "FINISHED"], "wrong": ["FAILED"]}
    ended = points[points["status"] == "FAILED"].set_index("params.model.positional")
    assert "MemoryError: planted: no room" in ended.loc["full", "tags.ablate.reason"]
    trace = next(tmp_path.glob(f"**/{ended.loc['full', 'run_id']}/artifacts/traceback.txt")).read_text()
    assert "planted: no room" in trace


@pytest.mark.full
def test_sweep_s_table_goes_by_the_rule_that_its_study_was_begun_with(tmp_path):
    folder = _folder(tmp_path, f"{SWEEP}margin: 9\nalpha: 0.1\ncompare: [model.pooling]\n")
    first = ablate("+sweep=mine", cwd=folder)
    assert first.returncode == 0, first.stderr + first.stdout
    assert "verdicts by margin 9, alpha 0.1, compare model.pooling" in first.stdout and "90 % interval" in first.stdout
    assert "was begun with" not in first.stdout
    (folder / "sweeps" / "mine.yaml").write_text(f"{SWEEP}margin: 2\n")
    for words in (["plan", "+sweep=mine"], ["+sweep=mine"]):
        again = ablate(*words, cwd=folder).stdout
        assert "margin is 2, and study mine-" in again and "was begun with 9, which its tables go by" in again
    assert "90 % interval" in again and "positional, against" not in again
    other = ablate("report", "mine", "compare=positional", cwd=folder).stdout
    assert "compare is model.positional, and the sweep was planned with model.pooling" in other
    assert "positional, against" in other and "90 % interval" in other
