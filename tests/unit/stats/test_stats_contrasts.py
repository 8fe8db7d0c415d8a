"""A sweep's verdicts, held against scipy's and statsmodels' own for designs that they know, and against simulation."""

import math

import numpy as np
import pytest
import scipy.stats
from statsmodels.api import OLS
from statsmodels.stats.multitest import multipletests
from threadpoolctl import threadpool_limits

from ablate.report.pages import findings
from ablate.stats.contrasts import analyse
from ablate.stats.design import Observation
from ablate.stats.verdicts import Kind, verdict

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


def test_one_factor_has_dunnetts_intervals_and_p_values():
    rng = np.random.default_rng(1)
    runs = _sweep({("a",): 80, ("b",): 82, ("c",): 80, ("d",): 81}, rng=rng)
    got = analyse(runs, ["f"], {"f": "a"})
    samples = [[run.value for run in runs if run.levels == (level,)] for level in "abcd"]
    want = scipy.stats.dunnett(*samples[1:], control=samples[0], rng=np.random.default_rng(0))
    assert [(c.level, c.baseline) for c in got.contrasts] == [("b", "a"), ("c", "a"), ("d", "a")]
    assert [c.verdict.p for c in got.contrasts] == pytest.approx(want.pvalue, abs=2e-3)
    interval = want.confidence_interval(0.95)
    assert [c.verdict.low for c in got.contrasts] == pytest.approx(interval.low, abs=0.01)
    assert [c.verdict.high for c in got.contrasts] == pytest.approx(interval.high, abs=0.01)
    assert got.std == pytest.approx(math.sqrt(np.mean([np.var(s, ddof=1) for s in samples])))
    assert got.df == 16


def test_two_levels_have_the_pooled_t_interval():
    runs = _sweep({("a",): 80, ("b",): 82})
    got = analyse(runs, ["f"], {"f": "a"}).contrasts[0].verdict
    sides = [[run.value for run in runs if run.levels == (level,)] for level in "ba"]
    want = scipy.stats.ttest_ind(*sides)
    assert got.p == pytest.approx(want.pvalue, abs=5e-4)
    assert got.low == pytest.approx(want.confidence_interval(0.95).low, abs=0.02)


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


def test_cells_of_unequal_spread_fall_back_to_welch_and_holm():
    rng = np.random.default_rng(3)
    runs = _sweep({("a",): 80, ("b",): 81, ("c",): 90}, rng=rng, scale=lambda levels: 8.0 if levels == ("b",) else 0.3)
    got = analyse(runs, ["f"], {"f": "a"})
    assert min(got.equal_variance.values()) < 0.05 and "Welch" in got.method
    samples = {level: [run.value for run in runs if run.levels == (level,)] for level in "abc"}
    tests = [scipy.stats.ttest_ind(samples[level], samples["a"], equal_var=False) for level in "bc"]
    holm = multipletests([test.pvalue for test in tests], method="holm")[1]
    assert [c.verdict.p for c in got.contrasts] == pytest.approx(holm)
    assert got.contrasts[0].verdict.low == pytest.approx(tests[0].confidence_interval(1 - 0.05 / 2).low)


def test_levels_of_one_spread_are_pooled_where_other_models_spread_differs():
    rng = np.random.default_rng(4)
    means = {(m, p): 80.0 - 10 * (m == "vit" and p == "none") for m in ("vit", "cct") for p in ("on", "off", "none")}
    runs = _sweep(means, seeds=3, rng=rng, scale=lambda levels: 3.0 if levels[0] == "vit" else 0.2)
    got = analyse(runs, ["model", "pe"], {"model": "vit", "pe": "on"}, compare=["pe"])
    assert (
        max(got.equal_variance.values()) < 0.05
        and {c.factor for c in got.contrasts} == {"pe"}
        and len(got.contrasts) == 4
    )
    vit = [[run.value for run in runs if run.levels == ("vit", level)] for level in ("on", "off", "none")]
    want = scipy.stats.dunnett(*vit[1:], control=vit[0], rng=np.random.default_rng(0))
    mine = [c.verdict for c in got.contrasts if c.at == {"model": "vit"}]
    assert [v.p for v in mine] == pytest.approx(np.minimum(1, 2 * want.pvalue), abs=4e-3)
    assert [v.low for v in mine] == pytest.approx(want.confidence_interval(0.975).low, abs=0.1)
    with pytest.raises(ValueError, match="compare must name factors of model, pe, got positional"):
        analyse(runs, ["model", "pe"], {"model": "vit", "pe": "on"}, compare=["positional"])


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


