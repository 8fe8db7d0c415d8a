"""A sweep's cells -> verdicts on each level of each factor, together; no Keras, no MLflow, no plots.

One linear model over all cells gives one residual variance with many degrees of freedom, where each pair alone would
have a handful; a family of comparisons shares one alpha.
"""

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from ablate.stats import SECOND_LOOK, Kind, Verdict, judge, seeds_needed, verdict

Levels = tuple[str, ...]

DRAWS, LEVENE_DRAWS = 200_000, 1999
LARGEST_FAMILY = 64
"""Comparisons up to which their joint distribution is drawn; beyond, Holm's procedure costs less and loses little."""


@dataclass(frozen=True)
class Observation:
    """One run.

    Attributes:
        levels: A level a factor, in the order of the factors.
        seed: What blocks go by.
        value: NaN for a run without a result.
    """

    levels: Levels
    seed: int
    value: float


@dataclass(frozen=True)
class Contrast:
    """A level of a factor against its baseline, all other factors held.

    Attributes:
        at: The other factors' levels.
        diverged: Runs of the level, and of its baseline, that have no result.
        runs: How many there are of each.
    """

    factor: str
    level: str
    baseline: str
    at: Mapping[str, str]
    verdict: Verdict
    diverged: tuple[int, int] = (0, 0)
    runs: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Effect:
    """A main effect or a two-way interaction: does it explain anything at all?

    Attributes:
        factors: One name, or two.
        f: F statistic against the model without it.
        p: Of that.
    """

    factors: tuple[str, ...]
    f: float
    p: float


@dataclass(frozen=True)
class Analysis:
    """What a sweep says.

    Attributes:
        contrasts: Every level against its factor's baseline, at every combination of the others that has both.
        effects: Main effects, then two-way interactions, where the design can tell them.
        std: Residual standard deviation, pooled over cells; None without repeated cells.
        df: Its degrees of freedom.
        equal_variance_p: Of one variance in all cells.
        method: How intervals and p-values were made simultaneous.
        notes: What a reader has to know.
    """

    contrasts: Sequence[Contrast]
    effects: Sequence[Effect]
    std: float | None
    df: int
    equal_variance_p: float | None
    method: str
    notes: Sequence[str]


def analyse(
    observations: Sequence[Observation],
    factors: Sequence[str],
    baseline: Mapping[str, str],
    *,
    compare: Sequence[str] | None = None,
    margin: float | None = None,
    blocks: bool = False,
    higher_is_better: bool = True,
    alpha: float = 0.05,
) -> Analysis:
    """Fits one mean a cell, and compares levels by it.

    Where variances differ between cells (p below 0.05), the levels of a factor at one combination of the others are
    compared by themselves, at their share of alpha: with their own pooled variance, or if even they differ, each pair
    by Welch's t.

    Args:
        observations: The runs.
        factors: Names, in the order of the levels.
        baseline: Factor -> the level that others are held against.
        compare: Factors whose levels are judged, the others being where; None judges all, at the price of wider
            intervals, which cover more comparisons.
        margin: Smallest effect of interest, in the unit of the values.
        blocks: The seeds are blocks: runs of one seed share split, subset and data order.
        higher_is_better: False for a loss, an error, a time.
        alpha: Of the whole family.

    Raises:
        ValueError: A factor without a baseline, a run with another number of levels.

    Source:
        Hothorn, Bretz and Westfall 2008, Biometrical Journal 50 (3), 346-363; for one factor: Dunnett 1955, JASA 50.
    """
    _require_design(observations, factors, baseline, compare)
    finite = [run for run in observations if math.isfinite(run.value)]
    cells = _cells(finite)
    judged = [index for index, factor in enumerate(factors) if compare is None or factor in compare]
    pairs = _pairs(cells, factors, judged, baseline)
    fit, equal = _fit(finite, blocks=blocks), _equal_variances(cells)
    rule = _Rule(margin, higher_is_better, alpha)
    if fit is not None and fit.std > 0 and (equal is None or equal >= UNEQUAL):
        how = _JOINT if len(pairs) <= LARGEST_FAMILY else _SHARED
        found, method = _pooled(fit, pairs, cells, rule), f"one linear model over all cells, pooled variance, {how}"
    else:
        found, method = _separate(pairs, cells, rule), f"{_SEPARATE}" + ("" if equal is None else f" (p = {equal:.2g})")
    contrasts = [_contrast(pair, each, observations, factors) for pair, each in zip(pairs, found, strict=True)]
    effects = _effects(finite, factors) if fit else []
    notes = _notes(observations, contrasts, blocks=blocks)
    return Analysis(contrasts, effects, fit.std if fit else None, fit.df if fit else 0, equal, method, notes)


