"""Every point of a sweep composed, checked and costed before the first one trains; no Keras here."""

import itertools
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

from ablate import identity
from ablate.config.compose import composer, expand, to_config
from ablate.config.overrides import Override, Words, parse_overrides
from ablate.config.schema import Engine, EngineConfig
from ablate.config.secrets import kept, whole
from ablate.contract import Preview, task
from ablate.design.points import LeftOut, Point, baseline_of, level_text, pin, span
from ablate.design.search import Search, objectives, searched
from ablate.design.sweep import RULE, Budget, SweepError, SweepSpec
from ablate.sweep.duplicate_levels import same_runs
from ablate.sweep.equal_budget import baseline_macs, equalised, most_unequal, require_equal_time
from ablate.sweep.levels import Specs, about_runs
from ablate.sweep.planned import PlannedPoint
from ablate.sweep.study_name import begun_before, definitions, study_name
from ablate.tracking import TrackingError, TrackingSpec, finished_settings, list_studies
from ablate.tracking.names import FINAL_VAL, VAL
from ablate.words import unknown


@dataclass(frozen=True)
class Plan:
    """A sweep, ready to run.

    Attributes:
        study: Name of the study: the sweep's and a digest of all points, so that a changed definition is a new study.
        config: The configuration that all points share: where records and queue are kept.
        points: Points of the sweep, in the order in which they are to run.
        pinned: Axes that the command line fixed, with their level.
        left_out: Combinations that are not run, with the reason.
        baseline: Axis -> the level that others are held against.
        overrides: Overrides that all points share.
        search: What is drawn, where points are chosen as results come in.
        macs: MACs of one example at the baseline, where all points get its training MACs; else None.
    """

    study: str
    config: EngineConfig
    sweep: SweepSpec
    points: list[PlannedPoint]
    pinned: Mapping[str, Any]
    left_out: list[LeftOut]
    baseline: Mapping[str, Any]
    overrides: Sequence[Override] = ()
    search: Search | None = None
    macs: int | None = None

    def at(self, point: Point, levels: Mapping[str, Any]) -> PlannedPoint:
        """A search's point, now that its levels are drawn.

        Raises:
            ValueError: They make no run.
        """
        return equalised(_at(self.specs, self.preview, point, {**point.levels, **levels}), self.macs)

    @cached_property
    def specs(self) -> Specs:
        """Makes further points like the ones that are here."""
        return Specs(self.overrides, _open(self.sweep, self.pinned, self.search))

    @cached_property
    def preview(self) -> Preview:
        """Looks at further points."""
        return task().preview()

    def for_a_file(self) -> "Plan":
        """The plan as it may lie on disk, for a process that inherits our environment: without passwords."""
        return self._with_addresses(kept)

    def from_a_file(self) -> "Plan":
        """The plan that ``for_a_file`` was made of.

        Raises:
            SecretError: The environment lacks a password.
        """
        return self._with_addresses(whole)

    def _with_addresses(self, write: Callable[[str, str], str]) -> "Plan":
        tracking, study = self.config.tracking, self.config.study
        tracking = replace(tracking, uri=tracking.uri and write("tracking.uri", tracking.uri))
        study = replace(study, storage=write("study.storage", study.storage))
        return replace(self, config=replace(self.config, tracking=tracking, study=study))

    def __getstate__(self) -> dict[str, Any]:
        """For another process, which composes anew."""
        return {key: value for key, value in self.__dict__.items() if key not in ("specs", "preview")}

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
            "budget": str(self.sweep.budget),
            "axes": levels,
            "baseline": dict(self.baseline),
            "combinations": list(combinations.values()),
            "seeds": sorted({planned.point.seed for planned in self.points}),
            "runs_per_row": len(self.points) // len(combinations),
            "points": len(self.points),
            **self.sweep.rule(),
            **(self._search_definition(self.search) if self.search else {}),
        }

    def _search_definition(self, search: Search) -> dict[str, Any]:
        return {
            "runs_per_row": len({p.point.seed for p in self.points if p.point.trial is None}),
            "seeds": sorted({p.point.seed for p in self.points if p.point.trial is None or not p.point.levels}),
            "searched": {axis.axis: self.sweep.axes[axis.axis] for axis in search.axes},
            "objectives": [{"metric": each.metric, "maximize": each.maximize} for each in search.objectives],
            "n_trials": search.trials,
            "sampler": str(search.sampler),
            "pruner": str(search.pruner),
        }


