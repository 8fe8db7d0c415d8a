"""Comparisons that share one alpha: their critical values and p-values."""

import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.multitest import multipletests

from ablate.stats.family import _largest, adjusted


def _equicorrelated(size, correlation=0.5):
    return np.full((size, size), correlation) + (1 - correlation) * np.eye(size)


CROSSED = np.array([[-1, 1, 0, 0], [0, 0, -1, 1], [-1, 0, 1, 0], [0, -1, 0, 1]])
"""Two factors of two levels: four contrasts of the means of four cells, of which any three determine the fourth."""


def _largest_of(correlation, df):
    return _largest(np.asarray(correlation, float).tobytes(), df)


@pytest.mark.parametrize(("size", "df"), [(1, 4), (3, 16), (8, 36)])
def test_critical_value_is_that_of_the_joint_t_distribution(size, df):
    at = np.full(size, np.quantile(_largest_of(_equicorrelated(size), df), 0.95))
    joint = scipy.stats.multivariate_t(shape=_equicorrelated(size), df=df, seed=np.random.default_rng(0))
    assert joint.cdf(at, lower_limit=-at) == pytest.approx(0.95, abs=2e-3)  # 4 standard errors of 200,000 draws


def test_contrasts_that_others_determine_are_drawn_as_their_cells_would_give_them():
    same = np.quantile(_largest_of(np.ones((3, 3)), 12), 0.95)
    assert same == pytest.approx(scipy.stats.t.ppf(0.975, 12), abs=0.03)
    rng = np.random.default_rng(1)
    t = CROSSED @ rng.normal(size=(4, 200_000)) / np.sqrt(2 * rng.chisquare(12, 200_000) / 12)
    largest = _largest_of(CROSSED @ CROSSED.T / 2, 12)
    assert np.quantile(largest, [0.9, 0.95]) == pytest.approx(np.quantile(np.abs(t).max(axis=0), [0.9, 0.95]), abs=0.03)


@pytest.mark.parametrize(
    "correlation", [_equicorrelated(3), _equicorrelated(8), CROSSED @ CROSSED.T / 2], ids=["3", "8", "crossed"]
)
def test_draws_move_no_further_than_the_correlation_does(correlation):
    """Another processor rounds otherwise: eigenvectors of equal eigenvalues turn by any angle, and draws by 0.001."""
    noise = np.random.default_rng(2).uniform(-1e-12, 1e-12, correlation.shape)
    moved = correlation + np.triu(noise, 1) + np.triu(noise, 1).T
    assert np.abs(_largest_of(moved, 16) - _largest_of(correlation, 16)).max() < 1e-9


def test_draws_are_the_same_on_processors_whose_routines_differ():
    code = (
        "import numpy as np; from ablate.stats.family import _largest\n"
        "for size in (3, 8): print(np.quantile(_largest((np.eye(size) / 2 + 0.5).tobytes(), 16), 0.95))"
    )
    found = []
    for kind in ("Haswell", "Prescott"):  # what OpenBLAS on x86-64 takes the processor for; others ignore it
        env = {**os.environ, "OPENBLAS_CORETYPE": kind, "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        found.append([float(line) for line in done.stdout.split()])
    assert found[0] == pytest.approx(found[1], rel=1e-12)


def test_holm_is_statsmodels():

    for p in ([0.03], [0.5, 0.01, 0.04, 0.01], list(np.random.default_rng(0).uniform(0, 0.2, 17))):
        assert adjusted(p) == pytest.approx(multipletests(p, method="holm")[1], abs=1e-15)
    assert adjusted([]) == []