def test_two_runs_a_cell_that_differ_in_spread_are_not_pooled():
    values = {"a": (80.0, 80.1), "b": (81.0, 81.2), "c": (60.0, 90.0), "d": (79.9, 80.0)}
    runs = [Observation((level,), seed, value) for level, pair in values.items() for seed, value in enumerate(pair)]
    got = analyse(runs, ["f"], {"f": "a"})
    assert list(got.equal_variance) == ["Bartlett"] and "Welch" in got.method
    assert got.stds == (pytest.approx(0.1 / 2**0.5), pytest.approx(30 / 2**0.5))
    assert any("two runs a cell" in note for note in got.notes)


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
    assert "5 of 5 baseline runs diverged" in "\n".join(findings.lines(findings.Verdicts(baseline, "top-1")))


def test_where_the_interval_holds_0_and_holms_p_does_not_the_interval_decides_and_a_note_says_so():
    rng, found = np.random.default_rng(0), []
    for _ in range(40):
        means = {("a",): 80.0, ("b",): 90.0, ("c",): 81.0}
        runs = _sweep(means, rng=rng, scale=lambda levels: 4.0 if levels == ("b",) else 0.5)
        got = analyse(runs, ["f"], {"f": "a"})
        held = [
            c.verdict.kind is Kind.undecided and c.verdict.p is not None and c.verdict.p < 0.05 for c in got.contrasts
        ]
        assert any(held) == any("the interval decides" in note for note in got.notes)
        found.append(any(held))
    assert any(found) and not all(found)


def test_blocks_of_unequal_spread_are_compared_in_pairs():
    rng = np.random.default_rng(4)
    shift, noise = rng.normal(0, 0.1, 5), {"a": 0.05, "b": 0.05, "c": 4.0}
    runs = [
        Observation((level,), seed, 80 + shift[seed] + float(rng.normal(0, noise[level])))
        for level in "abc"
        for seed in range(5)
    ]
    runs = [run for run in runs if (run.levels, run.seed) != (("c",), 0)]
    got = analyse(runs, ["f"], {"f": "a"}, blocks=True)
    assert "Student's t over seeds" in got.method
    value = {(run.levels[0], run.seed): run.value for run in runs}
    for each, seeds in zip(got.contrasts, (range(5), range(1, 5)), strict=True):
        sides = [[value[level, seed] for seed in seeds] for level in (each.level, "a")]
        want = scipy.stats.ttest_rel(*sides).confidence_interval(1 - 0.05 / 2)
        assert (each.verdict.low, each.verdict.high) == (pytest.approx(want.low), pytest.approx(want.high))
        assert each.verdict.n == len(seeds)


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


def _unbalanced(rng):
    """Three levels by two, cells of one to six runs."""
    sizes = {("a", "x"): 4, ("a", "y"): 6, ("b", "x"): 1, ("b", "y"): 5, ("c", "x"): 3, ("c", "y"): 4}
    return [
        Observation(levels, seed, 80 + 2 * (levels[0] == "b") + 3 * (levels == ("c", "y")) + float(rng.normal()))
        for levels, size in sizes.items()
        for seed in range(size)
    ]


@pytest.mark.parametrize("blocks", [False, True])
def test_cell_means_with_weights_give_what_a_row_a_run_gives(blocks):
    runs = _unbalanced(np.random.default_rng(8))
    got = analyse(runs, ["f", "g"], {"f": "a", "g": "x"}, blocks=blocks)
    assert "one linear model" in got.method
    cells = list(dict.fromkeys(run.levels for run in runs))
    columns = [[run.levels == cell for run in runs] for cell in cells]
    columns += [[run.seed == seed for run in runs] for seed in range(1, 6)] * blocks
    rows = OLS([run.value for run in runs], np.column_stack(columns).astype(float)).fit()
    assert got.std == pytest.approx(math.sqrt(rows.scale), rel=1e-9) and got.df == rows.df_resid
    widths = []
    for each in got.contrasts:
        sides = [{**each.at, each.factor: level} for level in (each.level, each.baseline)]
        vector = np.zeros(len(columns))
        vector[[cells.index((side["f"], side["g"])) for side in sides]] = 1, -1
        test = rows.t_test(vector)
        assert each.verdict.effect == pytest.approx(float(np.squeeze(test.effect)), rel=1e-9, abs=1e-9)
        half = each.verdict.high - each.verdict.effect  # one critical value, of the family, times the standard error
        widths.append(half / float(np.squeeze(test.sd)))
    assert widths == pytest.approx([widths[0]] * len(widths), rel=1e-9)


