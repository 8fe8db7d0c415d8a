"""A sweep's definition, and the points it spans; pure data."""

import itertools
import json
import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from ablate import registry

MOST_SEEDS = 1000
"""As a count; a larger number is a seed that was meant."""

MOST_POINTS = 10_000
"""Of a sweep, counted before any is made: at a minute each they take a week, and more would fill the memory."""


class SweepError(ValueError):
    """A sweep that cannot be run as it is written; one sentence for the person who wrote it."""


METRICS = (
    "final.val_top1_percent", "final.epoch", "final.seconds", "cost.params", "cost.trainable_params", "cost.macs",
    "cost.macs_modules", "cost.macs_fvcore", "cost.tokens", "train/loss", "train/top1_percent", "train/lr",
    "train/seconds_per_epoch", "val/loss", "val/top1_percent",
)  # fmt: skip
"""What runs log and a search may select by; nothing of the test set."""

LESS_IS_BETTER = tuple(name for name in METRICS if name.startswith("cost.") or "loss" in name or "seconds" in name)
"""Metrics that are minimized where no direction is said."""


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
            SweepError: An axis has no levels, one twice or one with an interpolation in it, or is the seed; or axes of
                a zip are not equally long.
        """
        if not self.axes:
            raise SweepError(
                f"sweep {self.name} must have axes, got none; name at least one group or leaf with its levels."
            )
        out = {}
        for axis, levels in self.axes.items():
            if _interpolates(levels):
                raise SweepError(
                    f"axis {axis} of sweep {self.name} must have levels that are put together once, but one still "
                    "holds ${ then, which is read no further; write the level itself, or pin it on the command line."
                )
            if axis in ("seed", "repeat"):
                raise SweepError(f"sweep {self.name} must list its {axis}s under {axis}s, not as an axis.")
            if isinstance(levels, dict) and self.method.searches:
                continue
            if not isinstance(levels, list) or not levels:
                raise SweepError(f"axis {axis} of sweep {self.name} must be a list of levels, got {levels!r}.")
            check_count(self.name, len(levels), f"levels of {axis}")
            if self.method != Method.zip:  # there an axis may stand still while another moves
                _check_once(self.name, axis, levels)
            out[axis] = list(levels)
        lengths = {axis: len(levels) for axis, levels in out.items()}
        if self.method == Method.zip and len(set(lengths.values())) > 1:
            raise SweepError(
                f"axes of sweep {self.name} must be equally long with method=zip, got lengths {lengths}; name a level "
                "again where an axis stands still."
            )
        return out

    def seed_list(self) -> list[int]:
        """The seeds, each once.

        Raises:
            SweepError: Neither a count of at least 1 nor a list of different non-negative integers.
        """
        if is_int(self.seeds) and self.seeds > MOST_SEEDS:
            raise SweepError(
                f"seeds of sweep {self.name} must be a count of at most {MOST_SEEDS}, or a list of seeds, got "
                f"{self.seeds}; for that one seed write seeds: [{self.seeds}]."
            )
        seeds = list(range(self.seeds)) if is_int(self.seeds) else self.seeds
        valid = isinstance(seeds, list) and seeds and all(is_int(s) and s >= 0 for s in seeds)
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
        if not all(is_int(s) and is_int(count) and count >= 1 for s, count in counts.items()):
            raise SweepError(
                f"repeats of sweep {self.name} must be a count of at least 1, or counts by seed ({{0: 5}}), "
                f"got {self.repeats!r}."
            )
        return int(counts.get(seed, 1))


def _interpolates(node: Any) -> bool:
    """Whether an interpolation stands in what was resolved: another setting's text has brought it.

    Levels are set on configurations that are resolved in their turn, and would read the environment there.
    """
    if isinstance(node, dict):
        return any(map(_interpolates, (*node.keys(), *node.values())))
    return any(map(_interpolates, node)) if isinstance(node, list) else isinstance(node, str) and "${" in node


def check_count(name: str, count: int, what: str) -> None:
    """Raises SweepError for more than ``MOST_POINTS``: told by arithmetic, before anything is made of them."""
    if count > MOST_POINTS:
        raise SweepError(f"sweep {name} must have at most {MOST_POINTS:,} points, got {count} {what}.")


def _check_once(name: str, axis: str, levels: list[Any]) -> None:
    seen: set[Any] = set()
    others: list[Any] = []  # lists and mappings, which no set holds
    for level in levels:
        known: Any = seen if isinstance(level, Hashable) else others
        if level in known:
            raise SweepError(
                f"axis {axis} of sweep {name} must name each level once, got {level!r} twice{_read_as(level)}."
            )
        if isinstance(level, Hashable):
            seen.add(level)
        else:
            others.append(level)


def _read_as(level: Any) -> str:
    words = "true, yes or on" if level else "false, no or off"
    return f"; YAML reads {words} as that: quote the word that is meant ('on')" if isinstance(level, bool) else ""


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
        return all(is_int(value) for value in (self.low, self.high, 1 if self.step is None else self.step))

    @property
    def ends(self) -> tuple[Any, ...]:
        """What has to build before anything is drawn: every level, or both ends."""
        return self.levels or ((self.low, self.high) if self.whole else (float(self.low), float(self.high)))

    def may_apply(self, fixed: Mapping[str, Any]) -> bool:
        """Whether it can be drawn where these axes have their one level."""
        return self.applies({axis: fixed.get(axis, _first(wanted)) for axis, wanted in self.when.items()})

    def beside(self, fixed: Mapping[str, Any]) -> "Searched":
        """The same, with nothing left to ask of axes that have one level."""
        return replace(self, when={axis: wanted for axis, wanted in self.when.items() if axis not in fixed})

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
            needed = {axis: _first(wanted) for axis, wanted in changed.when.items()}
            levels = dict(base)
            for axis in self.axes:
                if axis.applies(levels):
                    levels[axis.axis] = level if axis is changed else needed.get(axis.axis, axis.ends[0])
            return levels

        return [drawn(axis, level) for axis in self.axes for level in axis.ends]

    def always(self) -> set[str]:
        """Axes that every trial has: the base settings of others stay in force where they are not drawn."""
        return {axis.axis for axis in self.axes if not axis.when}


def _first(wanted: Any) -> Any:
    return wanted[0] if isinstance(wanted, list) else wanted


_RANGE = {"low", "high", "step", "log", "when"}


def searched(sweep: SweepSpec, pinned: Mapping[str, Any] | None = None) -> list[Searched]:
    """What a search draws: of ``optuna`` every axis, of ``tuned`` those that are mappings.

    Args:
        sweep: The definition.
        pinned: Axis -> its one level, which is drawn no more; what hangs on another level of it is not either.

    Raises:
        SweepError: An axis is malformed, or does not go with the sampler.
    """
    fixed = dict(pinned or {})
    every = [
        _searched(sweep, axis, levels)
        for axis, levels in sweep.axes.items()
        if sweep.method == Method.optuna or isinstance(levels, dict)
    ]
    _check_conditions(sweep, every)
    found = [each.beside(fixed) for each in every if each.axis not in fixed and each.may_apply(fixed)]
    if not found:
        raise SweepError(f"sweep {sweep.name} must search at least one axis, e.g. train.lr: {{low: 1e-4, high: 1e-2}}.")
    if sweep.sampler == Sampler.cmaes:
        listed = next((each for each in found if each.levels or each.when), None)
        if listed:
            raise SweepError(f"axis {listed.axis} must be a plain range with sampler=cmaes; take sampler=tpe.")
        if len(found) < 2:
            raise SweepError(f"sampler=cmaes must have at least two ranges, got {found[0].axis} alone; take tpe.")
    return found


def _check_conditions(sweep: SweepSpec, every: list[Searched]) -> None:
    """A condition names an axis that is drawn or chosen before, and levels that it has."""
    drawn = {each.axis: each.levels for each in every}
    lists = {axis: tuple(levels) for axis, levels in sweep.axes.items() if axis not in drawn}
    for place, each in enumerate(every):
        before = lists | {other.axis: other.levels for other in every[:place] if other.levels}
        for axis, wanted in each.when.items():
            what = f"when of axis {each.axis} of sweep {sweep.name}"
            if axis not in before:
                there = ", ".join(before) or "there is none"
                raise SweepError(
                    f"{what} must be one that names an axis above it which has levels: {there}; got {axis!r}."
                )
            levels = wanted if isinstance(wanted, list) else [wanted]
            missing = [level for level in levels if level not in before[axis]]
            if missing or not levels:
                got = missing[0] if missing else wanted
                raise SweepError(
                    registry.unknown(f"{what}, which names levels of {axis},", got, map(str, before[axis]))
                )


def _searched(sweep: SweepSpec, axis: str, levels: Any) -> Searched:
    if isinstance(levels, list):
        levels = {"levels": levels}
    keys = set(levels) if isinstance(levels, dict) else set()
    listed = keys <= {"levels", "when"} and "levels" in keys and isinstance(levels["levels"], list)
    ranged = keys <= _RANGE and {"low", "high"} <= keys
    if not (listed or ranged) or not isinstance(levels.get("when", {}), dict) or not levels.get("levels", True):
        raise SweepError(
            f"axis {axis} of sweep {sweep.name} must be a list of levels, {{low: …, high: …}} with log, step or when, "
            f"or {{levels: […], when: …}}, got {levels!r}."
        )
    when = levels.get("when", {})
    if listed:
        choices = levels["levels"]
        check_count(sweep.name, len(choices), f"levels of {axis}")
        _check_once(sweep.name, axis, choices)
        return Searched(axis, tuple(choices), when=when)
    _check_range(sweep, axis, levels)
    step, log = levels.get("step"), levels.get("log", False)
    return Searched(axis, (), levels["low"], levels["high"], step, log, when)


def _check_range(sweep: SweepSpec, axis: str, levels: Mapping[str, Any]) -> None:
    low, high, step, log = levels["low"], levels["high"], levels.get("step"), levels.get("log", False)
    numbers = [low, high] if step is None else [low, high, step]
    finite = all(
        isinstance(each, int | float) and not isinstance(each, bool) and math.isfinite(each) for each in numbers
    )
    if not finite or not isinstance(log, bool) or not low < high:
        raise SweepError(
            f"axis {axis} of sweep {sweep.name} must have numbers low < high, and log true or false, got {levels!r}."
        )
    if log and (low <= 0 or step is not None):
        raise SweepError(f"axis {axis} of sweep {sweep.name} must have low > 0 and no step with log, got {levels!r}.")
    if step is not None and not 0 < step <= high - low:
        raise SweepError(f"step of axis {axis} of sweep {sweep.name} must lead from low to high, got {levels!r}.")


def objectives(sweep: SweepSpec) -> list[Objective]:
    """What a search selects by.

    Raises:
        SweepError: Malformed, a metric of the test set, or one too many for the sampler, pruner or method.
    """
    given = sweep.objective if isinstance(sweep.objective, list) else [sweep.objective]
    found = [_objective(sweep, each) for each in given]
    names = [each.metric for each in found]
    if not found or len(set(names)) < len(names):
        raise SweepError(
            f"objective of sweep {sweep.name} must name each of its metrics once, got {sweep.objective!r}."
        )
    several = len(found) > 1
    if several and (sweep.pruner != Pruner.none or sweep.method == Method.tuned or sweep.sampler == Sampler.cmaes):
        raise SweepError(f"sweep {sweep.name} must have one objective with a pruner, method=tuned or sampler=cmaes.")
    if sweep.pruner != Pruner.none and found[0].curve is None:
        raise SweepError(f"a pruner needs an objective that each epoch has, e.g. val/loss, got {found[0].metric}.")
    return found


def _objective(sweep: SweepSpec, given: Any) -> Objective:
    entry = {"metric": given, "direction": "minimize" if given in LESS_IS_BETTER else "maximize"}
    entry = given if isinstance(given, dict) else entry
    directed = set(entry) == {"metric", "direction"} and entry["direction"] in ("maximize", "minimize")
    if not directed or not isinstance(entry["metric"], str):
        raise SweepError(
            f"objective of sweep {sweep.name} must be a metric or {{metric: …, direction: maximize or minimize}}, "
            f"got {given!r}."
        )
    if "test" in entry["metric"]:
        raise SweepError(
            f"objective must be no metric of the test set, which reports and never selects, got {given!r}."
        )
    if entry["metric"] not in METRICS:
        raise SweepError(registry.unknown(f"objective of sweep {sweep.name}", entry["metric"], METRICS))
    return Objective(entry["metric"], entry["direction"] == "maximize")


def is_int(value: object) -> bool:
    """Whether it is an integer, which True is not."""
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
        SweepError: The method does not fit the axes, ``where`` is malformed, nothing is left, or too much is spanned.
    """
    _check_size(sweep, levels, seeds)
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


