"""Is a margin in the unit of the results? One that is wider than they can differ calls everything equivalent."""

from collections.abc import Sequence

FRACTION = 0.5
"""Half of the scale of a fraction: a margin from here on was meant in percentage points."""


def is_vacuous(margin: float, values: Sequence[float]) -> bool:
    """Whether no two results of this size can differ by the margin: it is at least the largest of them.

    Of results on both sides of 0, such as log likelihoods, the size says nothing of how far they can lie apart.

    Args:
        margin: Smallest effect of interest, above 0.
        values: Results of the runs, finite, in the margin's unit.
    """
    if not values or (min(values) < 0 < max(values)):
        return False
    return 0 < max(map(abs, values)) <= margin


def too_wide(margin: float, values: Sequence[float], *, percent: bool = False) -> str | None:
    """What a margin must be below and is not, in words; None where it may be what was meant.

    Args:
        margin: Smallest effect of interest, above 0.
        values: Results of all runs, finite, in the margin's unit.
        percent: They are known to be percentages: 0.4 is no fraction.
    """
    if is_vacuous(margin, values):
        return f"the largest result, {max(map(abs, values)):.6g}"
    if not values or percent or max(map(abs, values)) > 1:
        return None
    if min(values) >= 0:  # an accuracy, a rate
        return None if margin < FRACTION else f"{FRACTION:g}, half of the scale of results from 0 to 1"
    return None if margin < 2 * FRACTION else f"{2 * FRACTION:g}, half of the scale of results from -1 to 1"


def usable(margin: float | None, values: Sequence[float]) -> tuple[float | None, list[str]]:
    """The margin by which verdicts are made, and what is to be said of one that is left out."""
    if margin is None or not is_vacuous(margin, values):
        return margin, []
    largest = max(map(abs, values))
    return None, [
        f"the margin, {margin:g}, is left out, for no two results of at most {largest:.6g} differ by as much: say the "
        "smallest difference that matters in their unit"
    ]
