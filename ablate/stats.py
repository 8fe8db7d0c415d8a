"""Arrays of results -> estimates and intervals; no Keras, no MLflow, no plots."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit  # scipy.stats' quantile function, without the 1.3 s of its import


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
