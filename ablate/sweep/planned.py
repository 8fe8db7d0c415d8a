"""A point of a sweep, the run that it means and what that run costs."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ablate.design.points import Point
from ablate.sweep.levels import Cost
from ablate.tasks.classify.spec import RunSpec


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
