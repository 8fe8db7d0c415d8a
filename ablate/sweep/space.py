"""A sweep's definition, and the points it spans; pure data."""

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class SweepError(ValueError):
    """A sweep that cannot be run as it is written; one sentence for the person who wrote it."""


class Method(StrEnum):
    """How axes span points."""

    grid = "grid"


@dataclass
class SweepSpec:
    """One ablation, as a file in sweeps/ writes it.

    Attributes:
        name: The file's name; what ``report`` is asked for.
        question: What the sweep is to find out, in a sentence.
        table: The published table it answers, a name in ablate/paper/, or empty.
        method: ``grid``: every combination of levels.
        base: Settings of every point, group choices or leaves: what an override on the command line replaces.
        axes: Config group or leaf -> its levels, e.g. ``{"model": ["cvt_2_4", "cct_2_3x2"], "model.pooling": […]}``.
            The first is what the table's rows are named by.
        seeds: A list, or how many from 0 on.
    """

    name: str = ""
    question: str = ""
    table: str = ""
    method: Method = Method.grid
    base: dict[str, Any] = field(default_factory=dict)
    axes: dict[str, Any] = field(default_factory=dict)
    seeds: Any = 1

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
            if not isinstance(levels, list) or not levels:
                raise SweepError(f"axis {axis} of sweep {self.name} must be a list of levels, got {levels!r}.")
            twice = [level for n, level in enumerate(levels) if level in levels[:n]]
            if twice:
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


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True)
class Point:
    """One combination of levels and a seed.

    Attributes:
        levels: Axis -> level.
        seed: The run's seed.
    """

    levels: Mapping[str, Any]
    seed: int

    @property
    def key(self) -> str:
        """Identifies the point within its study; readable, and the same in every session."""
        return json.dumps([*self.levels.items(), ["seed", self.seed]], separators=(",", ":"))

    @property
    def label(self) -> str:
        """For people: the levels and the seed, e.g. ``cct_2_3x2 none s0``."""
        return " ".join([*(str(level) for level in self.levels.values()), f"s{self.seed}"])


def pin(sweep: SweepSpec, overrides: Mapping[str, Any]) -> tuple[dict[str, list[Any]], list[int], dict[str, Any]]:
    """Fixes the axes that the command line sets itself.

    Returns:
        The levels, the seeds, and what was pinned (axis -> its one level).
    """
    levels, seeds = sweep.levels(), sweep.seed_list()
    pinned = {axis: overrides[axis] for axis in levels if axis in overrides}
    levels |= {axis: [level] for axis, level in pinned.items()}
    if "seed" in overrides:
        pinned["seed"] = overrides["seed"]
        seeds = [overrides["seed"]]
    return levels, seeds, pinned


def grid(levels: Mapping[str, list[Any]], seeds: list[int]) -> list[Point]:
    """Every combination; seeds turn slowest, so that a sweep stopped early holds whole tables of fewer seeds."""
    combinations = [dict(zip(levels, values, strict=True)) for values in itertools.product(*levels.values())]
    return [Point(combination, seed) for seed in seeds for combination in combinations]
