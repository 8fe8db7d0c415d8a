"""Arrays of results -> estimates, intervals and verdicts; no Keras, no MLflow, no plots.

What needs scipy.stats or statsmodels imports it at its call: a table of means alone does not pay their seconds.
"""

import bisect
import itertools
import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import next_fast_len
from scipy.special import ndtr, ndtri, stdtrit  # scipy.stats' functions, without the 1.3 s of its import


@dataclass(frozen=True)
class Estimate:
    """A mean over runs, and how well it is known.

    Attributes:
        n: Runs behind it.
        mean: In the unit of the values.
        low: Lower end of the confidence interval of the mean; None for a single run, which has no spread to tell.
        high: Upper end.
        std: Sample standard deviation (n - 1 below the line); None for a single run.
    """

    n: int
    mean: float
    low: float | None = None
    high: float | None = None
    std: float | None = None

    @property
    def half(self) -> float | None:
        """Half the interval's width: what stands behind the ± sign."""
        return None if self.high is None else self.high - self.mean


def mean_interval(values: Iterable[float], *, confidence: float = 0.95) -> Estimate:
    """Mean and its two-sided confidence interval by Student's t.

    It covers what differs between the runs (seeds), not the sampling of the test images, and takes the runs as
    independent and near normal.

    Args:
        values: ``(runs,)``, finite: a diverged run is an outcome to be counted beside the mean, not a number in it.
        confidence: Between 0 and 1, exclusive.

    Raises:
        ValueError: No value, one that is not finite, or a confidence out of range.

    Source:
        Student (1908), The probable error of a mean, Biometrika 6 (1), 1-25.
    """
    sample = np.asarray(list(values), dtype=np.float64)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}; 0.95 is usual.")
    if sample.size == 0:
        raise ValueError("a mean needs at least one value, got none; leave the cell blank.")
    if not np.isfinite(sample).all():
        raise ValueError(f"values must be finite, got {sample.tolist()}; count diverged runs beside the mean.")
    mean = float(sample.mean())
    if sample.size == 1:
        return Estimate(1, mean)
    std = float(sample.std(ddof=1))
    half = float(stdtrit(sample.size - 1, (1 + confidence) / 2)) * std / float(np.sqrt(sample.size))
    return Estimate(int(sample.size), mean, mean - half, mean + half, std)


# ------------------------------------------------------------------------------------------------- two sides, a verdict


class Kind(StrEnum):
    """What a comparison says."""

    equivalent = "equivalent"
    helps = "helps"
    hurts = "hurts"
    undecided = "undecided"


@dataclass(frozen=True)
class Verdict:
    """A comparison of a treatment with a baseline.

    Attributes:
        kind: ``equivalent``: the whole ``1 - 2 alpha`` interval lies inside ±margin; ``helps`` or ``hurts``: the
            ``1 - alpha`` interval excludes 0; ``undecided``: neither.
        effect: Mean of the treatment minus mean of the baseline, in the unit of the values; None without two sides.
        low: Lower end of the effect's ``1 - alpha`` interval; None where there is no spread to tell it from.
        high: Upper end.
        p: Two-sided p-value of no effect, adjusted where the comparison is one of a family.
        n: Runs behind it: pairs, or those of the smaller side.
        seeds_needed: Of an undecided one with a margin: seeds a side that decide it with 80 % probability, from the
            spread of the runs and the margin alone, never from the effect that was seen.
        notes: What a reader has to know besides, a sentence each.
    """

    kind: Kind
    effect: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int
    seeds_needed: int | None = None
    notes: tuple[str, ...] = ()


SECOND_LOOK = (
    "adding seeds and looking again is a second look, which raises the rate of false verdicts: fix the number of seeds "
    "beforehand, or give each look the alpha= that alpha_spending allows it"
)


