"""A store's frame -> the runs of a study: one an attempt, and which attempt counts."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ablate.report.table.table import COSTS, METRIC, RANK
from ablate.tracking import param_text
from ablate.tracking.names import (
    COST,
    DIVERGED,
    FAILED,
    FINISHED,
    KILLED,
    MLFLOW_FAILED,
    MLFLOW_KILLED,
    PARAM_COLUMN,
    POINT,
    REASON,
    RUNNING,
    STATUS,
    SUPERSEDED,
    Outcome,
    metric_column,
    param_column,
    tag_column,
)

if TYPE_CHECKING:
    import pandas as pd

_BUDGET = (
    *(param_column(f"data.{name}") for name in ("source", "root")),
    *(param_column(f"train.{name}") for name in ("epochs", "seconds", "cooldown_epochs", "select")),
)


@dataclass(frozen=True)
class Attempt:
    """One attempt at a point of a study, as its record tells.

    Attributes:
        point: The point, as JSON: pairs of axis and level.
        run_id: Id of the run.
        outcome: How the run ended.
        value: Result in the metric's unit; None where the run has none.
        reason: Why the run ended early, in one sentence; empty where it did not.
        cost: Name of a ``cost.*`` metric, after the dot -> the metric's value.
        budget: Parameter that belongs in the table's title -> its value.
        record: All that is recorded of the run, in the columns of ``tracking.read_runs``.
    """

    point: str
    run_id: str
    outcome: Outcome
    value: float | None
    reason: str
    cost: Mapping[str, int]
    budget: Mapping[str, str]
    record: Mapping[str, Any] = field(default_factory=dict, repr=False)


Sides = tuple[Sequence[Attempt], Sequence[Attempt]]
"""Runs of a contrast's treatment and of its baseline."""


def attempts(frame: "pd.DataFrame", metric: str = METRIC) -> list[Attempt]:
    """The runs that belong to a point of the study, oldest first."""
    if tag_column(POINT) not in frame:
        return []
    told = frame[frame[tag_column(POINT)].notna()]
    columns = [told[name].tolist() for name in told]  # a fifth of the time of pandas' own records
    names = list(told)
    rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    return [_run(row, metric) for row in rows if row.get(tag_column(STATUS)) != SUPERSEDED]


def _run(row: Mapping[str, Any], metric: str) -> Attempt:
    params = {key.removeprefix(PARAM_COLUMN): value for key in _BUDGET if isinstance(value := row.get(key), str)}
    costs = {name: _metric(row, f"{COST}{name}") for name in COSTS}
    reason, outcome, value = row.get(tag_column(REASON)), _outcome(row), _metric(row, metric)
    if value is not None and math.isinf(value):  # no mean can hold it
        outcome, value = DIVERGED if outcome == FINISHED else outcome, None
    return Attempt(
        point=row[tag_column(POINT)],
        run_id=row["run_id"],
        outcome=outcome,
        value=value,
        reason=reason if isinstance(reason, str) else "",
        cost={name: int(value) for name, value in costs.items() if value is not None},
        budget=params,
        record=row,
    )


def _metric(row: Mapping[str, Any], name: str) -> float | None:
    """A frame has NaN where a run has no such metric."""
    value = row.get(metric_column(name))
    return None if value is None or value != value else float(value)


def _outcome(row: Mapping[str, Any]) -> Outcome:
    """By our own tag; by MLflow's status where a run was ended from outside."""
    status = row.get(tag_column(STATUS))
    ended: dict[str, Outcome] = {MLFLOW_FAILED: FAILED, MLFLOW_KILLED: KILLED}
    if status == RUNNING and row["status"] in ended:
        return ended[row["status"]]
    return next((outcome for outcome in RANK if outcome == status), RUNNING)


def counted(runs: Iterable[Attempt]) -> list[Attempt]:
    """One run a point: of several attempts the one with the best outcome, the latest of equals."""
    best: dict[str, Attempt] = {}
    for run in runs:
        present = best.get(run.point)
        if present is None or RANK.index(run.outcome) <= RANK.index(present.outcome):
            best[run.point] = run
    return list(best.values())


def by_seed(runs: Iterable[Attempt]) -> dict[int, float]:
    """Seed -> the mean of its repeats: a repeat is no further draw of what the interval is over."""
    values: dict[int, list[float]] = {}
    for run in runs:
        if run.value is not None:
            values.setdefault(dict(json.loads(run.point)).get("seed", 0), []).append(run.value)
    return {seed: sum(several) / len(several) for seed, several in values.items()}


def recorded(runs: Iterable[Attempt], name: str) -> list[str]:
    """What runs recorded of a parameter that belongs in the title, each value once."""
    return list(dict.fromkeys(run.budget[name] for run in runs if name in run.budget))


def point_name(point: str) -> str:
    """A point in words, such as ``positional=sine seed=0``."""
    return " ".join(f"{axis}={param_text(level)}" for axis, level in json.loads(point))
