"""Sweeps that share points and start together, and sweeps whose records are lost: trained once, and never unsaid."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import psutil
import pytest

from ablate.tracking import TrackingSpec, read_runs
from tests.e2e.test_cli import ablate

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]

BASE = "base: {model: tiny, data: digits, train.epochs: %d, tracking.log_model: false}\n"
SHORT = {
    "one": BASE % 2 + "axes: {model.pooling: [seqpool, mean], model.positional: [learnable, none]}\nseeds: 2\n",
    "two": BASE % 2 + "axes: {model.pooling: [mean, seqpool], model.positional: [none, sine]}\nseeds: 2\n",
}
LONG = {
    "one": BASE % 300 + "axes: {model.pooling: [seqpool]}\n",
    "two": BASE.replace("train.epochs: %d, ", "") + "axes: {model.pooling: [seqpool], train.epochs: [300, 1]}\n",
}


def _folder(path: Path, sweeps: dict[str, str]) -> Path:
    (path / "sweeps").mkdir()
    for name, text in sweeps.items():
        (path / "sweeps" / f"{name}.yaml").write_text(text)
    return path


def _start(folder: Path, name: str, *words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "ablate", f"+sweep={name}", f"study.storage=sqlite:///{name}.db", *words]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(os.environ)
    )


def _runs(folder: Path) -> list[dict[str, Any]]:
    frame = read_runs(TrackingSpec(uri=f"sqlite:///{folder}/mlflow.db"))
    return list(frame[frame["tags.ablate.role"] == "run"].to_dict("records"))


def _wait(process: "subprocess.Popen[str]", true: Callable[[], bool], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def _in_training(folder: Path) -> bool:
    if not (folder / "mlflow.db").exists():
        return False
    try:
        return any("metrics.train/loss" in row for row in _runs(folder))
    except (ValueError, KeyError):  # it is being made
        return False


@pytest.mark.parametrize("workers", [1, 2])
def test_sweeps_that_start_together_train_what_they_share_once(tmp_path: Path, workers: int) -> None:
    """Each has a queue of its own: they have nothing in common but the tracking store."""
    folder = _folder(tmp_path, SHORT)
    both = [_start(folder, name, f"workers={workers}") for name in SHORT]
    said = [process.communicate(timeout=800)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], "\n".join(said)
    runs = _runs(folder)
    identities = [row["tags.ablate.identity"] for row in runs]
    assert {row["status"] for row in runs} == {"FINISHED"}
    assert len(identities) == len(set(identities)) == 12  # 8 and 8, of which 4 are the same
    for text in said:
        lines = text.splitlines()
        first = next(n for n, line in enumerate(lines, start=1) if line.startswith("---"))
        rows = lines[first : lines.index("", first)]
        assert len(rows) == 4 and all(" 2 " in row for row in rows), text
    assert sum(text.count("which serves here too") for text in said) == 4


def test_a_point_is_waited_for_while_its_trainer_lives_and_taken_over_when_it_is_killed(tmp_path: Path) -> None:
    folder = _folder(tmp_path, LONG)
    first = _start(folder, "one")
    _wait(first, lambda: _in_training(folder))
    second = _start(folder, "two")
    assert second.stdout
    said = []
    for line in second.stdout:
        said.append(line)
        if "which is waited for" in line:
            break
    psutil.Process(first.pid).send_signal(signal.SIGKILL)
    first.wait()
    rest, _ = second.communicate(timeout=600)
    assert second.returncode == 0, "".join(said) + rest
    runs = _runs(folder)
    finished = [row for row in runs if row["status"] == "FINISHED"]
    assert len(finished) == 2 and len({row["tags.ablate.identity"] for row in finished}) == 2
    assert {row["tags.ablate.study"].partition("-")[0] for row in finished} == {"two"}
    again = ablate("+sweep=one", "study.storage=sqlite:///one.db", cwd=folder)
    assert again.returncode == 0 and "which serves here too" in again.stdout, again.stdout + again.stderr
    assert len(_runs(folder)) == len(runs)


# ------------------------------------------------------------------------------------------------ records that are lost


def _touched(folder: Path, begins: str, act: Callable[[], object]) -> tuple[int, str]:
    """Runs the sweep, and acts as soon as it prints a line that begins so. Returns its exit code and all it printed."""
    process = _start(folder, "one")
    assert process.stdout
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith(begins):
            act()
    return process.wait(60), "".join(said)


def _sweep(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return ablate("+sweep=one", "study.storage=sqlite:///one.db", *words, cwd=folder)


def test_a_sweep_whose_database_is_deleted_meanwhile_keeps_what_waits_and_trains_the_rest_anew(tmp_path: Path) -> None:
    folder = _folder(tmp_path, SHORT)
    returned, text = _touched(folder, "[3/8]", (folder / "mlflow.db").unlink)
    assert returned == 1 and "Traceback" not in text, text
    waiting = len(list((folder / "mlflow-spool").iterdir()))  # the sweep's own record, which is closed last, as well
    assert waiting >= 5 and f"{waiting - 1} records wait in mlflow-spool" in text
    again = _sweep(folder)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Traceback" not in again.stdout + again.stderr
    assert not list((folder / "mlflow-spool").iterdir())  # the sweep's own record is another now, and holds all of it
    assert "set aside" not in again.stdout
    runs = _runs(folder)
    assert {row["status"] for row in runs} == {"FINISHED"}
    assert len(runs) == len({row["tags.ablate.point"] for row in runs}) == 8
    trained_again = [line for line in again.stdout.splitlines() if line.startswith("[") and "val" in line]
    assert 0 < len(trained_again) <= 4
    assert f"since their record was deleted from sqlite:///mlflow.db: {len(trained_again)} points" in again.stdout
    assert "8 of 8 points finished" in again.stdout


MISHAPS: dict[str, tuple[Callable[[mlflow.MlflowClient, str], None], int, str]] = {
    "record": (
        lambda client, experiment: client.delete_run(_record(client, experiment)),
        0, "the sweep's own record was deleted meanwhile, and is made anew",
    ),
    "renamed": (
        lambda client, experiment: client.rename_experiment(experiment, "another"),
        1, "experiment 'ablate' of sqlite:///mlflow.db was renamed to 'another': give it its name back",
    ),
    "experiment": (
        lambda client, experiment: client.delete_experiment(experiment),
        1, "restore it with `MLFLOW_TRACKING_URI=sqlite:///mlflow.db mlflow experiments restore --experiment-id 1`",
    ),
}  # fmt: skip
"""What somebody may do in the MLflow UI while a sweep trains, the exit code of that sweep, and what it says."""


def _record(client: mlflow.MlflowClient, experiment: str) -> str:
    (run,) = client.search_runs([experiment], "tags.`ablate.role` = 'sweep'")
    return str(run.info.run_id)


@pytest.mark.parametrize("mishap", MISHAPS)
def test_a_sweep_whose_records_are_touched_meanwhile_says_so_and_trains_nothing_twice(
    tmp_path: Path, mishap: str
) -> None:
    folder = _folder(tmp_path, {"one": BASE % 1 + "axes: {model.pooling: [seqpool, mean]}\nseeds: 2\n"})
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    act, code, words = MISHAPS[mishap]
    returned, text = _touched(folder, "[1/4]", lambda: act(client, "1"))
    assert returned == code and words in text and "Traceback" not in text, text
    if mishap == "renamed":
        client.rename_experiment("1", "ablate")
    if mishap == "experiment":
        again = _sweep(folder)
        assert again.returncode == 2 and words in again.stderr, again.stdout + again.stderr
        client.restore_experiment("1")
    again = _sweep(folder)
    assert again.returncode == 0 and "4 of 4 points finished" in again.stdout, again.stdout + again.stderr
    runs = [row for row in _runs(folder) if row["status"] == "FINISHED"]
    assert len(runs) == len({row["tags.ablate.point"] for row in runs}) == 4
    assert {row["tags.mlflow.parentRunId"] for row in runs} == {_record(client, "1")}


def test_a_sweep_says_what_its_table_lacks(tmp_path: Path) -> None:
    folder = _folder(tmp_path, {"one": SHORT["one"]})
    assert _sweep(folder).returncode == 0
    with sqlite3.connect(folder / "mlflow.db") as connection:  # as where the end of two records lies in another spool
        ids = [run_id for (run_id,) in connection.execute("select run_uuid from tags where key = 'ablate.point'")][:2]
        for run_id in ids:
            connection.execute("update runs set status = 'RUNNING' where run_uuid = ?", (run_id,))
            connection.execute(
                "update tags set value = 'running' where key = 'ablate.status' and run_uuid = ?", (run_id,)
            )
    result = _sweep(folder)
    assert result.returncode == 1
    assert "the table lacks 2 of the 8 points that are through" in result.stdout.splitlines()[-1]


def test_a_search_without_a_finished_trial_is_no_success_and_a_sweep_whose_points_diverged_is_one(
    tmp_path: Path,
) -> None:
    hopeless = BASE % 1 + "axes: {train.lr: [1.0e+12, 2.0e+12]}\n"
    folder = _folder(tmp_path, {"one": hopeless + "method: optuna\nn_trials: 2\n", "two": hopeless})
    result = _sweep(folder)
    assert result.returncode == 1, result.stdout + result.stderr
    assert result.stdout.splitlines()[-1] == (
        "the search has no finished trial (2 diverged, 0 left), so it has found nothing"
    )
    result = ablate("+sweep=two", cwd=folder)
    assert result.returncode == 0 and "2 diverged" in result.stdout, result.stdout + result.stderr
