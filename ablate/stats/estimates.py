"""Arrays of results -> estimates and their intervals.

What needs scipy.stats or scipy.fft imports it at its call: a table of means alone does not pay for them.
"""

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit  # scipy.stats' functions, without the 1.3 s of its import


@dataclass(frozen=True)
class Estimate:
    """A mean over runs, and how well it is known.

    Attributes:
        n: Number of runs behind the mean.
        mean: Mean over the runs, in the unit of the values.
        low: Lower end of the confidence interval of the mean; None for a single run, which has no spread to tell.
        high: Upper end of the confidence interval; None for a single run.
        std: Sample standard deviation (n - 1 below the line); None for a single run.
    """

    n: int
    mean: float
    low: float | None = None
    high: float | None = None
    std: float | None = None

    @property
    def half(self) -> float | None:
        """What stands behind the ± sign: from the mean to the farther end, where one is cut off at what is possible."""
        return None if self.low is None or self.high is None else max(self.high - self.mean, self.mean - self.low)


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


SECOND_LOOK = (
    "adding seeds and looking again is a second look, which raises the rate of false verdicts: fix the number of seeds "
    "beforehand, or give each look the alpha= that alpha_spending allows it"
)


def checked_runs(side: str, values: ArrayLike) -> NDArray[np.float64]:
    """Values of a side's runs, ``(runs,)``; raises ValueError for another number of dimensions."""
    runs = np.asarray(values, np.float64)
    if runs.ndim != 1:
        raise ValueError(f"{side} must have one dimension, a value a run, got shape {runs.shape}.")
    return runs


