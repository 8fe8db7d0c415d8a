"""A sweep's definition, and the points it spans; pure data."""

import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ablate import registry


class SweepError(ValueError):
    """A sweep that cannot be run as it is written; one sentence for the person who wrote it."""


class Method(StrEnum):
    """How axes span points."""

    grid = "grid"
    one_factor = "one_factor"
    zip = "zip"
    optuna = "optuna"
    tuned = "tuned"

    @property
    def searches(self) -> bool:
        """Whether points are chosen as results come in."""
        return self in (Method.optuna, Method.tuned)


class Sampler(StrEnum):
    """Who proposes a search's points; ``cmaes`` needs the extra of that name, ``nsga2`` is for several objectives."""

    tpe = "tpe"
    random = "random"
    cmaes = "cmaes"
    nsga2 = "nsga2"


class Pruner(StrEnum):
    """Who stops a search's trials early, by the first objective's curve over epochs."""

    none = "none"
    median = "median"
    halving = "halving"
    hyperband = "hyperband"


class Budget(StrEnum):
    """What every point of a sweep has alike.

    Attributes:
        epochs: As many epochs as ``train.epochs`` says.
        macs: As many multiply-accumulates of training as the baseline's model needs for ``train.epochs``, in whole
            epochs: a cheaper model gets more of them.
        seconds: As much time of training steps as ``train.seconds`` says, which every point then has to have alike.
    """

    epochs = "epochs"
    macs = "macs"
    seconds = "seconds"


@dataclass
class SweepSpec:
    """One ablation, as a file in sweeps/ writes it.

    Attributes:
        name: The file's name; what ``report`` is asked for.
        question: What the sweep is to find out, in a sentence.
        table: The published table it answers, a name in ablate/paper/, or empty.
        method: ``grid``: every combination of levels; ``one_factor``: the baseline, and each axis changed alone;
            ``zip``: axes of equal length that move together; ``optuna``: ``n_trials`` points chosen by a sampler;
            ``tuned``: every combination of the axes that are lists gets ``n_trials`` of its own over the axes that are
            mappings, and its best is run again on ``seeds``.
        base: Settings of every point, group choices or leaves: what an override on the command line replaces.
        axes: Config group or leaf -> its levels, e.g. ``{"model": ["cvt_2_4", "cct_2_3x2"], "model.pooling": […]}``.
            The first is what the table's rows are named by.
        baseline: Axis -> level that others are held against; an axis that is not named has its first level.
        where: Combinations left out: ``{"when": {axis: level or levels}, "reason": …}``.
        seeds: A list, or how many from 0 on.
        repeats: How often each seed is run, or seed -> how often, the others once.
        objective: What a search selects by: a metric as it is recorded, ``{metric: …, direction: maximize}``, or a list
            of such for several objectives.
        n_trials: Points of a search; with ``tuned``, of each level.
        sampler: Of a search.
        pruner: Stops poor trials of a search early.
        budget: What all points have alike.
    """

    name: str = ""
    question: str = ""
    table: str = ""
    method: Method = Method.grid
    base: dict[str, Any] = field(default_factory=dict)
    axes: dict[str, Any] = field(default_factory=dict)
    baseline: dict[str, Any] = field(default_factory=dict)
    where: list[Any] = field(default_factory=list)
    seeds: Any = 1
    repeats: Any = 1
    objective: Any = "final.val_top1_percent"
    n_trials: int = 20
    sampler: Sampler = Sampler.tpe
    pruner: Pruner = Pruner.none
    budget: Budget = Budget.epochs

    def levels(self) -> dict[str, list[Any]]:
        """Axis -> its levels, checked.

        Raises:
            SweepError: An axis has no levels, one twice, or is the seed.
        """
        if not self.axes:
            raise SweepError(
                f"sweep {self.name} must have axes, got none; name at least one group or leaf with its levels."
            )
        out = {}
        for axis, levels in self.axes.items():
            if isinstance(levels, dict) and self.method.searches:
                continue
            if not isinstance(levels, list) or not levels:
                raise SweepError(f"axis {axis} of sweep {self.name} must be a list of levels, got {levels!r}.")
            twice = [level for n, level in enumerate(levels) if level in levels[:n]]
            if twice and self.method != Method.zip:  # there an axis may stand still while another moves
                raise SweepError(f"axis {axis} of sweep {self.name} must name each level once, got {twice[0]!r} twice.")
            if axis == "seed":
                raise SweepError(f"sweep {self.name} must list its seeds under seeds, not as an axis.")
            out[axis] = list(levels)
        return out

    def seed_list(self) -> list[int]:
        """The seeds, each once.

        Raises:
            SweepError: Neither a count of at least 1 nor a list of different non-negative integers.
        """
        seeds = list(range(self.seeds)) if _is_int(self.seeds) else self.seeds
        valid = isinstance(seeds, list) and seeds and all(_is_int(s) and s >= 0 for s in seeds)
        if not valid or len(set(seeds)) != len(seeds):
            raise SweepError(
                f"seeds of sweep {self.name} must be a count of at least 1 or a list of different integers from 0 on, "
                f"got {self.seeds!r}."
            )
        return list(seeds)

    def repeats_of(self, seed: int) -> int:
        """How often a seed is run.

        Raises:
            SweepError: Neither a count of at least 1 nor counts by seed.
        """
        counts = self.repeats if isinstance(self.repeats, dict) else {seed: self.repeats}
        if not all(_is_int(s) and _is_int(count) and count >= 1 for s, count in counts.items()):
            raise SweepError(
                f"repeats of sweep {self.name} must be a count of at least 1, or counts by seed ({{0: 5}}), "
                f"got {self.repeats!r}."
            )
        return int(counts.get(seed, 1))


