"""A sweep's verdicts, held against scipy's and statsmodels' own for designs that they know, and against simulation."""

import math

import numpy as np
import pytest
import scipy.stats
from statsmodels.api import OLS
from threadpoolctl import threadpool_limits

from ablate.report.pages import findings
from ablate.stats.contrasts import analyse
from ablate.stats.crossed import Sampling
from ablate.stats.design import Observation
from ablate.stats.verdicts import Kind

SPREAD = (-1.3, -0.4, 0.1, 0.6, 1.0)


def _sweep(means, seeds=5, std=1.0, rng=None, scale=lambda levels: 1.0):
    """Runs of every cell: its mean, plus noise of a generator or the same spread in each."""
    return [
        Observation(
            levels, seed, mean + std * scale(levels) * (SPREAD[(seed + n) % 5] if rng is None else float(rng.normal()))
        )
        for n, (levels, mean) in enumerate(means.items())
        for seed in range(seeds)
    ]


def test_one_factor_of_equal_spreads_has_about_dunnetts_intervals():
    rng, ratios = np.random.default_rng(1), []
    for _ in range(12):
        runs = _sweep({("a",): 80, ("b",): 82, ("c",): 80, ("d",): 81}, rng=rng)
        got = analyse(runs, ["f"], {"f": "a"})
        samples = [[run.value for run in runs if run.levels == (level,)] for level in "abcd"]
        dunnett = scipy.stats.dunnett(*samples[1:], control=samples[0], rng=np.random.default_rng(0))
        want = dunnett.confidence_interval(0.95)
        halves = np.array([c.verdict.high - c.verdict.effect for c in got.contrasts])
        assert [c.verdict.effect - c.verdict.low for c in got.contrasts] == pytest.approx(halves.tolist())
        ratios.append(halves.mean() / (want.high - want.low).mean() * 2)
    assert 0.95 < np.mean(ratios) < 1.25
    assert [(c.level, c.baseline) for c in got.contrasts] == [("b", "a"), ("c", "a"), ("d", "a")]
    assert got.std == pytest.approx(math.sqrt(np.mean([np.var(s, ddof=1) for s in samples])))
    assert (got.df, got.comparisons) == (16, 3) and "moderated variances" in got.method


def test_two_levels_have_an_interval_between_the_pooled_t_and_that_of_one_side():
    runs = _sweep({("a",): 80, ("b",): 82})
    got = analyse(runs, ["f"], {"f": "a"}).contrasts[0].verdict
    sides = [[run.value for run in runs if run.levels == (level,)] for level in "ba"]
    error = math.sqrt(sum(np.var(side, ddof=1) for side in sides) / 5)
    assert scipy.stats.t.ppf(0.975, 8) < (got.high - got.effect) / error < scipy.stats.t.ppf(0.975, 4)


def test_an_interval_excludes_0_where_p_is_below_alpha_and_nowhere_else():
    rng, found = np.random.default_rng(0), []
    for _ in range(40):
        means = {("a",): 80.0, ("b",): 84.0, ("c",): 81.0}
        runs = _sweep(means, rng=rng, scale=lambda levels: 4.0 if levels == ("b",) else 0.5)
        for each in analyse(runs, ["f"], {"f": "a"}).contrasts:
            found.append(each.verdict.kind is not Kind.undecided)
            assert found[-1] == (each.verdict.p < 0.05) == (not each.verdict.low <= 0 <= each.verdict.high)
    assert any(found) and not all(found)


def test_every_level_is_held_against_its_baseline_with_the_other_factors_held():
    means = {(m, p): 90 - 20 * (m == "vit" and p == "none") for m in ("vit", "cct") for p in ("learnable", "none")}
    got = analyse(_sweep(means), ["model", "pe"], {"model": "vit", "pe": "learnable"}, margin=3.0)
    kinds = {(c.factor, c.level, *c.at.values()): c.verdict.kind for c in got.contrasts}
    assert kinds[("pe", "none", "vit")] is Kind.hurts
    assert kinds[("pe", "none", "cct")] is Kind.equivalent
    assert kinds[("model", "cct", "learnable")] is Kind.equivalent
    assert kinds[("model", "cct", "none")] is Kind.helps
    assert [effect.factors for effect in got.effects] == [("model",), ("pe",), ("model", "pe")]
    assert got.effects[2].p < 1e-6


