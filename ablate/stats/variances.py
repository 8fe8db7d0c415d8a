"""Do a sweep's cells share one variance?"""

import functools
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from ablate.stats.design import Levels

UNEQUAL = 0.15
"""p of one variance below which cells are taken to differ.

Not 0.05: with three runs a cell a test hardly sees threefold spreads, and what allows pooling must be easy to refuse.
"""
LEVENE_DRAWS, LEVENE_DRAWS_OF_MANY = 1999, 399
"""Draws of Levene's statistic in a small design, and in one of many runs."""
MANY_RUNS = 2000
"""Runs beyond which Levene's statistic is drawn less often: a p-value from draws is exact however few they are."""


def equal_variances(cells: Mapping[Levels, NDArray[np.float64]]) -> dict[str, float]:
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
    if (p := bartlett([cells.values()])) is not None:
        found["Bartlett"] = p
    return found


def bartlett(strata: Iterable[Iterable[NDArray[np.float64]]]) -> float | None:
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


def extreme_stds(cells: Mapping[Levels, NDArray[np.float64]]) -> tuple[float, float] | None:
    """The smallest and the largest standard deviation of a cell; None where no cell has two runs."""
    found = [float(values.std(ddof=1)) for values in cells.values() if len(values) > 1]
    return (min(found), max(found)) if found else None
