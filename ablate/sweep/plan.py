"""Every point of a sweep composed, checked and costed before the first one trains; no Keras here."""

import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ablate import identity
from ablate.config import Config, RunSpec, composer, expand, parse_overrides, to_config
from ablate.sweep.compose import Cost, Specs
from ablate.sweep.inert import same_runs
from ablate.sweep.space import LeftOut, Point, SweepError, SweepSpec, baseline_of, pin, span
from ablate.tracking import TrackingSpec, finished_settings, list_studies


@dataclass(frozen=True)
class PlannedPoint:
    """A point, the run that it means, and that run's cost (None where the data has to be read to know it)."""

    point: Point
    spec: RunSpec
    cost: Cost | None

    @cached_property
    def leaves(self) -> dict[str, Any]:
        """Every leaf of the run."""
        return self.spec.leaves()


@dataclass(frozen=True)
class Plan:
    """A sweep, ready to run.

    Attributes:
        study: Its name: the sweep's and a digest of its resolved points, so that a changed definition is a new study.
        config: The configuration that all points share: where records and queue are kept.
        points: In the order in which they are to run.
        pinned: Axes that the command line fixed, with their level.
        left_out: Combinations that are not run, with the reason.
        baseline: Axis -> the level that others are held against.
    """

    study: str
    config: Config
    sweep: SweepSpec
    points: list[PlannedPoint]
    pinned: Mapping[str, Any]
    left_out: list[LeftOut]
    baseline: Mapping[str, Any]

    def definition(self) -> dict[str, Any]:
        """What the parent run records, so that a table can be made from the tracking store alone."""
        levels: dict[str, list[Any]] = {}
        combinations = {json.dumps(list(p.point.levels.values())): list(p.point.levels.values()) for p in self.points}
        for values in combinations.values():
            for axis, level in zip(self.points[0].point.levels, values, strict=True):
                if level not in levels.setdefault(axis, []):
                    levels[axis].append(level)
        return {
            "name": self.sweep.name,
            "question": self.sweep.question,
            "table": self.sweep.table,
            "method": str(self.sweep.method),
            "axes": levels,
            "baseline": dict(self.baseline),
            "combinations": list(combinations.values()),
            "seeds": sorted({planned.point.seed for planned in self.points}),
            "runs_per_row": len(self.points) // len(combinations),
            "points": len(self.points),
        }


def make_plan(words: Sequence[str]) -> Plan:
    """Composes and checks every point.

    Args:
        words: Overrides as the command line gives them, ``+sweep=NAME`` among them.

    Raises:
        ConfigError: A key, choice or type is wrong.
        SweepError: The definition is, or a point cannot be built; the message names the point.
    """
    given = {override.key_or_group: override.value() for override in parse_overrides(words)}
    words = expand(words)
    with composer() as compose:
        shared = to_config(compose(words))
        if shared.sweep is None:
            raise SweepError("a plan needs a sweep: add +sweep=NAME.")
        levels, seeds, pinned = pin(shared.sweep, _of_axes(given, shared.sweep))
        spanned, left_out = span(shared.sweep, levels, seeds)
        if "repeat" in given:
            pinned["repeat"] = given["repeat"]
            spanned = [replace(point, repeat=given["repeat"]) for point in spanned if not point.repeat]
        points = _planned(Specs(words, shared.sweep.axes), spanned)
    definitions = [json.dumps(identity.definition(planned.leaves), default=str) for planned in points]
    inert = same_runs([planned.point for planned in points], definitions)
    if inert and not shared.allow_inert:
        raise SweepError(inert[0].sentence())
    study = f"{shared.sweep.name}-{identity.digest(definitions)[:8]}"
    study = _anew(study, len(points), shared.tracking) if shared.fresh else study
    return Plan(study, shared, shared.sweep, points, pinned, left_out, baseline_of(shared.sweep, levels))


def _anew(study: str, points: int, where: TrackingSpec) -> str:
    """The study that trains all points once more: the one that was begun and is not through, or else a new one."""
    known = {record.study: record.finished for record in list_studies(where)} if finished_settings(where) else {}
    names = (f"{study}-fresh{number}" for number in itertools.count(1))
    return next(name for name in names if known.get(name, 0) < points)


def _of_axes(given: Mapping[str, Any], sweep: SweepSpec) -> dict[str, Any]:
    """Overrides that pin an axis."""
    return {key: value for key, value in given.items() if key in sweep.axes or key == "seed"}


def _planned(specs: Specs, points: list[Point]) -> list[PlannedPoint]:
    planned, problems = [], []
    for point in points:
        try:
            spec = specs.spec(point.levels, point.seed, point.repeat)
            planned.append(PlannedPoint(point, spec, specs.cost(spec)))
        except ValueError as error:
            problems.append(f"{point.label}: {error}")
    if problems:
        more = f" ({len(problems) - 1} more points fail.)" if len(problems) > 1 else ""
        raise SweepError(f"every point must build before the first one trains, but {problems[0]}{more}")
    return planned


def already_finished(plan: Plan, finished: Mapping[str, int]) -> int:
    """Points that a finished run will serve, if the data is still what it was.

    Args:
        plan: The sweep.
        finished: How many finished runs the store has, by ``ablate.settings``.
    """
    backend = identity.backend()
    wanted = Counter(
        identity.settings(planned.leaves, backend=backend, modules=planned.spec.modules())
        for planned in plan.points
    )
    return sum(min(count, finished.get(settings, 0)) for settings, count in wanted.items())


def summary(plan: Plan) -> list[str]:
    """What the sweep will do, in a few lines for a person."""
    definition = plan.definition()
    lines = [f"sweep {plan.sweep.name}: {plan.sweep.question}".rstrip(": ")]
    lines += [f"  {axis}: {', '.join(map(str, levels))}" for axis, levels in definition["axes"].items()]
    lines += [f"  seeds: {', '.join(map(str, definition['seeds']))}"]
    lines += [f"  {axis} is pinned to {level} by the command line" for axis, level in plan.pinned.items()]
    first = plan.points[0].spec
    lines += [f"  {len(plan.points)} runs of {first.train.epochs} epochs on {first.data.source}; study {plan.study}"]
    return lines
