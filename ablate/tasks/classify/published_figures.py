"""What notebooks draw beside the paper's numbers: frames of its tables, and a figure's title with its budget."""

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ablate.escaping import label as shown
from ablate.escaping import sentence
from ablate.report.sources.records import Records
from ablate.report.table import captions, equal_compute
from ablate.report.table.runs import Attempt, attempts, counted, recorded
from ablate.tasks.classify import paper
from ablate.tasks.classify.published import Layout
from ablate.tracking.names import FINISHED

if TYPE_CHECKING:
    import pandas as pd

EPOCHS = 300
"""Epochs that the paper trains its models on small images (its configuration files)."""


def figure_title(records: Records, *, asked: bool = True) -> str:
    """A figure's title: the question, and on a second line data, images, length beside the published one, and n.

    Args:
        records: The study that the figure draws.
        asked: Whether the question stands above.
    """
    question = sentence(records.definition.get("question", "")) if asked else ""
    return "\n".join(shown(line) for line in (question, _behind(records)) if line)


def _behind(records: Records) -> str:
    runs = [run for run in counted(attempts(records.frame)) if run.outcome == FINISHED]
    seeds = _seeds_a_cell(runs)
    n = f"n = {captions.span(seeds)} seed{'' if seeds == [1] else 's'} a cell" if runs else "no finished run"
    if records.definition.get("foreign"):
        return f"{records.definition['name']}: {n}"
    counts = map(equal_compute.whole, recorded(runs, "train.epochs"))
    epochs = [count for count in counts if count is not None]
    early = "early training, " if epochs and max(epochs) < EPOCHS else ""
    said = f"{early}{captions.trained(runs)} (published: {EPOCHS} epochs)" if early else captions.trained(runs)
    return f"{records.definition['name']} on {captions.data(runs)}: {said}, {n}"


def _seeds_a_cell(runs: Sequence[Attempt]) -> list[int]:
    """How many seeds the cells have, in rising order."""
    cells: dict[str, set[object]] = {}
    for run in runs:
        point = dict(json.loads(run.point))
        rest = {axis: level for axis, level in point.items() if axis not in ("seed", "repeat")}
        cells.setdefault(json.dumps(rest, sort_keys=True), set()).add(point.get("seed"))
    return sorted({len(seeds) for seeds in cells.values()})


def beside(found: Layout) -> "pd.DataFrame":
    """A published table's numbers, a row each, and each of ours beside the one it belongs to.

    Returns:
        ``row`` (the labels in one), ``data``, ``published``, ``verified``; ``ours`` (a mean), ``low``, ``high``, ``n``
        and ``study``, blank where nothing was run.
    """
    import pandas as pd

    rows = []
    for line in found.lines:
        for data, one in line.printed.items():
            told = {"row": ", ".join(line.labels), "data": data, "published": float(one.value)}
            told["verified"] = one.verified
            for ours in line.ours.get(data, ()):
                mean = ours.estimate
                rows.append({**told, "ours": mean.mean, "low": mean.low, "high": mean.high, "n": mean.n,
                             "study": ours.study})  # fmt: skip
            if not line.ours.get(data):
                rows.append(told)
    columns = ["row", "data", "published", "verified", "ours", "low", "high", "n", "study"]
    return pd.DataFrame(rows, columns=columns).astype({"ours": float, "low": float, "high": float})


def printed(column: str, table: str = "table1") -> "pd.DataFrame":
    """Verified rows of a published table that has costs, in columns of ``report.pages.frames.results``.

    Args:
        column: Column of the table's file with results, such as ``CIFAR-10_top1_pct``.
        table: A table with ``params_M`` and ``MACs_G``.

    Returns:
        ``family``, ``cell`` (the model), ``value``, ``params`` and ``macs``, as printed.
    """
    import pandas as pd

    rows = [
        {
            "family": re.split(r"V?\d|-", row["model"])[0],
            "cell": row["model"],
            "value": float(row[column]),
            "params": 1e6 * float(row["params_M"]),
            "macs": 1e9 * float(row["MACs_G"]),
        }
        for row in paper.rows(table)
        if row["verified"] == paper.YES and row[column] and row["params_M"] and row["MACs_G"]
    ]
    return pd.DataFrame(rows, columns=["family", "cell", "value", "params", "macs"])