def test_one_factor_at_a_time_compares_each_with_the_one_baseline():
    means = {("a", "x"): 80, ("b", "x"): 85, ("a", "y"): 75}
    got = analyse(_sweep(means), ["f", "g"], {"f": "a", "g": "x"})
    assert [(c.factor, c.level, c.verdict.kind) for c in got.contrasts] == [
        ("f", "b", Kind.helps),
        ("g", "y", Kind.hurts),
    ]
    assert all(len(effect.factors) == 1 for effect in got.effects)  # the design knows no interaction


def test_a_wild_cell_widens_its_own_interval_and_not_those_of_steady_ones():
    rng = np.random.default_rng(3)
    runs = _sweep({("a",): 80, ("b",): 81, ("c",): 90}, rng=rng, scale=lambda levels: 8.0 if levels == ("b",) else 0.3)
    wild, steady = (each.verdict for each in analyse(runs, ["f"], {"f": "a"}).contrasts)
    assert wild.kind is Kind.undecided and steady.kind is Kind.helps
    assert wild.high - wild.low > 5 * (steady.high - steady.low)


@pytest.mark.parametrize("dead", [0, 1, 6])
def test_cells_without_spread_make_no_other_comparison_surer(dead):
    cells = {"base": (79, 82, 85), "mine": (84, 87, 90), **{f"collapsed {n}": (10, 10, 10) for n in range(dead)}}
    runs = [Observation((level,), n, value) for level, values in cells.items() for n, value in enumerate(values)]
    got = analyse(runs, ["f"], {"f": "base"})
    mine = got.contrasts[0].verdict
    assert mine.kind is Kind.undecided and mine.p > 0.1 and (got.std, got.df) == (pytest.approx(3.0), 4)


def test_only_the_levels_of_factors_to_compare_share_alpha():
    means = {(m, p): 80.0 - 10 * (m == "vit" and p == "none") for m in ("vit", "cct") for p in ("on", "off", "none")}
    runs, held = _sweep(means, seeds=3, rng=np.random.default_rng(4)), {"model": "vit", "pe": "on"}
    every, some = (analyse(runs, ["model", "pe"], held, compare=compare) for compare in (None, ["pe"]))
    assert (every.comparisons, some.comparisons) == (7, 4) and {c.factor for c in some.contrasts} == {"pe"}
    wide = {(c.level, *c.at.values()): c.verdict for c in every.contrasts if c.factor == "pe"}
    for each in some.contrasts:
        assert each.verdict.p <= wide[(each.level, *each.at.values())].p
    with pytest.raises(ValueError, match="compare must name factors of model, pe, got positional"):
        analyse(runs, ["model", "pe"], held, compare=["positional"])


def test_seeds_as_blocks_find_what_differs_less_than_seeds_do():
    rng = np.random.default_rng(4)
    shift = rng.normal(0, 5, 5)
    runs = [
        Observation((level,), seed, 80 + shift[seed] + effect + float(rng.normal(0, 0.3)))
        for level, effect in (("a", 0.0), ("b", 2.0), ("c", 0.0))
        for seed in range(5)
    ]
    plain, blocked = (analyse(runs, ["f"], {"f": "a"}, blocks=blocks) for blocks in (False, True))
    assert plain.contrasts[0].verdict.kind is Kind.undecided
    assert blocked.contrasts[0].verdict.kind is Kind.helps and blocked.contrasts[1].verdict.kind is Kind.undecided
    assert (plain.df, blocked.df) == (12, 8)


