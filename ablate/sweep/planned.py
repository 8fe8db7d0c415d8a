"""A point of a sweep, the run that it means and what that run costs."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ablate.design.points import Point


@dataclass(frozen=True)
class PlannedPoint:
    """A point and the run that it means.

    Attributes:
        point: Levels, seed and repeat of the run within its sweep.
        spec: The task's run.
        cost: What one example costs the run, by name; None where the data has to be read to know it.
    """

    point: Point
    spec: Any
    cost: Mapping[str, int] | None

    @cached_property
    def leaves(self) -> dict[str, Any]:
        """Every leaf of the run."""
        leaves: dict[str, Any] = self.spec.leaves()
        return leaves
