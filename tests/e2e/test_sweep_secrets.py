"""While real sweeps with a password in an address run, no process they start is called by it; nor has any file it."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from ablate.tracking import TrackingSpec, list_studies
from tests import servers
from tests.e2e.test_cli import ablate

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

SWEEP = """\
base: {model: tiny, data: digits, train.epochs: 1, train.batch_size: 256, tracking.log_model: false}
axes: {model.pooling: [seqpool, mean]}
"""
SECRET = "hunter2horse"


@pytest.fixture
def work(tmp_path):
    """A working folder with a sweep."""
    (tmp_path / "work" / "sweeps").mkdir(parents=True)
    (tmp_path / "work" / "sweeps" / "mine.yaml").write_text(SWEEP)
    return tmp_path / "work"


def _found(folder):
    return [path for path in folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


def _called(words, work, **environment):
    """Runs a sweep; gives the command lines, as ``ps`` shows them, of all processes that it started meanwhile."""
    lines = set()
    with tempfile.TemporaryFile("w+") as said:
        command = [sys.executable, "-m", "ablate", "+sweep=mine", *words]
        running = subprocess.Popen(command, cwd=work, env=os.environ | environment, stdout=said, stderr=said)
        leader = psutil.Process(running.pid)
        while running.poll() is None:
            for process in leader.children(recursive=True):
                with suppress(psutil.Error):  # it has ended since
                    lines.add(" ".join(process.cmdline()))
            time.sleep(0.05)
        said.seek(0)
        told = said.read()
    assert running.returncode == 0 and SECRET not in told, told
    return lines - {" ".join(command)}  # between fork and exec a child is called as its parent is


def test_no_file_holds_a_password_after_sweeps_here_and_by_slurm(work, tmp_path):
    slurm = ["engine=slurm", "engine_options={cluster:local}", "fresh=true"]
    with servers.mlflow_server(tmp_path) as (_, address):
        guarded = address.replace("://", f"://me:{SECRET}@")
        for words, environment, worker in (
            ([f"tracking.uri={guarded}", "workers=2"], {}, "multiprocessing"),
            ([f"tracking.uri={guarded}", *slurm], {}, "submitit"),
            (["tracking.uri=${oc.env:RECORDS}", *slurm], {"RECORDS": guarded}, "submitit"),
        ):
            lines = _called(words, work, **environment)
            assert any(worker in line for line in lines) and not any(SECRET in line for line in lines), lines
        alone = ablate("model=tiny", "data=digits", "train.epochs=1", f"tracking.uri={guarded}", cwd=work)
        assert "in http://me:***@" in alone.stdout and SECRET not in alone.stdout + alone.stderr, alone.stderr
        assert len(list_studies(TrackingSpec(uri=address))) == 3
    assert len(list(work.rglob("overrides.yaml"))) == 4
    assert len(list((work / "outputs" / "slurm").glob("*_submitted.pkl"))) == 2
    assert _found(work) == []


@pytest.fixture
def ray_folder():
    """Where Ray keeps its sessions; its sockets' paths must be short."""
    pytest.importorskip("ray")
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("typed", [True, False])
def test_no_file_of_ray_holds_a_password_after_a_sweep(work, tmp_path, ray_folder, postgres_url, typed):
    queue = servers.new_database(postgres_url, f"secret-{typed}".lower()).replace("hunter22", SECRET)
    with servers.mlflow_server(tmp_path) as (_, address):
        own = {"RECORDS": address.replace("://", f"://me:{SECRET}@"), "QUEUE": queue}
        said = own if typed else {name: f"${{oc.env:{name}}}" for name in own}
        words = ["workers=2", "engine=ray", f"tracking.uri={said['RECORDS']}", f"study.storage={said['QUEUE']}"]
        lines = _called(words, work, RAY_TMPDIR=str(ray_folder), **({} if typed else own))
        assert len(list_studies(TrackingSpec(uri=address))) == 1
    assert any("ray::" in line for line in lines) and not any(SECRET in line for line in lines), lines
    logs = [path.name for path in ray_folder.rglob("session_*/logs/*")]
    assert sum(name.startswith("worker-") and name.endswith(".err") for name in logs) >= 2, logs
    assert _found(ray_folder) == [] and _found(work) == []


def test_no_file_holds_a_password_after_a_store_and_a_queue_failed(tmp_path):
    for words in (
        [f"tracking.uri=http://me:{SECRET}@127.0.0.1:9"],
        [f"tracking.uri=postgresql://me:{SECRET}@127.0.0.1:9/records"],
        [f"study.storage=postgresql+psycopg://me:{SECRET}@127.0.0.1:9/queue", "+sweep=pe_type"],
    ):
        result = ablate("model=tiny", "data=digits", "train.epochs=1", *words, cwd=tmp_path)
        assert result.returncode == 2 and SECRET not in result.stdout + result.stderr, result.stdout + result.stderr
    assert len(list(tmp_path.rglob("ablate.log"))) == 3
    assert _found(tmp_path) == []
