"""Levels of a factor that change nothing: found before any training."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ablate import data, identity
from ablate.design.points import Point

if TYPE_CHECKING:
    from ablate.sweep.planned import PlannedPoint


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


def same_data(planned: "Sequence[PlannedPoint]") -> list[Inert]:
    """Points that differ in the place of their data alone, where two places hold the same. Reads the data.

    Raises:
        DataError: It cannot be read.
    """
    groups: dict[str, dict[str, PlannedPoint]] = {}
    for each in planned:
        if each.point.trial is None:  # a trial's levels are drawn when it starts
            settings = json.dumps(identity.definition(each.leaves), default=str)
            groups.setdefault(settings, {}).setdefault(str(each.spec.data.root), each)
    digests: dict[str, str] = {}
    found = []
    for places in (group for group in groups.values() if len(group) > 1):
        first: dict[str, PlannedPoint] = {}
        for each in places.values():
            if (key := repr(each.spec.data)) not in digests:
                digests[key] = data.load(each.spec.data).digest
            if (same := first.setdefault(digests[key], each)) is not each:
                found.append(Inert(same.point, each.point, "read the same images, labels and split"))
    return found


def suspects(planned: "Sequence[PlannedPoint]") -> "list[tuple[PlannedPoint, PlannedPoint]]":
    """Pairs that settings cannot tell to be different runs: their models have to be built and compared.

    They differ in leaves of the model alone; and either the closed forms agree, or a plugin's
    variant takes part, whose closed form may not be what its layer does.
    """
    settled = [each for each in planned if each.point.trial is None]  # a trial's levels are drawn when it starts
    alone = [p for p in settled if (p.point.seed, p.point.repeat) == (settled[0].point.seed, settled[0].point.repeat)]
    groups: dict[str, list[PlannedPoint]] = {}
    for each in alone:
        rest = {key: value for key, value in each.leaves.items() if not key.startswith("model.")}
        groups.setdefault(json.dumps(rest, default=str), []).append(each)
    pairs = (pair for group in groups.values() for pair in itertools.combinations(group, 2))
    return [(one, other) for one, other in pairs if _alike(one, other)]


def _alike(one: "PlannedPoint", other: "PlannedPoint") -> bool:
    same_cost: bool = one.cost == other.cost
    return same_cost or set(one.spec.modules()) != set(other.spec.modules())
