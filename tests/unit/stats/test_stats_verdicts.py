"""Verdicts on two sides, held against scipy's tests."""

import math

import numpy as np
import pytest
import scipy.stats

from ablate.stats.power import MOST_SEEDS, seeds_needed, seeds_range, std_limits
from ablate.stats.verdicts import Kind, alpha_spending, verdict


def test_verdict_of_two_sides_is_welchs_test() -> None:
    treatment, baseline = [93.1, 94.2, 93.7, 94.9], [91.0, 92.4, 91.9]
    got = verdict(treatment, baseline)
    want = scipy.stats.ttest_ind(treatment, baseline, equal_var=False)
    assert got.kind is Kind.helps and got.n == 3
    assert got.p == pytest.approx(want.pvalue, rel=1e-12)
    assert (got.low, got.high) == pytest.approx(tuple(want.confidence_interval(0.95)), rel=1e-12)
    assert got.effect == pytest.approx(np.mean(treatment) - np.mean(baseline))


def test_verdict_of_pairs_is_students_test_of_their_differences() -> None:
    treatment, baseline = [93.1, 90.2, 95.7], [92.0, 89.4, 94.9]
    got = verdict(treatment, baseline, paired=True)
    want = scipy.stats.ttest_rel(treatment, baseline)
    assert got.kind is Kind.helps and verdict(treatment, baseline).kind is Kind.undecided
    assert (got.low, got.high) == pytest.approx(tuple(want.confidence_interval(0.95)), rel=1e-12)


def test_verdict_turns_round_where_less_is_better() -> None:
    low, high = [0.1, 0.11, 0.12], [0.5, 0.52, 0.51]
    assert verdict(low, high).kind is Kind.hurts
    assert verdict(low, high, higher_is_better=False).kind is Kind.helps


def test_verdict_is_equivalent_only_by_a_margin_that_holds_the_90_percent_interval() -> None:
    treatment, baseline = [90.0, 90.2, 90.1, 89.9], [90.1, 90.0, 90.3, 90.0]
    narrow = scipy.stats.ttest_ind(treatment, baseline, equal_var=False).confidence_interval(0.9)
    edge = max(abs(narrow.low), abs(narrow.high))
    assert verdict(treatment, baseline, margin=edge * 1.001).kind is Kind.equivalent
    assert verdict(treatment, baseline, margin=edge * 0.999).kind is Kind.undecided
    assert verdict(treatment, baseline).kind is Kind.undecided


def test_verdict_is_equivalent_before_it_helps() -> None:
    treatment, baseline = [90.10, 90.11, 90.12], [90.00, 90.01, 90.02]
    assert verdict(treatment, baseline).kind is Kind.helps
    assert verdict(treatment, baseline, margin=1.0).kind is Kind.equivalent


def test_undecided_verdict_says_how_many_seeds_decide_whatever_effect_was_seen() -> None:
    spread = np.array([-1.0, 0.0, 1.0])
    found = [verdict(90 + shift + spread, 90 + spread, margin=1.0) for shift in (0.0, 0.5, 1.0)]
    needed = {(each.seeds_at_least, each.seeds_needed) for each in found}
    assert needed == {seeds_range(*std_limits(1.0, 4), 1.0)}
    without = verdict(90 + spread, 90 + spread)
    assert (without.seeds_at_least, without.seeds_needed) == (None, None)
    assert any("declare" in note for note in without.notes) and any("second look" in note for note in without.notes)


def test_undecided_pairs_say_how_many_seeds_decide_by_the_spread_of_their_differences() -> None:
    baseline = np.array([90.0, 95.0, 85.0, 91.0])
    differences = np.array([1.0, -1.0, 0.5, -0.5])
    got = verdict(baseline + differences, baseline, margin=1.0, paired=True)
    limits = std_limits(float(differences.std(ddof=1)), 3)
    assert (got.seeds_at_least, got.seeds_needed) == seeds_range(*limits, 1.0, paired=True)


def test_undecided_verdict_that_needs_too_many_seeds_says_more_than_the_most() -> None:
    got = verdict([80.0, 90.0, 99.0], [81.0, 92.0, 95.0], margin=0.1)
    assert (got.seeds_at_least, got.seeds_needed) == (MOST_SEEDS + 1, MOST_SEEDS + 1)


def test_seeds_needed_decide_four_times_in_five_whichever_way_the_truth_lies() -> None:
    n, rng = seeds_needed(1.0, 1.5), np.random.default_rng(0)
    assert n is not None
    for effect in (0.0, 0.75, 1.5):
        found = [verdict(rng.normal(effect, 1, n), rng.normal(0, 1, n), margin=1.5).kind for _ in range(400)]
        assert np.mean([kind is not Kind.undecided for kind in found]) > 0.76


