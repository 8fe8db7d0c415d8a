"""One linear model over all cells: a mean a cell, one residual variance, and F tests of its terms."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc

from ablate.stats.design import Levels, Observation

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
class Fit:
    """A mean a cell, and how well it is known.

    Attributes:
        places: Cell -> its number, from 0.
        means: ``(cells,)``, mean result of each cell.
        covariance: Gives the covariance of the means of two cells by their numbers, arrays that broadcast; in units
            of a run's variance.
        std: Residual standard deviation, in the unit of the results; 0 where it is nothing but rounding.
        df: Degrees of freedom of ``std``.
    """

    places: Mapping[Levels, int]
    means: NDArray[np.float64]
    covariance: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]
    std: float
    df: int


def fit_cells(observations: Sequence[Observation], *, blocks: bool = False) -> Fit | None:
    """A mean a cell, and a shift a seed where seeds are blocks; None where no run is left to tell the noise from."""
    groups = grouped(observations, blocks=blocks)
    places = {levels: number for number, levels in enumerate(dict.fromkeys(groups.levels))}
    if blocks:
        design = _blocked(groups, places)
        solved = _least_squares(groups, design)
        if solved is None:
            return None
        inner = design.T @ (design * groups.counts[:, None])
        spread = np.asarray(np.linalg.pinv(inner, rcond=DEPENDENT, hermitian=True), np.float64)
        std = _std(groups, solved.ssr, solved.df)
        return Fit(places, solved.params[: len(places)], lambda a, b: spread[a, b], std, solved.df)
    df = groups.runs - len(places)
    known = 1 / groups.counts
    std = _std(groups, groups.within, df) if df else 0.0
    return Fit(places, groups.means, lambda a, b: np.where(a == b, known[a], 0.0), std, df) if df else None


def _blocked(groups: Groups, places: Mapping[Levels, int]) -> NDArray[np.float64]:
    """An indicator a cell, and one a seed but the first."""
    seeds = {seed: number for number, seed in enumerate(sorted(set(groups.seeds))[1:], start=len(places))}
    design = np.zeros((len(groups.levels), len(places) + len(seeds)))
    for row, levels, seed in zip(design, groups.levels, groups.seeds, strict=True):
        row[places[levels]] = 1
        if seed in seeds:
            row[seeds[seed]] = 1
    return design


@dataclass(frozen=True)
class _Solved:
    """A model's least squares.

    Attributes:
        params: ``(columns,)``, a coefficient a column of the design.
        ssr: Sum of squares of the runs about the model.
        df: Degrees of freedom that the model leaves.
    """

    params: NDArray[np.float64]
    ssr: float
    df: int


def _least_squares(groups: Groups, design: NDArray[np.float64]) -> _Solved | None:
    """What a row a run would give, from a row a group with its weight; None where no run is left to tell the noise.

    By scipy, since importing statsmodels takes longer than most sweeps take to fit; columns may depend on each other.
    """
    from scipy.linalg import lstsq

    root = np.sqrt(groups.counts)
    params, _, rank, _ = lstsq(design * root[:, None], groups.means * root, cond=DEPENDENT, lapack_driver="gelsy")
    df = groups.runs - int(rank)
    if df <= 0:
        return None
    return _Solved(params, groups.within + float(groups.counts @ (groups.means - design @ params) ** 2), df)


def _std(groups: Groups, ssr: float, df: int) -> float:
    std = math.sqrt(ssr / df)
    return std if std > 1e-9 * max(1.0, float(np.abs(groups.means).max())) else 0.0


# ------------------------------------------------------------------------------------------------------- terms


@dataclass(frozen=True)
class Effect:
    """A main effect or a two-way interaction: does it explain anything at all?

    Attributes:
        factors: Name of the factor, or names of the two.
        f: F statistic against the model without the term.
        p: p-value of ``f``, 0 to 1.
    """

    factors: tuple[str, ...]
    f: float
    p: float


def term_effects(observations: Sequence[Observation], factors: Sequence[str]) -> list[Effect]:
    """F tests of what the design can tell: a term is dropped from the largest of the models that hold it."""
    groups = grouped(observations)
    moving = [index for index in range(len(factors)) if len({levels[index] for levels in groups.levels}) > 1]
    mains = [(index,) for index in moving]
    crossed = [pair for pair in itertools.combinations(moving, 2) if _crossed(groups, pair)]
    tests = [(term, mains) for term in mains] + [(term, [*mains, *crossed]) for term in crossed]
    found = (_f_test(groups, term, among) for term, among in tests)
    return [
        Effect(tuple(factors[index] for index in term), f, p)
        for (term, _), each in zip(tests, found, strict=True)
        if each is not None
        for f, p in [each]
    ]


def _crossed(groups: Groups, pair: tuple[int, int]) -> bool:
    """Whether every level of one was run with every level of the other."""
    a, b = ({levels[index] for levels in groups.levels} for index in pair)
    return len({(levels[pair[0]], levels[pair[1]]) for levels in groups.levels}) == len(a) * len(b)


def _f_test(groups: Groups, term: tuple[int, ...], among: Sequence[tuple[int, ...]]) -> tuple[float, float] | None:
    left = [_left(groups, terms) for terms in (among, [other for other in among if other != term])]
    (ssr, df), (rest, rest_df) = left
    if df <= 0 or rest_df == df or ssr <= 1e-18 * max(1.0, groups.within + float(groups.counts @ groups.means**2)):
        return None
    f = (rest - ssr) / (rest_df - df) / (ssr / df)
    return f, float(fdtrc(rest_df - df, df, f))


def _left(groups: Groups, terms: Sequence[tuple[int, ...]]) -> tuple[float, int]:
    """Sum of squares that a model of these terms leaves, and its degrees of freedom."""
    if any(
        len({tuple(levels[index] for index in term) for levels in groups.levels}) == len(groups.levels)
        for term in terms
    ):  # a term that tells every cell from every other leaves what is within cells
        return groups.within, groups.runs - len(groups.levels)
    solved = _least_squares(groups, _design(groups.levels, terms))
    return (solved.ssr, solved.df) if solved else (0.0, 0)


def _design(cells: Sequence[Levels], terms: Sequence[tuple[int, ...]]) -> NDArray[np.float64]:
    """An intercept, an indicator a level but each factor's first, and their products where factors are crossed."""
    columns = [np.ones(len(cells))]
    levels = [np.array(each) for each in zip(*cells, strict=True)]
    for term in terms:
        indicators = [[levels[index] == level for level in np.unique(levels[index])[1:]] for index in term]
        columns += [np.prod(chosen, axis=0, dtype=np.float64) for chosen in itertools.product(*indicators)]
    return np.column_stack(columns)
