"""Every point of a sweep composed, checked and costed before the first one trains; no Keras here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from ablate import identity, registry
from ablate.config import GROUPS, Composer, Config, RunSpec, composer, expand, parse_overrides, to_config, with_leaves
from ablate.data.spec import describe
from ablate.specs import InputShape
from ablate.sweep.space import LeftOut, Point, SweepError, SweepSpec, baseline_of, pin, span

_COMPOSED = (*GROUPS, *(f"model.{axis}" for axis in registry.AXES))
"""Axes whose level decides what else is in the configuration: a variant has options of its own."""


@dataclass(frozen=True)
class Cost:
    """What one image costs a model, in closed form."""

    params: int
    trainable_params: int
    tokens: int
    macs: int
    macs_modules: int
    macs_fvcore: int


@dataclass(frozen=True)
class PlannedPoint:
    """A point, the run that it means, and that run's cost (None where the data has to be read to know it)."""

    point: Point
    spec: RunSpec
    cost: Cost | None


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
        combinations: list[list[Any]] = []
        for planned in self.points:
            if (values := list(planned.point.levels.values())) not in combinations:
                combinations.append(values)
            for axis, level in planned.point.levels.items():
                if level not in levels.setdefault(axis, []):
                    levels[axis].append(level)
        return {
            "name": self.sweep.name,
            "question": self.sweep.question,
            "table": self.sweep.table,
            "method": str(self.sweep.method),
            "axes": levels,
            "baseline": dict(self.baseline),
            "combinations": combinations,
            "seeds": sorted({planned.point.seed for planned in self.points}),
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
        points = _planned(compose, words, spanned)
    definition = [identity.definition(planned.spec.leaves()) for planned in points]
    study = f"{shared.sweep.name}-{identity.digest(definition)[:8]}"
    return Plan(study, shared, shared.sweep, points, pinned, left_out, baseline_of(shared.sweep, levels))


def _of_axes(given: Mapping[str, Any], sweep: SweepSpec) -> dict[str, Any]:
    """Overrides that pin an axis."""
    return {key: value for key, value in given.items() if key in sweep.axes or key == "seed"}


def _planned(compose: Composer, words: list[str], points: list[Point]) -> list[PlannedPoint]:
    """Hydra composes once per combination of groups and variants; other leaves are merged into a copy of that."""
    axes = set(points[0].levels)
    groups = [axis for axis in points[0].levels if axis in _COMPOSED]
    kept = [word for word in words if parse_overrides([word])[0].key_or_group not in axes]
    composed: dict[tuple[Any, ...], DictConfig] = {}
    planned, problems = [], []
    for point in points:
        choice = tuple(point.levels[group] for group in groups)
        try:
            if choice not in composed:
                composed[choice] = compose(kept + [f"{g}={c}" for g, c in zip(groups, choice, strict=True)])
            planned.append(_point(composed[choice], point))
        except ValueError as error:
            problems.append(f"{point.label}: {error}")
    if problems:
        more = f" ({len(problems) - 1} more points fail.)" if len(problems) > 1 else ""
        raise SweepError(f"every point must build before the first one trains, but {problems[0]}{more}")
    return planned


def _point(cfg: DictConfig, point: Point) -> PlannedPoint:
    leaves = {axis: level for axis, level in point.levels.items() if axis not in _COMPOSED}
    spec = to_config(with_leaves(cfg, {**leaves, "seed": point.seed})).point()
    known = describe(spec.data)
    return PlannedPoint(point, spec, cost(spec, *known) if known else None)


def cost(spec: RunSpec, input_shape: InputShape, num_classes: int) -> Cost:
    """The model's cost on images of this shape.

    Raises:
        SpecError: The model cannot be built on them.
    """
    model = spec.model
    return Cost(
        params=model.params(input_shape, num_classes),
        trainable_params=model.trainable_params(input_shape, num_classes),
        tokens=model.tokens(input_shape),
        macs=model.macs(input_shape, num_classes),
        macs_modules=model.macs(input_shape, num_classes, convention="macs_modules"),
        macs_fvcore=model.macs(input_shape, num_classes, convention="macs_fvcore"),
    )


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