def test_blocks_without_a_seed_in_common_leave_the_degrees_of_freedom_that_are_there():
    rng = np.random.default_rng(6)
    for parts in (2, 3, 4):
        levels, seeds = 3 * parts, 4 * parts  # each part: 3 levels, run over 4 seeds of its own
        runs = [
            Observation((f"l{level}",), 4 * (level // 3) + seed, float(rng.normal(80)))
            for level in range(levels)
            for seed in range(4)
        ]
        got = analyse(runs, ["f"], {"f": "l0"}, blocks=True)
        assert got.df == len(runs) - levels - seeds + parts


@pytest.mark.parametrize(
    ("level", "n", "effect", "reason"),
    [
        pytest.param({0: 84.0, 1: 87.0, 2: 90.0}, 3, 5.0, "is the same at every seed", id="one shift"),
        pytest.param({2: 87.0, 3: 90.0}, 1, 2.0, "fewer than two of them have a run on both sides", id="one seed"),
        pytest.param({3: 85.0, 4: 90.0}, 0, 5.5, "fewer than two of them have a run on both sides", id="no seed"),
        pytest.param({1: 87.0}, 1, 5.0, "fewer than two runs has no spread", id="one run"),
    ],
)
def test_blocks_say_why_two_sides_are_not_judged(level, n, effect, reason):
    sides = {"a": {0: 79.0, 1: 82.0, 2: 85.0}, "b": level}
    runs = [Observation((name,), seed, value) for name, side in sides.items() for seed, value in side.items()]
    got = analyse(runs, ["f"], {"f": "a"}, blocks=True)
    found = got.contrasts[0].verdict
    assert (found.kind, found.n, found.effect) == (Kind.undecided, n, effect) and found.low is None
    assert len(found.notes) == 1 and reason in found.notes[0] and found.notes[0] in got.notes


def test_two_runs_a_cell_are_judged_by_their_own_spread_and_a_note_says_so():
    values = {"a": (80.0, 80.1), "b": (81.0, 81.2), "c": (60.0, 90.0), "d": (79.9, 80.0)}
    runs = [Observation((level,), seed, value) for level, pair in values.items() for seed, value in enumerate(pair)]
    got = analyse(runs, ["f"], {"f": "a"})
    assert got.stds == (pytest.approx(0.1 / 2**0.5), pytest.approx(30 / 2**0.5))
    assert any("two runs" in note for note in got.notes)
    halves = {each.level: each.verdict.high - each.verdict.effect for each in got.contrasts}
    assert halves["c"] > 20 * halves["b"]


def test_a_side_of_one_run_is_not_judged_by_the_spread_of_others():
    runs = _sweep({("a",): 80, ("b",): 82, ("c",): 90}, rng=np.random.default_rng(2))
    runs = [run for run in runs if run.levels != ("c",) or run.seed == 0]
    two, one = analyse(runs, ["f"], {"f": "a"}).contrasts
    assert two.verdict.low is not None and one.verdict.kind is Kind.undecided
    assert (one.verdict.low, one.verdict.p, one.verdict.n) == (None, None, 1)
    assert one.verdict.effect is not None and "fewer than two runs" in one.verdict.notes[0]


def test_repeats_of_a_seed_are_no_further_runs():
    runs = _sweep({("a",): 80, ("b",): 81, ("c",): 81.5}, rng=np.random.default_rng(6))
    again = [Observation(run.levels, run.seed, run.value + shift) for run in runs for shift in (-0.1, 0.1)]
    once, twice = (analyse(each, ["f"], {"f": "a"}) for each in (runs, again))
    assert [each.verdict.n for each in twice.contrasts] == [5, 5] and twice.df == once.df == 12
    for one, two in zip(once.contrasts, twice.contrasts, strict=True):
        assert (two.verdict.low, two.verdict.high) == pytest.approx((one.verdict.low, one.verdict.high))
        assert two.runs == (10, 10)


def test_a_level_that_always_diverges_stays_among_the_verdicts_and_costs_no_alpha():
    runs = _sweep({("a",): 80, ("b",): 82}, rng=np.random.default_rng(6))
    lost = [Observation(("c",), seed, math.nan) for seed in range(5)]
    got = analyse(runs + lost, ["f"], {"f": "a"}).contrasts
    assert [(each.level, each.diverged) for each in got] == [("b", (0, 0)), ("c", (5, 0))]
    assert got[1].verdict.effect is None and got[1].verdict.kind is Kind.undecided
    assert got[0] == analyse(runs, ["f"], {"f": "a"}).contrasts[0]
    baseline = analyse(runs + lost, ["f"], {"f": "c"})
    assert [each.verdict.effect for each in baseline.contrasts] == [None, None]
    assert "0 of 5 runs diverged, baseline 5 of 5: Fisher p" in "\n".join(
        findings.lines(findings.Verdicts(baseline, "top-1"))
    )


def test_diverged_runs_are_a_rate_beside_the_mean():
    runs = _sweep({("a",): 80, ("b",): 80})
    runs = [Observation(r.levels, r.seed, math.nan if r.levels == ("b",) and r.seed < 2 else r.value) for r in runs]
    got = analyse(runs, ["f"], {"f": "a"})
    assert got.contrasts[0].diverged == (2, 0) and got.contrasts[0].runs == (5, 5)
    assert got.contrasts[0].verdict.n == 3
    assert got.notes[0].startswith("2 of 10 runs have no result")


def test_single_runs_have_effects_and_no_verdict():
    got = analyse(_sweep({("a",): 80, ("b",): 85}, seeds=1), ["f"], {"f": "a"})
    assert got.std is None and got.contrasts[0].verdict.effect == pytest.approx(5 + SPREAD[1] - SPREAD[0])
    assert got.contrasts[0].verdict.kind is Kind.undecided and got.contrasts[0].verdict.low is None
    assert "one run a cell" in got.method and "variances" not in got.method
    said = findings.lines(findings.Verdicts(got, "top-1")) + findings.rows(findings.Verdicts(got, "top-1"))[0]
    assert not [line for line in said if "simultaneous" in line]


def test_runs_that_agree_in_every_digit_have_no_interval_and_the_method_says_why():
    got = analyse(_sweep({("a",): 80, ("b",): 85}, std=0.0), ["f"], {"f": "a"})
    assert got.contrasts[0].verdict.low is None and got.method.startswith("the runs of each cell agree")


@pytest.mark.parametrize("values", [{"a": [80], "b": [1, 2, 3]}, {"a": [math.nan] * 2, "b": [math.nan] * 2}])
def test_a_table_without_a_judged_comparison_names_no_other_reason(values):
    runs = [Observation((level,), seed, value) for level, of in values.items() for seed, value in enumerate(of)]
    got = analyse(runs, ["f"], {"f": "a"})
    assert got.comparisons == 0 and got.method.startswith("no comparison has two runs a side and a spread")


def test_blocks_with_one_difference_in_all_seeds_do_not_deny_the_other_verdicts():
    values = {"a": [79, 82, 85], "b": [84, 87, 90], "c": [10, 10, 10]}
    runs = [Observation((level,), seed, value) for level, of in values.items() for seed, value in enumerate(of)]
    got = analyse(runs, ["f"], {"f": "a"}, blocks=True)
    assert [each.verdict.low is None for each in got.contrasts] == [True, False]
    assert got.method.startswith("differences over standard errors")


def _unbalanced(rng):
    """Three levels by two, cells of one to six runs."""
    sizes = {("a", "x"): 4, ("a", "y"): 6, ("b", "x"): 1, ("b", "y"): 5, ("c", "x"): 3, ("c", "y"): 4}
    return [
        Observation(levels, seed, 80 + 2 * (levels[0] == "b") + 3 * (levels == ("c", "y")) + float(rng.normal()))
        for levels, size in sizes.items()
        for seed in range(size)
    ]


def test_unbalanced_cells_have_the_residual_and_the_effects_of_a_linear_model():
    runs = _unbalanced(np.random.default_rng(8))
    got = analyse(runs, ["f", "g"], {"f": "a", "g": "x"})
    cells = list(dict.fromkeys(run.levels for run in runs))
    rows = OLS([run.value for run in runs], np.array([[run.levels == cell for cell in cells] for run in runs], float))
    fit = rows.fit()
    assert got.std == pytest.approx(math.sqrt(fit.scale), rel=1e-9) and got.df == fit.df_resid
    mean = dict(zip(cells, fit.params, strict=True))
    for each in got.contrasts:
        level, base = ({**each.at, each.factor: level} for level in (each.level, each.baseline))
        effect = mean[(level["f"], level["g"])] - mean[(base["f"], base["g"])]
        assert each.verdict.effect == pytest.approx(effect, rel=1e-9, abs=1e-9)


def test_seeds_that_would_decide_count_what_test_images_leave_open():
    runs, margin = _sweep({("a",): 80, ("b",): 80.2}, rng=np.random.default_rng(9)), 1.0

    def seeds(variance):
        places = {("a",): 0, ("b",): 1}
        covariance = np.diag([variance / 2, variance / 2])  # of the cells' means, so that the effect has this variance
        got = analyse(runs, ["f"], {"f": "a"}, margin=margin, sampling=Sampling(places, covariance, 1000, None))
        assert got.contrasts[0].verdict.kind is Kind.undecided
        return got.contrasts[0].verdict.seeds_at_least, got.contrasts[0].verdict.seeds_needed

    alone = analyse(runs, ["f"], {"f": "a"}, margin=margin).contrasts[0].verdict
    assert seeds(0.0) == (alone.seeds_at_least, alone.seeds_needed) and alone.seeds_at_least < alone.seeds_needed
    (least, most), (more, still_more) = seeds(0.0), seeds(0.02)
    assert least < more and most < still_more
    assert seeds(1.0) == (None, None)  # as many seeds as one likes leave a standard error as wide as the margin


def test_large_families_share_alpha_too():
    means = {(f"l{n:02d}",): 80.0 + 20 * (n == 1) for n in range(80)}
    got = analyse(_sweep(means, seeds=3, rng=np.random.default_rng(5)), ["f"], {"f": "l00"})
    assert got.comparisons == len(got.contrasts) == 79
    assert [each.level for each in got.contrasts if each.verdict.kind is not Kind.undecided] == ["l01"]
    assert got.contrasts[0].verdict.p < 0.05 < min(each.verdict.p for each in got.contrasts[1:])


def test_a_design_without_baseline_or_levels_is_refused():
    with pytest.raises(ValueError, match="baseline level, got none for g"):
        analyse([], ["f", "g"], {"f": "a"})
    with pytest.raises(ValueError, match="a level for each"):
        analyse([Observation(("a",), 0, 1.0)], ["f", "g"], {"f": "a", "g": "b"})


@pytest.mark.parametrize("rule", [{"alpha": 0.6}, {"alpha": 0.0}, {"margin": 0.0}, {"margin": math.nan}], ids=str)
def test_a_rule_that_is_none_is_refused_whatever_the_runs(rule):
    with pytest.raises(ValueError, match=f"{next(iter(rule))} must"):
        analyse([], ["f"], {"f": "a"}, **rule)


def test_test_images_of_each_cell_must_be_known():
    runs = _sweep({("a",): 80, ("b",): 85})
    with pytest.raises(ValueError, match="a place for each cell with a result, got none for b"):
        analyse(runs, ["f"], {"f": "a"}, sampling=Sampling({("a",): 0}, np.eye(1), 1000, None))


@pytest.mark.parametrize("alpha", [0.0055, 0.001, 0.0001])
def test_a_small_alpha_is_resolved_and_gives_an_interval(alpha):
    runs = _sweep({("a",): 80, ("b",): 81})
    found = analyse(runs, ["f"], {"f": "a"}, alpha=alpha).contrasts[0].verdict
    standard_error = math.sqrt(2 / 5 * np.var(SPREAD, ddof=1))
    least, most = (scipy.stats.t.ppf(1 - 0.92 * alpha / 2, df) * standard_error for df in (8, 4))
    assert 0.9 * least < found.high - found.effect < 1.1 * most


@pytest.fixture
def one_thread():
    """On a busy machine the threads of BLAS wait for each other over matrices of a dozen rows: ten times slower."""
    with threadpool_limits(1):
        yield


@pytest.mark.full
def test_power_grows_with_seeds(one_thread):
    rng, found = np.random.default_rng(7), []
    for seeds in (3, 5, 10):
        kinds = [analyse(_sweep({("a",): 80, ("b",): 81.5}, seeds, rng=rng), ["f"], {"f": "a"}) for _ in range(200)]
        found.append(np.mean([each.contrasts[0].verdict.kind is Kind.helps for each in kinds]))
    assert found[0] + 0.1 < found[1] < found[2] - 0.1
