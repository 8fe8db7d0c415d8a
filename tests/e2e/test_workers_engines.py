"""Workers that others start, and one command given three times: SLURM's local executor, Ray, two servers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ablate.tracking import TrackingSpec, list_studies, read_runs
from tests import servers
from tests.e2e.test_cli import ablate

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

SWEEP = """\
question: Does it matter who starts the workers?
base: {model: tiny, data: digits, train.epochs: 1, train.batch_size: 256, tracking.log_model: false}
axes:
  model.pooling: [seqpool, mean]
seeds: 2
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "mine.yaml").write_text(SWEEP)
    return tmp_path


def _counts_once(tracking):
    runs = read_runs(tracking)
    runs = runs[runs["tags.ablate.role"] == "run"]
    finished = runs[runs["tags.ablate.status"] == "finished"]
    assert len(finished) == finished["tags.ablate.point"].nunique() == 4
    assert len(list_studies(tracking)) == 1
    return runs


def test_slurm_jobs_run_each_point_once(folder):
    result = ablate("+sweep=mine", "workers=2", "engine=slurm", "engine_options={cluster:local}", cwd=folder)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "4 done, 0 left" in result.stdout
    assert len(_counts_once(TrackingSpec(uri=f"sqlite:///{folder}/mlflow.db"))) == 4
    logs = [path.read_text() for path in (folder / "outputs" / "slurm").glob("*.out")]
    assert len(logs) == 2 and sum(log.count("val ") for log in logs) >= 4


def test_ray_tasks_run_each_point_once(folder):
    pytest.importorskip("ray")
    ray, port = str(Path(sys.executable).with_name("ray")), servers.free_port()
    head = [ray, "start", "--head", f"--port={port}", "--num-cpus=2", "--include-dashboard=false", "--block"]
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    with (folder / "ray.log").open("w") as log:
        cluster = subprocess.Popen(head, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        servers.wait_until(lambda: "started" in (folder / "ray.log").read_text() or cluster.poll() is not None)
        options = f"engine_options={{address:'127.0.0.1:{port}'}}"
        command = [sys.executable, "-m", "ablate", "+sweep=mine", "workers=2", "engine=ray", options]
        result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    finally:
        cluster.terminate()
        cluster.wait(60)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "4 done, 0 left" in result.stdout
    _counts_once(TrackingSpec(uri=f"sqlite:///{folder}/mlflow.db"))


def test_the_same_command_three_times_at_once_shares_two_servers(folder, postgres_url):
    storage = servers.new_database(postgres_url, "shared-queue")
    records = servers.new_database(postgres_url, "shared-records")
    with servers.mlflow_server(folder, "--backend-store-uri", records) as (_, address):
        command = [sys.executable, "-m", "ablate", "+sweep=mine", f"study.storage={storage}", f"tracking.uri={address}"]
        containers = []
        for number in range(3):
            own = folder / f"container{number}"  # they share nothing but the servers
            (own / "sweeps").mkdir(parents=True)
            (own / "sweeps" / "mine.yaml").write_text(SWEEP)
            containers.append(
                subprocess.Popen(command, cwd=own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            )
        said = [container.communicate(timeout=500)[0] for container in containers]
        assert [container.returncode for container in containers] == [0, 0, 0], said
        runs = _counts_once(TrackingSpec(uri=address))
        assert len(runs) == 4
        assert all("4 of 4 points finished" in text for text in said), said