def verdict(
    treatment: ArrayLike,
    baseline: ArrayLike,
    *,
    margin: float | None = None,
    paired: bool = False,
    higher_is_better: bool = True,
    alpha: float = 0.05,
) -> Verdict:
    """Compares two sides by their runs: Welch's t interval, or Student's over pairs.

    The margin is the smallest effect of interest, which the reader declares; a measured noise floor is not it. The
    interval covers what differs between runs (seeds), not the sampling of the test images: see ``example_interval``.

    Args:
        treatment: ``(runs,)``; what is not finite is a run without a result, left out and counted in the notes.
        baseline: ``(runs,)``; of the same length where paired.
        margin: In the unit of the values; None never calls anything equivalent.
        paired: The sides share split, subset and data order run by run.
        higher_is_better: False for a loss, an error, a time.
        alpha: Rate of false ``helps`` and ``hurts`` together where there is no difference.

    Raises:
        ValueError: No arrays of one dimension, pairs of unequal length, a margin or an alpha out of range.

    Source:
        Welch 1947, Biometrika 34; equivalence by two one-sided tests: Schuirmann 1987, J. Pharmacokin. Biopharm. 15.
    """
    _require_rule(margin, alpha)
    sides = [_runs("treatment", treatment), _runs("baseline", baseline)]
    (t, b), notes = _finite(*sides, paired=paired)
    if min(len(t), len(b)) < 2:
        effect = float(t.mean() - b.mean()) if len(t) and len(b) else None
        notes.append("one run a side has no spread: run more seeds")
        return Verdict(Kind.undecided, effect, None, None, None, min(len(t), len(b)), notes=tuple(notes))
    effect, test = _t_test(t, b, paired=paired)
    spread = float(np.std(t - b, ddof=1)) if paired else math.sqrt((t.var(ddof=1) + b.var(ddof=1)) / 2)
    n = min(len(t), len(b))
    if spread <= 1e-9 * max(1.0, float(np.abs([*t, *b]).max())):
        notes.append(
            "the runs of a side agree in every digit, which is no spread to judge by: are they runs of one seed?"
        )
        return Verdict(Kind.undecided, effect, None, None, None, n, notes=tuple(notes))
    wide, narrow = (test.confidence_interval(level) for level in (1 - alpha, 1 - 2 * alpha))
    found = judge(effect, (wide.low, wide.high), (narrow.low, narrow.high), margin, higher_is_better=higher_is_better)
    needed = None
    if found is Kind.undecided:
        notes.append(SECOND_LOOK)
        if margin is None:
            notes.append(
                "without a margin nobody can say how many seeds would decide: declare the smallest effect of interest"
            )
        else:
            needed = seeds_needed(spread, margin, paired=paired, alpha=alpha)
    return Verdict(found, effect, float(wide.low), float(wide.high), float(test.pvalue), n, needed, tuple(notes))


def judge(
    effect: float,
    wide: tuple[float, float],
    narrow: tuple[float, float],
    margin: float | None,
    *,
    higher_is_better: bool = True,
) -> Kind:
    """The kind, from the ``1 - alpha`` interval (wide) and the ``1 - 2 alpha`` interval (narrow) of the effect."""
    if margin is not None and -margin < narrow[0] and narrow[1] < margin:
        return Kind.equivalent
    if wide[0] <= 0 <= wide[1]:
        return Kind.undecided
    return Kind.helps if (effect > 0) == higher_is_better else Kind.hurts


def seeds_needed(
    std: float, margin: float, *, paired: bool = False, alpha: float = 0.05, power: float = 0.8, groups: int = 1
) -> int:
    """Seeds a side with which a comparison decides, whichever way the truth lies.

    Enough to find an effect as large as the margin, and to call no effect equivalent, each with this power.

    Args:
        std: Standard deviation of one side's runs; of the differences where paired.
        margin: Smallest effect of interest, in the same unit.
        paired: Pairs are counted.
        alpha: Of the verdict.
        power: Probability of deciding.
        groups: Comparisons in one family: alpha is shared out among them.

    Raises:
        ValueError: A standard deviation or margin that is not above 0.
    """
    from statsmodels.stats.power import TTestIndPower, TTestPower

    if not (std > 0 and margin > 0 and math.isfinite(std) and math.isfinite(margin)):
        raise ValueError(f"std and margin must be finite and above 0, got {std} and {margin}.")
    solver = TTestPower() if paired else TTestIndPower()
    size, level = margin / std, alpha / groups

    def enough(n: int) -> bool:
        found = solver.power(size, n, level, alternative="two-sided")
        # Two one-sided tests of a true 0: each must pass.
        same = 2 * solver.power(size, n, level, alternative="larger") - 1
        return bool(min(found, same) >= power)

    upper = 2
    while not enough(upper):
        upper *= 2
        if upper > 10**7:
            return upper
    return bisect.bisect_left(range(upper + 1), True, lo=2, key=enough)


