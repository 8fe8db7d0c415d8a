"""Runs that `mlflow gc` has purged are in no list of MLflow's any more: their points are trained again."""

import os
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

from ablate.tracking import TrackingSpec, read_runs
from tests.e2e.test_cli import ablate

pytestmark = pytest.mark.full

SWEEP = """
question: Does pooling matter on digits?
base: {model: tiny, data: digits, train.epochs: 1, tracking.log_model: false}
axes:
  model.pooling: [seqpool, mean]
"""


def _runs(uri: str) -> dict[str, str]:
    """Point -> id of its run."""
    frame = read_runs(TrackingSpec(uri=uri), parts=("tags",))
    frame = frame[frame["tags.ablate.point"].notna()]
    assert frame["tags.ablate.point"].is_unique
    return dict(zip(frame["tags.ablate.point"], frame["run_id"], strict=True))


def _purge(uri: str, folder: Path, run_ids: list[str]) -> None:
    """As in the UI, and then by MLflow's own command."""
    for run_id in run_ids:
        mlflow.MlflowClient(uri).delete_run(run_id)
    command = [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", uri, "--run-ids", ",".join(run_ids)]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    with pytest.raises(mlflow.MlflowException, match="not found"):
        mlflow.MlflowClient(uri).get_run(run_ids[0])


def test_points_whose_runs_were_purged_are_trained_again_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "mine.yaml").write_text(SWEEP)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert ablate("+sweep=mine", cwd=tmp_path).returncode == 0
    first = _runs(uri)
    gone, kept = first
    _purge(uri, tmp_path, [first[gone]])
    second = _go_on(tmp_path, uri, 1)
    assert second[kept] == first[kept] and second[gone] != first[gone]
    _purge(uri, tmp_path, list(second.values()))  # the sweep's own record stays: it is the same store
    assert set(_go_on(tmp_path, uri, 2)) == {gone, kept}


def _go_on(folder: Path, uri: str, again: int) -> dict[str, str]:
    result = ablate("+sweep=mine", cwd=folder)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"run again, since their record was deleted from sqlite:///mlflow.db: {again} points" in result.stdout
    return _runs(uri)
