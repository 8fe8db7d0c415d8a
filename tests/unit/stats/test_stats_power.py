"""What planned seeds can show, held against statsmodels and arithmetic."""

import math

import numpy as np
import pytest
from scipy.special import stdtrit

from ablate.stats.power import (
    MOST_SEEDS,
    deciding,
    pooled_std,
    seeds_needed,
    seeds_range,
    smallest_difference,
    std_limits,
)


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


@pytest.mark.parametrize(("groups", "df"), [(1, 18), (12, 81), (12, 18)])
def test_smallest_difference_of_a_family_is_found_at_its_share_of_alpha(groups, df):
    from scipy.stats import nct, t

    size = smallest_difference(1.0, 10, groups=groups, df=df) / math.sqrt(2 / 10)
    assert nct.sf(t.ppf(1 - 0.05 / groups / 2, df), df, size) == pytest.approx(0.8, abs=1e-6)


def test_smallest_difference_grows_with_the_family():
    alone, of_twelve = (smallest_difference(1.0, 10, groups=groups, df=df) for groups, df in ((1, 18), (12, 81)))
    assert (alone, of_twelve) == (pytest.approx(1.32, abs=0.01), pytest.approx(1.70, abs=0.01))


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_table_finds_the_larger_difference_that_plan_tells_of_few_seeds(seeds):
    from ablate.stats import Observation, analyse

    def found(size, studies=300):
        count = 0
        for _ in range(studies):
            runs = [
                Observation((model, level), seed, rng.normal() + size * ((model, level) == ("a", "y")))
                for model in "abc"
                for level in "xyz"
                for seed in range(seeds)
            ]
            told = analyse(runs, ["model", "positional"], {"model": "a", "positional": "x"}).contrasts
            (ours,) = (each for each in told if (each.level, each.at) == ("y", {"model": "a"}))
            count += ours.verdict.low is not None and ours.verdict.low > 0
        return count / studies

    rng = np.random.default_rng(77 + seeds)
    shared = smallest_difference(1.0, seeds, groups=12, df=9 * (seeds - 1))
    own = smallest_difference(1.0, seeds, groups=12)
    by_all, by_two = found(shared), found(own)
    print(f"{seeds} seeds: {shared:.2f} standard deviations are found in {by_all:.0%}, {own:.2f} in {by_two:.0%}")
    assert by_two >= 0.8 and (seeds < 10 or by_all >= 0.75)


def _decided(n, spreads, effect, margin, alpha, rng):
    """Whether fresh studies of ``n`` seeds a side, ``(studies,)``, are decided by Welch's intervals."""
    n = np.asarray(n, float)
    parts = [spread**2 * rng.chisquare(n - 1) / (n - 1) / n for spread in spreads]
    estimate = effect + rng.normal(size=n.shape) * np.sqrt(sum(spread**2 for spread in spreads) / n)
    df = sum(parts) ** 2 / sum(part**2 / (n - 1) for part in parts)
    wide, narrow = (stdtrit(df, 1 - tail) * np.sqrt(sum(parts)) for tail in (alpha / 2, alpha))
    return (np.abs(estimate) + narrow < margin) | (np.abs(estimate) > wide)


