"""A sweep's table before it is written in any format: what ``rows`` makes and ``pages`` write."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ablate.report.table.audit import Difference
from ablate.report.table.directions import (
    BUDGET,
    COUNTED,
    HIGHER,
    LOWER,
    REACHED,
    TURNED,
    UNITS,
    WEAK,
    is_loss,
    words_of,
)
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
        higher_is_better: False for a loss, an error, a time; None where the metric's name says nothing.
        margin: Smallest effect of interest, in the metric's unit; None without one.
        cautions: Sentences for above the verdicts: that runs are missing, or stand in the log twice.
    """

    title: str
    factors: tuple[str, ...]
    metric: str
    rows: Sequence[Row]
    notes: Sequence[str] = field(default_factory=list)
    analysis: Analysis | None = None
    audit: Sequence[Difference] = ()
    alpha: float = ALPHA
    higher_is_better: bool | None = True
    margin: float | None = None
    cautions: Sequence[str] = ()


def more_is_better(metric: str) -> bool | None:
    """What a metric's name says of its direction, by the field's names; None where it says nothing, or two things."""
    if re.search(r"(?<![A-Za-z0-9])1(00)?(\.0*)? *- *[A-Za-z]", metric):  # 1 - accuracy
        return None
    found = _RATE.fullmatch(metric)
    if found is not None:
        what, each, named = found["what"].lower(), found["each"].lower(), found["how"] != "/"
        if each in UNITS and (named or what in COUNTED):
            return not any(is_loss(word) or word in _SPENT for word in words_of(found["before"] + found["what"]))
        if each in COUNTED and what in UNITS:
            return False
    return _direction(words_of(metric))


_RATE = re.compile(r"(?P<before>.*?)(?P<what>[A-Za-z]+)(?P<how>/|[_ .-]per[_ .-]|Per(?=[A-Z]))(?P<each>[A-Za-z]+)")
"""One thing in another: images_per_second, ms/step; a stroke alone may also stand behind a group, as in val/acc."""
_SPENT = {"cost", "costs", "energy", "joules", "emissions", "failures", "crashes", "violations"}
"""What is no better the more of it there is in a second."""


def _direction(words: Sequence[str]) -> bool | None:
    words = words[: next((n for n, word in enumerate(words) if n and word in BUDGET), len(words))]
    if "to" in words and not REACHED.isdisjoint(words[: words.index("to")]):
        return False  # seconds to 95 % accuracy
    if words[:1] == ["neg"] and any(map(is_loss, words)):
        return True  # scikit-learn's neg_mean_squared_error
    joined = " ".join(words)
    if re.search(r"\b(neg|negative) log ?likelihood\b", joined) or "cross entropy" in joined:
        return False
    if "false positive" in joined or "false negative" in joined:
        return False
    if re.search(r"\b(explained variance|variance explained)\b", joined):
        return True
    if "true positive" in joined or "true negative" in joined:
        return True
    if not TURNED.isdisjoint(words):
        return None
    losses, higher = (
        [n for n, word in enumerate(words) if test(word)] for test in (is_loss, lambda word: word in HIGHER)
    )
    lower = [n for n, word in enumerate(words) if word in LOWER]
    if losses and (not higher or losses[-1] > higher[-1]):
        return False
    if higher or losses or lower:
        return None if higher and (lower or losses) else bool(higher)
    return True if not WEAK.isdisjoint(words) else None


def direction_words(higher_is_better: bool | None) -> str:
    """Which way the numbers of a table are better; nothing where nobody knows."""
    return "" if higher_is_better is None else "higher is better" if higher_is_better else "lower is better"


def confidence(alpha: float) -> str:
    """What an interval covers, such as ``95 %``."""
    return f"{100 - 100 * alpha:.6g} %"


def label(metric: str) -> str:
    """A metric's name as people read it."""
    return _METRIC_LABELS.get(metric, metric)