UNEQUAL = 0.05
"""p of one variance below which cells are taken to differ."""
_JOINT = "simultaneous by the joint t distribution (Dunnett's for one factor)"
_SHARED = "Bonferroni's intervals and Holm's p-values"
_SEPARATE = (
    "variances differ between cells: Dunnett's intervals where those of a comparison agree, else Welch's with Holm's "
    "p-values, at alpha shared out evenly"
)


@dataclass(frozen=True)
class _Rule:
    """How verdicts are made."""

    margin: float | None
    higher_is_better: bool
    alpha: float

    def of(self, share: float) -> "_Rule":
        return replace(self, alpha=self.alpha * share)


def _require_design(
    observations: Sequence[Observation],
    factors: Sequence[str],
    baseline: Mapping[str, str],
    compare: Sequence[str] | None,
) -> None:
    if unknown := [factor for factor in compare or [] if factor not in factors]:
        raise ValueError(f"compare must name factors of {', '.join(factors)}, got {', '.join(unknown)}.")
    if missing := [factor for factor in factors if factor not in baseline]:
        raise ValueError(f"every factor must have a baseline level, got none for {', '.join(missing)}.")
    if wrong := next((run for run in observations if len(run.levels) != len(factors)), None):
        raise ValueError(f"a run must have a level for each of {', '.join(factors)}, got {wrong.levels}.")


# ------------------------------------------------------------------------------------------------ cells and their pairs


@dataclass(frozen=True)
class _Pair:
    factor: int
    level: Levels
    baseline: Levels


def _cells(observations: Sequence[Observation]) -> dict[Levels, NDArray[np.float64]]:
    grouped: dict[Levels, list[float]] = {}
    for run in observations:
        grouped.setdefault(run.levels, []).append(run.value)
    return {levels: np.array(values) for levels, values in grouped.items()}


def _pairs(
    cells: Mapping[Levels, Any], factors: Sequence[str], judged: Sequence[int], baseline: Mapping[str, str]
) -> list[_Pair]:
    """Cells that differ from a cell at the baseline of one factor in that factor alone."""
    pairs = []
    for index in judged:
        for levels in cells:
            other = (*levels[:index], baseline[factors[index]], *levels[index + 1 :])
            if other != levels and other in cells:
                pairs.append(_Pair(index, levels, other))
    return pairs


def _contrast(pair: _Pair, found: Verdict, observations: Sequence[Observation], factors: Sequence[str]) -> Contrast:
    name = factors[pair.factor]
    runs = [[run for run in observations if run.levels == levels] for levels in (pair.level, pair.baseline)]
    lost = [sum(not math.isfinite(run.value) for run in side) for side in runs]
    return Contrast(
        factor=name,
        level=pair.level[pair.factor],
        baseline=pair.baseline[pair.factor],
        at={factor: level for factor, level in zip(factors, pair.level, strict=True) if factor != name},
        verdict=found,
        diverged=(lost[0], lost[1]),
        runs=(len(runs[0]), len(runs[1])),
    )


