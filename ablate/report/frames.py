"""A study's records -> tidy frames, one row an observation: what figures draw and notebooks read."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ablate.report.contrasts import Analysis
from ablate.report.records import Records
from ablate.report.runs import Run, attempts, counted
from ablate.report.table import METRIC
from ablate.tracking import param_text

if TYPE_CHECKING:
    import pandas as pd


def results(
    frame: "pd.DataFrame", definition: Mapping[str, Any], factors: Sequence[str], *, metric: str = METRIC
) -> "pd.DataFrame":
    """One row a finished run that counts.

    Args:
        frame: Runs of one study, in the columns of ``tracking.read_runs``.
        definition: What the sweep recorded of itself.
        factors: Names of its axes, as the table shows them.
        metric: What ``value`` holds.

    Returns:
        A column a factor, then ``cell`` (the levels in one), ``seed``, ``value``, the costs that were recorded (such as
        ``params``, ``macs``) and ``run_id``; rows in the order of the axes' levels.
    """
    import pandas as pd

    runs = [run for run in counted(attempts(frame, metric)) if run.outcome == "finished" and run.value is not None]
    rows = [_row(run, definition, factors) for run in runs]
    columns = [*factors, "cell", "seed", "value", "run_id"]
    tidy = pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns)
    for factor, levels in zip(factors, definition["axes"].values(), strict=True):
        order = list(dict.fromkeys([*map(param_text, levels), *tidy[factor]]))
        tidy[factor] = pd.Categorical(tidy[factor], order)
    tidy = tidy.sort_values([*factors, "seed"], ignore_index=True)
    return tidy.astype({factor: str for factor in factors})


def _row(run: Run, definition: Mapping[str, Any], factors: Sequence[str]) -> dict[str, Any]:
    levels = dict(json.loads(run.point))
    shown = [param_text(levels.get(axis)) for axis in definition["axes"]]
    named = dict(zip(factors, shown, strict=True))
    told = {"cell": ", ".join(shown), "seed": int(levels.get("seed", 0)), "value": run.value, "run_id": run.run_id}
    return {**named, **told, **run.cost}


def curves(records: Records, runs: "pd.DataFrame", metric: str = "val/top1_percent") -> "pd.DataFrame":
    """One row an epoch of a run.

    Args:
        records: Where the curves are.
        runs: What ``results`` gave.
        metric: A metric that is logged after each epoch.

    Returns:
        The columns of ``runs``, ``epoch`` from 1, and the metric's value then as ``value``.
    """
    import pandas as pd

    epochs = [
        {"run_id": run_id, "epoch": epoch, "value": value}
        for run_id in runs["run_id"]
        for epoch, value in enumerate(records.curves.get(run_id, {}).get(metric, []), start=1)
        if value is not None
    ]
    told = pd.DataFrame(epochs, columns=["run_id", "epoch", "value"])
    return runs.drop(columns="value").merge(told, on="run_id")


def contrasts(analysis: Analysis) -> "pd.DataFrame":
    """A row a comparison: ``factor``, ``baseline``, ``level`` (and where), ``kind``, ``effect``, ``low``, ``high``."""
    import pandas as pd

    rows = [
        {
            "factor": each.factor,
            "baseline": each.baseline,
            "level": " at ".join([each.level, *([", ".join(each.at.values())] if each.at else [])]),
            "kind": str(each.verdict.kind),
            "effect": each.verdict.effect,
            "low": each.verdict.low,
            "high": each.verdict.high,
        }
        for each in analysis.contrasts
    ]
    return pd.DataFrame(rows, columns=["factor", "baseline", "level", "kind", "effect", "low", "high"])
