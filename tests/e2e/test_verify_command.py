"""The proof as a user runs it."""

import os
import subprocess
import sys

import pytest


def _verify(*words, cwd):
    """With TensorFlow's errors on the screen, as where a user or CI has set its own level: there must be none."""
    return subprocess.run(
        [sys.executable, "-m", "ablate", "verify", *words],
        cwd=cwd, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}, capture_output=True, text=True, timeout=280,
    )  # fmt: skip


def test_verify_of_published_figures_names_the_convention_of_each(tmp_path):
    result = _verify("published", cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["cct_7_3x1_32", "1.19", "G", "1,186,531,840", "macs_fvcore"] in [words[:5] for words in lines]
    assert ["cct_6_3x1_32", "0.94", "G", "1,013,844,480", "NOTHING"] in [words[:5] for words in lines]
    assert result.stdout.splitlines()[-1].endswith("all as recorded.")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.full
def test_verify_goes_through_figures_counts_and_golden_models(tmp_path):
    result = _verify(cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    for name in ("cct_2_3x2_32_learnable", "cvt_2_4_32_sine", "vit_lite_2_4_32_none"):
        rows = [line.split() for line in result.stdout.splitlines() if line.startswith(name)]
        steps = 2 * ["all", "1-D"] if name == "cct_2_3x2_32_learnable" else []
        assert [row[1] for row in rows] == [*2 * ["forward", "gradients"], *steps]
    assert result.stdout.splitlines()[-1].endswith("all as recorded.")
    assert result.stderr == ""
