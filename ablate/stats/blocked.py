"""Seeds as blocks: what chance alone makes of differences between runs of one seed.

A difference is the mean over the seeds that both sides share of level minus baseline, so what a seed shifts in both
alike is gone, also where it shifts one family of models otherwise than another. Its standard error comes from the
spread of these differences, moderated within the factor. What it is held against is drawn: a level and its baseline
have variances of their own, which are drawn (Gibbs sampler) as the runs leave them open once the seeds' shifts are out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from ablate.stats.chance import LIMIT_DRAWS, LIMITS, Sampled
from ablate.stats.crossed import Sampling
from ablate.stats.design import ROUNDING, Levels, Observation, Pair, by_seed
from ablate.stats.model import residual
from ablate.stats.moderation import FEWEST, SHRUNK

BORROWED, LEAST = 1.5, 0.3
"""Degrees of freedom of what is taken to be known of a true variance before the runs are seen, at most and at least."""
SWEEPS = 12
"""Rounds of the Gibbs sampler before a draw is taken; each draw has a chain of its own."""
MOST_DRAWS = 64_000


@dataclass(frozen=True)
class _Star:
    """A baseline and the levels that are held against it, at one combination of the other factors.

    Attributes:
        values: ``(1 + levels, seeds)``, the baseline's results in the first row; 0 where a run is missing.
        there: ``(1 + levels, seeds)``, whether there is a run.
    """

    values: NDArray[np.float64]
    there: NDArray[np.bool_]

    @property
    def shared(self) -> NDArray[np.bool_]:
        """``(levels, seeds)``, whether the level and the baseline have a run of the seed."""
        return np.asarray(self.there[1:] & self.there[:1])

    def means(self, drawn: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and variance of the differences by seed, each ``(…, levels)``, of results ``(…, 1 + levels, seeds)``."""
        apart, shared = drawn[..., 1:, :] - drawn[..., :1, :], self.shared
        counts = shared.sum(axis=-1)
        mean = np.where(shared, apart, 0).sum(axis=-1) / counts
        off = np.where(shared, apart - mean[..., None], 0)
        return np.asarray(mean), np.asarray((off**2).sum(axis=-1) / (counts - 1))


