"""What a sweep's seeds can show: the smallest difference between two levels, from the noise that is known."""

import math
from collections.abc import Iterable, Sequence

from scipy.special import nctdtr, stdtrit  # scipy.stats' functions, without the 1.3 s of its import


def pooled_std(cells: Iterable[Sequence[float]]) -> tuple[float, int, int] | None:
    """Standard deviation within cells, over all of them together.

    Args:
        cells: Results of runs that differ by chance alone; those of a single run say nothing.

    Returns:
        The standard deviation, the runs and the cells behind it; None without a cell of two runs.
    """
    known = [cell for cell in cells if len(cell) > 1]
    freedom = sum(len(cell) - 1 for cell in known)
    if not freedom:
        return None
    squares = sum(sum((value - sum(cell) / len(cell)) ** 2 for value in cell) for cell in known)
    return math.sqrt(squares / freedom), sum(map(len, known)), len(known)


def smallest_difference(std: float, seeds: int, *, alpha: float = 0.05, power: float = 0.8) -> float | None:
    """The difference of two means that a two-sided t test of so many seeds a side finds with this probability.

    Args:
        std: Standard deviation of one side's runs.
        seeds: Number of seeds of each side; None is returned for fewer than 2, which have no spread of their own.
        alpha: Rate of false findings of the test, 0 to 1.
        power: Probability of finding it.

    Source:
        Cohen 1988, Statistical Power Analysis, chapter 2; exact, by the noncentral t distribution.
    """
    if seeds < 2:
        return None
    freedom = 2 * seeds - 2
    critical = float(stdtrit(freedom, 1 - alpha / 2))
    low, high = 0.0, 100.0
    for _ in range(60):
        middle = (low + high) / 2
        found = 1 - float(nctdtr(freedom, middle, critical))  # the other tail is below 1e-4 wherever power is 0.8
        low, high = (middle, high) if found < power else (low, middle)
    return high * std * math.sqrt(2 / seeds)
