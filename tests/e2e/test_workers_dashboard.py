"""optuna-dashboard opens on a sweep's queue, bound to this machine (MLflow's UI: test_tracking_server.py)."""

import json
import signal
import sys
import urllib.request
from pathlib import Path

import pytest

from ablate.design.points import span
from ablate.design.sweep import SweepSpec
from ablate.sweep.queue import Study
from tests import servers

pytestmark = pytest.mark.full


def test_optuna_dashboard_shows_the_queue(tmp_path):
    program = Path(sys.executable).with_name("optuna-dashboard")
    if not program.exists():
        pytest.skip("optuna-dashboard (the extra dashboard) is not installed")
    storage, port = f"sqlite:///{tmp_path}/optuna.db", servers.free_port()
    points = span(SweepSpec(), {"model": ["a", "b"]}, [0])[0]
    study = Study(storage, "pe-1", points)
    study.fill()
    claim = study.claim()
    study.complete(claim, 50.0, "run")
    address = f"http://127.0.0.1:{port}"
    server = servers.Server(
        [str(program), storage, "--host", "127.0.0.1", "--port", str(port)],
        tmp_path / "log",
        lambda: servers.answers(f"{address}/dashboard/"),
        signal.SIGTERM,
    )
    server.start()
    try:
        with urllib.request.urlopen(f"{address}/api/studies", timeout=20) as answer:
            (shown,) = json.load(answer)["study_summaries"]
        with urllib.request.urlopen(f"{address}/api/studies/{shown['study_id']}", timeout=20) as answer:
            trials = json.load(answer)["trials"]
    finally:
        server.stop()
    assert shown["study_name"] == "pe-1"
    assert sorted(trial["state"] for trial in trials) == ["Complete", "Waiting"]