def _check_size(sweep: SweepSpec, levels: Mapping[str, list[Any]], seeds: list[int]) -> None:
    """Raises SweepError for a sweep whose points would fill the memory; those that ``where`` leaves out count too."""
    lengths = [len(values) for values in levels.values()]
    counts = {Method.zip: max(lengths, default=1), Method.one_factor: 1 + sum(lengths) - len(lengths), Method.optuna: 1}
    combinations = counts.get(sweep.method, math.prod(lengths))
    runs = 0 if sweep.method == Method.optuna else sum(map(sweep.repeats_of, seeds))
    runs += sweep.n_trials if sweep.method.searches else 0
    check_count(sweep.name, combinations * runs, f"of {combinations} combinations of levels with {runs} runs each")


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
    moving = {axis: values * length if len(values) == 1 else values for axis, values in levels.items()}  # pinned
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
        lists = [axis for axis, levels in sweep.axes.items() if isinstance(levels, list)]
        for axis in rule["when"]:
            if axis not in lists or sweep.method == Method.optuna:
                there = [] if sweep.method == Method.optuna else lists
                raise SweepError(registry.unknown(f"an axis in where of sweep {sweep.name}", axis, there))
    return sweep.where


def _applies(when: Mapping[str, Any], combination: Mapping[str, Any]) -> bool:
    return all(combination[axis] in (levels if isinstance(levels, list) else [levels]) for axis, levels in when.items())
