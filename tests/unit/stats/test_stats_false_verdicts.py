"""How often a study in which nothing differs says that something does: simulated, in the designs that sweeps have.

Each line prints its rate with -s. How much cells borrow (``stats/moderation.py``) was chosen on some of these designs,
with other seeds; those marked "held out" had no part in it.
"""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from ablate.stats.contrasts import analyse
from ablate.stats.design import Observation
from ablate.stats.verdicts import Kind

pytestmark = [pytest.mark.full, pytest.mark.timeout(1800)]

STUDIES = 1000
MOST = 0.06
NOISE = 2 * (MOST * (1 - MOST) / STUDIES) ** 0.5
"""Two standard errors of a rate of 6 % in so many studies: what a method of just that rate may show by chance."""


@pytest.fixture(autouse=True)
def one_thread():
    """On a busy machine the threads of BLAS wait for each other over matrices of a dozen rows: ten times slower."""
    with threadpool_limits(1):
        yield


def _star(*stds):
    """One factor: a standard deviation a level, the baseline's first."""
    return {(f"l{number}",): std for number, std in enumerate(stds)}


def _grid(*rows):
    """Two factors: rows of standard deviations, the baselines first."""
    return {(f"a{i}", f"b{j}"): std for i, row in enumerate(rows) for j, std in enumerate(row)}


def _analysed(cells, rng, *, shift=None, **rule):
    """A study in which nothing differs but spreads, analysed.

    Args:
        cells: Cell -> standard deviation and number of runs.
        rng: Where the runs come from.
        shift: Seed -> cell -> what the seed adds.
        rule: Of ``analyse``.
    """
    runs = [
        Observation(levels, seed, 80 + (shift(seed, levels) if shift else 0.0) + (float(rng.normal(0, std))))
        for levels, (std, n) in cells.items()
        for seed in range(n)
    ]
    factors = ["a", "b"][: len(next(iter(cells)))]
    return analyse(runs, factors, dict(zip(factors, next(iter(cells)), strict=True)), **rule)


def _rate(design, sizes, studies=STUDIES, **rule):
    """Share of studies with a false verdict, ``helps`` or ``hurts``."""
    rng, wrong = np.random.default_rng(2026), 0
    counts = [sizes] * len(design) if isinstance(sizes, int) else sizes
    cells = {levels: (std, n) for (levels, std), n in zip(design.items(), counts, strict=True)}
    for _ in range(studies):
        found = _analysed(cells, rng, **rule).contrasts
        wrong += any(each.verdict.kind is not Kind.undecided for each in found)
    return wrong / studies


PE_TYPE = _grid([4.02, 2.0, 0.76], [3.5, 1.57, 3.14], [0.25, 0.32, 0.78])
ONE, PRODUCTS = [1.0] * 3, [1, 1.5, 2, 3]
DESIGNS = {
    "three levels, n 3": (_star(1, 1, 1), 3),
    "six levels, n 3": (_star(*[1] * 6), 3),
    "3 x 3 cells, n 3": (_grid(ONE, ONE, ONE), 3),
    "six levels, n 3, baseline 4": (_star(4, *[1] * 5), 3),
    "six levels, n 3, baseline 2.5": (_star(2.5, *[1] * 5), 3),
    "six levels, n 5, baseline 4": (_star(4, *[1] * 5), 5),
    "six levels, n 5, baseline 2.5": (_star(2.5, *[1] * 5), 5),
    "six levels, n 3, one level 4": (_star(1, 4, *[1] * 4), 3),
    "2 x 3 cells, n 3, baseline cell 4": (_grid([4, 1, 1], ONE), 3),
    "4 x 4 cells, n 3, product spreads": (_grid(*[[a * b for b in PRODUCTS] for a in PRODUCTS]), 3),
    "4 x 4 cells, n 5, product spreads": (_grid(*[[a * b for b in PRODUCTS] for a in PRODUCTS]), 5),
    "two levels, n 10 and 3, 1:4": (_star(1, 4), [10, 3]),
    "two levels, n 5 and 3, 1:4": (_star(1, 4), [5, 3]),
    "three levels, n 10, 3, 3, 1:2:2": (_star(1, 2, 2), [10, 3, 3]),
    "three levels, n 10, 2, 2, 1:3:3": (_star(1, 3, 3), [10, 2, 2]),
    "3 x 3 cells, n 3, one family steadier": (_grid([3] * 3, [3] * 3, [0.5] * 3), 3),
    "as pe_type spreads, n 3": (PE_TYPE, 3),
    "as pe_type spreads, n 5": (PE_TYPE, 5),
    "3 x 3 cells, n 5, one wild": (_grid(ONE, ONE, [1, 1, 10]), 5),
    "three levels, n 3, baseline 4": (_star(4, 1, 1), 3),
    "held out: five levels, n 4, baseline 3": (_star(3, 1, 1, 1, 1), 4),
    "held out: four levels, n 3, spreads 1 2 3 4": (_star(1, 2, 3, 4), 3),
    "held out: 2 x 2 cells, n 3, 1 3 3 1": (_grid([1, 3], [3, 1]), 3),
    "held out: 3 x 2 cells, n 4, a steady baseline": (_grid([0.3, 0.3], [1, 1], [2, 2]), 4),
    "held out: eight levels, n 7, 5, 5, 3, 3, 3, 3, 3": (_star(1, 2, 2, 3, 3, 1, 1, 1), [7, 5, 5, 3, 3, 3, 3, 3]),
}


