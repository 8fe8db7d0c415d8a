"""A sweep's cells -> verdicts on each level of each factor, together; no Keras, no MLflow, no plots.

Each difference is held against what chance alone would make of it: drawn for all comparisons at once, with variances as
uncertain as few runs leave them, so that one alpha covers the whole family and no test of variances comes first.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ablate.stats.blocked import Blocked
from ablate.stats.chance import Chance, Crossed
from ablate.stats.crossed import Sampling, Scope
from ablate.stats.design import (
    Levels,
    Observation,
    Pair,
    by_cell,
    by_seed,
    ended,
    mean_by_seed,
    pairs_of,
    require_design,
    without_baseline,
)
from ablate.stats.divergence import MAX_DIVERGED, divergence_notes, require_share, with_divergence
from ablate.stats.estimates import SECOND_LOOK
from ablate.stats.margins import usable
from ablate.stats.model import Effect, term_effects
from ablate.stats.power import seeds_range
from ablate.stats.simultaneous import Joint, joint
from ablate.stats.variances import extreme_stds, variance
from ablate.stats.verdicts import Kind, Verdict, judge, require_rule


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
        verdict: Verdict on the comparison, over what ``Analysis.scope`` says.
        diverged: Number of runs without a result, of the level and of its baseline.
        runs: Number of runs, of the level and of its baseline.
        divergence_p: p-value of one rate of divergence on both sides, adjusted for the comparisons that have a
            diverged run, 0 to 1; None where neither side has one.
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
    divergence_p: float | None = None
    over_seeds: Interval | None = None
    over_images: OverImages | None = None


@dataclass(frozen=True)
class Analysis:
    """What a sweep says.

    Attributes:
        contrasts: Every level against its factor's baseline, at every combination of the others that has both.
        effects: Main effects, then two-way interactions, where the design can tell them.
        std: Standard deviation of a run within its cell, pooled over cells that have a spread; None without any.
        df: Degrees of freedom of ``std``.
        stds: The smallest and the largest standard deviation of a cell; None without any.
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
    sampling: Sampling | None = None,
    max_diverged: float = MAX_DIVERGED,
) -> Analysis:
    """Fits one mean a cell, and compares levels by it.

    A difference is divided by its standard error, from moderated variances; what it is held against is the largest of
    all differences in such units where nothing differs, drawn with each cell's variance as its runs and those of like
    cells leave it open. A side of fewer than two runs is not judged; one of two runs is judged by these alone.

    Args:
        observations: The runs; those of one cell and seed are one run, repeated, and count as their mean.
        factors: Names, in the order of the levels.
        baseline: Factor -> the level that others are held against.
        compare: Factors whose levels are judged, the others being where; None judges all, at the price of wider
            intervals, which cover more comparisons.
        margin: Smallest effect of interest, in the unit of the values; one that no two results of this size can differ
            by is left out, and a note says so.
        blocks: The seeds are blocks: runs of one seed share split, subset and data order.
        higher_is_better: False for a loss, an error, a time.
        alpha: Rate of false verdicts of the whole family, 0 to 0.5.
        sampling: What other test images would do to the means of cells: with it, verdicts speak for the population.
        max_diverged: Share of a side's runs, 0 to 1: a level that diverged more often is neither ``helps`` nor
            ``equivalent``, and beside such a baseline nothing is ``hurts`` or ``equivalent``.

    Raises:
        ValueError: A factor without a baseline, a run with another number of levels, a share that is none.

    Source:
        Moderated variances: Smyth 2004, Statistical Applications in Genetics and Molecular Biology 3 (1), article 3;
        simultaneous comparisons at unequal variances: Hasler and Hothorn 2008, Biometrical Journal 50 (5), 793-800.
    """
    require_design(observations, factors, baseline, compare)
    require_share(max_diverged)
    require_rule(margin, alpha)
    finite = mean_by_seed(observations)
    cells, results = by_cell(finite), by_seed(finite)
    judged = [index for index, factor in enumerate(factors) if compare is None or factor in compare]
    ran = dict.fromkeys(run.levels for run in observations)
    pairs = pairs_of(ran, factors, judged, baseline)
    margin, unit = usable(margin, [run.value for run in finite])
    rule = Rule(margin, higher_is_better, alpha, blocks, max_diverged)
    chance: Chance = Blocked(finite, pairs) if blocks else Crossed(finite, pairs)
    seeds = _judged(chance, rule, None, {})
    whole = seeds if sampling is None else _judged(chance, rule, sampling, seeds)
    narrow = {} if sampling is None else {pair: _interval(found) for pair, found in seeds.items()}
    ends = ended(observations)
    contrasts = with_divergence(
        [
            _contrast(pair, whole.get(pair) or _unjudged(pair, results, blocks=blocks), ends, factors, narrow.get(pair))
            for pair in pairs
        ],
        max_diverged,
    )
    lacking = without_baseline(ran, cells, factors, judged, baseline)
    std, df = chance.spread()
    scope = Scope.these_images if sampling is None else Scope.population
    return Analysis(
        contrasts,
        term_effects(finite, factors, blocks),
        std,
        df,
        extreme_stds(cells),
        _method(len(whole), cells, rule),
        [*unit, *lacking, *_notes(observations, contrasts, rule), *divergence_notes(contrasts, max_diverged)],
        scope,
        len(whole),
    )


