"""A sweep's cells -> verdicts on each level of each factor, together; no Keras, no MLflow, no plots.

One linear model over all cells gives one residual variance with many degrees of freedom, where each pair alone would
have a handful; a family of comparisons shares one alpha.
"""

import functools
import itertools
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, fdtrc, stdtr, stdtrit

from ablate.stats.estimates import SECOND_LOOK
from ablate.stats.verdicts import Kind, Verdict, judge, seeds_needed, verdict

Levels = tuple[str, ...]

DRAWS, LEVENE_DRAWS, LEVENE_DRAWS_OF_MANY = 200_000, 1999, 399
MANY_RUNS = 2000
"""Runs beyond which Levene's statistic is drawn less often: a p-value from draws is exact however few they are."""
LARGEST_FAMILY = 64
"""Comparisons up to which their joint distribution is drawn; beyond, Holm's procedure costs less and loses little."""
DETERMINED = 1e-9
"""Variance, of 1, up to which a contrast is taken to follow from others: correlations are rounded at 1e-12."""
DEPENDENT = 1e-10
"""Share of a design's largest direction up to which a direction is rounding, and no parameter. At the libraries' own
bound, one epsilon, dependent columns counted as parameters on one processor and not on another."""


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
class OverImages:
    """Interval of an effect over test sets like this one, for the models that were trained: see ``count_interval``.

    Attributes:
        low: In percentage points of top-1.
        high: Likewise.
        images: Of the test set.
    """

    low: float
    high: float
    images: int


@dataclass(frozen=True)
class Contrast:
    """A level of a factor against its baseline, all other factors held.

    Attributes:
        at: The other factors' levels.
        diverged: Runs of the level, and of its baseline, that have no result.
        runs: How many there are of each.
        over_images: The second interval, beside the verdict's, which is over seeds; None where the runs do not keep
            which images they got right.
    """

    factor: str
    level: str
    baseline: str
    at: Mapping[str, str]
    verdict: Verdict
    diverged: tuple[int, int] = (0, 0)
    runs: tuple[int, int] = (0, 0)
    over_images: OverImages | None = None


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
        equal_variance: Test -> its p of one variance in all cells; none where no two cells have a spread.
        stds: The smallest and the largest standard deviation of a cell, where cells are taken to differ in it; else
            None.
        method: How intervals and p-values were made simultaneous.
        notes: What a reader has to know.
    """

    contrasts: Sequence[Contrast]
    effects: Sequence[Effect]
    std: float | None
    df: int
    equal_variance: Mapping[str, float]
    stds: tuple[float, float] | None
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

    Where cells seem to differ in variance (p below ``UNEQUAL``), a factor whose levels seem to share theirs at every
    combination of the other factors is judged by the variance of each combination, at its share of alpha; the pairs of
    any other factor are judged one by one, by Welch's t or, where seeds are blocks, by Student's over pairs.

    Args:
        observations: The runs; those of one cell and seed are one run, repeated, and count as their mean.
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
    finite = _by_seed(observations)
    cells = _cells(finite)
    judged = [index for index, factor in enumerate(factors) if compare is None or factor in compare]
    pairs = _pairs(dict.fromkeys(run.levels for run in observations), factors, judged, baseline)
    told = [pair for pair in pairs if pair.level in cells and pair.baseline in cells]
    fit, equal = _fit(finite, blocks=blocks), _equal_variances(cells)
    rule = Rule(margin, higher_is_better, alpha, blocks)
    alike = all(p >= UNEQUAL for p in equal.values())
    if fit and fit.std > 0 and alike:
        verdicts, method = _pooled(fit, told, cells, rule), _one_model(len(told))
    else:
        verdicts, method = _separate(told, finite, factors, rule)
        method = _ONE_RUN if fit is None else _NO_SPREAD if fit.std == 0 else f"{_differ(equal)}: {method}"
    found = dict(zip(told, verdicts, strict=True))
    ended = _ended(observations)
    contrasts = [_contrast(pair, found.get(pair, _NOTHING), ended, factors) for pair in pairs]
    effects = _effects(finite, factors) if fit else []
    stds = None if alike else _stds(cells)
    notes = _notes(observations, contrasts, rule)
    std, df = (fit.std, fit.df) if fit else (None, 0)
    return Analysis(contrasts, effects, std, df, equal, stds, method, notes)


UNEQUAL = 0.15
"""p of one variance below which cells are taken to differ.

