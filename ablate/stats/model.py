"""F tests of a design's terms, by one linear model over all cells: a mean a cell, one residual variance."""

import itertools
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc

from ablate.stats.design import ROUNDING, Levels, Observation, by_cell

DEPENDENT = 1e-10
"""Share of a design's largest direction up to which a direction is rounding, and no parameter. At the libraries' own
bound, one epsilon, dependent columns counted as parameters on one processor and not on another."""


@dataclass(frozen=True)
class Groups:
    """Runs that no model tells apart, together: their mean and number say all that a row for each would.

    Attributes:
        levels: Cell of each group.
        seeds: Seed of each group where seeds are blocks; else 0.
        means: ``(groups,)``, mean result of a group's runs.
        counts: ``(groups,)``, number of a group's runs: the weight of its mean.
        within: Sum of squares of the runs about the means of their groups: no model explains any of it.
    """

    levels: Sequence[Levels]
    seeds: Sequence[int]
    means: NDArray[np.float64]
    counts: NDArray[np.float64]
    within: float

    @property
    def runs(self) -> int:
        """Number of runs in all groups."""
        return int(self.counts.sum())


def grouped(observations: Sequence[Observation], *, blocks: bool = False) -> Groups:
    """Runs by cell, and by seed where seeds are blocks."""
    found: dict[tuple[Levels, int], list[float]] = {}
    for run in observations:
        found.setdefault((run.levels, run.seed if blocks else 0), []).append(run.value)
    values = [np.array(each) for each in found.values()]
    within = math.fsum(float(np.sum((each - each.mean()) ** 2)) for each in values)
    means, counts = (np.array([of(each) for each in values], np.float64) for of in (np.mean, len))
    return Groups([levels for levels, _ in found], [seed for _, seed in found], means, counts, within)


@dataclass(frozen=True)
class _Left:
    """What a model leaves.

    Attributes:
        ssr: Sum of squares of the runs about the model.
        df: Degrees of freedom that the model leaves.
    """

    ssr: float
    df: int


def _least_squares(groups: Groups, design: NDArray[np.float64]) -> _Left | None:
    """What a row a run would give, from a row a group with its weight; None where no run is left to tell the noise.

    Columns may depend on each other.
    """
    from scipy.linalg import lstsq

    root = np.sqrt(groups.counts)
    params, _, rank, _ = lstsq(design * root[:, None], groups.means * root, cond=DEPENDENT, lapack_driver="gelsy")
    df = groups.runs - int(rank)
    if df <= 0:
        return None
    return _Left(groups.within + float(groups.counts @ (groups.means - design @ params) ** 2), df)


# ------------------------------------------------------------------------------------------------------- terms


@dataclass(frozen=True)
class Effect:
    """A main effect or a two-way interaction: does it explain anything at all?

    Attributes:
        factors: Name of the factor, or names of the two.
        f: F statistic of the term, against the variance of runs within their cells.
        p: p-value of ``f``, 0 to 1.
    """

    factors: tuple[str, ...]
    f: float
    p: float


def term_effects(observations: Sequence[Observation], factors: Sequence[str], blocks: bool = False) -> list[Effect]:
    """F tests of the terms that the design can tell, of Type II.

    A term is added to the model of all terms that do not contain it: a main effect to a mean for each combination of
    the other factors. What it explains is held against the residual of the full model, a mean a cell; so an interaction
    does not hide a main effect. Cells whose runs all have the same value, such as models that collapsed, are left out
    of the residual's sum of squares and degrees of freedom: they would make the noise seem smaller than it is.

    Args:
        observations: Runs with a result.
        factors: Names, in the order of the levels.
        blocks: Every model has a shift for each seed as well, the full one among them.

    Source:
        Langsrud 2003, Statistics and Computing 13 (2), 163-167; statsmodels' ``anova_lm(typ=2)`` of all interactions.
    """
    runs = _centred(observations)
    noise = _noise(runs, blocks=blocks, least=_least(observations))
    if noise is None:
        return []
    groups = grouped(runs, blocks=blocks)
    moving = [index for index in range(len(factors)) if len({levels[index] for levels in groups.levels}) > 1]
    crossed = [pair for pair in itertools.combinations(moving, 2) if _crossed(groups, pair)]
    found = []
    for term in [*((index,) for index in moving), *crossed]:
        without = [tuple(other for other in moving if other != index) for index in term]
        if (test := _f_test(groups, term, without, noise, blocks=blocks)) is not None:
            found.append(Effect(tuple(factors[index] for index in term), *test))
    return found


