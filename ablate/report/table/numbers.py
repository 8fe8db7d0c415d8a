"""Measured numbers in words: the uncertainty of a number decides how many of its digits are worth reading."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ablate.stats.estimates import Estimate

PERCENT = 2
"""Decimals of a percentage."""
_KNOWN = 4
"""Significant digits of a number whose uncertainty nobody knows."""
_APART = 2
"""Decimals that the best known number of a column may have more than the worst known."""
_SMALL, _LARGE = 1e-3, 1e12
"""Numbers below, if they need more than ``_PLACES`` decimals, and those above are written with a power of ten."""
_PLACES = 5
_MORE = 4
"""Further decimals that a small end of an interval may take before it is written with a power of ten."""


@dataclass(frozen=True)
class Digits:
    """How the numbers of one column are written, so that they can be compared by eye.

    Attributes:
        decimals: Decimals before any power of ten is taken out; negative rounds to tens, hundreds and so on.
        exponent: Power of ten behind each number; 0 for none.
    """

    decimals: int
    exponent: int = 0

    def __call__(self, value: float, *, signed: bool = False) -> str:
        """The number, with separators between thousands; ``signed`` has a plus sign before what is above 0."""
        scaled = value / 10.0**self.exponent
        places = self.decimals + self.exponent
        rounded = round(scaled, places) + 0.0  # no -0.0
        power = f"e{self.exponent}" if self.exponent and math.isfinite(value) else ""
        return f"{rounded:{'+' if signed and rounded else ''},.{max(0, places)}f}{power}"

    def hides(self, value: float) -> bool:
        """Whether a number that is not 0 would be written as 0."""
        return value != 0 and round(value / 10.0**self.exponent, self.decimals + self.exponent) == 0


def digits(values: Iterable[float | None], halves: Iterable[float | None] = (), *, percent: bool = False) -> Digits:
    """The digits of a column: two significant ones of the half-widths of its intervals.

    Args:
        values: The numbers; None where a cell is empty.
        halves: Half-widths of their intervals, in the same unit; without any, numbers have four significant digits,
            and whole ones all.
        percent: They are percentages, which have two decimals.
    """
    if percent:
        return Digits(PERCENT)
    known = [abs(value) for value in values if value is not None and math.isfinite(value)]
    needed = [1 - _exponent(half, 2) for half in halves if half is not None and math.isfinite(half) and half > 0]
    largest = max(known, default=0.0)
    if needed:
        decimals = min(max(needed), min(needed) + _APART)
    elif all(value.is_integer() for value in map(float, known)):
        decimals = 0
    else:
        decimals = max(0, _KNOWN - 1 - _exponent(largest, _KNOWN))
    written = largest >= _LARGE or (0 < largest < _SMALL and decimals > _PLACES)
    return Digits(decimals, _exponent(largest, 2) if written else 0)


def of_estimates(estimates: Iterable[Estimate | None], *, percent: bool) -> Digits:
    """The digits of a column of means."""
    known = [each for each in estimates if each is not None]
    return digits([each.mean for each in known], [each.half for each in known], percent=percent)


def number_text(value: float, written: Digits) -> str:
    """A number without an interval, in the digits of its column, or in its own where these would write it as 0."""
    return _own(value, 0.0, written)(value)


def estimate_text(estimate: Estimate, written: Digits) -> str:
    """Mean ± half-width; the mean and both ends where the interval was cut off at the end of what is possible."""
    if estimate.half is None or estimate.low is None or estimate.high is None:
        return number_text(estimate.mean, written)
    own = _own(estimate.mean, estimate.half, written)
    if is_cut(estimate):
        return f"{own(estimate.mean)} [{own(estimate.low)}, {own(estimate.high)}]"
    return f"{own(estimate.mean)} ± {own(estimate.half)}"


def is_cut(estimate: Estimate) -> bool:
    """Whether one end of the interval is nearer to the mean than the other."""
    if estimate.low is None or estimate.high is None:
        return False
    above, below = estimate.high - estimate.mean, estimate.mean - estimate.low
    return abs(above - below) > 1e-6 * max(above, below)


def effect_digits(effects: Iterable[tuple[float | None, float | None, float | None]], *, percent: bool) -> Digits:
    """The digits of a column of effects, each with both ends of its interval."""
    told = list(effects)
    halves = [(high - low) / 2 for _, low, high in told if low is not None and high is not None]
    return digits([value for each in told for value in each], halves, percent=percent)


def in_percent(unit: str) -> bool:
    """Whether a metric's label, or the unit of an effect on it, says percent."""
    return unit.endswith((" %", "_percent")) or unit.startswith("percentage points")


def interval_text(low: float, high: float, written: Digits) -> str:
    """Both ends of an interval of an effect in brackets, as ``ends`` writes them."""
    return f"[{', '.join(ends(low, high, written))}]"


def ends(low: float, high: float, written: Digits) -> tuple[str, str]:
    """Both ends of an interval of an effect: an end that is not 0 is seen to be on its side of 0."""
    own = _own(max(abs(low), abs(high)), (high - low) / 2, written)
    return _side(low, own), _side(high, own)


def effect_text(effect: float, low: float | None, high: float | None, written: Digits) -> str:
    """An effect with its sign, in the digits of its interval."""
    half = 0.0 if low is None or high is None else (high - low) / 2
    return _own(effect, half, written)(effect, signed=True)


def _own(value: float, half: float, written: Digits) -> Digits:
    """The column's digits, unless these would write an uncertainty of 0, or a number of none, where there is one."""
    if written.hides(half) or (half == 0 and written.hides(value)):
        return digits([value], [half])
    return written


def _side(value: float, written: Digits) -> str:
    if not written.hides(value):
        return written(value, signed=True)
    decimals = -_exponent(value, 1)
    far = decimals - written.decimals > _MORE
    return Digits(decimals, -decimals if far else written.exponent)(value, signed=True)


def significant(value: float, count: int) -> str:
    """A number with so many significant digits, whole ones in full."""
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    decimals = max(0, count - 1 - _exponent(value, count))
    small = 0 < abs(value) < _SMALL
    return Digits(decimals, _exponent(value, count) if small else 0)(value)


def p_text(value: float, alpha: float) -> str:
    """A p-value with the digits that tell on which side of alpha it lies, three decimals at least."""
    if value < 0.001 <= alpha:
        return "< 0.001"
    texts = (f"{value:.{decimals}f}" for decimals in range(3, 12))
    return next((text for text in texts if _same_side(float(text), value, alpha)), f"{value:.3g}")


def _same_side(shown: float, value: float, alpha: float) -> bool:
    return (shown < alpha, shown > alpha) == (value < alpha, value > alpha) and (shown > 0 or value == 0)


def _exponent(value: float, count: int) -> int:
    """Power of ten of the first digit, once the number is rounded to so many digits; 0 for 0."""
    return int(f"{abs(value):.{count - 1}e}".partition("e")[2]) if value else 0