Not 0.05: with three runs a cell a test hardly sees threefold spreads, and what allows pooling must be easy to refuse.
"""
_JOINT = "simultaneous by the joint t distribution (Dunnett's for one factor)"
_SHARED = "Bonferroni's intervals and Holm's p-values"
_NO_SPREAD = "the runs of each cell agree in every digit, so no interval can be given"
_ONE_RUN = "one run a cell, which has no spread, so no interval can be given and no level is judged"
_NOTHING = Verdict(Kind.undecided, None, None, None, None, 0, notes=("a side has no run with a result",))
_STEPWISE = (
    "Holm's p-values are adjusted step by step: one below alpha stands beside a Bonferroni interval that holds 0, and "
    "the interval decides"
)
_TWO_RUNS = "two runs a cell hardly tell spreads, nor whether cells differ in them: a third seed is worth most"


def _one_model(family: int) -> str:
    return f"one linear model over all cells, pooled variance, {_JOINT if family <= LARGEST_FAMILY else _SHARED}"


def _differ(equal: Mapping[str, float]) -> str:
    return f"variances differ between cells ({', '.join(f'{test} p {p:.2g}' for test, p in equal.items())})"


@dataclass(frozen=True)
class Rule:
    """How verdicts are made.

    Attributes:
        margin: Smallest effect of interest, in the unit of the values.
        higher_is_better: False for a loss, an error, a time.
        alpha: Of the whole family.
        blocks: Runs of one seed share split, subset and data order.
    """

    margin: float | None = None
    higher_is_better: bool = True
    alpha: float = 0.05
    blocks: bool = False

    def of(self, share: float) -> "Rule":
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


def _by_seed(observations: Sequence[Observation]) -> list[Observation]:
    """Those with a result, in their order; repeats of a seed, which are not independent runs, as their mean."""
    found: dict[tuple[Levels, int], list[float]] = {}
    for run in observations:
        if math.isfinite(run.value):
            found.setdefault((run.levels, run.seed), []).append(run.value)
    return [Observation(levels, seed, math.fsum(of) / len(of)) for (levels, seed), of in found.items()]


def _cells(observations: Sequence[Observation]) -> dict[Levels, NDArray[np.float64]]:
    grouped: dict[Levels, list[float]] = {}
    for run in observations:
        grouped.setdefault(run.levels, []).append(run.value)
    return {levels: np.array(values) for levels, values in grouped.items()}


def _pairs(
    cells: Collection[Levels], factors: Sequence[str], judged: Sequence[int], baseline: Mapping[str, str]
) -> list[_Pair]:
    """Cells that differ from a cell at the baseline of one factor in that factor alone."""
    pairs = []
    for index in judged:
        for levels in cells:
            other = (*levels[:index], baseline[factors[index]], *levels[index + 1 :])
            if other != levels and other in cells:
                pairs.append(_Pair(index, levels, other))
    return pairs


def _contrast(pair: _Pair, found: Verdict, ended: Mapping[Levels, tuple[int, int]], factors: Sequence[str]) -> Contrast:
    name = factors[pair.factor]
    (runs, lost), (of, gone) = ended[pair.level], ended[pair.baseline]
    return Contrast(
        factor=name,
        level=pair.level[pair.factor],
        baseline=pair.baseline[pair.factor],
        at={factor: level for factor, level in zip(factors, pair.level, strict=True) if factor != name},
        verdict=found,
        diverged=(lost, gone),
        runs=(runs, of),
    )


def _ended(observations: Sequence[Observation]) -> dict[Levels, tuple[int, int]]:
    """Cell -> its runs, and how many of them have no result."""
    runs = Counter(run.levels for run in observations)
    lost = Counter(run.levels for run in observations if not math.isfinite(run.value))
    return {levels: (count, lost[levels]) for levels, count in runs.items()}


def _stds(cells: Mapping[Levels, NDArray[np.float64]]) -> tuple[float, float] | None:
    found = [float(values.std(ddof=1)) for values in cells.values() if len(values) > 1]
    return (min(found), max(found)) if found else None


def _equal_variances(cells: Mapping[Levels, NDArray[np.float64]]) -> dict[str, float]:
    """p of one variance in all cells, by Levene's test and by Bartlett's.

    Levene's holds in heavy tails and hardly sees one wild cell among few; Bartlett's sees it, and takes heavy tails for
    unequal variances, which costs power and no honesty. Levene's statistic is held against its distribution at these
    very cell sizes: by the textbook's F, most sweeps of three seeds would seem unequal. Of two runs it knows nothing.
    """
    from scipy import stats

    found = {}
    samples = [values for values in cells.values() if len(values) > 2 and np.ptp(values)]
    if len(samples) > 1:
        null = _levene_null(tuple(sorted(len(sample) for sample in samples)))
        above = np.sum(null >= stats.levene(*samples, center="mean").statistic)
        found["Levene"] = float((1 + above) / (1 + len(null)))
    if (bartlett := _bartlett([cells.values()])) is not None:
        found["Bartlett"] = bartlett
    return found


def _bartlett(strata: Iterable[Iterable[NDArray[np.float64]]]) -> float | None:
    """p of one variance in each stratum, which may differ between strata; None where no stratum has two spreads.

    For one stratum scipy's; likelihood ratios of independent strata add up, and so do their corrections.

    Source: Bartlett 1937, Proceedings of the Royal Society A 160.
    """
    statistic, correction, df = 0.0, 0.0, 0
    for stratum in strata:
        samples = [values for values in stratum if len(values) > 1 and np.ptp(values)]
        if len(samples) < 2:
            continue
        free = np.array([len(values) - 1 for values in samples], float)
        variances = np.array([values.var(ddof=1) for values in samples])
        statistic += float(free @ (np.log(free @ variances / free.sum()) - np.log(variances)))
        correction += float((1 / free).sum() - 1 / free.sum()) / 3
        df += len(samples) - 1
    return float(chdtrc(df, statistic / (1 + correction / df))) if df else None


@functools.lru_cache(maxsize=32)
def _levene_null(sizes: tuple[int, ...]) -> NDArray[np.float64]:
    """Draws of Levene's statistic for normal samples of these sizes and one variance."""
    from scipy import stats

    rng = np.random.default_rng(0)
    times = LEVENE_DRAWS if sum(sizes) <= MANY_RUNS else LEVENE_DRAWS_OF_MANY
    draws = [rng.normal(size=(times, size)) for size in sizes]
    deviations = [np.abs(each - each.mean(axis=1, keepdims=True)) for each in draws]
    return np.asarray(stats.f_oneway(*deviations, axis=1).statistic)


