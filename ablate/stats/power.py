"""What seeds can show: the smallest difference between two levels, and how many seeds decide a comparison."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, nctdtr, ndtr, ndtri, stdtrit  # scipy.stats', without the 1.3 s of its import

MOST_SEEDS = 1000
"""Most seeds a side that are counted: who would need more is told ``MOST_SEEDS + 1``, which means "more than"."""

_LIMIT = 0.8
"""How surely a spread lies above its lower limit, and how surely below its upper one."""

_NODES, _WEIGHTS = (
    0.5 * (part + shift) for part, shift in zip(np.polynomial.legendre.leggauss(48), (1, 0), strict=True)
)
"""Places in (0, 1) and their weights, which sum to 1: the integral over the quantiles of a variance's estimate."""


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


def smallest_difference(
    std: float, seeds: int, *, alpha: float = 0.05, power: float = 0.8, groups: int = 1, df: int | None = None
) -> float | None:
    """The difference of two means that a two-sided t test of so many seeds a side finds with this probability.

    Args:
        std: Standard deviation of one side's runs.
        seeds: Number of seeds of each side; None is returned for fewer than 2, which have no spread of their own.
        alpha: Rate of false findings of all comparisons together, 0 to 1.
        power: Probability of finding it.
        groups: Comparisons in one family: alpha is shared out among them evenly (Bonferroni).
        df: Degrees of freedom of the variance that the test will use, pooled over more cells than these two; None: of
            these two alone.

    Source:
        Cohen 1988, Statistical Power Analysis, chapter 2; exact, by the noncentral t distribution.
    """
    if seeds < 2:
        return None
    freedom = 2 * seeds - 2 if df is None else df
    critical = float(stdtrit(freedom, 1 - alpha / groups / 2))
    low, high = 0.0, 10 * critical
    for _ in range(60):
        middle = (low + high) / 2
        found = 1 - float(nctdtr(freedom, middle, critical))  # the other tail is below 1e-4 wherever power is 0.8
        low, high = (middle, high) if found < power else (low, middle)
    return high * std * math.sqrt(2 / seeds)


def std_limits(std: float, df: float) -> tuple[float, float]:
    """Limits of a true standard deviation: in 4 of 5 cases it lies above the lower one, and in 4 of 5 below the upper.

    Args:
        std: The estimate.
        df: Its degrees of freedom, above 0.

    Source:
        The chi-square interval of a normal variance.
    """
    lower, upper = (std * math.sqrt(df / float(chdtri(df, tail))) for tail in (1 - _LIMIT, _LIMIT))
    return lower, upper


def seeds_range(
    low_std: float,
    high_std: float,
    margin: float,
    *,
    paired: bool = False,
    alpha: float = 0.05,
    power: float = 0.8,
    groups: int = 1,
    fixed_variance: float = 0.0,
) -> tuple[int, int] | tuple[None, None]:
    """Seeds a side that would do were the spread at its lower limit, and those that do at its upper one.

    The second is the number to plan with: a spread that few seeds tell is soon told too small, and what is computed
    from it decides less often than it says. Arguments are those of ``seeds_needed``, and both ends are capped as there.

    Args:
        low_std: Lower limit of the standard deviation; ``std_limits`` has it.
        high_std: Its upper limit.

    Returns:
        Both numbers; twice None where no number of seeds decides.

    Raises:
        ValueError: As ``seeds_needed``.
    """
    least, most = (
        seeds_needed(std, margin, paired=paired, alpha=alpha, power=power, groups=groups, fixed_variance=fixed_variance)
        for std in (low_std, high_std)
    )
    return (None, None) if least is None or most is None else (least, most)