def test_deciding_is_the_share_of_simulated_studies_that_are_decided():
    n, margin, rng = 16, 1.1, np.random.default_rng(0)
    estimate, errors = rng.normal(size=400_000) * math.sqrt(2 / n), np.sqrt(2 / n * rng.chisquare(30, 400_000) / 30)
    wide, narrow = stdtrit(30, 0.975) * errors, stdtrit(30, 0.95) * errors
    shares = [
        np.mean((abs(estimate + effect) + narrow < margin) | (abs(estimate + effect) > wide))
        for effect in (0, margin / 2, margin)
    ]
    assert deciding(2 / n / margin**2, 30, 0.05) == pytest.approx(min(shares), abs=3e-3)


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("margin", [0.5, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("groups", [1, 7])
def test_seeds_needed_is_the_first_number_that_decides(paired, margin, groups):
    sides = 1 if paired else 2
    found = [deciding(sides / n / margin**2, sides * (n - 1), 0.05 / groups) >= 0.8 for n in range(2, 400)]
    assert seeds_needed(1.0, margin, paired=paired, groups=groups) == found.index(True) + 2
    assert found == sorted(found)


def test_seeds_needed_know_units_families_and_power_alone():
    assert seeds_needed(3.0, 4.5) == seeds_needed(1.0, 1.5) == seeds_needed(1e-4, 1.5e-4)
    rising = [seeds_needed(1.0, 1.0, groups=groups) for groups in (1, 4, 12)]
    assert rising == sorted(set(rising)) and seeds_needed(1.0, 1.0, power=0.9) > seeds_needed(1.0, 1.0)
    assert seeds_needed(1e-6, 1.0) == 2


def test_seeds_needed_are_never_more_than_one_beyond_the_most():
    assert seeds_needed(1.0, 1e-3) == MOST_SEEDS + 1
    edge = next(margin for margin in np.linspace(0.2, 0.1, 200) if seeds_needed(1.0, margin) > MOST_SEEDS)
    assert seeds_needed(1.0, edge) == MOST_SEEDS + 1 and 900 < seeds_needed(1.0, edge * 1.02) <= MOST_SEEDS
    assert seeds_range(0.01, 10.0, 0.1) == (2, MOST_SEEDS + 1)


def test_seeds_needed_grow_with_what_seeds_do_not_reduce_until_none_decide():
    found = [seeds_needed(1.0, 1.0, fixed_variance=variance) for variance in (0.0, 0.03, 0.06, 0.1, 0.11)]
    assert found[-1] is None and None not in found[:-1] and found[:-1] == sorted(set(found[:-1]))
    assert seeds_range(0.5, 2.0, 1.0, fixed_variance=0.11) == (None, None)
    assert seeds_needed(3.0, 3.0, fixed_variance=9 * 0.06) == found[2]


def test_fixed_variance_that_leaves_all_undecided_does_so_with_any_number_of_seeds():
    rng, margin = np.random.default_rng(1), 1.0
    for variance, decides in ((0.1, True), (0.11, False)):
        estimate = margin / 2 + rng.normal(size=400_000) * math.sqrt(variance)
        wide, narrow = 1.959964 * math.sqrt(variance), 1.644854 * math.sqrt(variance)
        share = np.mean((abs(estimate) + narrow < margin) | (abs(estimate) > wide))
        assert bool(share >= 0.8) is decides
        assert (seeds_needed(1e-3, margin, fixed_variance=variance) is not None) is decides


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0.0, 1.0), "std and margin must be finite and above 0"),
        ((1.0, -1.0), "std and margin must be finite and above 0"),
        ((math.nan, 1.0), "std and margin must be finite and above 0"),
        ((1.0, math.inf), "std and margin must be finite and above 0"),
    ],
)
def test_seeds_needed_refuse_what_has_no_size(arguments, words):
    with pytest.raises(ValueError, match=words):
        seeds_needed(*arguments)
    with pytest.raises(ValueError, match="fixed_variance must be finite and at least 0"):
        seeds_needed(1.0, 1.0, fixed_variance=-1.0)


def test_limits_of_a_spread_hold_it_on_either_side_four_times_in_five():
    stds = np.sqrt(np.random.default_rng(2).chisquare(4, 4000) / 4)
    limits = np.array([std_limits(std, 4) for std in stds])
    assert np.mean(limits < 1, axis=0) == pytest.approx([0.8, 0.2], abs=0.02)


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("groups", [1, 6])
@pytest.mark.parametrize("pilot", [3, 5])
@pytest.mark.parametrize("spreads", [(1.0, 1.0), (1.0, 2.0)])
def test_seeds_from_a_pilot_decide_four_times_in_five_on_average(spreads, pilot, groups):
    rng, std = np.random.default_rng(15), math.sqrt(sum(spread**2 for spread in spreads) / 2)
    ours, theirs = (spread**2 * rng.chisquare(pilot - 1, 2000) / (pilot - 1) for spread in spreads)
    dfs = (ours + theirs) ** 2 / ((ours**2 + theirs**2) / (pilot - 1))
    limits = [std_limits(math.sqrt(mean), df) for mean, df in zip((ours + theirs) / 2, dfs, strict=True)]
    for margin in (0.5 * std, std, 1.5 * std, 3 * std):
        most = [seeds_range(*each, margin, groups=groups)[1] for each in limits]
        assert max(most) <= MOST_SEEDS + 1
        for effect in (0.0, margin / 2, margin):
            found = [_decided(most, spreads, effect, margin, 0.05 / groups, rng) for _ in range(5)]
            print(
                f"{spreads} {pilot} {groups} margin {margin / std:g} effect {effect / margin:g}: {np.mean(found):.3f}"
            )
            assert np.mean(found) >= 0.8