def make_plan(words: Words) -> Plan:
    """Composes and checks every point.

    Args:
        words: Overrides of the command, with ``+sweep=NAME`` among them.

    Raises:
        ConfigError: A key, choice or type is wrong.
        SweepError: The definition is, or a point cannot be built; the message names the point.
    """
    said = parse_overrides(words)
    given, overrides = {override.key: override.value for override in said}, expand(said)
    with composer() as compose:
        shared = to_config(compose(overrides))
        if shared.sweep is None:
            raise SweepError("a plan needs a sweep: add +sweep=NAME.")
        shared.sweep.rule()
        _check_command(shared, given)
        levels, seeds, pinned = pin(shared.sweep, _of_axes(given, shared.sweep))
        spanned, left_out = span(shared.sweep, levels, seeds)
        if "repeat" in given:
            pinned["repeat"] = given["repeat"]
            spanned = [replace(point, repeat=given["repeat"]) for point in spanned if not point.repeat]
        search = _search(shared, pinned) if shared.sweep.method.searches else None
        points = _planned(Specs(overrides, _open(shared.sweep, pinned, search)), spanned, search)
    baseline = baseline_of(shared.sweep, levels)
    drawn = {axis.axis for axis in search.axes} if search else set()
    macs = baseline_macs(points, baseline, drawn) if shared.sweep.budget == Budget.macs else None
    points = [equalised(planned, macs) for planned in points]
    require_equal_time(shared.sweep, points, drawn)
    _require_validation(points, search)
    told = definitions(points)
    compared = [n for n, planned in enumerate(points) if planned.point.trial is None]  # trials are drawn anew each
    duplicates = same_runs([points[n].point for n in compared], [told[n] for n in compared])
    if duplicates and not shared.allow_inert:
        raise SweepError(duplicates[0].sentence())
    study = study_name(shared.sweep.name, points, search)
    if shared.fresh:
        study = _anew(study, len(points), shared.tracking)
    else:
        study = begun_before(shared.sweep.name, points, search, shared.tracking) or study
    return Plan(study, shared, shared.sweep, points, pinned, left_out, baseline, about_runs(overrides), search, macs)


def _check_command(config: EngineConfig, given: Mapping[str, Any]) -> None:
    """What is said of the sweep as a whole, and axes that are no part of a run."""
    axes = config.sweep.axes if config.sweep else {}
    parts = {*(part.name for part in fields(task().run)), *task().groups}
    for axis in axes:
        if axis.partition(".")[0] not in parts:
            raise SweepError(unknown(f"axis {axis} must vary a run, its first word", axis, sorted(parts)))
        for group, said in given.items():
            if axis.startswith(f"{group}.") and isinstance(said, dict):
                raise SweepError(f"{axis} is an axis of the sweep: to pin it, say {axis}=…, got {group}={said}.")
    config.check_places()
    if config.engine_options and config.engine == Engine.local:
        raise SweepError(f"engine_options must come with engine=ray or slurm, got {config.engine_options} with local.")


def _require_validation(points: Sequence[PlannedPoint], search: Search | None) -> None:
    """What selects by validation needs images to validate on."""
    if search is None:
        return
    names = [each.metric for each in search.objectives if each.metric.startswith((VAL, FINAL_VAL))]
    if names and not all(task().validates(planned.spec) for planned in points):
        raise SweepError(
            f"objective {names[0]} needs data.val_fraction above 0, got 0; nothing is held out to judge by."
        )


def _search(config: EngineConfig, pinned: Mapping[str, Any]) -> Search:
    sweep = config.sweep
    if sweep is None:
        raise SweepError("a search needs a sweep: add +sweep=NAME.")
    axes, wanted = searched(sweep, pinned), objectives(sweep)
    longest = max(
        [task().length(config).epochs, *(end for axis in axes if axis.axis == "train.epochs" for end in axis.ends)]
    )
    return Search(tuple(axes), tuple(wanted), sweep.n_trials, sweep.sampler, sweep.pruner, longest)


def redeclared(plan: Plan) -> list[str]:
    """What the sweep declares of its verdicts otherwise than when its study was begun, a sentence for each key.

    The record stays: what was declared before there were results is what they are judged by.
    """
    try:
        known = list_studies(plan.config.tracking, plan.sweep.name)
    except TrackingError:  # there is no store yet, or it is away, of which others tell
        return []
    begun = next((record.definition for record in known if record.study == plan.study), None)
    if begun is None:
        return []
    now, told = plan.sweep.rule(), []
    for key in RULE:
        if now.get(key) != begun.get(key):
            new, old = (_told(each.get(key)) for each in (now, begun))
            ask = f"; python -m ablate report {plan.study} {key}={new} goes by this one" if key in now else ""
            told.append(f"{key} is {new}, and study {plan.study} was begun with {old}, which its tables go by{ask}")
    return told


