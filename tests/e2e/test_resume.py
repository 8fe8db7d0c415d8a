"""Runs that are killed, terminated or lose their data, from the command line: the same command goes on."""

import io
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from tests.e2e.test_cli import ablate

EPOCHS = 6
LONG = [
    "model=tiny",
    "data=digits",
    "augment.flip=0.5",
    "augment.mixup=0.8",
    f"train.epochs={EPOCHS}",
    "train.lr=3e-2",
    "train.batch_size=32",
    "train.checkpoint_every=1",
    "train.ema_decay=0.9",
    "model.dropout=0.1",
    "hardware.deterministic=true",
    "tracking.log_model=true",
]
pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]  # the first test starts the command four times


def _interrupted(words, number, folder, *, epoch):
    """Runs the command and sends the signal as soon as it tells of the epoch, somewhere in the next one's steps."""
    command = [sys.executable, "-u", "-m", "ablate", *words]
    with subprocess.Popen(
        command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment()
    ) as process:
        told = []
        for line in process.stdout:
            told.append(line)
            if line.startswith(f"epoch {epoch}/"):
                process.send_signal(number)
        return process.wait(), "".join(told), process.stderr.read()


def _environment():
    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}


def _weights(folder):
    """Name -> weight, of the one run that finished."""
    (path,) = folder.glob("**/artifacts/model.keras")
    found = {}
    with zipfile.ZipFile(path) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as stored:
        stored.visititems(lambda name, item: found.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
    assert len(found) > 10
    return found


def _same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def _curves(folder):
    """(metric, step) -> value of the run that was started last, without what a clock says."""
    with sqlite3.connect(folder / "mlflow.db") as database:
        (run,) = database.execute("select run_uuid from runs order by start_time desc limit 1").fetchone()
        rows = database.execute("select key, step, value from metrics where run_uuid = ?", (run,)).fetchall()
    return {(key, step): value for key, step, value in rows if "seconds" not in key and not key.startswith("system")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    result = ablate(*LONG, cwd=folder)
    assert result.returncode == 0, result.stderr
    assert not list((folder / "checkpoints").iterdir()), "a run that is on record leaves no state behind"
    return _weights(folder), _curves(folder)


def test_run_killed_twice_ends_with_the_bits_of_one_that_was_not(whole, tmp_path):
    for epoch in (2, 4):
        code, told, _ = _interrupted(LONG, signal.SIGKILL, tmp_path, epoch=epoch)
        assert code == -signal.SIGKILL, told
    result = ablate(*LONG, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "goes on from its last checkpoint, after epoch 4" in result.stdout
    assert len(re.findall(r"^epoch \d/6", result.stdout, re.M)) == EPOCHS, "the new attempt tells of every epoch"
    weights, curves = whole
    assert _same(weights, _weights(tmp_path))
    assert _curves(tmp_path) == curves and ("val/loss", 1) in curves
    assert not list((tmp_path / "checkpoints").iterdir())


def test_run_that_sigterm_stops_says_so_and_goes_on_within_its_epoch(whole, tmp_path):
    rare = [*LONG, "train.checkpoint_every=100"]
    code, _, error = _interrupted(rare, signal.SIGTERM, tmp_path, epoch=3)
    assert code == 143
    pattern = r"ablate: stopped by SIGTERM after (step \d+ of )?epoch \d; .*state.npz, and the same command goes on .*"
    assert re.fullmatch(pattern, error.strip()), error
    result = ablate(*rare, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert _same(whole[0], _weights(tmp_path))


def test_run_of_other_variants_that_was_killed_ends_with_the_same_bits(tmp_path):
    leaves = ("attention=linear", "norm=rms", "mlp=gated", "head=mlp", "residual=post", "layers=2")
    words = [*LONG, *(f"model.{leaf}" for leaf in leaves), "model.options.mlp.blocks=last", "train.epochs=3"]
    for folder in ("whole", "killed"):
        (tmp_path / folder).mkdir()
    result = ablate(*words, cwd=tmp_path / "whole")
    assert result.returncode == 0, result.stderr
    code, told, _ = _interrupted(words, signal.SIGKILL, tmp_path / "killed", epoch=1)
    assert code == -signal.SIGKILL, told
    result = ablate(*words, cwd=tmp_path / "killed")
    assert result.returncode == 0, result.stderr
    assert "goes on from its last checkpoint, after epoch" in result.stdout
    assert _same(_weights(tmp_path / "whole"), _weights(tmp_path / "killed"))


def _images(root):
    generator = np.random.default_rng(0)
    for part, count in (("train", 40), ("test", 4)):
        for name in ("cat", "dog"):
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{number}.png")


def test_data_that_vanished_is_one_sentence_and_the_state_stays(tmp_path):
    _images(tmp_path / "images")
    words = ["model=tiny", "data=folder", f"data.root={tmp_path / 'images'}", "train.epochs=400"]
    words += ["train.batch_size=8", "train.checkpoint_every=1", f"data.cache={tmp_path / 'cache'}"]
    code, told, _ = _interrupted(words, signal.SIGKILL, tmp_path, epoch="  2")
    assert code == -signal.SIGKILL, told
    (state,) = tmp_path.glob("checkpoints/*/state.npz")
    before = state.read_bytes()
    shutil.move(tmp_path / "images", tmp_path / "elsewhere")
    gone = ablate(*words, cwd=tmp_path)
    assert gone.returncode == 2 and gone.stderr.startswith("ablate: ") and len(gone.stderr.splitlines()) == 1
    assert str(tmp_path / "images") in gone.stderr and state.read_bytes() == before
    shutil.move(tmp_path / "elsewhere", tmp_path / "images")
    code, told, _ = _interrupted(words, signal.SIGKILL, tmp_path, epoch="  4")
    assert "goes on from its last checkpoint, after epoch" in told


def test_point_of_a_sweep_goes_on_too(tmp_path):
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "mine.yaml").write_text(
        "question: Does it go on?\nbase: {model: tiny, data: digits, train.epochs: 60, train.checkpoint_every: 1}\n"
        "axes:\n  model.pooling: [seqpool]\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "ablate", "+sweep=mine", "train.batch_size=512"], cwd=tmp_path, env=_environment()
    )
    while not list(tmp_path.glob("checkpoints/*/state.npz")):
        assert process.poll() is None, "it must not end before it is killed"
    process.kill()
    process.wait()
    with np.load(next(tmp_path.glob("checkpoints/*/state.npz"))) as stored:
        assert stored["told"].size
    result = ablate("+sweep=mine", "train.batch_size=512", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        resumed = database.execute("select value from tags where key = 'ablate.resumed_after_epoch'").fetchall()
    assert len(resumed) == 1 and int(resumed[0][0]) >= 1