def _equal_variances(cells: Mapping[Levels, NDArray[np.float64]]) -> float | None:
    """p of one variance in all cells: Levene's test and Bartlett's, the smaller p counted twice.

    Levene's holds in heavy tails and hardly sees one wild cell among few; Bartlett's sees it, and takes heavy tails for
    unequal variances, which costs power and no honesty. Levene's statistic is held against its distribution at these
    very cell sizes: by the textbook's F, most sweeps of three seeds would seem unequal.
    """
    from scipy import stats

    samples = [values for values in cells.values() if len(values) > 2 and np.ptp(values)]
    if len(samples) < 2:
        return None
    null = _levene_null(tuple(sorted(len(sample) for sample in samples)))
    levene = float((1 + np.sum(null >= stats.levene(*samples, center="mean").statistic)) / (1 + len(null)))
    return min(1.0, 2 * min(levene, float(stats.bartlett(*samples).pvalue)))


@functools.lru_cache(maxsize=32)
def _levene_null(sizes: tuple[int, ...]) -> NDArray[np.float64]:
    """Draws of Levene's statistic for normal samples of these sizes and one variance."""
    from scipy import stats

    rng = np.random.default_rng(0)
    draws = [rng.normal(size=(LEVENE_DRAWS, size)) for size in sizes]
    deviations = [np.abs(each - each.mean(axis=1, keepdims=True)) for each in draws]
    return np.asarray(stats.f_oneway(*deviations, axis=1).statistic)


# ----------------------------------------------------------------------------------------------------- one linear model


@dataclass(frozen=True)
class _Fit:
    means: Mapping[Levels, int]
    results: Any
    std: float
    df: int


def _fit(observations: Sequence[Observation], *, blocks: bool = False) -> _Fit | None:
    """A mean a cell, and a shift a seed where seeds are blocks; None where no cell has two runs."""
    columns = {levels: index for index, levels in enumerate(dict.fromkeys(run.levels for run in observations))}
    seeds = sorted({run.seed for run in observations})[1:] if blocks else []
    design = np.zeros((len(observations), len(columns) + len(seeds)))
    for row, run in zip(design, observations, strict=True):
        row[columns[run.levels]] = 1
        if run.seed in seeds:
            row[len(columns) + seeds.index(run.seed)] = 1
    results = _least_squares(np.array([run.value for run in observations]), design)
    if results is None:
        return None
    std = math.sqrt(results.scale)
    scale = max(1.0, float(np.abs(results.model.endog).max()))
    return _Fit(columns, results, std if std > 1e-9 * scale else 0.0, int(results.df_resid))


def _least_squares(values: NDArray[np.float64], design: NDArray[np.float64]) -> Any:
    """The fitted model; None where it leaves no run to tell the noise from.

    By QR where the columns are independent: its R tells that too, at a hundredth of what a singular value decomposition
    of 10,000 runs costs. No constant is looked for, which would cost another; residuals do not depend on it.
    """
    from statsmodels.regression.linear_model import OLS

    rank = _rank(design)
    if len(values) <= rank:
        return None
    method = "qr" if rank == design.shape[1] else "pinv"
    return OLS(values, design, hasconst=False).fit(method=method)


def _rank(design: NDArray[np.float64]) -> int:
    return int(np.linalg.matrix_rank(np.linalg.qr(design, mode="r")))


def _pooled(
    fit: _Fit, pairs: Sequence[_Pair], cells: Mapping[Levels, NDArray[np.float64]], rule: _Rule
) -> list[Verdict]:
    """All contrasts from the one model, simultaneous."""
    if not pairs:
        return []
    matrix = np.zeros((len(pairs), len(fit.results.params)))
    for row, pair in zip(matrix, pairs, strict=True):
        row[fit.means[pair.level]], row[fit.means[pair.baseline]] = 1, -1
    test = fit.results.t_test(matrix)
    effects, errors = np.atleast_1d(test.effect), np.atleast_1d(np.squeeze(test.sd))
    family = _Family(matrix @ fit.results.cov_params() @ matrix.T, fit.df)
    wide, narrow = (family.critical(level) * errors for level in (rule.alpha, 2 * rule.alpha))
    p_values = family.p_values(effects / errors)
    sizes = [min(len(cells[pair.level]), len(cells[pair.baseline])) for pair in pairs]
    return [
        _simultaneous(float(effect), float(w), float(s), float(p), n, rule, fit.std, len(pairs))
        for effect, w, s, p, n in zip(effects, wide, narrow, p_values, sizes, strict=True)
    ]


