"""The variances of cells, each from few runs: shrunk to what cells have in common, and drawn from what is left open.

Nothing is tested first. A cell borrows from cells of about as many runs, and the less the more comparisons hang on it:
a baseline whose noise is taken too small spoils every comparison, a level its own alone. A pair that is compared alone
borrows nothing. How much is borrowed was chosen by simulation, as much as keeps false verdicts at their rate.

Source: moderated variances: Smyth 2004, Statistical Applications in Genetics and Molecular Biology 3 (1), article 3.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

SHRUNK = 60.0
"""Degrees of freedom that a moderated variance takes from the common one, at most."""
BORROWED = 2.0
"""Degrees of freedom of what is taken to be known of a true variance before its runs are seen, at most."""
LEAST = 0.01
"""Degrees of freedom of the same where next to nothing is known."""
LIKE_SIZES = 1.5
"""Cells borrow from each other where the larger has at most so many times the runs of the smaller."""
FEWEST = 3
"""Runs of a cell that lends and borrows: two say hardly anything of a spread."""
NODES = 31
"""Points of the grid on which the common variance is integrated."""


@dataclass(frozen=True)
class Spreads:
    """What the runs say of the variances of their cells.

    Attributes:
        variances: ``(cells,)``, sample variance of each cell, in the unit of the results squared; 0 for a cell of one
            run.
        counts: ``(cells,)``, number of runs.
        uses: ``(cells,)``, number of comparisons that a cell is in.
    """

    variances: NDArray[np.float64]
    counts: NDArray[np.int64]
    uses: NDArray[np.int64]

    @property
    def degrees(self) -> NDArray[np.float64]:
        """``(cells,)``, degrees of freedom of the sample variances."""
        return np.asarray(np.maximum(self.counts - 1.0, 0.0))

    @property
    def groups(self) -> list[NDArray[np.int64]]:
        """Cells that borrow from each other, by number; what is in none stands alone."""
        able = np.flatnonzero((self.counts >= FEWEST) & (self.variances > 0))
        found: list[list[int]] = []
        for cell in able[np.argsort(self.counts[able], kind="stable")]:
            if not found or self.counts[cell] > LIKE_SIZES * self.counts[found[-1][0]]:
                found.append([])
            found[-1].append(int(cell))
        return [np.array(group) for group in found if len(group) > 1]

    def moderated(self, variances: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sample variances, ``(…, cells)``, each shrunk to the mean of its group's."""
        found = variances.copy()
        for group in self.groups:
            degrees, mine = self.degrees[group], variances[..., group]
            common = (mine @ degrees / degrees.sum())[..., None]
            taken = self._shrunk(group)
            found[..., group] = (taken * common + degrees * mine) / (taken + degrees)
        return found

    def drawn(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Variances that cells may truly have, ``(count, cells)``: draws from their posterior distribution.

        A cell that borrows has the scaled inverse chi-square prior about the common variance, which is integrated; one
        that stands alone has none but its own runs.
        """
        found = np.zeros((count, len(self.variances)))
        alone = np.flatnonzero((self.counts > 1) & (self.variances > 0))
        for group in self.groups:
            degrees, prior = self.degrees[group], self._prior(group)
            common = self._common(group, count, rng)[:, None]
            sums = prior * common + degrees * self.variances[group]
            found[:, group] = sums / rng.chisquare(prior + degrees, (count, len(group)))
            alone = np.setdiff1d(alone, group)
        degrees = self.degrees[alone]
        found[:, alone] = degrees * self.variances[alone] / rng.chisquare(degrees, (count, len(alone)))
        return found

    @property
    def borrows(self) -> NDArray[np.bool_]:
        """``(cells,)``, whether a cell has a group."""
        found = np.zeros(len(self.variances), bool)
        for group in self.groups:
            found[group] = True
        return found

    def _prior(self, group: NDArray[np.int64]) -> NDArray[np.float64]:
        if self._family <= 1:
            return np.full(len(group), LEAST)
        return np.maximum(LEAST, BORROWED / np.maximum(1, self.uses[group]) ** 2)

    def _shrunk(self, group: NDArray[np.int64]) -> NDArray[np.float64]:
        """Degrees of freedom that each cell's moderated variance takes: none for the baseline of a large family."""
        if self._family <= 1:
            return np.zeros(len(group))
        return np.asarray(SHRUNK * (1 - self.uses[group] / self._family * (1 - self._family**-3)))

    @property
    def _family(self) -> float:
        """Number of comparisons."""
        return float(self.uses.sum()) / 2

    def _common(self, group: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draws of the variance that a group's cells have in common, ``(count,)``, flat on its logarithm before."""
        variances, degrees, prior = self.variances[group], self.degrees[group], self._prior(group)
        logs = np.linspace(math.log(variances.min()) - 3, math.log(variances.max()) + 3, NODES)
        ratios = degrees * variances / np.exp(logs)[:, None] / prior
        density = gammaln((degrees + prior) / 2) - gammaln(prior / 2) + degrees / 2 * np.log(ratios)
        weights = np.sum(density - (degrees + prior) / 2 * np.log1p(ratios), axis=1)
        chances = np.cumsum(np.exp(weights - weights.max()))
        places = np.searchsorted(chances / chances[-1], (np.arange(count) + 0.5) / count)
        return np.asarray(rng.permutation(np.exp(logs)[places]))
