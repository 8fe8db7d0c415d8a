"""Numbers that can be checked by hand or against scipy.stats."""

import math
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats

from ablate.stats import Estimate, mean_interval


def test_mean_interval_of_three_is_the_textbook_one() -> None:
    # t(0.975, 2 degrees of freedom) = 4.302653; std of 1, 2, 3 is 1.
    got = mean_interval([1, 2, 3])
    assert (got.n, got.mean, got.std) == (3, 2.0, 1.0)
    assert got.half == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert got.low == pytest.approx(2 - 4.302653 / math.sqrt(3), rel=1e-6)


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_mean_interval_equals_scipy_stats(confidence: float) -> None:
    values = np.random.default_rng(0).normal(90, 3, 7)
    want = scipy.stats.t.interval(confidence, 6, values.mean(), scipy.stats.sem(values))
    got = mean_interval(values, confidence=confidence)
    assert (got.low, got.high) == pytest.approx(want, rel=1e-12)


def test_mean_interval_of_one_run_has_no_interval() -> None:
    assert mean_interval([96.5]) == Estimate(n=1, mean=96.5)
    assert mean_interval([96.5]).half is None


def test_mean_interval_of_equal_runs_has_no_width() -> None:
    got = mean_interval([50.0, 50.0])
    assert (got.low, got.high, got.std) == (50.0, 50.0, 0.0)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_mean_interval_refuses_what_has_no_mean(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"needs at least one value|must be finite"):
        mean_interval(values)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_mean_interval_refuses_a_confidence_that_is_no_probability(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1"):
        mean_interval([1, 2], confidence=confidence)


def test_stats_imports_no_scipy_stats() -> None:
    code = "import sys, ablate.stats as s; s.mean_interval([1, 2]); sys.exit('scipy.stats' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