_NO_SPREAD = "the runs of each cell agree in every digit, so no interval can be given"
_NONE_JUDGED = "no comparison has two runs a side and a spread, so no interval can be given and no level is judged"
_ONE_RUN = "one run a cell, which has no spread, so no interval can be given and no level is judged"
_NO_RESULT = Verdict(Kind.undecided, None, None, None, None, 0, notes=("a side has no run with a result",))
IMAGES_LIMIT = "no number of seeds decides by this margin: it takes more test images"
_FEW = "a side of fewer than two runs has no spread, so it is not judged: run more seeds"
_NO_DIGIT = "the runs of both sides agree in every digit, which is no spread to judge by: are they runs of one seed?"
_NO_PAIRS = (
    "seeds are blocks, and fewer than two of them have a run on both sides, so these are not judged: run the same "
    "seeds on both"
)
_ONE_SHIFT = (
    "seeds are blocks, and level minus baseline is the same at every seed, which is no spread to judge by: are they "
    "runs of one model?"
)
_UNJUDGED = (_FEW, _NO_DIGIT, _NO_PAIRS, _ONE_SHIFT)
_TWO_RUNS = (
    "a side of two runs is judged by its own spread alone, which takes a very large difference: a third seed is worth "
    "most"
)


def _method(comparisons: int, cells: Mapping[Levels, NDArray[np.float64]], rule: "Rule") -> str:
    if not comparisons:
        if len(cells) < 2 or any(map(variance, cells.values())):
            return _NONE_JUDGED
        return _ONE_RUN if all(len(values) == 1 for values in cells.values()) else _NO_SPREAD
    blocks = "paired by seed, " if rule.blocks else ""
    return (
        f"differences over standard errors of moderated variances, {blocks}intervals simultaneous by drawing, each "
        "cell with a spread of its own"
    )


@dataclass(frozen=True)
class Rule:
    """How verdicts are made.

    Attributes:
        margin: Smallest effect of interest, in the unit of the values.
        higher_is_better: False for a loss, an error, a time.
        alpha: Rate of false verdicts of the whole family, 0 to 0.5.
        blocks: Runs of one seed share split, subset and data order.
        max_diverged: Share of a side's runs up to which its mean is taken as it is, 0 to 1.
    """

    margin: float | None = None
    higher_is_better: bool = True
    alpha: float = 0.05
    blocks: bool = False
    max_diverged: float = MAX_DIVERGED


def _contrast(
    pair: Pair,
    found: Verdict,
    ends: Mapping[Levels, tuple[int, int]],
    factors: Sequence[str],
    over_seeds: Interval | None,
) -> Contrast:
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
        over_seeds=over_seeds,
    )


def _interval(found: Verdict) -> Interval | None:
    return None if found.low is None or found.high is None else Interval(found.low, found.high)


