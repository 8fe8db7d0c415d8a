"""A sweep's definition, as dataclasses."""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeGuard

from ablate.words import unknown

MOST_SEEDS = 1000
"""Most seeds that a number may ask for; a larger number is a seed that was meant."""

MOST_POINTS = 10_000
"""Most points of a sweep, counted before any is made: at a minute each they take a week; more would fill the memory."""


RULE = ("margin", "alpha", "scope", "compare")
"""What a sweep may declare of its verdicts before there is a result."""

SCOPES = ("population", "these_images")
"""Whom verdicts may speak for: ``ablate.stats.crossed.Scope``'s values, without what computes by them."""


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
        table: The published table it answers, a name in ablate/tasks/classify/paper/, or empty.
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
        sampler: Who proposes the points of a search.
        pruner: Stops poor trials of a search early.
        budget: What all points have alike.
        margin: Smallest difference of interest, in the unit of the results; None declares none.
        alpha: Rate of false verdicts of the whole table, 0 to 0.5; None leaves it to the report.
        scope: Whom verdicts speak for, one of ``SCOPES``; None leaves it to the report.
        compare: Axes whose levels are compared, the others being where; None compares those of all.
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
    margin: float | None = None
    alpha: float | None = None
    scope: str | None = None
    compare: list[str] | None = None

    def rule(self) -> dict[str, Any]:
        """What is declared of the verdicts, key by key.

        Raises:
            SweepError: It makes no rule, or a table of this method would not hear it.
        """
        declared = {key: value for key in RULE if (value := getattr(self, key)) is not None}
        check_rule(self.name, declared, self.axes, self.method)
        return {**declared, "compare": list(self.compare)} if self.compare is not None else declared

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
                check_once(self.name, axis, levels)
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


def check_once(name: str, axis: str, levels: list[Any]) -> None:
    """Raises SweepError for an axis that names a level twice."""
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


def is_int(value: object) -> TypeGuard[int]:
    """Whether it is an integer, which True is not."""
    return isinstance(value, int) and not isinstance(value, bool)


def check_rule(name: str, declared: Mapping[str, Any], axes: Mapping[str, Any], method: Method) -> None:
    """Checks what a sweep declares of its verdicts.

    Args:
        name: Name of the sweep.
        declared: Those of ``RULE`` that are declared.
        axes: Axis -> its levels.
        method: How the axes span points.

    Raises:
        SweepError: A value is out of range, names no axis, or stands where nothing is compared by it.
    """
    of = f"of sweep {name} must be"
    if declared and method == Method.optuna:
        key = next(iter(declared))
        raise SweepError(f"{key} of sweep {name} must come with method grid, one_factor, zip or tuned, got it with "
                         "method optuna, which compares no levels.")  # fmt: skip
    if "margin" in declared and not (_is_number(margin := declared["margin"]) and margin > 0):
        raise SweepError(f"margin {of} a number above 0, in the unit of the results, got {margin!r}.")
    if "alpha" in declared and not (_is_number(alpha := declared["alpha"]) and 0 < alpha < 0.5):
        raise SweepError(f"alpha {of} a number between 0 and 0.5, got {alpha!r}; 0.05 is usual.")
    if "scope" in declared and declared["scope"] not in SCOPES:
        raise SweepError(unknown(f"scope of sweep {name}", declared["scope"], SCOPES))
    if "compare" in declared:
        _check_compare(name, declared["compare"], axes, method)


def _check_compare(name: str, compare: Any, axes: Mapping[str, Any], method: Method) -> None:
    if method == Method.zip:
        raise SweepError(f"compare of sweep {name} must come with method grid, one_factor or tuned, got it with "
                         "method zip, whose axes move together.")  # fmt: skip
    if not isinstance(compare, list) or not compare or not all(isinstance(axis, str) for axis in compare):
        raise SweepError(f"compare of sweep {name} must be a list of axes, got {compare!r}.")
    for axis in compare:
        if axis not in axes:
            raise SweepError(unknown(f"an axis in compare of sweep {name}", axis, axes))
        if not isinstance(axes[axis], list):
            raise SweepError(f"an axis in compare of sweep {name} must be a list of levels, got {axis}, a range.")
    if len(set(compare)) < len(compare):
        raise SweepError(f"compare of sweep {name} must name each axis once, got {', '.join(compare)}.")


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