def residual(observations: Sequence[Observation], *, blocks: bool) -> tuple[float, int] | None:
    """Standard deviation of a run about the full model, and its degrees of freedom; None where nothing tells it.

    Args:
        observations: Runs with a result; cells without a spread are left out.
        blocks: The model has a shift for each seed as well as a mean a cell.
    """
    left = _noise(_centred(observations), blocks=blocks, least=_least(observations))
    return None if left is None else (math.sqrt(left.ssr / left.df), left.df)


def _centred(observations: Sequence[Observation]) -> list[Observation]:
    """Results about their mean: sums of squares lose fewer digits."""
    centre = math.fsum(run.value for run in observations) / len(observations) if observations else 0.0
    return [Observation(run.levels, run.seed, run.value - centre) for run in observations]


def _least(observations: Sequence[Observation]) -> float:
    """Spread up to which results agree in every digit."""
    return ROUNDING * max((abs(run.value) for run in observations), default=0.0)


def _noise(runs: Sequence[Observation], *, blocks: bool, least: float) -> _Left | None:
    """What the full model leaves of the cells that have a spread; None where that is nothing but rounding.

    Args:
        runs: Runs with a result.
        blocks: The model has a shift for each seed as well.
        least: Standard deviation up to which a spread is rounding.
    """
    cells = by_cell(runs)
    steady = {levels for levels, values in cells.items() if np.ptp(values) <= least}
    groups = grouped([run for run in runs if run.levels not in steady], blocks=blocks)
    if not groups.levels:
        return None
    left = _left(groups, [tuple(range(len(groups.levels[0])))], blocks=blocks)
    return left if left.df > 0 and math.sqrt(left.ssr / left.df) > least else None


def _crossed(groups: Groups, pair: tuple[int, int]) -> bool:
    """Whether every level of one was run with every level of the other."""
    a, b = ({levels[index] for levels in groups.levels} for index in pair)
    return len({(levels[pair[0]], levels[pair[1]]) for levels in groups.levels}) == len(a) * len(b)


Term = tuple[int, ...]
"""Indices of factors: a mean for each combination of their levels."""


def _f_test(
    groups: Groups, term: Term, without: Sequence[Term], noise: _Left, *, blocks: bool
) -> tuple[float, float] | None:
    """F of a term beside those without it, and its p; None where they leave it nothing to explain."""
    smaller, larger = (_left(groups, terms, blocks=blocks) for terms in (without, [*without, term]))
    df = smaller.df - larger.df
    if df == 0:
        return None
    f = max(0.0, smaller.ssr - larger.ssr) / df / (noise.ssr / noise.df)
    return f, float(fdtrc(df, noise.df, f))


def _left(groups: Groups, terms: Sequence[Term], *, blocks: bool) -> _Left:
    """What a model of these terms leaves."""
    keys: list[list[Hashable]] = [
        [tuple(levels[index] for index in term) for levels in groups.levels] for term in terms
    ]
    if any(len(set(key)) == len(key) for key in keys):  # a term that tells every group from every other
        return _Left(groups.within, groups.runs - len(groups.levels))
    shifts = [_indicators(groups.seeds)] * blocks
    design = np.column_stack([*map(_indicators, keys), *shifts])
    return _least_squares(groups, design) or _Left(0.0, 0)


def _indicators(keys: Sequence[Hashable]) -> NDArray[np.float64]:
    """``(groups, distinct keys)``, 1 where a group has the key."""
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return np.eye(len(numbers))[[numbers[key] for key in keys]]