@dataclass(frozen=True)
class Searched:
    """An axis of a search.

    Attributes:
        axis: Config group or leaf.
        levels: To choose from; empty for a range.
        low: Of a range, included.
        high: Likewise.
        step: Of a range; None is continuous, or 1 between integers.
        log: Draw the range on a logarithmic scale.
        when: Searched only where other axes have these levels; elsewhere it keeps the base setting.
    """

    axis: str
    levels: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    log: bool = False
    when: Mapping[str, Any] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether the range is one of integers."""
        return all(_is_int(value) for value in (self.low, self.high, 1 if self.step is None else self.step))

    @property
    def ends(self) -> tuple[Any, ...]:
        """What has to build before anything is drawn: every level, or both ends."""
        return self.levels or (self.low, self.high)

    def applies(self, chosen: Mapping[str, Any]) -> bool:
        """Whether it is to be drawn beside these levels."""
        return all(chosen.get(axis) in (wanted if isinstance(wanted, list) else [wanted])
                   for axis, wanted in self.when.items())  # fmt: skip


@dataclass(frozen=True)
class Objective:
    """A metric to select by, as it is recorded."""

    metric: str
    maximize: bool

    @property
    def curve(self) -> str | None:
        """The metric of each epoch that a pruner may judge by."""
        if self.metric == "final.val_top1_percent":
            return "val/top1_percent"
        return self.metric if "/" in self.metric else None


@dataclass(frozen=True)
class Search:
    """What is searched, and how.

    Attributes:
        axes: In the order in which they are drawn.
        objectives: One, or several for a front.
        trials: Of each level.
        epochs: Of a trial, which a pruner has to know.
    """

    axes: tuple[Searched, ...]
    objectives: tuple[Objective, ...]
    trials: int
    sampler: Sampler
    pruner: Pruner
    epochs: int

    def ends(self, base: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Levels that have to build before anything is drawn: the first of every axis, and each axis' others alone."""

        def drawn(changed: Searched, level: Any) -> dict[str, Any]:
            needed = {axis: first[0] if isinstance(first, list) else first for axis, first in changed.when.items()}
            levels = dict(base)
            for axis in self.axes:
                if axis.applies(levels):
                    levels[axis.axis] = level if axis is changed else needed.get(axis.axis, axis.ends[0])
            return levels

        return [drawn(axis, level) for axis in self.axes for level in axis.ends]

    def always(self) -> set[str]:
        """Axes that every trial has: the base settings of others stay in force where they are not drawn."""
        return {axis.axis for axis in self.axes if not axis.when}


_RANGE = {"low", "high", "step", "log", "when"}


def searched(sweep: SweepSpec, pinned: Iterable[str] = ()) -> list[Searched]:
    """What a search draws: of ``optuna`` every axis, of ``tuned`` those that are mappings.

    Raises:
        SweepError: An axis is malformed, or does not go with the sampler.
    """
    wanted = {
        axis: levels
        for axis, levels in sweep.axes.items()
        if axis not in set(pinned) and (sweep.method == Method.optuna or isinstance(levels, dict))
    }
    found = [_searched(sweep, axis, levels) for axis, levels in wanted.items()]
    if not found:
        raise SweepError(f"sweep {sweep.name} must search at least one axis, e.g. train.lr: {{low: 1e-4, high: 1e-2}}.")
    for place, each in enumerate(found):
        before = {*(other.axis for other in found[:place]), *(set(sweep.axes) - set(wanted))}
        for axis in each.when:
            if axis not in before:
                raise SweepError(
                    registry.unknown(f"when of axis {each.axis}, which names an axis above it,", axis, before)
                )
        if sweep.sampler == Sampler.cmaes and (each.levels or each.when):
            raise SweepError(f"axis {each.axis} must be a plain range with sampler=cmaes; take sampler=tpe.")
    return found


