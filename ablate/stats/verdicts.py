"""Two sides of a comparison -> a verdict: better, worse, equivalent or undecided, and how many seeds it takes."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri  # scipy.stats' functions, without the 1.3 s of its import

from ablate.stats.design import ROUNDING
from ablate.stats.estimates import SECOND_LOOK, checked_finite, checked_runs, t_test
from ablate.stats.power import seeds_range, std_limits


class Kind(StrEnum):
    """What a comparison says."""

    equivalent = "equivalent"
    helps = "helps"
    hurts = "hurts"
    undecided = "undecided"


@dataclass(frozen=True)
class Verdict:
    """A comparison of a treatment with a baseline.

    Attributes:
        kind: ``equivalent``: the whole ``1 - 2 alpha`` interval lies inside ±margin; ``helps`` or ``hurts``: the
            ``1 - alpha`` interval excludes 0; ``undecided``: neither.
        effect: Mean of the treatment minus mean of the baseline, in the unit of the values; None without two sides.
        low: Lower end of the effect's ``1 - alpha`` interval; None where there is no spread to tell it from.
        high: Upper end of the interval, None where ``low`` is None.
        p: Two-sided p-value of no effect, 0 to 1, adjusted where the comparison is one of a family.
        n: Number of runs behind the comparison: pairs, or those of the smaller side.
        seeds_needed: Seeds a side that decide the comparison with 80 % probability, from the margin and the spread of
            the runs at its upper 80 % limit, never from the effect that was seen; ``power.MOST_SEEDS + 1`` where more
            than ``MOST_SEEDS`` are needed; None where it is decided, has no margin, or no number of seeds decides.
        seeds_at_least: Seeds a side that would do were the spread at its lower 80 % limit; capped likewise, and None
            where ``seeds_needed`` is.
        notes: Sentences on what a reader has to know besides.
    """

    kind: Kind
    effect: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int
    seeds_needed: int | None = None
    seeds_at_least: int | None = None
    notes: tuple[str, ...] = ()


def verdict(
    treatment: ArrayLike,
    baseline: ArrayLike,
    *,
    margin: float | None = None,
    paired: bool = False,
    higher_is_better: bool = True,
    alpha: float = 0.05,
) -> Verdict:
    """Compares two sides by their runs: Welch's t interval, or Student's over pairs.

    The margin is the smallest effect of interest, which the reader declares; a measured noise floor is not it. The
    interval covers what differs between runs (seeds), not the sampling of the test images: see ``example_interval``.

    Args:
        treatment: ``(runs,)``; what is not finite is a run without a result, left out and counted in the notes.
        baseline: ``(runs,)``; of the same length where paired.
        margin: In the unit of the values; None never calls anything equivalent.
        paired: The sides share split, subset and data order run by run.
        higher_is_better: False for a loss, an error, a time.
        alpha: Rate of false ``helps`` and ``hurts`` together where there is no difference.

    Raises:
        ValueError: No arrays of one dimension, pairs of unequal length, a margin or an alpha out of range.

    Source:
        Welch 1947, Biometrika 34; equivalence by two one-sided tests: Schuirmann 1987, J. Pharmacokin. Biopharm. 15.
    """
    require_rule(margin, alpha)
    sides = [checked_runs("treatment", treatment), checked_runs("baseline", baseline)]
    (t, b), notes = checked_finite(*sides, paired=paired)
    if min(len(t), len(b)) < 2:
        effect = float(t.mean() - b.mean()) if len(t) and len(b) else None
        notes.append("one run a side has no spread: run more seeds")
        return Verdict(Kind.undecided, effect, None, None, None, min(len(t), len(b)), notes=tuple(notes))
    effect, test = t_test(t, b, paired=paired)
    spread = float(np.std(t - b, ddof=1)) if paired else math.sqrt((t.var(ddof=1) + b.var(ddof=1)) / 2)
    n = min(len(t), len(b))
    if spread <= ROUNDING * float(np.abs([*t, *b]).max()):
        notes.append(
            "the runs of a side agree in every digit, which is no spread to judge by: are they runs of one seed?"
        )
        return Verdict(Kind.undecided, effect, None, None, None, n, notes=tuple(notes))
    wide, narrow = (test.confidence_interval(level) for level in (1 - alpha, 1 - 2 * alpha))
    found = judge(effect, (wide.low, wide.high), (narrow.low, narrow.high), margin, higher_is_better=higher_is_better)
    least = needed = None
    if found is Kind.undecided:
        notes.append(SECOND_LOOK)
        if margin is None:
            notes.append(
                "without a margin nobody can say how many seeds would decide: declare the smallest effect of interest"
            )
        else:
            limits = std_limits(spread, n - 1 if paired else _freedom(t, b))
            least, needed = seeds_range(*limits, margin, paired=paired, alpha=alpha)
    low, high, p = float(wide.low), float(wide.high), float(test.pvalue)
    return Verdict(found, effect, low, high, p, n, needed, least, notes=tuple(notes))


def _freedom(treatment: NDArray[np.float64], baseline: NDArray[np.float64]) -> float:
    """Degrees of freedom of the sum of both sides' variances (Satterthwaite 1946, Biometrics Bulletin 2)."""
    parts = [(float(side.var(ddof=1)), len(side) - 1) for side in (treatment, baseline)]
    return sum(variance for variance, _ in parts) ** 2 / sum(variance**2 / df for variance, df in parts)


def judge(
    effect: float,
    wide: tuple[float, float],
    narrow: tuple[float, float],
    margin: float | None,
    *,
    higher_is_better: bool = True,
) -> Kind:
    """The kind, from the ``1 - alpha`` interval (wide) and the ``1 - 2 alpha`` interval (narrow) of the effect."""
    if margin is not None and -margin < narrow[0] and narrow[1] < margin:
        return Kind.equivalent
    if wide[0] <= 0 <= wide[1]:
        return Kind.undecided
    return Kind.helps if (effect > 0) == higher_is_better else Kind.hurts


def alpha_spending(alpha: float, fractions: Sequence[float]) -> list[float]:
    """Alpha of each look at growing data, which together stay within alpha whatever the looks show.

    The share spent by a fraction t of the planned runs is ``2 - 2 Phi(z / sqrt(t))`` (O'Brien and Fleming's shape); a
    look may use what was added since the one before.

    Args:
        alpha: Rate of false verdicts of all looks together, 0 to 0.5.
        fractions: Runs at each look over runs planned, rising, the last at most 1.

    Raises:
        ValueError: Fractions that do not rise within (0, 1].

    Source:
        Lan and DeMets 1983, Biometrika 70 (3), 659-663.
    """
    require_rule(None, alpha)
    if not fractions or any(b <= a for a, b in itertools.pairwise([0.0, *fractions])) or fractions[-1] > 1:
        raise ValueError(f"fractions must rise within (0, 1], got {list(fractions)}.")
    spent = [2 - 2 * float(ndtr(-float(ndtri(alpha / 2)) / math.sqrt(t))) for t in fractions]
    return [b - a for a, b in itertools.pairwise([0.0, *spent])]


def require_rule(margin: float | None, alpha: float) -> None:
    """Raises ValueError for a margin that is not above 0, or an alpha that is no rate of false verdicts."""
    if margin is not None and not (math.isfinite(margin) and margin > 0):
        raise ValueError(
            f"margin must be above 0, in the unit of the values, got {margin}; leave it out if there is none."
        )
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha must lie between 0 and 0.5, got {alpha}; 0.05 is usual.")