def test_large_families_use_bonferroni_and_holm_and_agree_nearly():
    means = {(f"l{n:02d}",): 80.0 + 4 * (n == 1) for n in range(80)}
    runs = _sweep(means, seeds=3, rng=np.random.default_rng(5))
    got = analyse(runs, ["f"], {"f": "l00"})
    assert len(got.contrasts) == 79 and "Holm" in got.method
    wide = got.contrasts[0].verdict.high - got.contrasts[0].verdict.low
    single = 2 * scipy.stats.t.ppf(1 - 0.025 / 79, got.df) * got.std * math.sqrt(2 / 3)
    assert wide == pytest.approx(single, rel=1e-6)


def test_a_design_without_baseline_or_levels_is_refused():
    with pytest.raises(ValueError, match="baseline level, got none for g"):
        analyse([], ["f", "g"], {"f": "a"})
    with pytest.raises(ValueError, match="a level for each"):
        analyse([Observation(("a",), 0, 1.0)], ["f", "g"], {"f": "a", "g": "b"})


@pytest.fixture
def one_thread():
    """On a busy machine the threads of BLAS wait for each other over matrices of a dozen rows: ten times slower."""
    with threadpool_limits(1):
        yield


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("heavy", [False, True], ids=["normal", "heavy"])
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_false_verdicts_stay_below_6_5_percent_and_intervals_cover(seeds, heavy, one_thread):
    rng, sweeps = np.random.default_rng([seeds, heavy]), 2000
    family, pairs, covered = 0, 0, 0
    for _ in range(sweeps):
        noise = rng.standard_t(3, (3, seeds)) if heavy else rng.normal(size=(3, seeds))
        runs = [Observation((level,), s, 80 + noise[n, s]) for n, level in enumerate("abc") for s in range(seeds)]
        verdicts = [each.verdict for each in analyse(runs, ["f"], {"f": "a"}).contrasts]
        family += any(each.kind is not Kind.undecided for each in verdicts)
        pair = verdict(noise[1], noise[0])
        pairs += pair.kind is not Kind.undecided
        covered += pair.low <= 0 <= pair.high
    assert family / sweeps <= 0.065
    assert pairs / sweeps <= 0.065
    if not heavy:
        assert abs(covered / sweeps - 0.95) <= 0.015


FAMILIES = [(model, pe) for model in ("vit", "cvt", "cct") for pe in ("learnable", "sine", "none")]


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("stds", "seeds", "most"),
    [
        pytest.param([3, 3, 3, 3, 3, 3, 0.5, 0.5, 0.5], 3, 0.085, id="a family steadier than others, n 3"),
        pytest.param([4.02, 2.0, 0.76, 3.5, 1.57, 3.14, 0.25, 0.32, 0.78], 5, 0.065, id="as pe_type spreads, n 5"),
        pytest.param([1, 1, 1, 1, 1, 1, 1, 1, 10], 5, 0.065, id="one wild cell, n 5"),
    ],
)
def test_unequal_spreads_raise_the_rate_of_false_verdicts_little(stds, seeds, most, one_thread):
    rng, sweeps, wrong = np.random.default_rng(5), 1000, 0
    for _ in range(sweeps):
        runs = [
            Observation(levels, seed, float(rng.normal(80, std)))
            for levels, std in zip(FAMILIES, stds, strict=True)
            for seed in range(seeds)
        ]
        got = analyse(runs, ["model", "pe"], {"model": "vit", "pe": "learnable"})
        wrong += any(each.verdict.kind is not Kind.undecided for each in got.contrasts)
    print(f"{100 * wrong / sweeps:.1f} % of sweeps")
    assert wrong / sweeps <= most


@pytest.mark.full
def test_power_grows_with_seeds(one_thread):
    rng, found = np.random.default_rng(7), []
    for seeds in (3, 5, 10):
        kinds = [analyse(_sweep({("a",): 80, ("b",): 81.5}, seeds, rng=rng), ["f"], {"f": "a"}) for _ in range(200)]
        found.append(np.mean([each.contrasts[0].verdict.kind is Kind.helps for each in kinds]))
    assert found[0] + 0.1 < found[1] < found[2] - 0.1
