"""Levels -> points: how each method combines them, and what is left out."""

import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ablate.design.sweep import Method, SweepError, SweepSpec, check_count
from ablate.words import unknown


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
        return " ".join([*map(level_text, self.levels.values()), *trial, f"s{self.seed}", *repeat])


def level_text(level: object) -> str:
    """A level as a sweep's file has it: null, true, and everything else as Python writes it."""
    return json.dumps(level) if level is None or isinstance(level, bool) else str(level)


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

    Seeds turn slowest. It is the order of the queue; a worker may take points of a model that it has traced first.

    Args:
        sweep: The definition.
        levels: Axis -> levels, after pinning.
        seeds: Seeds of each combination of levels, after pinning.

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
            raise SweepError(unknown(f"an axis in the baseline of sweep {sweep.name}", axis, levels))
        if level not in levels[axis] and len(levels[axis]) > 1:
            raise SweepError(unknown(f"baseline.{axis} of sweep {sweep.name}", level, map(str, levels[axis])))
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
                raise SweepError(unknown(f"an axis in where of sweep {sweep.name}", axis, there))
    return sweep.where


def _applies(when: Mapping[str, Any], combination: Mapping[str, Any]) -> bool:
    return all(combination[axis] in (levels if isinstance(levels, list) else [levels]) for axis, levels in when.items())
