"""What planned seeds can show, held against statsmodels and arithmetic."""

import pytest

from ablate.stats.power import pooled_std, smallest_difference


@pytest.mark.parametrize("seeds", [2, 3, 5, 10, 30])
def test_smallest_difference_is_what_statsmodels_solves(seeds):
    from statsmodels.stats.power import TTestIndPower

    power = TTestIndPower().power(smallest_difference(1.0, seeds), seeds, 0.05)
    assert power == pytest.approx(0.8, abs=2e-3)
    assert smallest_difference(3.0, seeds) == pytest.approx(3 * smallest_difference(1.0, seeds))


def test_one_seed_shows_nothing():
    assert smallest_difference(1.0, 1) is None


def test_pooled_std_weighs_cells_by_their_freedom_and_leaves_single_runs_out():
    assert pooled_std([[1.0, 3.0], [5.0, 5.0, 5.0], [9.0]]) == ((2 / 3) ** 0.5, 5, 2)
    assert pooled_std([[1.0], []]) is None