def _told(value: Any) -> str:
    """A value of the rule as people read it, and type it."""
    if isinstance(value, list):
        return value[0] if len(value) == 1 else f"[{','.join(value)}]"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _anew(study: str, points: int, where: TrackingSpec) -> str:
    """The study that trains all points once more: the one that was begun and is not through, or else a new one."""
    known = {record.study: record.finished for record in list_studies(where)} if finished_settings(where) else {}
    names = (f"{study}-fresh{number}" for number in itertools.count(1))
    return next(name for name in names if known.get(name, 0) < points)


def _open(sweep: SweepSpec, pinned: Mapping[str, Any], search: Search | None) -> set[str]:
    """Axes that every point sets, so that words about them give way."""
    if search is None:
        return set(sweep.axes)
    searched = {axis.axis for axis in search.axes}
    return search.always() | (set(sweep.axes) - searched - set(pinned))


def _of_axes(given: Mapping[str, Any], sweep: SweepSpec) -> dict[str, Any]:
    """Overrides that pin an axis."""
    return {key: value for key, value in given.items() if key in sweep.axes or key == "seed"}


def _planned(specs: Specs, points: list[Point], search: Search | None) -> list[PlannedPoint]:
    """Every point; a search's with the first of its levels in place of those that will be drawn."""
    planned, problems, sound, preview = [], [], set(), task().preview()
    for point in points:
        try:
            ends = search.ends(point.levels) if search else [dict(point.levels)]
            if search and (key := json.dumps(point.levels)) not in sound:
                for levels in ends[1:]:
                    _at(specs, preview, point, levels)
                sound.add(key)
            planned.append(_at(specs, preview, point, ends[0]))
        except ValueError as error:
            problems.append(f"{point.label}: {error}")
    if problems:
        more = f" ({len(problems) - 1} more points fail.)" if len(problems) > 1 else ""
        raise SweepError(f"every point must build before the first one trains, but {problems[0]}{more}")
    return planned


def _at(specs: Specs, preview: Preview, point: Point, levels: Mapping[str, Any]) -> PlannedPoint:
    spec = specs.spec(levels, point.seed, point.repeat)
    preview.check(spec)
    return PlannedPoint(point, spec, preview.cost(spec))


def already_finished(plan: Plan, finished: Mapping[str, int]) -> int:
    """Points that a finished run will serve, if the data is still what it was.

    Args:
        plan: The sweep.
        finished: How many finished runs the store has, by ``ablate.settings``.
    """
    if not finished:  # an empty store needs no names, which take the reading of all code
        return 0
    backend = identity.backend()
    wanted = Counter(
        tuple(identity.known_settings(each.leaves, each.spec.defaults(), code=each.spec.code(backend), backend=backend))
        for each in plan.points
    )
    return sum(min(count, sum(finished.get(name, 0) for name in names)) for names, count in wanted.items())


def summary(plan: Plan) -> list[str]:
    """What the sweep will do, in a few lines for a person."""
    definition = plan.definition()
    lines = [f"sweep {plan.sweep.name}: {plan.sweep.question}".rstrip(": ")]
    lines += [f"  {axis}: {', '.join(map(level_text, levels))}" for axis, levels in definition["axes"].items()]
    lines += [f"  seeds: {', '.join(map(str, definition['seeds']))}"]
    rule = [f"{key} {_told(value)}" for key, value in plan.sweep.rule().items()]
    lines += [f"  verdicts by {', '.join(rule)}"] if rule else []
    lines += [f"  {axis} is pinned to {level} by the command line" for axis, level in plan.pinned.items()]
    lines += [
        f"  {axis}: {said}, drawn by {plan.sweep.sampler}" for axis, said in definition.get("searched", {}).items()
    ]
    budget = f" (equal training MACs{_unequal(plan)})" if plan.macs else ""
    source = plan.points[0].leaves["data.source"]
    lines += [f"  {len(plan.points)} runs of {_length(plan)}{budget} on {source}; study {plan.study}"]
    return lines


def _length(plan: Plan) -> str:
    """How long each run is, e.g. ``4 epochs`` or ``30 to 60 seconds of training``."""
    lengths = [task().length(each.spec) for each in plan.points]
    times = sorted({each.seconds for each in lengths if each.seconds is not None})
    counts = sorted({each.epochs for each in lengths if each.seconds is None})
    counted = [f"{_span(counts)} {'epoch' if counts == [1] else 'epochs'}"] if counts else []
    return " or ".join([*counted, *([f"{_span(times)} seconds of training"] if times else [])])


def _span(values: Sequence[float]) -> str:
    return f"{values[0]:g}" if len(values) == 1 else f"{values[0]:g} to {values[-1]:g}"


def _unequal(plan: Plan) -> str:
    """How far whole epochs miss the baseline's MACs, where that is not next to nothing."""
    most = most_unequal(plan.points, plan.macs, task().length(plan.config).epochs) if plan.macs else 0.0
    return f", up to {100 * most:.0f} % off since epochs are whole" if most > 0.05 else ""
