"""Comparisons that share one alpha: intervals and p-values that hold for all of them together, by drawing."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FIRST_DRAWS = 4_000
"""Draws of all comparisons at first."""
MOST_DRAWS = 1_024_000
"""Draws after which a p-value that cannot be told from its bound is left there."""
MOST_NUMBERS = 8_000_000
"""Numbers that one batch of draws may hold."""
FEWEST_DRAWS = 1_000
CAUTION = 0.92
"""Part of alpha at which intervals are drawn: the rest makes up for what moderated variances of odd cells get wrong."""
BEYOND = 40
"""Draws beyond the bound of alpha at the least: of fewer, the end of an interval hangs on the draw."""
ERRORS = 3
"""Monte Carlo errors by which a p-value must lie off a bound that decides."""

Draw = Callable[[int, np.random.Generator], NDArray[np.float64]]
"""Count of draws, generator -> the sizes of what chance alone makes of each comparison, ``(count, comparisons)``."""


@dataclass(frozen=True)
class Joint:
    """Comparisons drawn together, where nothing differs.

    Attributes:
        scales: ``(comparisons,)``, what each is divided by, so that all are as likely to be the largest.
        largest: ``(draws,)``, the largest of all comparisons in units of their scales, rising.
    """

    scales: NDArray[np.float64]
    largest: NDArray[np.float64]

    def critical(self, alpha: float) -> NDArray[np.float64]:
        """``(comparisons,)``: sizes that none exceeds with probability ``1 - alpha``; infinite below the resolution."""
        beyond = self.beyond(alpha)
        return self.scales * (self.largest[-beyond] if beyond else math.inf)

    def beyond(self, alpha: float) -> int:
        """Number of draws that lie beyond the sizes of ``critical``."""
        return math.floor(CAUTION * alpha * (len(self.largest) + 1))

    def p_values(self, sizes: NDArray[np.float64]) -> NDArray[np.float64]:
        """p-value of each comparison of this size, ``(comparisons,)``, adjusted for all."""
        return np.minimum(1.0, self._chances(sizes) / CAUTION)

    def is_close(self, sizes: NDArray[np.float64], bound: float) -> bool:
        """Whether some comparison's p-value cannot be told from this bound yet."""
        p = self._chances(sizes)
        return bool(np.any(np.abs(p - CAUTION * bound) < ERRORS * np.sqrt(p * (1 - p) / len(self.largest))))

    def _chances(self, sizes: NDArray[np.float64]) -> NDArray[np.float64]:
        """The chance of a comparison as large as each of these, ``(comparisons,)``."""
        above = len(self.largest) - np.searchsorted(self.largest, sizes / self.scales)
        return np.asarray((above + 1) / (len(self.largest) + 1))


def joint(
    draw: Draw, columns: int, alpha: float, is_enough: Callable[[Joint], bool], *, most: int = MOST_DRAWS
) -> Joint:
    """Draws until it is enough and alpha can be resolved, four times as often each time; the same for the same runs.

    Args:
        draw: Draws the comparisons.
        columns: Numbers behind one draw, to keep batches within memory.
        alpha: Rate of false verdicts of all comparisons, 0 to 1.
        is_enough: Whether what was drawn decides.
        most: Draws after which there are no more.
    """
    rng, batch = np.random.default_rng(0), max(FEWEST_DRAWS, min(FIRST_DRAWS, MOST_NUMBERS // max(1, columns)))
    first = draw(batch, rng)
    scales = _scales(first, alpha)
    largest = [np.max(first / scales, axis=1)]
    found = Joint(scales, np.sort(largest[0]))
    while (found.beyond(alpha) < BEYOND or not is_enough(found)) and len(found.largest) < most:
        largest += [np.max(draw(batch, rng) / scales, axis=1) for _ in range(3 * len(largest))]
        found = Joint(scales, np.sort(np.concatenate(largest)))
    return found


def _scales(drawn: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """The size of each comparison that it exceeds in its share of alpha, as well as these draws tell."""
    count, comparisons = drawn.shape
    beyond = max(count // 100, int(count * alpha / comparisons), 1)
    return np.asarray(np.partition(drawn, count - beyond, axis=0)[count - beyond])