# ----------------------------------------------------------------------------------------------------- one linear model


@dataclass(frozen=True)
class _Groups:
    """Runs that no model tells apart, together: their mean and number say all that a row for each would.

    Attributes:
        levels: Of each group.
        seeds: Likewise, where seeds are blocks; else 0.
        means: ``(groups,)``.
        counts: ``(groups,)``, the weights of the means.
        within: Sum of squares of the runs about the means of their groups: no model explains any of it.
    """

    levels: Sequence[Levels]
    seeds: Sequence[int]
    means: NDArray[np.float64]
    counts: NDArray[np.float64]
    within: float

    @property
    def runs(self) -> int:
        """How many there are."""
        return int(self.counts.sum())


def _groups(observations: Sequence[Observation], *, blocks: bool = False) -> _Groups:
    found: dict[tuple[Levels, int], list[float]] = {}
    for run in observations:
        found.setdefault((run.levels, run.seed if blocks else 0), []).append(run.value)
    values = [np.array(each) for each in found.values()]
    within = math.fsum(float(np.sum((each - each.mean()) ** 2)) for each in values)
    means, counts = (np.array([of(each) for each in values], np.float64) for of in (np.mean, len))
    return _Groups([levels for levels, _ in found], [seed for _, seed in found], means, counts, within)


@dataclass(frozen=True)
class _Fit:
    """A mean a cell, and how well it is known.

    Attributes:
        places: Cell -> its number.
        means: ``(cells,)``.
        covariance: Of the means of two cells by their numbers, arrays that broadcast; in units of a run's variance.
        std: Residual standard deviation; 0 where it is nothing but rounding.
        df: Its degrees of freedom.
    """

    places: Mapping[Levels, int]
    means: NDArray[np.float64]
    covariance: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]
    std: float
    df: int