def _unjudged(pair: Pair, runs: Mapping[Levels, Mapping[int, float]], *, blocks: bool) -> Verdict:
    """What is said of two cells that cannot be compared.

    Args:
        pair: The cells.
        runs: Cell -> seed -> the result of its run.
        blocks: Runs of one seed are compared with each other.
    """
    level, base = (runs.get(levels) for levels in (pair.level, pair.baseline))
    if level is None or base is None:
        return _NO_RESULT
    effect, n = (
        math.fsum(level.values()) / len(level) - math.fsum(base.values()) / len(base),
        min(len(level), len(base)),
    )
    reason = _FEW if n < 2 else _NO_DIGIT
    if blocks and n > 1:
        shared = level.keys() & base.keys()
        n = len(shared)
        if shared:
            effect = math.fsum(level[seed] - base[seed] for seed in shared) / n
        if n < 2:
            reason = _NO_PAIRS
        elif any(variance(np.array([side[seed] for seed in shared])) for side in (level, base)):
            reason = _ONE_SHIFT
    return Verdict(Kind.undecided, effect, None, None, None, n, notes=(reason,))


def _judged(
    chance: Chance, rule: Rule, sampling: Sampling | None, seeds: Mapping[Pair, Verdict]
) -> dict[Pair, Verdict]:
    """The comparisons that can be judged, by one alpha.

    Args:
        chance: The comparisons, and what chance makes of them.
        rule: How verdicts are made.
        sampling: What other test images would do; None for verdicts over seeds alone.
        seeds: Those verdicts, where there are test images: no interval over both is narrower than theirs, where several
            comparisons share alpha.
    """
    if not chance.pairs:
        return {}
    effects, errors = chance.effects, chance.errors(sampling)
    sizes, bound = np.abs(effects) / errors, None if rule.margin is None else (rule.margin - np.abs(effects)) / errors

    def is_enough(found: Joint) -> bool:
        """Each p-value that a verdict hangs on can be told from its bound."""
        return not found.is_close(sizes, rule.alpha) and (
            bound is None or not found.is_close(np.maximum(bound, 0), 2 * rule.alpha)
        )

    def draw(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        return chance.drawn(count, rng, sampling)

    drawn = joint(draw, chance.columns, rule.alpha, is_enough, most=chance.most_draws)
    wide, narrow = (drawn.critical(level) * errors for level in (rule.alpha, 2 * rule.alpha))
    p_values = drawn.p_values(sizes)
    low_stds, high_stds = chance.limits()
    fixed = chance.sampled(sampling)
    found = {}
    for number, pair in enumerate(chance.pairs):
        effect, half, inner, p = (float(each[number]) for each in (effects, wide, narrow, p_values))
        alone = seeds.get(pair) if len(chance.pairs) > 1 else None
        if alone is not None and alone.high is not None and alone.p is not None:
            inner = max(inner, inner / half * (alone.high - effect))
            half, p = max(half, alone.high - effect), max(p, alone.p)
        ends = effect - half, effect + half
        kind = judge(
            effect, ends, (effect - inner, effect + inner), rule.margin, higher_is_better=rule.higher_is_better
        )
        least, needed = None, None
        notes: tuple[str, ...] = ()
        if kind is Kind.undecided and rule.margin is not None:
            least, needed = seeds_range(
                float(low_stds[number]),
                float(high_stds[number]),
                rule.margin,
                alpha=rule.alpha,
                groups=len(chance.pairs),
                fixed_variance=float(fixed[number]),
            )
            notes = (IMAGES_LIMIT,) if needed is None else ()
        found[pair] = Verdict(kind, effect, *ends, p, int(chance.counts[number]), needed, least, notes)
    return found


def _notes(observations: Sequence[Observation], contrasts: Sequence[Contrast], rule: Rule) -> list[str]:
    notes = []
    if lost := sum(not math.isfinite(run.value) for run in observations):
        notes.append(f"{lost} of {len(observations)} runs have no result: means are over the others")
    if rule.blocks:
        notes.append("seeds are blocks: runs of one seed share split, subset and data order")
    verdicts = [each.verdict for each in contrasts]
    notes += dict.fromkeys(note for each in verdicts for note in each.notes if note in _UNJUDGED)
    if any(each.n == 2 and each.low is not None for each in verdicts):
        notes.append(_TWO_RUNS)
    return [*notes, *([SECOND_LOOK] if any(each.kind is Kind.undecided for each in verdicts) else [])]