@pytest.mark.parametrize("design", DESIGNS)
def test_false_verdicts_stay_at_their_rate_whatever_spreads_and_sizes(design):
    found = _rate(*DESIGNS[design])
    print(f"{design}: {100 * found:.1f} % of studies")
    assert found <= MOST + NOISE


@pytest.mark.parametrize("dead", [2, 4, 10])
def test_cells_without_spread_lend_none(dead):
    rng, wrong = np.random.default_rng(7), 0
    for _ in range(STUDIES):
        runs = [Observation((level,), seed, float(rng.normal(80, 3))) for level in "ab" for seed in range(3)]
        runs += [Observation((f"dead{n}",), seed, 10.0) for n in range(dead) for seed in range(3)]
        found = analyse(runs, ["f"], {"f": "a"})
        wrong += found.contrasts[0].verdict.kind is not Kind.undecided
    print(f"{dead} dead cells: {100 * wrong / STUDIES:.1f} %")
    assert wrong / STUDIES <= MOST + NOISE


def test_a_half_finished_sweep_is_as_honest():
    rng, wrong = np.random.default_rng(8), 0
    for _ in range(STUDIES):
        cells = {levels: (std, int(rng.integers(1, 4))) for levels, std in PE_TYPE.items()}
        wrong += any(each.verdict.kind is not Kind.undecided for each in _analysed(cells, rng).contrasts)
    print(f"one to three runs a cell: {100 * wrong / STUDIES:.1f} %")
    assert wrong / STUDIES <= MOST + NOISE


@pytest.mark.parametrize(("n", "studies"), [(3, 600), (5, 400), (20, 150)])
def test_blocks_hold_where_the_baseline_is_noisier(n, studies):
    rng, wrong = np.random.default_rng([9, n]), 0
    cells = {levels: (std, n) for levels, std in _star(2, 0.5, 0.5, 0.5, 0.5).items()}
    for _ in range(studies):
        shifts = rng.normal(0, 5, n)
        found = _analysed(cells, rng, shift=lambda seed, _, of=shifts: of[seed], blocks=True)
        wrong += any(each.verdict.kind is not Kind.undecided for each in found.contrasts)
    print(f"blocks, n {n}: {100 * wrong / studies:.1f} %")
    assert wrong / studies <= MOST + 2 * (MOST * (1 - MOST) / studies) ** 0.5


