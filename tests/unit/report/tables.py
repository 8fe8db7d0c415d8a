"""Runs of a small sweep whose every number can be checked by hand."""

import itertools
import json
from collections.abc import Iterable
from typing import Any

import pandas as pd

from ablate.report import Reading, Table, report_table

AXES = {"model": ["vit_2_4", "cct_2_3x2"], "model.positional": ["learnable", "none"]}
DEFINITION = {"name": "pe", "question": "Does it matter?", "axes": AXES, "seeds": [0, 1, 2], "points": 12}
_numbers = itertools.count()


def point(model: Any, positional: Any, seed: int) -> str:
    return json.dumps([["model", model], ["model.positional", positional], ["seed", seed]], separators=(",", ":"))


def run(point: str, value: float | None = None, outcome: str = "finished", **more: Any) -> dict[str, Any]:
    return {
        "run_id": f"run{next(_numbers)}",
        "status": {"failed": "FAILED", "killed": "KILLED", "running": "RUNNING"}.get(outcome, "FINISHED"),
        "tags.ablate.point": point,
        "tags.ablate.status": outcome,
        "metrics.final.test_top1_percent": float("nan") if value is None else value,
        "params.data.source": "digits",
        "params.data.root": "null",
        "params.train.epochs": "6",
        "params.train.select": "best",
        "metrics.cost.params": 1234.0,
        "metrics.cost.macs": 5678901.0,
        "metrics.cost.tokens": 49.0,
        **more,
    }


def full(seeds: Iterable[int] = (0, 1, 2)) -> list[dict[str, Any]]:
    return [run(point(m, p, s), 80.0 + s) for m in AXES["model"] for p in AXES["model.positional"] for s in seeds]


def table_of(runs: list[dict[str, Any]], **changes: Any) -> Table:
    return report_table(pd.DataFrame(runs), {**DEFINITION, **changes})


def rewards(runs: list[dict[str, Any]]) -> Table:
    """Of runs that differ in their model alone and have a metric ``reward``."""
    axes = {"model": AXES["model"], "model.positional": ["none"]}
    base = {"model": AXES["model"][0], "model.positional": "none"}
    definition = {**DEFINITION, "axes": axes, "baseline": base, "points": len(runs)}
    return report_table(pd.DataFrame(runs), definition, Reading(metric="reward"))
