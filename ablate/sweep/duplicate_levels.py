"""Duplicate levels: levels of a factor that are one run under several names, found before any training."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from ablate import identity
from ablate.contract import task
from ablate.design.points import Point
from ablate.sweep.planned import PlannedPoint


@dataclass(frozen=True)
class Duplicate:
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


def same_runs(points: Sequence[Point], definitions: Sequence[str]) -> list[Duplicate]:
    """Points whose resolved settings are equal in every leaf.

    Args:
        points: Points of a sweep.
        definitions: Resolved settings of each point as text, in the order of the points.
    """
    first: dict[str, Point] = {}
    found = []
    for point, definition in zip(points, definitions, strict=True):
        if definition in first:
            found.append(Duplicate(first[definition], point, "resolve to the same settings in every leaf"))
        first.setdefault(definition, point)
    return found


def same_data(planned: Sequence[PlannedPoint]) -> list[Duplicate]:
    """Points that differ in the place of their data alone, where two places hold the same. Reads the data.

    Raises:
        DataError: It cannot be read.
    """
    groups: dict[str, dict[str, PlannedPoint]] = {}
    for each in planned:
        if each.point.trial is None:  # a trial's levels are drawn when it starts
            settings = json.dumps(identity.definition(each.leaves, each.spec.defaults()), default=str)
            groups.setdefault(settings, {}).setdefault(str(each.leaves["data.root"]), each)
    digests: dict[str, str] = {}
    found = []
    for places in (group for group in groups.values() if len(group) > 1):
        first: dict[str, PlannedPoint] = {}
        for each in places.values():
            key = repr([(leaf, value) for leaf, value in each.leaves.items() if leaf.startswith("data.")])
            if key not in digests:
                digests[key] = task().inputs(each.spec)
            if (same := first.setdefault(digests[key], each)) is not each:
                found.append(Duplicate(same.point, each.point, "read the same images, labels and split"))
    return found
