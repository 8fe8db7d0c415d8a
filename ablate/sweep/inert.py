"""Levels of a factor that change nothing: found before any training."""

from collections.abc import Sequence
from dataclasses import dataclass

from ablate.sweep.space import Point


@dataclass(frozen=True)
class Inert:
    """Two points that are one run under two names."""

    one: Point
    other: Point
    reason: str

    def sentence(self) -> str:
        """What is wrong, and what to do about it."""
        axes = [axis for axis, level in self.one.levels.items() if self.other.levels.get(axis) != level]
        names = ", ".join(f"{axis}={self.one.levels[axis]} and {axis}={self.other.levels.get(axis)}" for axis in axes)
        rest = ", ".join(f"{axis}={level}" for axis, level in self.one.levels.items() if axis not in axes)
        return (
            f"levels of a factor must change something, but {names or 'two seeds'}{f' (with {rest})' if rest else ''} "
            f"{self.reason}; leave one out (where), or set allow_inert=true to train both."
        )


def same_runs(points: Sequence[Point], definitions: Sequence[str]) -> list[Inert]:
    """Points whose resolved settings are equal in every leaf.

    Args:
        points: Of a sweep.
        definitions: Their resolved settings as text, in the same order.
    """
    first: dict[str, Point] = {}
    found = []
    for point, definition in zip(points, definitions, strict=True):
        if definition in first:
            found.append(Inert(first[definition], point, "resolve to the same settings in every leaf"))
        first.setdefault(definition, point)
    return found
