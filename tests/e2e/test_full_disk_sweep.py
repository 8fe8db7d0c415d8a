"""A sweep whose disk fills up while it trains: one sentence, exit code 1, and with room the same command goes on."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ablate.tracking import TrackingSpec, read_runs
from tests import disks
from tests.e2e.test_cli import ablate
from tests.e2e.test_sweep import _epochs

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]

SWEEP = """
question: Does pooling matter on digits?
base: {model: tiny, data: digits, train.epochs: 12, train.batch_size: 32, tracking.log_model: false, retries: 0}
axes:
  model.pooling: [seqpool, mean]
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MB."""
    with disks.mounted(tmp_path / "disk", 6) as place:
        yield place


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("full", ["queue", "records"])
def test_a_sweep_whose_disk_fills_up_ends_with_a_sentence_and_goes_on_with_room(
    tmp_path: Path, disk: Path, full: str, workers: int
) -> None:
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "mine.yaml").write_text(SWEEP)
    queue, records = (disk, tmp_path) if full == "queue" else (tmp_path, disk)
    words = ["+sweep=mine", f"workers={workers}", f"study.storage=sqlite:///{queue}/optuna.db"]
    words += [f"tracking.uri=sqlite:///{records}/mlflow.db", f"tracking.spool={records}/spool"]
    command = [sys.executable, "-m", "ablate", *words]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=clean, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    while len(_epochs(records)) < workers:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)  # polls a process that cannot call us
    filler = disks.fill(disk)
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 1, said
    setting = "study.storage" if full == "queue" else "tracking.spool"
    assert f"{setting} must " in said and "make room there" in said, said
    assert "INSERT" not in said and "UPDATE" not in said, said
    filler.unlink()
    result = ablate(*words, cwd=tmp_path)
    assert result.returncode == 0 and "2 of 2 points finished" in result.stdout, result.stdout + result.stderr
    runs = read_runs(TrackingSpec(uri=f"sqlite:///{records}/mlflow.db"), parts=("tags",))
    assert (runs["tags.ablate.status"] == "finished").sum() == 3  # two points, and the sweep's own