def seeds_needed(
    std: float,
    margin: float,
    *,
    paired: bool = False,
    alpha: float = 0.05,
    power: float = 0.8,
    groups: int = 1,
    fixed_variance: float = 0.0,
) -> int | None:
    """Seeds a side with which a comparison is decided, whichever way the truth lies.

    Decided means that the ``1 - 2 alpha`` interval lies inside the margin, or that the ``1 - alpha`` interval excludes
    0. The number is the smallest that decides at each true effect of 0, half a margin and a whole margin.

    Args:
        std: Standard deviation of one side's runs; of the differences where paired.
        margin: Smallest effect of interest, in the same unit.
        paired: Whether a seed of one side and the same seed of the other make one pair.
        alpha: Rate of false verdicts, 0 to 0.5.
        power: Probability of deciding.
        groups: Comparisons in one family: alpha is shared out among them evenly (Bonferroni).
        fixed_variance: The part of the effect's variance that further seeds do not reduce, in the unit squared: that of
            the choice of test images. It is taken as known.

    Returns:
        The number, from 2 on; ``MOST_SEEDS + 1`` where more than ``MOST_SEEDS`` are needed; None where
        ``fixed_variance`` alone leaves the comparison undecided, whatever the number of seeds.

    Raises:
        ValueError: A standard deviation or margin that is not above 0, a fixed variance below 0.
    """
    if not (std > 0 and margin > 0 and math.isfinite(std) and math.isfinite(margin)):
        raise ValueError(f"std and margin must be finite and above 0, got {std} and {margin}.")
    if not (fixed_variance >= 0 and math.isfinite(fixed_variance)):
        raise ValueError(f"fixed_variance must be finite and at least 0, got {fixed_variance}.")
    level, fixed = alpha / groups, fixed_variance / margin**2
    one = (std / margin) ** 2 * (1 if paired else 2)
    if _known_variance(fixed, level) < power:
        return None

    def enough(n: int) -> bool:
        return deciding(one / n, (n - 1) * (1 if paired else 2), level, fixed) >= power

    if not enough(MOST_SEEDS):
        return MOST_SEEDS + 1
    low, high = 1, MOST_SEEDS  # one seed is not enough, that many are
    while high - low > 1:
        middle = (low + high) // 2 if high < 8 * low else 2 * low
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def deciding(variance: float, df: int, alpha: float, fixed: float = 0.0) -> float:
    """Least probability that a comparison is decided, over true effects of 0, half a margin and a whole one.

    The effect is normal, and the estimate of its variance over seeds is ``variance`` times a chi-square over ``df``.

    Args:
        variance: Variance of the effect over seeds, in margins squared.
        df: Degrees of freedom of its estimate.
        alpha: Of this comparison.
        fixed: The variance that is known, and that seeds do not reduce, in margins squared.
    """
    errors = np.sqrt(variance * chdtri(df, _NODES) / df + fixed)
    whole = variance + fixed
    freedom = df * (whole / variance) ** 2  # Welch and Satterthwaite's: what is known adds no doubt
    wide, narrow = (float(stdtrit(freedom, 1 - tail)) for tail in (alpha / 2, alpha))
    return _least(wide * errors, narrow * errors, math.sqrt(whole), _WEIGHTS)


def _known_variance(variance: float, alpha: float) -> float:
    """The same where nothing has to be estimated."""
    if variance == 0:
        return 1.0
    error = np.array([math.sqrt(variance)])
    return _least(-ndtri(alpha / 2) * error, -ndtri(alpha) * error, float(error[0]), np.ones(1))


def _least(wide: NDArray[np.float64], narrow: NDArray[np.float64], error: float, weights: NDArray[np.float64]) -> float:
    """The least probability, by half the widths of both intervals, ``(nodes,)``, in margins."""
    effects = np.array([[0.0], [0.5], [1.0]])
    inside = np.clip(1 - narrow, 0, None)  # an estimate that is smaller than this is called equivalent
    outside = np.maximum(wide, inside)  # one that is larger than this differs from 0
    equivalent = _between(inside, effects, error)
    different = 1 - _between(outside, effects, error)
    return float(((equivalent + different) @ weights).min())


def _between(half: NDArray[np.float64], effects: NDArray[np.float64], error: float) -> NDArray[np.float64]:
    """Probability that an estimate lies within ±half, ``(effects, nodes)``."""
    return np.asarray(ndtr((half - effects) / error) - ndtr((-half - effects) / error))
