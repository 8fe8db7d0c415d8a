"""What a reader has to know before the verdicts: a margin in another unit is refused, an unfinished study is said."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ablate.report.errors import ReportError
from ablate.report.table.table import RANK, Row
from ablate.stats.margins import too_wide
from ablate.tracking.names import DIVERGED, FINISHED, PRUNED

_ENDED = (FINISHED, DIVERGED, PRUNED)
_PERCENT = re.compile(r"percent|(?<![a-z])(pct|perc|pp)(?![a-z])|%", re.IGNORECASE)


def require_margin(margin: float | None, values: Iterable[float], metric: str) -> None:
    """Refuses a margin that the results' unit cannot have.

    Args:
        margin: Smallest effect of interest, in the metric's unit; None is none.
        values: Results of all runs.
        metric: The metric's name, which may say that it is a percentage.

    Raises:
        ReportError: The margin is wider than results differ.
    """
    results = list(values)
    if margin is None or (bound := too_wide(margin, results, percent=bool(_PERCENT.search(metric)))) is None:
        return
    low, high = min(results), max(results)
    raise ReportError(
        f"margin must be below {bound}, or everything is equivalent, got {margin:g} where the results are {low:.6g} to "
        f"{high:.6g}: say the smallest difference that matters in their unit."
    )


def unfinished(rows: Sequence[Row], definition: Mapping[str, Any]) -> list[str]:
    """How many planned runs have no outcome yet, in a sentence for above the verdicts; none where all have.

    A run that diverged has its outcome, and so has one that a search gave up. Nobody knows the plan of runs that others
    made: what is said there is that cells differ in their runs.

    Args:
        rows: Rows of the table.
        definition: What the study recorded: ``foreign``, and ``left_out``, how many runs are in no row because they
            did not finish.
    """
    total: Counter[str] = Counter()
    for row in rows:
        total.update(row.outcomes)
    left_out = definition.get("left_out", 0)
    rest = {name: total[name] for name in (*RANK, "not run") if name not in _ENDED and total[name]}
    if not rest and not left_out:
        return []
    points = sum(total.values()) + left_out
    ended = f"{points - sum(rest.values()) - left_out} of {points}"
    parts = ", ".join([f"{count} {name}" for name, count in rest.items()] + [f"{left_out} left out"] * bool(left_out))
    if definition.get("foreign"):
        return [f"not every cell has a run of every seed: {ended} have ended ({parts}), and more may turn the verdicts"]
    return [f"unfinished: {ended} planned runs have ended ({parts}), and what the others bring may turn the verdicts"]
