"""Runs of a sweep -> its cells, and the pairs of cells that are compared."""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Levels = tuple[str, ...]
"""A cell: a level a factor, in the order of the factors."""
ROUNDING = 1e-12
"""Share of the largest value up to which a spread is rounding: a sum of doubles is known to 2e-16 of its terms."""


@dataclass(frozen=True)
class Observation:
    """One run.

    Attributes:
        levels: A level a factor, in the order of the factors.
        seed: Seed of the run; where seeds are blocks, its block.
        value: Result of the run; NaN for a run without one.
    """

    levels: Levels
    seed: int
    value: float


def require_design(
    observations: Sequence[Observation],
    factors: Sequence[str],
    baseline: Mapping[str, str],
    compare: Sequence[str] | None,
) -> None:
    """Raises ValueError where factors, their baselines and the runs' levels do not fit each other."""
    if unknown := [factor for factor in compare or [] if factor not in factors]:
        raise ValueError(f"compare must name factors of {', '.join(factors)}, got {', '.join(unknown)}.")
    if missing := [factor for factor in factors if factor not in baseline]:
        raise ValueError(f"every factor must have a baseline level, got none for {', '.join(missing)}.")
    if wrong := next((run for run in observations if len(run.levels) != len(factors)), None):
        raise ValueError(f"a run must have a level for each of {', '.join(factors)}, got {wrong.levels}.")


@dataclass(frozen=True)
class Pair:
    """Two cells that differ in one factor.

    Attributes:
        factor: Index of the factor.
        level: The cell at the level that is judged.
        baseline: The cell at the factor's baseline.
    """

    factor: int
    level: Levels
    baseline: Levels


def mean_by_seed(observations: Sequence[Observation]) -> list[Observation]:
    """Runs with a result, in their order; repeats of a seed, which are not independent runs, as their mean."""
    found: dict[tuple[Levels, int], list[float]] = {}
    for run in observations:
        if math.isfinite(run.value):
            found.setdefault((run.levels, run.seed), []).append(run.value)
    return [Observation(levels, seed, math.fsum(of) / len(of)) for (levels, seed), of in found.items()]


def by_cell(observations: Sequence[Observation]) -> dict[Levels, NDArray[np.float64]]:
    """Cell -> the results of its runs, ``(runs,)``."""
    grouped: dict[Levels, list[float]] = {}
    for run in observations:
        grouped.setdefault(run.levels, []).append(run.value)
    return {levels: np.array(values) for levels, values in grouped.items()}


def by_seed(observations: Sequence[Observation]) -> dict[Levels, dict[int, float]]:
    """Cell -> seed -> the result of its run."""
    found: dict[Levels, dict[int, float]] = {}
    for run in observations:
        found.setdefault(run.levels, {})[run.seed] = run.value
    return found


def pairs_of(
    cells: Collection[Levels], factors: Sequence[str], judged: Sequence[int], baseline: Mapping[str, str]
) -> list[Pair]:
    """Cells that differ from a cell at the baseline of one factor in that factor alone."""
    pairs = []
    for index in judged:
        for levels in cells:
            other = (*levels[:index], baseline[factors[index]], *levels[index + 1 :])
            if other != levels and other in cells:
                pairs.append(Pair(index, levels, other))
    return pairs


def without_baseline(
    cells: Collection[Levels],
    finished: Collection[Levels],
    factors: Sequence[str],
    judged: Sequence[int],
    baseline: Mapping[str, str],
) -> list[str]:
    """A sentence for each baseline cell that was not run or has no result, with the levels that get no verdict for it.

    Args:
        cells: Cells that were run.
        finished: Those of them that have a result.
        factors: Names, in the order of the levels.
        judged: Indices of the factors whose levels are judged.
        baseline: Factor -> the level that others are held against.
    """
    lacking: dict[tuple[int, Levels], list[str]] = {}
    for index in judged:
        for levels in cells:
            other = (*levels[:index], baseline[factors[index]], *levels[index + 1 :])
            if other != levels and other not in finished:
                lacking.setdefault((index, other), []).append(levels[index])
    told = [
        f"no verdict on {factors[index]} {_listed(levels)}{_at(other, index)}: the baseline, "
        f"{', '.join(f'{factor} {level}' for factor, level in zip(factors, other, strict=True))}, "
        f"{'has no result' if other in cells else 'was not run'}"
        for (index, other), levels in lacking.items()
    ]
    more = [f"no verdict either beside {len(told) - _NAMED} further baselines without a result"]
    return told[:_NAMED] + more * (len(told) > _NAMED)


_NAMED = 5


def _listed(levels: Sequence[str]) -> str:
    more = f" and {len(levels) - _NAMED} more" if len(levels) > _NAMED else ""
    return ", ".join(levels[:_NAMED]) + more


def _at(levels: Levels, index: int) -> str:
    others = ", ".join((*levels[:index], *levels[index + 1 :]))
    return f" at {others}" if others else ""


def ended(observations: Sequence[Observation]) -> dict[Levels, tuple[int, int]]:
    """Cell -> its runs, and how many of them have no result."""
    runs = Counter(run.levels for run in observations)
    lost = Counter(run.levels for run in observations if not math.isfinite(run.value))
    return {levels: (count, lost[levels]) for levels, count in runs.items()}