def _simultaneous(
    effect: float, wide: float, narrow: float, p: float, n: int, rule: _Rule, std: float, family: int
) -> Verdict:
    low, high = effect - wide, effect + wide
    inner = effect - narrow, effect + narrow
    kind = judge(effect, (low, high), inner, rule.margin, higher_is_better=rule.higher_is_better)
    needed = None
    if kind is Kind.undecided and rule.margin is not None:
        needed = seeds_needed(std, rule.margin, alpha=rule.alpha, groups=family)
    return Verdict(kind, effect, low, high, p, n, needed)


class _Family:
    """Contrasts that share an alpha: their t statistics are jointly t-distributed, with known correlation."""

    def __init__(self, covariance: NDArray[np.float64], df: int) -> None:
        root = np.sqrt(np.diag(covariance))
        correlation = (covariance / np.outer(root, root)).round(9)
        self._joint = len(root) <= LARGEST_FAMILY
        self._df, self._size = df, len(root)
        self._largest = _largest(correlation.tobytes(), df) if self._joint else np.empty(0)

    def critical(self, alpha: float) -> float:
        """The t that no contrast exceeds with probability ``1 - alpha`` where no effect is."""
        if self._joint:
            return float(np.quantile(self._largest, 1 - alpha))
        return -float(stdtrit(self._df, alpha / 2 / self._size))

    def p_values(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of each contrast, adjusted for the family."""
        if self._joint:
            above = len(self._largest) - np.searchsorted(self._largest, np.abs(t))
            return np.asarray((above + 1) / (len(self._largest) + 1))
        return np.asarray(adjusted(2 * stdtr(self._df, -np.abs(t))))


@functools.lru_cache(maxsize=32)
def _largest(correlation: bytes, df: int) -> NDArray[np.float64]:
    """Draws of the largest |t| of a family without effects, rising; the same for every sweep of one design.

    Drawn, not integrated: 200,000 draws know a p-value of 0.05 to 0.0005, in a hundredth of the time.
    """
    from scipy import stats

    matrix = np.frombuffer(correlation)
    size = math.isqrt(len(matrix))
    joint = stats.multivariate_t(shape=matrix.reshape(size, size), df=df, allow_singular=True, seed=0)
    return np.sort(np.abs(joint.rvs(size=DRAWS).reshape(DRAWS, size)).max(axis=1))


def _separate(pairs: Sequence[_Pair], cells: Mapping[Levels, NDArray[np.float64]], rule: _Rule) -> list[Verdict]:
    """The levels that share a baseline, by themselves, at their share of alpha."""
    found: dict[_Pair, Verdict] = {}
    for _, each in itertools.groupby(sorted(pairs, key=_group), _group):
        group = list(each)
        share = len(group) / len(pairs)
        for pair, one in zip(group, _one_baseline(group, cells, rule.of(share)), strict=True):
            found[pair] = replace(one, p=None if one.p is None else min(1.0, one.p / share))
    return [found[pair] for pair in pairs]


def _group(pair: _Pair) -> tuple[int, Levels]:
    return pair.factor, pair.baseline


def _one_baseline(pairs: Sequence[_Pair], cells: Mapping[Levels, NDArray[np.float64]], rule: _Rule) -> list[Verdict]:
    mine = {levels: cells[levels] for levels in (pairs[0].baseline, *(pair.level for pair in pairs))}
    equal = _equal_variances(mine)
    fit = _fit([Observation(levels, 0, float(value)) for levels, values in mine.items() for value in values])
    if fit is not None and fit.std > 0 and equal is not None and equal >= UNEQUAL:
        return _pooled(fit, pairs, cells, rule)
    return _welch(pairs, cells, rule)


def _welch(pairs: Sequence[_Pair], cells: Mapping[Levels, NDArray[np.float64]], rule: _Rule) -> list[Verdict]:
    """Each pair by itself, at alpha shared out evenly."""
    one = rule.of(1 / len(pairs))
    each = [
        verdict(
            cells[pair.level],
            cells[pair.baseline],
            margin=one.margin,
            higher_is_better=one.higher_is_better,
            alpha=one.alpha,
        )
        for pair in pairs
    ]
    holm = iter(adjusted([found.p for found in each if found.p is not None]))
    return [found if found.p is None else replace(found, p=float(next(holm))) for found in each]


def adjusted(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order of the given ones.

    As statsmodels' ``multipletests``, which collects garbage at each call: 0.2 s where TensorFlow is loaded.

    Source: Holm 1979, Scandinavian Journal of Statistics 6(2).
    """
    order = np.argsort(p, kind="stable")
    found = np.empty(len(p))
    found[order] = np.minimum(1, np.maximum.accumulate(np.asarray(p, float)[order] * np.arange(len(p), 0, -1)))
    return [float(each) for each in found]


# -------------------------------------------------------------------------------------------------------------- effects


def _effects(observations: Sequence[Observation], factors: Sequence[str]) -> list[Effect]:
    """F tests of what the design can tell: a term is dropped from the largest of the models that hold it."""
    moving = [index for index in range(len(factors)) if len({run.levels[index] for run in observations}) > 1]
    mains = [(index,) for index in moving]
    crossed = [pair for pair in itertools.combinations(moving, 2) if _crossed(observations, pair)]
    tests = [(term, mains) for term in mains] + [(term, [*mains, *crossed]) for term in crossed]
    found = (_f_test(observations, term, among) for term, among in tests)
    return [
        Effect(tuple(factors[index] for index in term), f, p)
        for (term, _), each in zip(tests, found, strict=True)
        if each is not None
        for f, p in [each]
    ]


def _crossed(observations: Sequence[Observation], pair: tuple[int, int]) -> bool:
    """Whether every level of one was run with every level of the other."""
    a, b = ({run.levels[index] for run in observations} for index in pair)
    return len({(run.levels[pair[0]], run.levels[pair[1]]) for run in observations}) == len(a) * len(b)


def _f_test(
    observations: Sequence[Observation], term: tuple[int, ...], among: Sequence[tuple[int, ...]]
) -> tuple[float, float] | None:
    values = np.array([run.value for run in observations])
    full, rest = (
        _least_squares(values, _design(observations, terms))
        for terms in (among, [other for other in among if other != term])
    )
    if full is None or rest is None or full.df_resid == rest.df_resid:
        return None
    if full.ssr <= 1e-18 * max(1.0, float(values @ values)):
        return None
    f, p, _ = full.compare_f_test(rest)
    return float(f), float(p)


def _design(observations: Sequence[Observation], terms: Sequence[tuple[int, ...]]) -> NDArray[np.float64]:
    """An intercept, an indicator a level but each factor's first, and their products where factors are crossed."""
    columns = [np.ones(len(observations))]
    levels = [np.array(each) for each in zip(*(run.levels for run in observations), strict=True)]
    for term in terms:
        indicators = [[levels[index] == level for level in np.unique(levels[index])[1:]] for index in term]
        columns += [np.prod(chosen, axis=0, dtype=np.float64) for chosen in itertools.product(*indicators)]
    return np.column_stack(columns)


def _notes(observations: Sequence[Observation], contrasts: Sequence[Contrast], *, blocks: bool) -> list[str]:
    notes = []
    if lost := sum(not math.isfinite(run.value) for run in observations):
        notes.append(f"{lost} of {len(observations)} runs have no result: means are over the others")
    if blocks:
        notes.append("seeds are blocks: runs of one seed share split, subset and data order")
    if any(each.verdict.kind is Kind.undecided for each in contrasts):
        notes.append(SECOND_LOOK)
    return notes
