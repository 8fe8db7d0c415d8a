"""A sweep's table before it is written in any format: what `report` makes and `rendering` writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ablate.stats import Estimate

if TYPE_CHECKING:
    from ablate.report.audit import Difference
    from ablate.report.contrasts import Analysis

Outcome = Literal["finished", "diverged", "pruned", "failed", "killed", "running"]

METRIC = "final.test_top1_percent"
COSTS = ("params", "trainable_params", "macs", "macs_modules", "macs_fvcore", "tokens")
RANK: Sequence[Outcome] = ("finished", "diverged", "pruned", "failed", "killed", "running")
_METRIC_LABELS = {
    METRIC: "test top-1 %",
    "final.val_top1_percent": "val top-1 %",
    "at.val_top1_percent": "val top-1 %",  # at equal compute
}


class ReportError(ValueError):
    """Nothing to report; one sentence."""


@dataclass(frozen=True)
class Row:
    """One combination of levels.

    Attributes:
        levels: In the order of the table's factors.
        estimate: Over the finished runs; None without any.
        cost: Name -> the distinct values among the runs, in rising order: one, unless a factor hidden here moves it.
        outcomes: Counted points; ``not run`` for those that have no run yet.
        run_ids: The runs behind the estimate.
        select: Rules by which their weights were chosen; a row that the test set chose is marked.
        best_of_4: Expected best of 4 runs, as papers print; None below 4 runs.
        read: Where in their schedules the runs were read, as ``epoch 3 of 4``, at equal compute; else empty.
        unfinished: Some run was read before its schedule had ended.
    """

    levels: tuple[str, ...]
    estimate: Estimate | None
    cost: Mapping[str, list[int]]
    outcomes: Mapping[str, int]
    run_ids: tuple[str, ...]
    select: tuple[str, ...] = ()
    best_of_4: float | None = None
    read: tuple[str, ...] = ()
    unfinished: bool = False


@dataclass(frozen=True)
class Table:
    """What a sweep measured.

    Attributes:
        title: What was measured, under what budget and rule.
        factors: Names of the leading columns.
        metric: In the cells.
        notes: Said below the table, a sentence or two each.
        analysis: Verdicts on the levels; None where the design compares nothing.
        audit: What the two sides of a contrast differ in besides its factor.
    """

    title: str
    factors: tuple[str, ...]
    metric: str
    rows: Sequence[Row]
    notes: Sequence[str] = field(default_factory=list)
    analysis: "Analysis | None" = None
    audit: Sequence["Difference"] = ()


def label(metric: str) -> str:
    """A metric's name as people read it."""
    return _METRIC_LABELS.get(metric, metric)