class Blocked:
    """Runs that share with those of their seed what the seed decides; see ``ablate.stats.chance.Chance``."""

    most_draws = MOST_DRAWS

    def __init__(self, runs: Sequence[Observation], pairs: Sequence[Pair]) -> None:
        self._runs = runs
        results = by_seed(runs)
        judged = [pair for pair in pairs if _is_judged(pair, results)]
        self.pairs: Sequence[Pair] = sorted(judged, key=_star_of)
        stars = [list(of) for _, of in groupby(self.pairs, _star_of)]
        self._stars = [_star(of, results) for of in stars]
        self._factors = np.array([pair.factor for pair in self.pairs], np.int64)
        found = [star.means(star.values) for star in self._stars]
        self.effects = np.concatenate([mean for mean, _ in found]) if found else np.empty(0)
        self._variances = np.concatenate([squares for _, squares in found]) if found else np.empty(0)
        shared = [star.shared.sum(axis=1) for star in self._stars]
        self.counts = np.concatenate(shared).astype(np.int64) if shared else np.empty(0, np.int64)
        self.columns = sum(2 * star.values.size for star in self._stars)
        self._images = Sampled(list(results), self.pairs)

    def errors(self, sampling: Sampling | None) -> NDArray[np.float64]:
        """Standard errors of the effects; see ``Chance``."""
        return np.sqrt(self._moderated(self._variances) / self.counts + self.sampled(sampling))

    def sampled(self, sampling: Sampling | None) -> NDArray[np.float64]:
        """Variance of the effects that seeds do not reduce; see ``Chance``."""
        return self._images.variances(sampling)

    def drawn(self, count: int, rng: np.random.Generator, sampling: Sampling | None) -> NDArray[np.float64]:
        """Sizes of effects by chance alone; see ``Chance``."""
        means, squares = [], []
        for star, true in zip(self._stars, self._true(count, rng), strict=True):
            results = rng.standard_normal((count, *star.values.shape)) * np.sqrt(true)[:, :, None]
            mean, square = star.means(results)
            means.append(mean)
            squares.append(square)
        errors = np.concatenate(means, axis=1) + self._images.drawn(count, rng, sampling)
        seen = self._moderated(np.concatenate(squares, axis=1)) / self.counts + self.sampled(sampling)
        return np.asarray(np.abs(errors) / np.sqrt(seen))

    def limits(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Limits of the standard deviation of a run once the seeds' shifts are out; see ``Chance``."""
        true = self._true(LIMIT_DRAWS // 4, np.random.default_rng(1))
        stds = np.concatenate([np.sqrt((each[:, 1:] + each[:, :1]) / 2) for each in true], axis=1)
        low, high = np.quantile(stds, LIMITS, axis=0)
        return low, high

    def spread(self) -> tuple[float | None, int]:
        """Standard deviation of a run once the seeds' shifts are out; see ``Chance``."""
        return residual(self._runs, blocks=True) or (None, 0)

    def _moderated(self, variances: NDArray[np.float64]) -> NDArray[np.float64]:
        """Variances of differences, ``(…, pairs)``, each shrunk to the mean of its factor's; of two seeds they stay."""
        found = np.array(variances, np.float64)
        for factor in np.unique(self._factors):
            mine = (self._factors == factor) & (self.counts >= FEWEST)
            if mine.sum() < 2:
                continue
            degrees, own = self.counts[mine] - 1.0, variances[..., mine]
            common = (own @ degrees / degrees.sum())[..., None]
            found[..., mine] = (SHRUNK * common + degrees * own) / (SHRUNK + degrees)
        return found

    def _true(self, count: int, rng: np.random.Generator) -> list[NDArray[np.float64]]:
        """Draws of the cells' variances, a star after the other, each ``(count, 1 + levels)``."""
        firsts = np.cumsum([0, *(len(star.values) - 1 for star in self._stars)])[:-1]
        found: list[NDArray[np.float64]] = []
        for _, of in groupby(zip(self._factors[firsts], self._stars, strict=True), lambda each: int(each[0])):
            found += _posterior([star for _, star in of], count, rng)
        return found


def _star_of(pair: Pair) -> tuple[int, Levels]:
    return pair.factor, pair.baseline


def _is_judged(pair: Pair, results: dict[Levels, dict[int, float]]) -> bool:
    """Whether two seeds or more are on both sides, and the differences are not all one."""
    level, baseline = (results.get(levels, {}) for levels in (pair.level, pair.baseline))
    shared = sorted(level.keys() & baseline.keys())
    apart = np.array([level[seed] - baseline[seed] for seed in shared])
    size = max((abs(side[seed]) for side in (level, baseline) for seed in shared), default=0.0)
    return len(shared) > 1 and float(np.ptp(apart)) > ROUNDING * size


def _star(pairs: Sequence[Pair], results: dict[Levels, dict[int, float]]) -> _Star:
    rows = [results[levels] for levels in (pairs[0].baseline, *(pair.level for pair in pairs))]
    seeds = sorted({seed for row in rows for seed in row})
    values = np.array([[row.get(seed, 0.0) for seed in seeds] for row in rows])
    return _Star(values, np.array([[seed in row for seed in seeds] for row in rows]))


def _posterior(stars: Sequence[_Star], count: int, rng: np.random.Generator) -> list[NDArray[np.float64]]:
    """Draws of the variances of the cells of stars of one factor, which have a common scale."""
    priors = [_prior(star) for star in stars]
    shape = sum(float(prior.sum()) for prior in priors) / 2
    true = [np.full((count, len(star.values)), _rough(star)) for star in stars]
    means = [np.repeat(_row_means(star)[None], count, axis=0) for star in stars]
    for _ in range(SWEEPS):
        rate = sum((prior / each).sum(axis=1) for prior, each in zip(priors, true, strict=True)) / 2
        common = (rng.gamma(shape, 1.0, count) / rate)[:, None]
        for number, (star, prior) in enumerate(zip(stars, priors, strict=True)):
            true[number], means[number] = _round(star, true[number], means[number], prior, common, rng)
    return true


def _round(
    star: _Star,
    true: NDArray[np.float64],
    means: NDArray[np.float64],
    prior: NDArray[np.float64],
    common: NDArray[np.float64],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The seeds' shifts by the cells' variances and means, then these by the shifts."""
    count, runs = len(true), star.there.sum(axis=1)
    weights = star.there / true[:, :, None]
    known = weights.sum(axis=1)
    shifts = (weights * (star.values - means[:, :, None])).sum(axis=1) / known
    shifts += rng.standard_normal(known.shape) / np.sqrt(known)
    left = np.where(star.there, star.values - shifts[:, None, :], 0)
    mean = left.sum(axis=2) / runs
    squares = (np.where(star.there, left - mean[:, :, None], 0) ** 2).sum(axis=2)
    drawn = (prior * common + squares) / rng.chisquare(prior + runs - 1, (count, len(runs)))
    return drawn, mean + rng.standard_normal(mean.shape) * np.sqrt(drawn / runs)


def _prior(star: _Star) -> NDArray[np.float64]:
    uses = np.array([len(star.values) - 1, *[1] * (len(star.values) - 1)])
    return np.maximum(LEAST, BORROWED / uses**2)


def _rough(star: _Star) -> float:
    """Where the sampler begins: half the mean variance of the differences by seed."""
    return float(star.means(star.values)[1].mean()) / 2


def _row_means(star: _Star) -> NDArray[np.float64]:
    return np.asarray(star.values.sum(axis=1) / np.maximum(1, star.there.sum(axis=1)))