def _searched(sweep: SweepSpec, axis: str, levels: Any) -> Searched:
    if isinstance(levels, list) and levels:
        return Searched(axis, tuple(levels))
    if isinstance(levels, dict) and "levels" in levels and set(levels) <= {"levels", "when"}:
        return Searched(axis, tuple(levels["levels"]), when=levels.get("when") or {})
    if not isinstance(levels, dict) or not {"low", "high"} <= set(levels) or not set(levels) <= _RANGE:
        raise SweepError(
            f"axis {axis} of sweep {sweep.name} must be a list of levels, {{low: …, high: …}} with log, step or when, "
            f"or {{levels: […], when: …}}, got {levels!r}."
        )
    each = Searched(axis, (), levels["low"], levels["high"], levels.get("step"), levels.get("log", False),
                    levels.get("when") or {})  # fmt: skip
    if not each.low < each.high or (each.log and (each.low <= 0 or each.step is not None)):
        raise SweepError(
            f"axis {axis} of sweep {sweep.name} must have low < high, and with log: true low > 0 and no step, "
            f"got {levels!r}."
        )
    return each


def objectives(sweep: SweepSpec) -> list[Objective]:
    """What a search selects by.

    Raises:
        SweepError: Malformed, a metric of the test set, or one too many for the sampler, pruner or method.
    """
    given = sweep.objective if isinstance(sweep.objective, list) else [sweep.objective]
    found = [_objective(sweep, each) for each in given]
    several = len(found) > 1
    if several and (sweep.pruner != Pruner.none or sweep.method == Method.tuned or sweep.sampler == Sampler.cmaes):
        raise SweepError(f"sweep {sweep.name} must have one objective with a pruner, method=tuned or sampler=cmaes.")
    if sweep.pruner != Pruner.none and found[0].curve is None:
        raise SweepError(f"a pruner needs an objective that each epoch has, e.g. val/loss, got {found[0].metric}.")
    return found


def _objective(sweep: SweepSpec, given: Any) -> Objective:
    entry = {"metric": given, "direction": "minimize" if "loss" in str(given) else "maximize"}
    entry = given if isinstance(given, dict) else entry
    if set(entry) != {"metric", "direction"} or entry["direction"] not in ("maximize", "minimize"):
        raise SweepError(
            f"objective of sweep {sweep.name} must be a metric or {{metric: …, direction: maximize or minimize}}, "
            f"got {given!r}."
        )
    if "test" in entry["metric"]:
        raise SweepError(
            f"objective must be no metric of the test set, which reports and never selects, got {given!r}."
        )
    return Objective(entry["metric"], entry["direction"] == "maximize")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True)
class Point:
    """One combination of levels and a seed.

    Attributes:
        levels: Axis -> level.
        seed: The run's seed.
        repeat: Keeps repeated runs of one seed apart.
        trial: Number of a search's trial, whose further levels are chosen when it starts; None elsewhere.
    """

    levels: Mapping[str, Any]
    seed: int
    repeat: int = 0
    trial: int | None = None

    @property
    def key(self) -> str:
        """Identifies the point within its study; readable, and the same in every session."""
        rest = {"trial": self.trial, "seed": self.seed, "repeat": self.repeat or None}
        pairs = [*self.levels.items(), *(pair for pair in rest.items() if pair[1] is not None)]
        return json.dumps(pairs, separators=(",", ":"))

    @property
    def label(self) -> str:
        """For people: the levels and the seed, e.g. ``cct_2_3x2 none s0``."""
        trial = [] if self.trial is None else [f"trial {self.trial}"]
        repeat = [f"r{self.repeat}"] if self.repeat else []
        return " ".join([*map(str, self.levels.values()), *trial, f"s{self.seed}", *repeat])


def pin(sweep: SweepSpec, overrides: Mapping[str, Any]) -> tuple[dict[str, list[Any]], list[int], dict[str, Any]]:
    """Fixes the axes that the command line sets itself.

    Returns:
        The levels, the seeds, and what was pinned (axis -> its one level).
    """
    levels, seeds = sweep.levels(), sweep.seed_list()
    if sweep.method == Method.optuna:
        levels = {}
    pinned = {axis: overrides[axis] for axis in sweep.axes if axis in overrides}
    levels |= {axis: [level] for axis, level in pinned.items() if axis in levels}
    if "seed" in overrides:
        pinned["seed"] = overrides["seed"]
        seeds = [overrides["seed"]]
    return levels, seeds, pinned


@dataclass(frozen=True)
class LeftOut:
    """A combination that is not run, and why."""

    levels: Mapping[str, Any]
    reason: str


