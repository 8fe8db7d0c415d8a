"""The spread of runs within their cells."""

import math

import numpy as np
import pytest

from ablate.stats.variances import extreme_stds, pooled, variance

ALIVE, DEAD, SINGLE = np.array([79.0, 82.0, 85.0]), np.array([10.0, 10.0, 10.0]), np.array([50.0])


def test_a_variance_of_one_run_and_of_runs_that_agree_is_0():
    assert variance(ALIVE) == pytest.approx(9.0)
    assert variance(DEAD) == variance(SINGLE) == variance(np.array([0.1 + 0.2, 0.3, 0.3])) == 0


@pytest.mark.parametrize("unit", [1e-60, 1e-10, 1e10, 1e60])
def test_a_variance_does_not_hang_on_the_unit(unit):
    assert math.sqrt(variance(ALIVE * unit)) == pytest.approx(3.0 * unit)


@pytest.mark.parametrize("dead", [0, 1, 6])
def test_cells_without_spread_are_not_pooled(dead):
    cells = {("a",): ALIVE, ("b",): ALIVE + 5, ("c",): SINGLE, **{(f"dead {n}",): DEAD for n in range(dead)}}
    assert pooled(cells) == (pytest.approx(3.0), 4)


def test_nothing_to_pool_is_told_from_no_spread():
    assert pooled({("a",): SINGLE}) == (None, 0) and pooled({("a",): DEAD, ("b",): DEAD}) == (0.0, 4)


def test_extreme_stds_are_of_cells_of_several_runs():
    assert extreme_stds({("a",): ALIVE, ("b",): 2 * ALIVE, ("c",): SINGLE}) == pytest.approx((3.0, 6.0))
    assert extreme_stds({("c",): SINGLE}) is None