def test_runs_without_a_result_are_left_out_and_said() -> None:
    got = verdict([1.0, math.nan, 1.2, math.inf], [2.0, 2.1])
    assert got.kind is Kind.hurts and got.n == 2
    assert any(note.startswith("2 of 4 runs of the treatment") for note in got.notes)
    assert verdict([1.0, 2.0, math.nan], [1.0, 2.0, 3.0], paired=True).n == 2


@pytest.mark.parametrize("sides", [([1.0], [2.0, 3.0]), ([], [1.0, 2.0]), ([5.0, 5.0, 5.0], [4.0, 4.0, 4.0])])
def test_what_has_no_spread_is_undecided_and_has_no_interval(sides: tuple[list[float], list[float]]) -> None:
    got = verdict(*sides, margin=10.0)
    assert (got.kind, got.low, got.high, got.p, got.seeds_needed) == (Kind.undecided, None, None, None, None)
    assert got.notes


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"margin": 0.0}, "margin must be above 0"),
        ({"margin": math.nan}, "margin must be above 0"),
        ({"alpha": 0.95}, "alpha must lie between 0 and 0.5"),
        ({"paired": True}, "sides of equal length"),
    ],
)
def test_verdict_refuses_what_makes_no_comparison(arguments: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        verdict([1.0, 2.0], [1.0, 2.0, 3.0], **arguments)
    with pytest.raises(ValueError, match="one dimension"):
        verdict([[1.0, 2.0]], [1.0, 2.0])


def test_alpha_spending_shares_out_what_there_is_and_keeps_looks_honest() -> None:
    looks = alpha_spending(0.05, [0.5, 1.0])
    assert sum(looks) == pytest.approx(0.05) and looks[0] < looks[1]
    assert alpha_spending(0.05, [1.0]) == pytest.approx([0.05])
    with pytest.raises(ValueError, match="rise"):
        alpha_spending(0.05, [0.5, 0.5])
    rng, false = np.random.default_rng(1), 0
    for _ in range(1000):
        t, b = rng.normal(size=10), rng.normal(size=10)
        kinds = [verdict(t[:n], b[:n], alpha=a).kind for n, a in zip((5, 10), looks, strict=True)]
        false += any(kind is not Kind.undecided for kind in kinds)
    assert false / 1000 <= 0.065


@pytest.mark.parametrize("paired", [False, True], ids=["welch", "paired"])
@pytest.mark.parametrize("unit", [1e-60, 1e-10, 1e10, 1e60])
def test_a_verdict_does_not_hang_on_the_unit(unit, paired):
    treatment, baseline = [3.0, 3.5, 3.9, 3.2], [2.0, 2.4, 2.1, 2.9]
    want = verdict(treatment, baseline, margin=0.1, paired=paired)
    sides = (np.multiply(side, unit) for side in (treatment, baseline))
    got = verdict(*sides, margin=0.1 * unit, paired=paired)
    assert got.kind is want.kind is Kind.helps and got.p == pytest.approx(want.p, rel=1e-9)
    assert (got.low, got.high) == pytest.approx((want.low * unit, want.high * unit), rel=1e-9)


@pytest.mark.parametrize("paired", [False, True], ids=["welch", "paired"])
@pytest.mark.parametrize("unit", [1e-10, 0.1, 1.0, 1e10])
@pytest.mark.parametrize("other", [1.0, 3.0], ids=["the same", "another"])
def test_two_sides_without_spread_are_undecided_in_any_unit(other, unit, paired):
    got = verdict([unit] * 3, [other * unit] * 3, margin=unit / 10, paired=paired)
    assert got.kind is Kind.undecided and got.low is None and got.p is None
    assert "agree in every digit" in got.notes[-1]


@pytest.mark.parametrize("unit", [1e-10, 1.0, 1e10])
def test_identical_sides_with_a_spread_do_not_differ(unit):
    runs = np.multiply([1.0, 1.5, 2.1], unit)
    got = verdict(runs, runs)
    assert got.kind is Kind.undecided and got.effect == 0 and got.p == 1 and got.low == -got.high
    assert "agree in every digit" in verdict(runs, runs, paired=True).notes[-1]


@pytest.mark.parametrize("unit", [1e-10, 1.0, 1e10])
def test_one_side_without_spread_is_judged_by_the_other(unit):
    runs, steady = np.multiply([1.0, 1.5, 2.1], unit), np.multiply([9.0, 9.0, 9.0], unit)
    got = verdict(steady, runs)
    half = scipy.stats.t.ppf(0.975, 2) * runs.std(ddof=1) / math.sqrt(3)  # Welch's degrees of freedom: the other side's
    assert got.kind is Kind.helps and got.high - got.effect == pytest.approx(half, rel=1e-9)


def test_a_spread_that_is_small_beside_the_values_is_one():
    """Seconds since 1970 differ in the eleventh digit."""
    assert verdict([1.7e9 + 5.0, 1.7e9 + 5.1, 1.7e9 + 4.9], [1.7e9, 1.7e9 + 0.1, 1.7e9 - 0.1]).kind is Kind.helps
