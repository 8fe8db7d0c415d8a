"""A sweep's best model: registered when the sweep is through, and served by MLflow to whoever sends pixels."""

import json
import os
import re
import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from ablate.tracking import TrackingSpec, fetch_artifact, read_runs
from tests.e2e.test_cli import ablate
from tests.servers import Server, free_port

pytestmark = pytest.mark.full

SWEEP = """
question: Does pooling matter on digits?
base: {model: tiny, data: digits, train.epochs: 1}
axes: {model.pooling: [seqpool, mean]}
seeds: 1
"""


def _answers(address):
    try:
        urllib.request.urlopen(f"{address}/ping", timeout=2).close()
    except (urllib.error.URLError, OSError):
        return False
    return True


def _asked(address, pixels):
    body = json.dumps({"instances": pixels.tolist()}).encode()
    request = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return np.array(json.load(answer)["predictions"])


def test_the_best_model_of_a_sweep_is_registered_and_mlflow_serves_what_keras_says(tmp_path):
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "mine.yaml").write_text(SWEEP)
    swept = ablate("+sweep=mine", cwd=tmp_path)
    assert swept.returncode == 0, swept.stderr
    where = TrackingSpec(uri=f"sqlite:///{tmp_path}/mlflow.db")
    runs = read_runs(where)
    best = runs.loc[runs["metrics.final.val_top1_percent"].idxmax(), "run_id"]
    said = re.search(r"run (\w+), registered in MLflow as (models:/mine/1)$", swept.stdout, re.MULTILINE)
    assert said and said[1] == best, swept.stdout
    port, mlflow = free_port(), Path(sys.executable).with_name("mlflow")
    command = [str(mlflow), "models", "serve", "-m", said[2], "--env-manager", "local", "--host", "127.0.0.1"]
    path = os.pathsep.join([str(mlflow.parent), os.environ["PATH"]])  # MLflow starts uvicorn by its bare name
    told = {"MLFLOW_TRACKING_URI": where.uri, "MLFLOW_DISABLE_TELEMETRY": "true", "PATH": path}
    told["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    server = Server(
        [*command, "--port", str(port)], tmp_path / "serve.log", lambda: _answers(f"http://127.0.0.1:{port}"),
        signal.SIGTERM, cwd=tmp_path, env={**os.environ, **told},
    )  # fmt: skip
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1))
    try:
        server.start()
        got = _asked(f"http://127.0.0.1:{port}", pixels)
    finally:
        server.stop()
    assert got == pytest.approx(_expected(where, best, pixels, tmp_path), abs=1e-5)
    assert np.ptp(got[:, 0]) > 0


def _expected(where, run_id, pixels, folder):
    """Probabilities by Keras alone, with the moments of the data as they are read anew."""
    import keras

    from ablate.data import DataSpec, load
    from ablate.models import load_model

    splits = load(DataSpec(source="digits"))
    model = load_model(fetch_artifact(where, run_id, "model.keras", folder))
    x = (pixels / 255 - np.array(splits.mean)) / np.array(splits.std)
    return np.asarray(keras.ops.softmax(model(x.astype("float32"), training=False)))
