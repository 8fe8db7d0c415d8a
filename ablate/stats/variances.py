"""The spread of runs within their cells, for the reader; cells whose runs agree in every digit have none."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ablate.stats.design import ROUNDING, Levels


def variance(values: NDArray[np.float64]) -> float:
    """Sample variance of a cell's runs, ``(runs,)``; 0 for one run, and where they agree in every digit."""
    if len(values) < 2 or np.ptp(values) <= ROUNDING * np.abs(values).max():
        return 0.0
    return float(values.var(ddof=1))


def pooled(cells: Mapping[Levels, NDArray[np.float64]]) -> tuple[float | None, int]:
    """Standard deviation of a run within its cell over all cells that have a spread, and its degrees of freedom."""
    known = [(variance(values), len(values) - 1) for values in cells.values()]
    spreads = [(squared, df) for squared, df in known if squared > 0]
    if not spreads:
        return (0.0, sum(df for _, df in known)) if any(df for _, df in known) else (None, 0)
    df = sum(df for _, df in spreads)
    return math.sqrt(sum(squared * df for squared, df in spreads) / df), df


def extreme_stds(cells: Mapping[Levels, NDArray[np.float64]]) -> tuple[float, float] | None:
    """The smallest and the largest standard deviation of a cell; None where no cell has two runs."""
    found = [math.sqrt(variance(values)) for values in cells.values() if len(values) > 1]
    return (min(found), max(found)) if found else None