def _fit(observations: Sequence[Observation], *, blocks: bool = False) -> _Fit | None:
    """A mean a cell, and a shift a seed where seeds are blocks; None where no run is left to tell the noise from."""
    groups = _groups(observations, blocks=blocks)
    places = {levels: number for number, levels in enumerate(dict.fromkeys(groups.levels))}
    if blocks:
        design = _blocked(groups, places)
        solved = _least_squares(groups, design)
        if solved is None:
            return None
        inner = design.T @ (design * groups.counts[:, None])
        spread = np.asarray(np.linalg.pinv(inner, rcond=DEPENDENT, hermitian=True), np.float64)
        std = _std(groups, solved.ssr, solved.df)
        return _Fit(places, solved.params[: len(places)], lambda a, b: spread[a, b], std, solved.df)
    df = groups.runs - len(places)
    known = 1 / groups.counts
    std = _std(groups, groups.within, df) if df else 0.0
    return _Fit(places, groups.means, lambda a, b: np.where(a == b, known[a], 0.0), std, df) if df else None


def _blocked(groups: _Groups, places: Mapping[Levels, int]) -> NDArray[np.float64]:
    """An indicator a cell, and one a seed but the first."""
    seeds = {seed: number for number, seed in enumerate(sorted(set(groups.seeds))[1:], start=len(places))}
    design = np.zeros((len(groups.levels), len(places) + len(seeds)))
    for row, levels, seed in zip(design, groups.levels, groups.seeds, strict=True):
        row[places[levels]] = 1
        if seed in seeds:
            row[seeds[seed]] = 1
    return design


@dataclass(frozen=True)
class _Solved:
    """A model's least squares.

    Attributes:
        params: A coefficient a column.
        ssr: Sum of squares of the runs about it.
        df: Degrees of freedom that are left.
    """

    params: NDArray[np.float64]
    ssr: float
    df: int


def _least_squares(groups: _Groups, design: NDArray[np.float64]) -> _Solved | None:
    """What a row a run would give, from a row a group with its weight; None where no run is left to tell the noise.

    By scipy, since importing statsmodels takes longer than most sweeps take to fit; columns may depend on each other.
    """
    from scipy.linalg import lstsq

    root = np.sqrt(groups.counts)
    params, _, rank, _ = lstsq(design * root[:, None], groups.means * root, cond=DEPENDENT, lapack_driver="gelsy")
    df = groups.runs - int(rank)
    if df <= 0:
        return None
    return _Solved(params, groups.within + float(groups.counts @ (groups.means - design @ params) ** 2), df)


def _std(groups: _Groups, ssr: float, df: int) -> float:
    std = math.sqrt(ssr / df)
    return std if std > 1e-9 * max(1.0, float(np.abs(groups.means).max())) else 0.0


def _pooled(
    fit: _Fit, pairs: Sequence[_Pair], cells: Mapping[Levels, NDArray[np.float64]], rule: Rule
) -> list[Verdict]:
    """All contrasts from the one model, simultaneous."""
    if not pairs:
        return []
    above, below = (np.array([fit.places[cell] for cell in side]) for side in zip(*map(_sides, pairs), strict=True))
    effects = fit.means[above] - fit.means[below]
    variances = fit.covariance(above, above) + fit.covariance(below, below) - 2 * fit.covariance(above, below)
    errors = fit.std * np.sqrt(variances)
    family = _Family(len(pairs), fit.df, lambda: _correlation(fit, above, below))
    wide, narrow = (family.critical(level) * errors for level in (rule.alpha, 2 * rule.alpha))
    p_values = family.p_values(effects / errors)
    sizes = [min(len(cells[pair.level]), len(cells[pair.baseline])) for pair in pairs]
    needed = None if rule.margin is None else seeds_needed(fit.std, rule.margin, alpha=rule.alpha, groups=len(pairs))
    return [
        _simultaneous(float(effect), float(w), float(s), float(p), n, rule, needed)
        for effect, w, s, p, n in zip(effects, wide, narrow, p_values, sizes, strict=True)
    ]


def _sides(pair: _Pair) -> tuple[Levels, Levels]:
    return pair.level, pair.baseline


