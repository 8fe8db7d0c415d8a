"""F tests of a design's terms, held against statsmodels' and scipy's own."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from ablate.stats.contrasts import analyse
from ablate.stats.design import Observation
from ablate.stats.model import term_effects

FACTORS = ("f", "g", "h")


def _runs(sizes, rng, *, shift=0.0):
    """Runs in which f matters, and more so at one level of g; a seed shifts all runs that have it."""
    seeds = shift * rng.normal(size=9)
    return [
        Observation(
            levels,
            seed,
            80 + 2 * (levels[0] == "b") + 3 * (levels[:2] == ("c", "y")) + seeds[seed] + float(rng.normal()),
        )
        for levels, size in sizes.items()
        for seed in range(size)
    ]


def _sizes(factors, *, even):
    cells = [()]
    for levels in ("abc", "xy", "pq")[:factors]:
        cells = [(*cell, level) for cell in cells for level in levels]
    return {cell: 3 if even else 2 + number * 5 % 4 for number, cell in enumerate(cells)}


def _statsmodels(runs, factors, *, blocks):
    """Term -> its F and p, of Type II, where all interactions are in the model."""
    frame = pd.DataFrame([(*run.levels, run.seed, run.value) for run in runs], columns=[*factors, "seed", "value"])
    formula = f"value ~ {' * '.join(factors)}{' + C(seed)' * blocks}"
    table = anova_lm(ols(formula, frame).fit(), typ=2)
    return {tuple(term.split(":")): (row["F"], row["PR(>F)"]) for term, row in table.iterrows()}


@pytest.mark.parametrize("blocks", [False, True], ids=["cells", "blocks"])
@pytest.mark.parametrize("even", [False, True], ids=["unbalanced", "balanced"])
@pytest.mark.parametrize("factors", [1, 2, 3])
def test_term_effects_are_statsmodels_of_type_2(factors, even, blocks):
    runs, names = _runs(_sizes(factors, even=even), np.random.default_rng(3), shift=4.0 * blocks), FACTORS[:factors]
    want = _statsmodels(runs, names, blocks=blocks)
    got = term_effects(runs, names, blocks)
    assert [each.factors for each in got] == [term for term in want if 0 < len(term) < 3 and set(term) <= set(names)]
    for each in got:
        assert (each.f, each.p) == pytest.approx(want[each.factors], rel=1e-8, abs=1e-12)


def test_term_effects_show_a_main_effect_beside_an_interaction():
    """The residual of the additive model holds the interaction: by it F of the main effect would be below 5."""
    means = {("a", "x"): 80, ("a", "y"): 80, ("b", "x"): 80, ("b", "y"): 90}
    runs = [Observation(cell, n, mean + (-1.0, 0.0, 1.0)[n]) for cell, mean in means.items() for n in range(3)]
    got = {each.factors: each.f for each in term_effects(runs, ["f", "g"])}
    assert got == pytest.approx({("f",): 75.0, ("g",): 75.0, ("f", "g"): 75.0})  # 12 runs: 3 * 5² / 1


def test_analyse_tests_terms_with_blocks_where_seeds_are_blocks():
    runs = _runs(_sizes(1, even=True), np.random.default_rng(6), shift=8.0)
    without, within = (analyse(runs, ["f"], {"f": "a"}, blocks=blocks).effects[0].f for blocks in (False, True))
    want = _statsmodels(runs, ("f",), blocks=True)[("f",)][0]
    assert without < 1 < within and within == pytest.approx(want, rel=1e-9)


@pytest.mark.parametrize("dead", [1, 3, 6])
def test_cells_without_spread_do_not_lower_the_residual(dead):
    alive = {"base": (79, 82, 85), "mine": (84, 87, 90)}
    cells = {**alive, **{f"collapsed {n}": (10, 10, 10) for n in range(dead)}}
    runs = [Observation((level,), n, value) for level, values in cells.items() for n, value in enumerate(values)]
    got = term_effects(runs, ["f"])[0]
    everything = [value for values in cells.values() for value in values]
    between = sum(3 * (np.mean(values) - np.mean(everything)) ** 2 for values in cells.values())
    f = between / (len(cells) - 1) / 9.0  # a standard deviation of 3 on 4 degrees of freedom, whatever died
    assert (got.f, got.p) == pytest.approx((f, scipy.stats.f.sf(f, len(cells) - 1, 4)))


def test_cells_without_spread_do_not_lower_the_residual_of_blocks():
    rng = np.random.default_rng(2)
    alive = [run for run in _runs(_sizes(2, even=True), rng, shift=5.0) if run.levels[0] != "a"]
    dead = [Observation(("a", level), seed, 10.0) for level in "xy" for seed in range(3)]
    frame = pd.DataFrame([(*run.levels, run.seed, run.value) for run in alive], columns=["f", "g", "seed", "value"])
    scale = ols("value ~ f * g + C(seed)", frame).fit().scale
    every = pd.concat([frame, pd.DataFrame([(*d.levels, d.seed, d.value) for d in dead], columns=frame.columns)])
    smaller, larger = (ols(f"value ~ C(seed) + {terms}", every).fit() for terms in ("g", "f + g"))
    want = (smaller.ssr - larger.ssr) / 2 / scale
    assert term_effects(dead + alive, ["f", "g"], True)[0].f == pytest.approx(want, rel=1e-9)


@pytest.mark.parametrize("blocks", [False, True], ids=["cells", "blocks"])
@pytest.mark.parametrize("unit", [1e-100, 1e-10, 1e10, 1e100])
def test_term_effects_do_not_hang_on_the_unit(unit, blocks):
    runs = _runs(_sizes(2, even=False), np.random.default_rng(4))
    scaled = [Observation(run.levels, run.seed, run.value * unit) for run in runs]
    want, got = (term_effects(each, ["f", "g"], blocks) for each in (runs, scaled))
    assert [(each.f, each.p) for each in got] == [pytest.approx((each.f, each.p), rel=1e-6) for each in want]


@pytest.mark.parametrize("blocks", [False, True], ids=["cells", "blocks"])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e-10, 1e10])
def test_runs_that_agree_in_every_digit_have_no_f(value, blocks):
    runs = [Observation((level,), seed, value * (1 + (level == "b"))) for level in "ab" for seed in range(3)]
    assert term_effects(runs, ["f"], blocks) == []
    if blocks:  # a shift of each seed is all there is
        runs = [Observation((level,), seed, value * (1 + seed) / 3) for level in "ab" for seed in range(3)]
        assert term_effects(runs, ["f"], blocks) == []


def test_term_effects_of_no_runs_or_single_ones_are_none():
    assert term_effects([], ["f"]) == []
    assert term_effects([Observation((level,), 0, 1.0 + len(level)) for level in ("a", "bb")], ["f"]) == []


@pytest.mark.parametrize("blocks", [False, True], ids=["cells", "blocks"])
@pytest.mark.parametrize("unit", [1e-60, 1e-10, 1e10, 1e60])
def test_an_analysis_does_not_hang_on_the_unit(unit, blocks):
    runs = _runs(_sizes(2, even=True), np.random.default_rng(5))
    scaled = [Observation(run.levels, run.seed, run.value * unit) for run in runs]
    held = {"f": "a", "g": "x"}
    want = analyse(runs, ["f", "g"], held, margin=3.0, blocks=blocks)
    got = analyse(scaled, ["f", "g"], held, margin=3.0 * unit, blocks=blocks)
    assert got.std == pytest.approx(want.std * unit, rel=1e-6) and got.df == want.df
    for one, other in zip(got.contrasts, want.contrasts, strict=True):
        assert one.verdict.kind is other.verdict.kind
        assert one.verdict.low == pytest.approx(other.verdict.low * unit, rel=1e-6, abs=1e-9 * unit)