def alpha_spending(alpha: float, fractions: Sequence[float]) -> list[float]:
    """Alpha of each look at growing data, which together stay within alpha whatever the looks show.

    The share spent by a fraction t of the planned runs is ``2 - 2 Phi(z / sqrt(t))`` (O'Brien and Fleming's shape); a
    look may use what was added since the one before.

    Args:
        alpha: Of all looks together.
        fractions: Runs at each look over runs planned, rising, the last at most 1.

    Raises:
        ValueError: Fractions that do not rise within (0, 1].

    Source:
        Lan and DeMets 1983, Biometrika 70 (3), 659-663.
    """
    _require_rule(None, alpha)
    if not fractions or any(b <= a for a, b in itertools.pairwise([0.0, *fractions])) or fractions[-1] > 1:
        raise ValueError(f"fractions must rise within (0, 1], got {list(fractions)}.")
    spent = [2 - 2 * float(ndtr(-float(ndtri(alpha / 2)) / math.sqrt(t))) for t in fractions]
    return [b - a for a, b in itertools.pairwise([0.0, *spent])]


def _require_rule(margin: float | None, alpha: float) -> None:
    if margin is not None and not (math.isfinite(margin) and margin > 0):
        raise ValueError(
            f"margin must be above 0, in the unit of the values, got {margin}; leave it out if there is none."
        )
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha must lie between 0 and 0.5, got {alpha}; 0.05 is usual.")


def _runs(side: str, values: ArrayLike) -> NDArray[np.float64]:
    runs = np.asarray(values, np.float64)
    if runs.ndim != 1:
        raise ValueError(f"{side} must have one dimension, a value a run, got shape {runs.shape}.")
    return runs


def _finite(
    treatment: NDArray[np.float64], baseline: NDArray[np.float64], *, paired: bool
) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], list[str]]:
    """The runs that have a result, and what is to be said of the others."""
    notes = []
    for side, runs in (("treatment", treatment), ("baseline", baseline)):
        if lost := int((~np.isfinite(runs)).sum()):
            notes.append(f"{lost} of {len(runs)} runs of the {side} have no result: the mean is over the others")
    if not paired:
        return (treatment[np.isfinite(treatment)], baseline[np.isfinite(baseline)]), notes
    if len(treatment) != len(baseline):
        raise ValueError(f"pairs need sides of equal length, got {len(treatment)} and {len(baseline)} runs.")
    both = np.isfinite(treatment) & np.isfinite(baseline)
    return (treatment[both], baseline[both]), notes


def _t_test(t: NDArray[np.float64], b: NDArray[np.float64], *, paired: bool) -> tuple[float, Any]:
    from scipy import stats

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # no spread at all: the caller looks at that itself
        test = stats.ttest_rel(t, b) if paired else stats.ttest_ind(t, b, equal_var=False)
    return float(t.mean() - b.mean()), test


# --------------------------------------------------------------------------------------------- beside mean and interval


