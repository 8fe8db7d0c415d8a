"""What a search draws, and what it selects by."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ablate.design.sweep import Method, Pruner, Sampler, SweepError, SweepSpec, check_count, check_once, is_int
from ablate.words import unknown

METRICS = (
    "final.val_top1_percent", "final.epoch", "final.seconds", "cost.params", "cost.trainable_params", "cost.macs",
    "cost.macs_modules", "cost.macs_fvcore", "cost.tokens", "train/loss", "train/top1_percent", "train/lr",
    "train/seconds_per_epoch", "val/loss", "val/top1_percent",
)  # fmt: skip
"""What runs log and a search may select by; nothing of the test set."""

LESS_IS_BETTER = tuple(name for name in METRICS if name.startswith("cost.") or "loss" in name or "seconds" in name)
"""Metrics that are minimized where no direction is said."""


@dataclass(frozen=True)
class Searched:
    """An axis of a search.

    Attributes:
        axis: Config group or leaf.
        levels: Levels to choose from; empty for a range.
        low: Lower end of a range, included.
        high: Upper end of a range, included.
        step: Distance between the values of a range; None is continuous, or 1 between integers.
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
        """The axis, with nothing left to ask of axes that have one level."""
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
        axes: Axes of the search, in the order in which they are drawn.
        objectives: Metrics that the search selects by: one, or several for a Pareto front.
        trials: Number of trials; with ``tuned``, of those of each level.
        epochs: Epochs of one trial, which a pruner has to know.
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
                raise SweepError(unknown(f"{what}, which names levels of {axis},", got, map(str, before[axis])))


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
        check_once(sweep.name, axis, choices)
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
        raise SweepError(unknown(f"objective of sweep {sweep.name}", entry["metric"], METRICS))
    return Objective(entry["metric"], entry["direction"] == "maximize")
