"""A sweep's table before it is written in any format: what ``rows`` makes and ``pages`` write."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ablate.report.table.audit import Difference
from ablate.stats.contrasts import Analysis
from ablate.stats.estimates import Estimate
from ablate.tracking.names import (
    AT_VAL_TOP1,
    DIVERGED,
    FAILED,
    FINISHED,
    KILLED,
    NO_RESULT,
    PRUNED,
    RUNNING,
    TEST_TOP1,
    VAL_TOP1,
    Outcome,
)

METRIC = TEST_TOP1
ALPHA = 0.05
COSTS = ("params", "trainable_params", "macs", "macs_modules", "macs_fvcore", "tokens")
RANK: Sequence[Outcome] = (FINISHED, DIVERGED, PRUNED, FAILED, KILLED, NO_RESULT, RUNNING)
_METRIC_LABELS = {
    METRIC: "test top-1 %",
    VAL_TOP1: "val top-1 %",
    AT_VAL_TOP1: "val top-1 %",  # at equal compute
}


@dataclass(frozen=True)
class Row:
    """One combination of levels.

    Attributes:
        levels: A level a factor, in the order of the table's factors.
        estimate: Mean and interval over the finished runs, in the metric's unit; None without any.
        cost: Name of a cost -> the distinct values among the runs, in rising order: one, unless a factor hidden here
            moves it.
        outcomes: Outcome -> number of points; ``not run`` for points without a run yet.
        run_ids: Ids of the runs behind the estimate.
        select: Rules by which the runs' weights were chosen; a row that the test set chose is marked.
        best_of_4: Expected best of 4 runs, in the metric's unit, as papers print; None below 4 runs.
        read: Epochs at which the runs were read, as ``epoch 3 of 4``, at equal compute; else empty.
        unfinished: Some run was read before its schedule had ended.
        ended: Some run had ended before the compute at which it is read was spent: its row is in no verdict.
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
    ended: bool = False


@dataclass(frozen=True)
class Table:
    """What a sweep measured.

    Attributes:
        title: What was asked, and on a second line the metric, the budget and the rule of selection.
        factors: Names of the leading columns.
        metric: Name of the metric in the cells.
        rows: A row a combination of levels.
        notes: Notes for below the table, a sentence or two each.
        analysis: Verdicts on the levels; None where the design compares nothing.
        audit: Differences between the two sides of a contrast besides its factor.
        alpha: Rate of false verdicts, 0 to 0.5: intervals are of 1 - alpha.
        higher_is_better: False for a loss, an error, a time.
        margin: Smallest effect of interest, in the metric's unit; None without one.
    """

    title: str
    factors: tuple[str, ...]
    metric: str
    rows: Sequence[Row]
    notes: Sequence[str] = field(default_factory=list)
    analysis: Analysis | None = None
    audit: Sequence[Difference] = ()
    alpha: float = ALPHA
    higher_is_better: bool = True
    margin: float | None = None


_LESS = {
    *("err", "errs", "perplexity", "ppl", "nll", "crossentropy", "brier", "ece", "mae", "mse", "rmse", "rmsle", "mape"),
    *("wer", "cer", "fid", "bpb", "bpc", "bpd", "regret", "cost", "latency"),
}
_LESS_AT_THE_END = {"seconds", "time", "duration"}  # elsewhere it may be a budget


def more_is_better(metric: str) -> bool:
    """What a metric's name says of its direction: False for losses, errors, costs and times, True for all others."""
    words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", metric)]
    ends = ("loss", "losses", "error", "errors")
    named = any(word in _LESS or word.endswith(ends) for word in words) or "crossentropy" in "".join(words)
    return not (named or (words and words[-1] in _LESS_AT_THE_END))


def confidence(alpha: float) -> str:
    """What an interval covers, such as ``95 %``."""
    return f"{100 - 100 * alpha:.6g} %"


def label(metric: str) -> str:
    """A metric's name as people read it."""
    return _METRIC_LABELS.get(metric, metric)
