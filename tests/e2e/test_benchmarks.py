"""Benchmarks run where they are told to, GPU machines without TensorFlow among them; how fast is no test's business."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _checkout(folder):
    """Another one, whose sides leave a file where they begin."""
    shutil.copytree(ROOT / "benchmarks", folder / "benchmarks", ignore=shutil.ignore_patterns("results"))
    contender = folder / "benchmarks" / "contender.py"
    text = contender.read_text("utf-8")
    assert "\ndef main(" in text
    contender.write_text(text.replace("\ndef main(", "\nPath('came').touch()\n\n\ndef main(", 1), "utf-8")
    return folder


@pytest.mark.full
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_throughput_compares_both_keras_sides_on_either_backend_jax_without_tensorflow(backend, tmp_path):
    if backend == "jax":
        pytest.importorskip("jax")
        (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['tensorflow'] = None\n", "utf-8")
    sides = ["--models", "cct_2_3x2_32", "--sides", "ours", "Keras", "--tasks", "train 64", "predict 1"]
    short = ["--rounds", "1", "--seconds", "0.1"]
    if backend == "tensorflow":
        short += ["--earlier", str(_checkout(tmp_path / "other"))]
    told = ["--out", str(tmp_path / "found.json"), "--image", str(tmp_path / "found.png")]
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", "benchmarks.throughput", *sides, *short, *told]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text("utf-8"))
    assert found["backend"] == backend
    tasks = found["models"]["cct_2_3x2_32"]["tasks"]
    for task in ("train 64", "predict 1"):
        rates = tasks[task]["images_per_second"]
        assert rates["ours"] > 0 and rates["Keras"] > 0
        assert tasks[task]["ours_over"]["Keras"] == pytest.approx(rates["ours"] / rates["Keras"], rel=0.01)
        assert ("ours, earlier" in rates) == (backend == "tensorflow")
    assert (tmp_path / "other" / "came").exists() == (backend == "tensorflow")
    assert not (tmp_path / "found.png").exists()  # which is speed over PyTorch's


@pytest.mark.full
@pytest.mark.parametrize("side", ["Ours", "OursHalf"])
def test_a_side_computes_in_the_precision_that_it_is_named_by(side):
    """Keras forgets the precision whenever a session is cleared, as each side does between two models."""
    asked = (
        f"from benchmarks.sides_keras import {side}; from benchmarks.throughput import described; "
        f"side, model = {side}(1), described('cct_2_3x2_32', 0.0); "
        "[print(side.built(model).layers[1].compute_dtype) for _ in range(2)]"
    )
    done = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["bfloat16" if side == "OursHalf" else "float32"] * 2
