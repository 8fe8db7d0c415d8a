"""A sweep's cells -> verdicts on each level of each factor, together; no Keras, no MLflow, no plots.

One linear model over all cells gives one residual variance with many degrees of freedom, where each pair alone would
have a handful; a family of comparisons shares one alpha.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ablate.stats.crossed import Scope
from ablate.stats.design import Levels, Observation, Pair, by_cell, ended, mean_by_seed, pairs_of, require_design
from ablate.stats.estimates import SECOND_LOOK
from ablate.stats.family import LARGEST_FAMILY, Family, adjusted
from ablate.stats.model import Effect, Fit, fit_cells, term_effects
from ablate.stats.power import seeds_needed
from ablate.stats.variances import UNEQUAL, bartlett, equal_variances, extreme_stds
from ablate.stats.verdicts import Kind, Verdict, judge, verdict


@dataclass(frozen=True)
class OverImages:
    """Interval of an effect over test sets like this one, for the models that were trained: see ``count_interval``.

    Attributes:
        low: Lower end, percentage points of top-1.
        high: Upper end, percentage points of top-1.
        images: Number of images in the test set.
    """

    low: float
    high: float
    images: int


@dataclass(frozen=True)
class Interval:
    """Both ends of an interval of an effect, in the unit of the values."""

    low: float
    high: float


@dataclass(frozen=True)
class Contrast:
    """A level of a factor against its baseline, all other factors held.

    Attributes:
        factor: Name of the factor that is compared.
        level: Level of the factor that is judged.
        baseline: Level of the factor that it is held against.
        at: Other factor -> the level at which both sides hold it.
        verdict: Verdict on the comparison, over seeds.
        diverged: Number of runs without a result, of the level and of its baseline.
        runs: Number of runs, of the level and of its baseline.
        over_seeds: Interval over seeds alone, simultaneous, where the verdict's own is over seeds and images; else
            None.
        over_images: Interval over test images alone, for the trained models; None where the runs do not keep which
            images they got right.
    """

    factor: str
    level: str
    baseline: str
    at: Mapping[str, str]
    verdict: Verdict
    diverged: tuple[int, int] = (0, 0)
    runs: tuple[int, int] = (0, 0)
    over_seeds: Interval | None = None
    over_images: OverImages | None = None


@dataclass(frozen=True)
class Analysis:
    """What a sweep says.

    Attributes:
        contrasts: Every level against its factor's baseline, at every combination of the others that has both.
        effects: Main effects, then two-way interactions, where the design can tell them.
        std: Residual standard deviation, pooled over cells; None without repeated cells.
        df: Degrees of freedom of ``std``.
        equal_variance: Name of a test -> p-value of one variance in all cells; none where no two cells have a spread.
        stds: The smallest and the largest standard deviation of a cell, where cells are taken to differ in it; else
            None.
        method: Sentence on how intervals and p-values were made simultaneous.
        notes: Sentences on what a reader has to know.
        scope: Whom the verdicts speak for: ``population`` (other seeds, and other test images of the same kind) or
            ``these_images`` (other seeds, on the test images at hand).
        comparisons: How many comparisons share alpha.
    """

    contrasts: Sequence[Contrast]
    effects: Sequence[Effect]
    std: float | None
    df: int
    equal_variance: Mapping[str, float]
    stds: tuple[float, float] | None
    method: str
    notes: Sequence[str]
    scope: Scope = Scope.these_images
    comparisons: int = 0


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
        alpha: Rate of false verdicts of the whole family, 0 to 0.5.

    Raises:
        ValueError: A factor without a baseline, a run with another number of levels.

    Source:
        Hothorn, Bretz and Westfall 2008, Biometrical Journal 50 (3), 346-363; for one factor: Dunnett 1955, JASA 50.
    """
    require_design(observations, factors, baseline, compare)
    finite = mean_by_seed(observations)
    cells = by_cell(finite)
    judged = [index for index, factor in enumerate(factors) if compare is None or factor in compare]
    pairs = pairs_of(dict.fromkeys(run.levels for run in observations), factors, judged, baseline)
    told = [pair for pair in pairs if pair.level in cells and pair.baseline in cells]
    fit, equal = fit_cells(finite, blocks=blocks), equal_variances(cells)
    rule = Rule(margin, higher_is_better, alpha, blocks)
    alike = all(p >= UNEQUAL for p in equal.values())
    if fit and fit.std > 0 and alike:
        verdicts, method = _pooled(fit, told, cells, rule), _one_model(len(told))
    else:
        verdicts, method = _separate(told, finite, factors, rule)
        method = _ONE_RUN if fit is None else _NO_SPREAD if fit.std == 0 else f"{_differ(equal)}: {method}"
    found = dict(zip(told, verdicts, strict=True))
    ends = ended(observations)
    contrasts = [_contrast(pair, found.get(pair, _NOTHING), ends, factors) for pair in pairs]
    effects = term_effects(finite, factors) if fit else []
    stds = None if alike else extreme_stds(cells)
    notes = _notes(observations, contrasts, rule)
    std, df = (fit.std, fit.df) if fit else (None, 0)
    return Analysis(contrasts, effects, std, df, equal, stds, method, notes)


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
        alpha: Rate of false verdicts of the whole family, 0 to 0.5.
        blocks: Runs of one seed share split, subset and data order.
    """

    margin: float | None = None
    higher_is_better: bool = True
    alpha: float = 0.05
    blocks: bool = False

    def of(self, share: float) -> "Rule":
        """The rule at a share of its alpha, 0 to 1."""
        return replace(self, alpha=self.alpha * share)


def _contrast(pair: Pair, found: Verdict, ends: Mapping[Levels, tuple[int, int]], factors: Sequence[str]) -> Contrast:
    name = factors[pair.factor]
    (runs, lost), (of, gone) = ends[pair.level], ends[pair.baseline]
    return Contrast(
        factor=name,
        level=pair.level[pair.factor],
        baseline=pair.baseline[pair.factor],
        at={factor: level for factor, level in zip(factors, pair.level, strict=True) if factor != name},
        verdict=found,
        diverged=(lost, gone),
        runs=(runs, of),
    )


def _pooled(fit: Fit, pairs: Sequence[Pair], cells: Mapping[Levels, NDArray[np.float64]], rule: Rule) -> list[Verdict]:
    """All contrasts from the one model, simultaneous."""
    if not pairs:
        return []
    above, below = (np.array([fit.places[cell] for cell in side]) for side in zip(*map(_sides, pairs), strict=True))
    effects = fit.means[above] - fit.means[below]
    variances = fit.covariance(above, above) + fit.covariance(below, below) - 2 * fit.covariance(above, below)
    errors = fit.std * np.sqrt(variances)
    family = Family(len(pairs), fit.df, lambda: _correlation(fit, above, below))
    wide, narrow = (family.critical(level) * errors for level in (rule.alpha, 2 * rule.alpha))
    p_values = family.p_values(effects / errors)
    sizes = [min(len(cells[pair.level]), len(cells[pair.baseline])) for pair in pairs]
    needed = None if rule.margin is None else seeds_needed(fit.std, rule.margin, alpha=rule.alpha, groups=len(pairs))
    return [
        _simultaneous(float(effect), float(w), float(s), float(p), n, rule, needed)
        for effect, w, s, p, n in zip(effects, wide, narrow, p_values, sizes, strict=True)
    ]


def _sides(pair: Pair) -> tuple[Levels, Levels]:
    return pair.level, pair.baseline


def _correlation(fit: Fit, above: NDArray[np.int64], below: NDArray[np.int64]) -> NDArray[np.float64]:
    """Correlation of the contrasts of these cells, ``(pairs, pairs)``."""
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


def _separate(
    pairs: Sequence[Pair], runs: Sequence[Observation], factors: Sequence[str], rule: Rule
) -> tuple[list[Verdict], str]:
    """Cells that differ in variance: what shares one by itself, everything else pair by pair; and how, in words."""
    cells, found = by_cell(runs), dict[Pair, Verdict]()
    alone, pooled = [], []
    for factor, each in itertools.groupby(pairs, lambda pair: pair.factor):
        groups = [list(group) for _, group in itertools.groupby(sorted(each, key=_baseline), _baseline)]
        p = None if rule.blocks else bartlett([[cells[levels] for levels in _members(group)] for group in groups])
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


def _baseline(pair: Pair) -> Levels:
    return pair.baseline


def _members(pairs: Sequence[Pair]) -> list[Levels]:
    return [pairs[0].baseline, *(pair.level for pair in pairs)]


def _one_baseline(
    pairs: Sequence[Pair], cells: Mapping[Levels, NDArray[np.float64]], rule: Rule, share: float
) -> dict[Pair, Verdict]:
    """Levels that share a baseline and a variance, at their share of alpha; nothing where they have no spread."""
    mine = [Observation(levels, 0, float(value)) for levels in _members(pairs) for value in cells[levels]]
    fit = fit_cells(mine)
    if fit is None or fit.std == 0:
        return {}
    verdicts = _pooled(fit, pairs, cells, rule.of(share))
    return {pair: _shared(one, share) for pair, one in zip(pairs, verdicts, strict=True)}


def _shared(found: Verdict, share: float) -> Verdict:
    return found if found.p is None else replace(found, p=min(1.0, found.p / share))


def _one_by_one(pairs: Sequence[Pair], runs: Sequence[Observation], rule: Rule, share: float) -> dict[Pair, Verdict]:
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