def _correlation(fit: _Fit, above: NDArray[np.int64], below: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of the contrasts of these cells."""
    rows, columns = [side[:, None] for side in (above, below)], [side[None, :] for side in (above, below)]
    signs = (1, -1)
    covariance = sum(
        a * b * fit.covariance(row, column)
        for a, row in zip(signs, rows, strict=True)
        for b, column in zip(signs, columns, strict=True)
    )
    root = np.sqrt(np.diag(covariance))
    return np.asarray((covariance / np.outer(root, root)).round(12))


def _simultaneous(
    effect: float, wide: float, narrow: float, p: float, n: int, rule: Rule, needed: int | None
) -> Verdict:
    low, high = effect - wide, effect + wide
    inner = effect - narrow, effect + narrow
    kind = judge(effect, (low, high), inner, rule.margin, higher_is_better=rule.higher_is_better)
    return Verdict(kind, effect, low, high, p, n, needed if kind is Kind.undecided else None)


class _Family:
    """Contrasts that share an alpha: their t statistics are jointly t-distributed, with known correlation."""

    def __init__(self, size: int, df: int, correlation: Callable[[], NDArray[np.float64]]) -> None:
        self._joint = size <= LARGEST_FAMILY
        self._df, self._size = df, size
        self._largest = _largest(correlation().tobytes(), df) if self._joint else np.empty(0)

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
    matrix = np.frombuffer(correlation)
    size = math.isqrt(len(matrix))
    rng = np.random.default_rng(0)
    normal = rng.standard_normal((DRAWS, size)) @ _factor(matrix.reshape(size, size)).T
    return np.sort(np.abs(normal).max(axis=1) / np.sqrt(rng.chisquare(df, DRAWS) / df))


def _factor(correlation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cholesky's lower triangle ``(size, size)``; the column of a contrast that those before it determine is 0.

    There is one such factor. Eigenvectors of equal eigenvalues would be as the processor's routines find them, and
    intervals that are drawn by them differ by 0.001 between processors.
    """
    factor = np.zeros_like(correlation)
    for column in range(len(correlation)):
        left = correlation[column:, column] - factor[column:, :column] @ factor[column, :column]
        if left[0] > DETERMINED:
            factor[column:, column] = left / math.sqrt(left[0])
    return factor


def _separate(
    pairs: Sequence[_Pair], runs: Sequence[Observation], factors: Sequence[str], rule: Rule
) -> tuple[list[Verdict], str]:
    """Cells that differ in variance: what shares one by itself, everything else pair by pair; and how, in words."""
    cells, found = _cells(runs), dict[_Pair, Verdict]()
    alone, pooled = [], []
    for factor, each in itertools.groupby(pairs, lambda pair: pair.factor):
        groups = [list(group) for _, group in itertools.groupby(sorted(each, key=_baseline), _baseline)]
        p = None if rule.blocks else _bartlett([[cells[levels] for levels in _members(group)] for group in groups])
        if p is None or p < UNEQUAL:
            alone.append(factor)
            continue
        pooled.append(f"{factors[factor]} (p {p:.2g})")
        for group in groups:
            found |= _one_baseline(group, cells, rule, len(group) / len(pairs))
    rest = [pair for pair in pairs if pair not in found]
    found |= _one_by_one(rest, runs, rule, len(rest) / max(1, len(pairs)))
    words = [f"levels of {' and '.join(pooled)} by Dunnett's intervals with the variance at their own place"] * bool(
        pooled
    )
    each_pair = "Student's t over seeds" if rule.blocks else "Welch's t"
    if alone:
        words.append(f"levels of {' and '.join(factors[one] for one in alone)} pair by pair by {each_pair}, {_SHARED}")
    return [found[pair] for pair in pairs], "; ".join(words) + ", at alpha shared out evenly"


def _baseline(pair: _Pair) -> Levels:
    return pair.baseline


def _members(pairs: Sequence[_Pair]) -> list[Levels]:
    return [pairs[0].baseline, *(pair.level for pair in pairs)]


def _one_baseline(
    pairs: Sequence[_Pair], cells: Mapping[Levels, NDArray[np.float64]], rule: Rule, share: float
) -> dict[_Pair, Verdict]:
    """Levels that share a baseline and a variance, at their share of alpha; nothing where they have no spread."""
    mine = [Observation(levels, 0, float(value)) for levels in _members(pairs) for value in cells[levels]]
    fit = _fit(mine)
    if fit is None or fit.std == 0:
        return {}
    verdicts = _pooled(fit, pairs, cells, rule.of(share))
    return {pair: _shared(one, share) for pair, one in zip(pairs, verdicts, strict=True)}


def _shared(found: Verdict, share: float) -> Verdict:
    return found if found.p is None else replace(found, p=min(1.0, found.p / share))


def _one_by_one(pairs: Sequence[_Pair], runs: Sequence[Observation], rule: Rule, share: float) -> dict[_Pair, Verdict]:
    """Each pair by itself, at its share of alpha; p-values by Holm."""
    if not pairs:
        return {}
    one, by_seed = rule.of(share / len(pairs)), dict[Levels, dict[int, float]]()
    for run in runs:
        by_seed.setdefault(run.levels, {})[run.seed] = run.value
    found = [_alone(by_seed[pair.level], by_seed[pair.baseline], one) for pair in pairs]
    holm = iter(adjusted([each.p for each in found if each.p is not None]))
    stepped = [each if each.p is None else replace(each, p=next(holm)) for each in found]
    return {pair: _shared(each, share) for pair, each in zip(pairs, stepped, strict=True)}


def _alone(level: Mapping[int, float], baseline: Mapping[int, float], rule: Rule) -> Verdict:
    both = level.keys() & baseline.keys()
    sides = [[side[seed] for seed in sorted(both if rule.blocks else side)] for side in (level, baseline)]
    return verdict(
        *sides, margin=rule.margin, paired=rule.blocks, higher_is_better=rule.higher_is_better, alpha=rule.alpha
    )


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
    groups = _groups(observations)
    moving = [index for index in range(len(factors)) if len({levels[index] for levels in groups.levels}) > 1]
    mains = [(index,) for index in moving]
    crossed = [pair for pair in itertools.combinations(moving, 2) if _crossed(groups, pair)]
    tests = [(term, mains) for term in mains] + [(term, [*mains, *crossed]) for term in crossed]
    found = (_f_test(groups, term, among) for term, among in tests)
    return [
        Effect(tuple(factors[index] for index in term), f, p)
        for (term, _), each in zip(tests, found, strict=True)
        if each is not None
        for f, p in [each]
    ]


def _crossed(groups: _Groups, pair: tuple[int, int]) -> bool:
    """Whether every level of one was run with every level of the other."""
    a, b = ({levels[index] for levels in groups.levels} for index in pair)
    return len({(levels[pair[0]], levels[pair[1]]) for levels in groups.levels}) == len(a) * len(b)


def _f_test(groups: _Groups, term: tuple[int, ...], among: Sequence[tuple[int, ...]]) -> tuple[float, float] | None:
    left = [_left(groups, terms) for terms in (among, [other for other in among if other != term])]
    (ssr, df), (rest, rest_df) = left
    if df <= 0 or rest_df == df or ssr <= 1e-18 * max(1.0, groups.within + float(groups.counts @ groups.means**2)):
        return None
    f = (rest - ssr) / (rest_df - df) / (ssr / df)
    return f, float(fdtrc(rest_df - df, df, f))


def _left(groups: _Groups, terms: Sequence[tuple[int, ...]]) -> tuple[float, int]:
    """Sum of squares that a model of these terms leaves, and its degrees of freedom."""
    if any(
        len({tuple(levels[index] for index in term) for levels in groups.levels}) == len(groups.levels)
        for term in terms
    ):  # a term that tells every cell from every other leaves what is within cells
        return groups.within, groups.runs - len(groups.levels)
    solved = _least_squares(groups, _design(groups.levels, terms))
    return (solved.ssr, solved.df) if solved else (0.0, 0)


def _design(cells: Sequence[Levels], terms: Sequence[tuple[int, ...]]) -> NDArray[np.float64]:
    """An intercept, an indicator a level but each factor's first, and their products where factors are crossed."""
    columns = [np.ones(len(cells))]
    levels = [np.array(each) for each in zip(*cells, strict=True)]
    for term in terms:
        indicators = [[levels[index] == level for level in np.unique(levels[index])[1:]] for index in term]
        columns += [np.prod(chosen, axis=0, dtype=np.float64) for chosen in itertools.product(*indicators)]
    return np.column_stack(columns)


def _notes(observations: Sequence[Observation], contrasts: Sequence[Contrast], rule: Rule) -> list[str]:
    notes = []
    if lost := sum(not math.isfinite(run.value) for run in observations):
        notes.append(f"{lost} of {len(observations)} runs have no result: means are over the others")
    if rule.blocks:
        notes.append("seeds are blocks: runs of one seed share split, subset and data order")
    verdicts = [each.verdict for each in contrasts]
    if max((each.n for each in verdicts), default=0) == 2:
        notes.append(_TWO_RUNS)
    undecided = [each for each in verdicts if each.kind is Kind.undecided]
    if any(each.p is not None and each.p < rule.alpha for each in undecided):
        notes.append(_STEPWISE)
    return [*notes, *([SECOND_LOOK] if undecided else [])]
