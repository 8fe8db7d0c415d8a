"""What chance alone makes of the differences between cells: their standard errors, and draws of them together."""

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ablate.stats.crossed import Sampling
from ablate.stats.design import Levels, Observation, Pair, by_cell
from ablate.stats.moderation import Spreads
from ablate.stats.simultaneous import MOST_DRAWS
from ablate.stats.variances import pooled, variance

LIMITS = (0.2, 0.8)
"""Shares of what the runs leave open below the lower and the upper limit of a spread."""
LIMIT_DRAWS = 4_000


class Chance(Protocol):
    """Comparisons of cells, and what chance makes of them.

    Attributes:
        pairs: The comparisons that can be judged: two runs a side, and a spread.
        effects: ``(pairs,)``, level minus baseline, in the unit of the results.
        counts: ``(pairs,)``, number of runs behind each: pairs, or those of the smaller side.
        columns: Numbers behind one draw.
        most_draws: Draws after which a p-value stays as near its bound as it is.
    """

    pairs: Sequence[Pair]
    effects: NDArray[np.float64]
    counts: NDArray[np.int64]
    columns: int
    most_draws: int

    def errors(self, sampling: Sampling | None) -> NDArray[np.float64]:
        """Standard errors of the effects, ``(pairs,)``, in the unit of the results."""

    def drawn(self, count: int, rng: np.random.Generator, sampling: Sampling | None) -> NDArray[np.float64]:
        """Sizes of effects by chance alone in units of their standard errors, ``(count, pairs)``."""

    def sampled(self, sampling: Sampling | None) -> NDArray[np.float64]:
        """Variances of the effects by the choice of test images alone, ``(pairs,)``: seeds do not reduce them."""

    def limits(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lower and upper limit of each pair's standard deviation of a run, each ``(pairs,)``."""

    def spread(self) -> tuple[float | None, int]:
        """Standard deviation of a run, over all cells with a spread, and its degrees of freedom."""


class Sampled:
    """What the choice of test images adds to the errors of effects."""

    def __init__(self, cells: Sequence[Levels], pairs: Sequence[Pair]) -> None:
        self._cells, places = list(cells), {levels: number for number, levels in enumerate(cells)}
        sides = [[places[levels] for levels in (pair.level, pair.baseline)] for pair in pairs]
        self._above, self._below = np.array(sides, np.int64).reshape(-1, 2).T
        self._rooted: tuple[Sampling, NDArray[np.float64]] | None = None

    def variances(self, sampling: Sampling | None) -> NDArray[np.float64]:
        """Variance that the choice of test images gives each effect, ``(pairs,)``; 0 where nothing is known of it."""
        if sampling is None:
            return np.zeros(len(self._above))
        of, above, below = self._of(sampling), self._above, self._below
        return np.asarray(np.maximum(0.0, of[above, above] + of[below, below] - 2 * of[above, below]))

    def drawn(self, count: int, rng: np.random.Generator, sampling: Sampling | None) -> NDArray[np.float64]:
        """Draws of the errors of effects that come from it, ``(count, pairs)``."""
        if sampling is None:
            return np.zeros((count, len(self._above)))
        errors = rng.standard_normal((count, len(self._cells))) @ self._root(sampling)
        return np.asarray(errors[:, self._above] - errors[:, self._below])

    def _root(self, sampling: Sampling) -> NDArray[np.float64]:
        """The symmetric root of the covariance, which is unique; found once, since draws come in many batches."""
        if self._rooted is None or self._rooted[0] is not sampling:
            values, vectors = np.linalg.eigh(self._of(sampling))
            self._rooted = sampling, (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
        return self._rooted[1]

    def _of(self, sampling: Sampling) -> NDArray[np.float64]:
        if lacking := [levels for levels in self._cells if levels not in sampling.places]:
            raise ValueError(
                f"sampling must have a place for each cell with a result, got none for {', '.join(lacking[0])}; give "
                "its runs' predictions too, or leave sampling out."
            )
        order = np.array([sampling.places[levels] for levels in self._cells])
        return np.asarray(sampling.covariance[np.ix_(order, order)])


class Crossed:
    """Runs that are independent of each other; see ``Chance``."""

    most_draws = MOST_DRAWS

    def __init__(self, runs: Sequence[Observation], pairs: Sequence[Pair]) -> None:
        self._cells = by_cell(runs)
        self._levels = list(self._cells)
        places = {levels: number for number, levels in enumerate(self._levels)}
        values = list(self._cells.values())
        variances = np.array([variance(each) for each in values])
        sizes = np.array([len(each) for each in values], np.int64)
        self.pairs: Sequence[Pair] = [
            pair
            for pair in pairs
            if pair.level in places
            and pair.baseline in places
            and min(sizes[places[pair.level]], sizes[places[pair.baseline]]) > 1
            and max(variances[places[pair.level]], variances[places[pair.baseline]]) > 0
        ]
        sides = [[places[levels] for levels in (pair.level, pair.baseline)] for pair in self.pairs]
        self._above, self._below = np.array(sides, np.int64).reshape(-1, 2).T
        means = np.array([each.mean() for each in values])
        self.effects = means[self._above] - means[self._below]
        self.counts = np.minimum(sizes[self._above], sizes[self._below])
        self.columns = len(values) + len(self.pairs)
        involved = Counter(number for side in sides for number in side)
        uses = np.array([involved[number] for number in range(len(values))])
        self._spreads = Spreads(variances, sizes, uses)
        self._images = Sampled(self._levels, self.pairs)

    def errors(self, sampling: Sampling | None) -> NDArray[np.float64]:
        """Standard errors of the effects; see ``Chance``."""
        return np.sqrt(self._squares(self._spreads.moderated(self._spreads.variances)) + self.sampled(sampling))

    def sampled(self, sampling: Sampling | None) -> NDArray[np.float64]:
        """Variance of the effects that seeds do not reduce; see ``Chance``."""
        return self._images.variances(sampling)

    def drawn(self, count: int, rng: np.random.Generator, sampling: Sampling | None) -> NDArray[np.float64]:
        """Sizes of effects by chance alone; see ``Chance``."""
        spreads = self._spreads
        true = spreads.drawn(count, rng)
        errors = rng.standard_normal(true.shape) * np.sqrt(true / spreads.counts)
        apart = errors[:, self._above] - errors[:, self._below]
        # What a cell that lends and borrows would seem to have for a variance; one that stands alone has its own.
        seen, borrows = np.broadcast_to(spreads.variances, true.shape).copy(), spreads.borrows
        degrees = spreads.degrees[borrows]
        seen[:, borrows] = true[:, borrows] * rng.chisquare(degrees, (count, len(degrees))) / np.maximum(degrees, 1)
        squares = self._squares(spreads.moderated(seen)) + self.sampled(sampling)
        return np.asarray(np.abs(apart + self._images.drawn(count, rng, sampling)) / np.sqrt(squares))

    def limits(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Limits of a run's standard deviation; see ``Chance``."""
        true = self._spreads.drawn(LIMIT_DRAWS, np.random.default_rng(1))
        low, high = np.quantile(np.sqrt((true[:, self._above] + true[:, self._below]) / 2), LIMITS, axis=0)
        return low, high

    def spread(self) -> tuple[float | None, int]:
        """Standard deviation of a run; see ``Chance``."""
        return pooled(self._cells)

    def _squares(self, variances: NDArray[np.float64]) -> NDArray[np.float64]:
        each = variances / self._spreads.counts
        return np.asarray(each[..., self._above] + each[..., self._below])