def checked_finite(
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


def t_test(treatment: NDArray[np.float64], baseline: NDArray[np.float64], *, paired: bool) -> tuple[float, Any]:
    """Difference of the means of two sides' runs, each ``(runs,)``, and scipy's t test of it: Student's or Welch's."""
    from scipy import stats

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # no spread at all: the caller looks at that itself
        test = stats.ttest_rel(treatment, baseline) if paired else stats.ttest_ind(treatment, baseline, equal_var=False)
    return float(treatment.mean() - baseline.mean()), test


def best_of(values: ArrayLike, draws: int) -> float:
    """Expected maximum of ``draws`` runs drawn from these without replacement: unbiased for the best of so many.

    Published numbers are often the best of 4 runs; a mean beside them compares two different things.

    Args:
        values: ``(runs,)``, finite, at least 4.
        draws: From 1 to the number of runs.

    Raises:
        ValueError: Fewer than 4 runs, a value that is not finite, or draws out of range.
    """
    runs = np.sort(checked_runs("values", values))
    if len(runs) < 4 or not np.isfinite(runs).all():
        raise ValueError(f"best_of needs at least 4 finite values, got {runs.tolist()}.")
    if not 1 <= draws <= len(runs):
        raise ValueError(f"draws must be 1 to {len(runs)}, the number of runs, got {draws}.")
    # The k-th smallest is the maximum of a draw that holds it and draws - 1 of the k - 1 below.
    weights = [math.comb(below, draws - 1) / math.comb(len(runs), draws) for below in range(len(runs))]
    return float(np.dot(weights, runs))


RULE_OF_THREE = 3.0
"""What was met in none of M cases is met in at most 3 of M, at 95 % confidence: Hanley and Lippman-Hand 1983, If
nothing goes wrong, is everything all right?, JAMA 249 (13), 1743-1745."""


def example_interval(
    treatment: ArrayLike,
    baseline: ArrayLike,
    *,
    confidence: float = 0.95,
    clusters: NDArray[np.int64] | None = None,
) -> tuple[float, float]:
    """Interval of the difference in top-1 (percentage points) over test sets like this one: paired bootstrap.

    It covers the sampling of the test images, for these trained models; an interval over seeds covers the other half.
    Two sides that agree on all M images are ±300/M points apart (the rule of three, at 95 %), for what neither met may
    be in the next test set; from there the interval grows with each image on which they differ.

    Args:
        treatment: ``(runs, images)``, whether each run got each image right.
        baseline: ``(runs, images)``, whether each run of the other side got each of the same images right; the number
            of runs may differ.
        confidence: Between 0 and 1, exclusive.
        clusters: ``(images,)``, number of the group that an image belongs to; None where each stands alone.

    Raises:
        ValueError: Not two arrays of two dimensions on the same images, anything but right and wrong in them, or
            clusters of another number of images.

    Source:
        Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13 (percentile interval); for clusters
        Miller 2024, Adding error bars to evals, arXiv:2411.00640, section 2.2; for agreement ``RULE_OF_THREE``.
    """
    sides = [np.atleast_2d(np.asarray(side)) for side in (treatment, baseline)]
    if any(side.ndim != 2 for side in sides) or sides[0].shape[1] != sides[1].shape[1]:
        raise ValueError(
            f"both sides must be (runs, images) on the same images, got {sides[0].shape} and {sides[1].shape}."
        )
    if any(not np.isin(side, (0, 1)).all() for side in sides):
        raise ValueError("both sides must say right (1) or wrong (0) for each run and image, got other values.")
    counts = [np.asarray(side.sum(axis=0), np.int64) for side in sides]
    return count_interval(counts[0], len(sides[0]), counts[1], len(sides[1]), confidence=confidence, clusters=clusters)


def count_interval(
    treatment: NDArray[np.int64],
    treatment_runs: int,
    baseline: NDArray[np.int64],
    baseline_runs: int,
    *,
    confidence: float = 0.95,
    clusters: NDArray[np.int64] | None = None,
) -> tuple[float, float]:
    """``example_interval`` from what it sums up: how many runs got each image right.

    Bootstrapped is a mean over images of a difference that takes few values, so its distribution is not drawn but
    computed whole: the n-fold convolution of theirs. That is what ever more draws come to, in a thousandth of the time.
    Clusters differ in size, and have Student's t with the variance of their sums instead.

    Each end's distance from the effect has 3/M added to it as the root of the sum of squares: at no distance, where the
    sides agree on all M images, that alone is left. (3 is for 95 %; it is in proportion to -ln(1 - confidence). With
    clusters, M is the number of independent images: see ``independent``.)

    Args:
        treatment: ``(images,)``, number of the treatment's runs that got each image right.
        treatment_runs: Number of the treatment's runs.
        baseline: ``(images,)``, number of the baseline's runs that got each of the same images right.
        baseline_runs: Number of the baseline's runs.
        confidence: Between 0 and 1, exclusive.
        clusters: ``(images,)``, number of the group that an image belongs to; None where each stands alone.
    """
    unit = math.lcm(treatment_runs, baseline_runs)
    differences = treatment * (unit // treatment_runs) - baseline * (unit // baseline_runs)
    effect = 100 * float(differences.mean()) / unit
    groups = None if clusters is None else grouped(clusters, len(differences))
    if groups is None:
        ends = _bootstrapped(differences, unit, confidence)
    else:
        half = _clustered(differences / unit, groups, confidence)
        ends = effect - half, effect + half
    shares = [
        independent(side / runs, groups) for side, runs in ((treatment, treatment_runs), (baseline, baseline_runs))
    ]
    unseen = 100 * RULE_OF_THREE * math.log(1 - confidence) / math.log(0.05) * math.hypot(*(1 / m for m in shares))
    below, above = (math.hypot(end - effect, unseen / math.sqrt(2)) for end in ends)
    return max(-100.0, effect - below), min(100.0, effect + above)


def _bootstrapped(differences: NDArray[np.int64], unit: int, confidence: float) -> tuple[float, float]:
    """Percentiles of the bootstrapped mean of differences, each of -unit to unit, in percentage points."""
    images, tail = len(differences), (1 - confidence) / 2
    first, chances = _sum_of_draws(np.bincount(differences + unit) / images, images)
    sums = first + np.searchsorted(np.cumsum(chances), [tail, 1 - tail])
    low, high = 100 * (sums / images - unit) / unit
    return float(low), float(high)


def _clustered(differences: NDArray[np.float64], groups: NDArray[np.int64], confidence: float) -> float:
    """Half the interval of a mean over images in groups, in percentage points; 0 where they are one."""
    sums = summed((differences - differences.mean())[None, :], groups)[0]
    if len(sums) < 2:
        return 0.0
    error = math.sqrt(len(sums) / (len(sums) - 1) * float(sums @ sums)) / len(differences)
    return 100 * float(stdtrit(len(sums) - 1, (1 + confidence) / 2)) * error


def grouped(clusters: ArrayLike, images: int) -> NDArray[np.int64]:
    """Clusters numbered from 0 on, ``(images,)``.

    Raises:
        ValueError: Not a number for each image.
    """
    numbers = np.asarray(clusters)
    if numbers.shape != (images,):
        raise ValueError(f"clusters must have a number for each of {images} images, got shape {numbers.shape}.")
    return np.asarray(np.unique(numbers, return_inverse=True)[1], np.int64).reshape(-1)


def independent(correct: NDArray[np.float64], groups: NDArray[np.int64] | None) -> float:
    """Number of independent images that tell as much as these in their groups: by the design effect, what grouping
    does to the variance of their mean.

    Between the number of groups, where images of a group are copies of each other, and that of images. Where all are
    equally right nothing tells which, and it is the number of groups.

    Args:
        correct: ``(images,)``, share of a side's runs that got each image right.
        groups: ``(images,)``, numbers from 0; None where each image stands alone.

    Source:
        Kish 1965, Survey Sampling, section 5.4.
    """
    if groups is None:
        return float(len(correct))
    deviations = correct - correct.mean()
    alone = float(deviations @ deviations)
    if alone == 0:
        return float(groups.max() + 1)
    together = summed(deviations[None, :], groups)[0]
    return len(correct) / max(1.0, float(together @ together) / alone)


def summed(values: NDArray[np.float64], groups: NDArray[np.int64] | None) -> NDArray[np.float64]:
    """Values of images, ``(rows, images)``, added up by their group, ``(rows, groups)``; as they are without groups."""
    if groups is None:
        return values
    return np.stack([np.bincount(groups, row) for row in values])


def _sum_of_draws(chances: NDArray[np.float64], draws: int) -> tuple[int, NDArray[np.float64]]:
    """Distribution of the sum of independent draws of 0, 1, 2, … with these chances: the first sum, the chance of each.

    Through the Fourier transform on a circle that is long enough for 12 standard deviations to either side.
    """
    from scipy.fft import next_fast_len

    values = np.arange(len(chances))
    mean = float(values @ chances)
    std = math.sqrt(draws * max(0.0, float((values - mean) ** 2 @ chances)))
    enough = min(draws * (len(chances) - 1) + 1, math.ceil(24 * std) + 1)
    length = next_fast_len(max(len(chances), enough), real=True)
    circle = np.fft.irfft(np.fft.rfft(chances, length) ** draws, length)
    first = max(0, round(draws * mean) - length // 2)
    return first, circle[(first + np.arange(length)) % length]