def best_of(values: ArrayLike, draws: int) -> float:
    """Expected maximum of ``draws`` runs drawn from these without replacement: unbiased for the best of so many.

    Published numbers are often the best of 4 runs; a mean beside them compares two different things.

    Args:
        values: ``(runs,)``, finite, at least 4.
        draws: From 1 to the number of runs.

    Raises:
        ValueError: Fewer than 4 runs, a value that is not finite, or draws out of range.
    """
    runs = np.sort(_runs("values", values))
    if len(runs) < 4 or not np.isfinite(runs).all():
        raise ValueError(f"best_of needs at least 4 finite values, got {runs.tolist()}.")
    if not 1 <= draws <= len(runs):
        raise ValueError(f"draws must be 1 to {len(runs)}, the number of runs, got {draws}.")
    # The k-th smallest is the maximum of a draw that holds it and draws - 1 of the k - 1 below.
    weights = [math.comb(below, draws - 1) / math.comb(len(runs), draws) for below in range(len(runs))]
    return float(np.dot(weights, runs))


def example_interval(treatment: ArrayLike, baseline: ArrayLike, *, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of the difference in top-1 (percentage points) over test sets like this one: paired bootstrap.

    It covers the sampling of the test images, for these trained models; an interval over seeds covers the other half.

    Args:
        treatment: ``(runs, images)``, whether each run got each image right.
        baseline: The same for the other side, on the same images; the number of runs may differ.
        confidence: Between 0 and 1, exclusive.

    Raises:
        ValueError: Not two arrays of two dimensions on the same images, or anything but right and wrong in them.

    Source:
        Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13 (percentile interval).
    """
    sides = [np.atleast_2d(np.asarray(side)) for side in (treatment, baseline)]
    if any(side.ndim != 2 for side in sides) or sides[0].shape[1] != sides[1].shape[1]:
        raise ValueError(
            f"both sides must be (runs, images) on the same images, got {sides[0].shape} and {sides[1].shape}."
        )
    if any(not np.isin(side, (0, 1)).all() for side in sides):
        raise ValueError("both sides must say right (1) or wrong (0) for each run and image, got other values.")
    counts = [np.asarray(side.sum(axis=0), np.int64) for side in sides]
    return count_interval(counts[0], len(sides[0]), counts[1], len(sides[1]), confidence=confidence)


def count_interval(
    treatment: NDArray[np.int64],
    treatment_runs: int,
    baseline: NDArray[np.int64],
    baseline_runs: int,
    *,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """``example_interval`` from what it sums up: how many runs got each image right.

    Bootstrapped is a mean over images of a difference that takes few values, so its distribution is not drawn but
    computed whole: the n-fold convolution of theirs. That is what ever more draws come to, in a thousandth of the time.

    Args:
        treatment: ``(images,)``, of its runs how many got each image right.
        treatment_runs: How many runs there are.
        baseline: ``(images,)``, the same images.
        baseline_runs: Likewise.
        confidence: Between 0 and 1, exclusive.
    """
    unit = math.lcm(treatment_runs, baseline_runs)
    differences = treatment * (unit // treatment_runs) - baseline * (unit // baseline_runs)
    images, tail = len(differences), (1 - confidence) / 2
    first, chances = _sum_of_draws(np.bincount(differences + unit) / images, images)
    sums = first + np.searchsorted(np.cumsum(chances), [tail, 1 - tail])
    low, high = 100 * (sums / images - unit) / unit
    return float(low), float(high)


def _sum_of_draws(chances: NDArray[np.float64], draws: int) -> tuple[int, NDArray[np.float64]]:
    """Distribution of the sum of independent draws of 0, 1, 2, … with these chances: the first sum, the chance of each.

    Through the Fourier transform on a circle that is long enough for 12 standard deviations to either side.
    """
    values = np.arange(len(chances))
    mean = float(values @ chances)
    std = math.sqrt(draws * max(0.0, float((values - mean) ** 2 @ chances)))
    enough = min(draws * (len(chances) - 1) + 1, math.ceil(24 * std) + 1)
    length = next_fast_len(max(len(chances), enough), real=True)
    circle = np.fft.irfft(np.fft.rfft(chances, length) ** draws, length)
    first = max(0, round(draws * mean) - length // 2)
    return first, circle[(first + np.arange(length)) % length]