def span(sweep: SweepSpec, levels: Mapping[str, list[Any]], seeds: list[int]) -> tuple[list[Point], list[LeftOut]]:
    """The points of a sweep, and the combinations that its ``where`` leaves out.

    Seeds turn slowest, so that a sweep stopped early holds whole tables of fewer seeds.

    Args:
        sweep: The definition.
        levels: Axis -> levels, after pinning.
        seeds: Likewise.

    Raises:
        SweepError: The method does not fit the axes, ``where`` is malformed, or nothing is left.
    """
    kept, left_out = [], []
    for combination in _COMBINE[sweep.method](sweep, levels):
        reason = next((str(rule["reason"]) for rule in _rules(sweep) if _applies(rule["when"], combination)), None)
        if reason is None:
            kept.append(combination)
        else:
            left_out.append(LeftOut(combination, reason))
    if not kept:
        raise SweepError(f"sweep {sweep.name} must keep at least one combination, but its where leaves all out.")
    if sweep.method.searches:
        return _slots(sweep, kept, seeds), left_out
    draws = [(seed, repeat) for seed in seeds for repeat in range(sweep.repeats_of(seed))]
    draws.sort(key=lambda draw: draw[1] > 0)  # what every seed has comes first
    return [Point(combination, *draw) for draw in draws for combination in kept], left_out


def _slots(sweep: SweepSpec, kept: list[dict[str, Any]], seeds: list[int]) -> list[Point]:
    """A search's points before anything is drawn: trials, and with ``tuned`` each level's winner on fresh seeds."""
    if sweep.n_trials < 1:
        raise SweepError(f"n_trials of sweep {sweep.name} must be at least 1, got {sweep.n_trials}.")
    if sweep.method == Method.optuna and len(seeds) > 1:
        raise SweepError(
            f"sweep {sweep.name} must have one seed with method=optuna, got {seeds}; method=tuned has more."
        )
    seed = seeds[0] if sweep.method == Method.optuna else max(seeds) + 1
    trials = [Point(levels, seed, trial=number) for number in range(sweep.n_trials) for levels in kept]
    winners = [] if sweep.method == Method.optuna else [Point(levels, s) for s in seeds for levels in kept]
    return trials + winners


def _grid(sweep: SweepSpec, levels: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(levels, values, strict=True)) for values in itertools.product(*levels.values())]


def _zip(sweep: SweepSpec, levels: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    length = max(map(len, levels.values()))
    moving = {axis: values * length if len(values) == 1 else values for axis, values in levels.items()}
    lengths = {axis: len(values) for axis, values in levels.items()}
    if any(len(values) != length for values in moving.values()):
        raise SweepError(f"axes of sweep {sweep.name} must be equally long with method=zip, got lengths {lengths}.")
    return [dict(zip(levels, values, strict=True)) for values in zip(*moving.values(), strict=True)]


def _one_factor(sweep: SweepSpec, levels: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    baseline = baseline_of(sweep, levels)
    changed = [
        {**baseline, axis: level} for axis, values in levels.items() for level in values if level != baseline[axis]
    ]
    return [baseline, *changed]


def _nothing_yet(sweep: SweepSpec, levels: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    return [{}]


_COMBINE = {
    Method.grid: _grid,
    Method.one_factor: _one_factor,
    Method.zip: _zip,
    Method.optuna: _nothing_yet,
    Method.tuned: _grid,
}


def baseline_of(sweep: SweepSpec, levels: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Axis -> the level that others are held against.

    Raises:
        SweepError: The baseline names no axis or no level of it.
    """
    for axis, level in sweep.baseline.items():
        if axis not in levels:
            raise SweepError(registry.unknown(f"an axis in the baseline of sweep {sweep.name}", axis, levels))
        if level not in levels[axis] and len(levels[axis]) > 1:
            raise SweepError(registry.unknown(f"baseline.{axis} of sweep {sweep.name}", level, map(str, levels[axis])))
    pinned = {axis: values[0] for axis, values in levels.items() if len(values) == 1}
    return {axis: values[0] for axis, values in levels.items()} | dict(sweep.baseline) | pinned


def _rules(sweep: SweepSpec) -> list[dict[str, Any]]:
    for rule in sweep.where:
        if not isinstance(rule, dict) or set(rule) != {"when", "reason"} or not isinstance(rule["when"], dict):
            raise SweepError(
                f"where in sweep {sweep.name} must list entries {{when: {{axis: level}}, reason: …}}, got {rule!r}."
            )
        for axis in rule["when"]:
            if axis not in sweep.axes:
                raise SweepError(registry.unknown(f"an axis in where of sweep {sweep.name}", axis, sweep.axes))
    return sweep.where


def _applies(when: Mapping[str, Any], combination: Mapping[str, Any]) -> bool:
    return all(combination[axis] in (levels if isinstance(levels, list) else [levels]) for axis, levels in when.items())