@pytest.mark.parametrize("stds", [_grid(ONE, ONE, ONE), PE_TYPE], ids=["one spread", "as pe_type"])
def test_blocks_hold_where_a_seed_shifts_one_family_otherwise_than_another(stds):
    rng, wrong, studies = np.random.default_rng(10), 0, 250
    cells = {levels: (std, 3) for levels, std in stds.items()}
    for _ in range(studies):
        shifts = {(seed, family): float(rng.normal(0, 3)) for seed in range(3) for family in ("a0", "a1", "a2")}
        found = _analysed(cells, rng, shift=lambda seed, at, of=shifts: of[seed, at[0]], blocks=True)
        wrong += any(each.verdict.kind is not Kind.undecided for each in found.contrasts)
    print(f"families: {100 * wrong / studies:.1f} %")
    assert wrong / studies <= MOST + 2 * (MOST * (1 - MOST) / studies) ** 0.5


@pytest.mark.parametrize("design", ["three levels, n 3", "six levels, n 3, baseline 4", "as pe_type spreads, n 5"])
def test_no_level_that_lies_a_margin_off_is_called_equivalent_too_often(design):
    stds, n = DESIGNS[design]
    rng, wrong, baseline = np.random.default_rng(11), 0, next(iter(stds))
    for _ in range(STUDIES):
        runs = [
            Observation(levels, seed, float(rng.normal(80 + 6 * (levels != baseline), std)))
            for levels, std in stds.items()
            for seed in range(n)
        ]
        factors = ["a", "b"][: len(baseline)]
        found = analyse(runs, factors, dict(zip(factors, baseline, strict=True)), margin=6.0).contrasts
        apart = [each for each in found if (each.baseline, *each.at.values()) == baseline or len(baseline) == 1]
        wrong += any(each.verdict.kind is Kind.equivalent for each in apart)
    print(f"{design}: {100 * wrong / STUDIES:.1f} % falsely equivalent")
    assert wrong / STUDIES <= MOST + NOISE


@pytest.mark.parametrize("n", [3, 5, 10])
def test_intervals_cover_together_at_equal_spreads(n):
    rng, covered = np.random.default_rng([12, n]), 0
    for _ in range(STUDIES):
        found = _analysed({levels: (1.0, n) for levels in _star(1, 1, 1)}, rng).contrasts
        covered += all(each.verdict.low <= 0 <= each.verdict.high for each in found)
    print(f"n {n}: {100 * covered / STUDIES:.1f} %")
    assert 0.935 <= covered / STUDIES <= 0.965 + 0.01


@pytest.mark.parametrize(
    ("levels", "n", "effect", "least"),
    [
        pytest.param(2, 3, 3.3, 0.85, id="two levels, n 3"),
        pytest.param(3, 3, 3.2, 0.85, id="three levels, n 3"),
        pytest.param(3, 5, 2.2, 0.85, id="three levels, n 5"),
        pytest.param(3, 10, 1.4, 0.85, id="three levels, n 10"),
        pytest.param(6, 5, 2.3, 0.82, id="six levels, n 5"),
        # At 6 % in every spread of the baseline no method exceeds 0.85 here (python -m benchmarks.verdicts).
        pytest.param(6, 3, 3.2, 0.72, id="six levels, n 3"),
    ],
)
def test_power_at_equal_spreads_is_near_dunnetts(levels, n, effect, least):
    rng, draws = np.random.default_rng([13, levels, n]), 200_000
    normal, df = rng.standard_normal((draws, levels)), levels * (n - 1)
    largest = np.abs(normal[:, 1:] - normal[:, :1]).max(axis=1) / np.sqrt(2 * rng.chisquare(df, draws) / df)
    critical, found, theirs, studies = float(np.quantile(largest, 0.95)), 0, 0, 800
    for _ in range(studies):
        values = rng.normal(80, 1, (levels, n))
        values[1] += effect
        runs = [Observation((f"l{i}",), j, float(values[i, j])) for i in range(levels) for j in range(n)]
        found += analyse(runs, ["f"], {"f": "l0"}).contrasts[0].verdict.kind is Kind.helps
        std = np.sqrt(values.var(axis=1, ddof=1).mean())
        theirs += values[1].mean() - values[0].mean() > critical * std * np.sqrt(2 / n)
    print(f"{levels} levels, n {n}: {found / theirs:.2f} of Dunnett's {theirs / studies:.2f}")
    assert found / theirs >= least
