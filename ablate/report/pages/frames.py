"""A study's records -> tidy frames, one row an observation: what figures draw and notebooks read."""

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ablate.report.sources.records import Records
from ablate.report.table import searches
from ablate.report.table.rows import short
from ablate.report.table.runs import Attempt, attempts, counted
from ablate.report.table.table import METRIC, Table
from ablate.stats.contrasts import Analysis, analyse
from ablate.stats.design import Observation
from ablate.stats.verdicts import Verdict
from ablate.tracking import param_text
from ablate.tracking.names import FINISHED, VAL_TOP1_CURVE

if TYPE_CHECKING:
    import pandas as pd


def tidy(records: Records, *, metric: str = METRIC) -> tuple["pd.DataFrame", tuple[str, ...]]:
    """A study's finished runs, and the columns that tell its cells apart.

    Args:
        records: A study; of a search, every finished trial is a cell, and the columns are what it drew.
        metric: Name of the metric in the column ``value``.

    Returns:
        What ``results`` gives, and its factors.
    """
    definition = records.definition
    if "searched" in definition and definition["method"] != "tuned":
        return _trials(records, metric)
    frame, definition = searches.rows(records.frame, definition)
    factors = short(definition["axes"])
    return results(frame, definition, factors, metric=metric), factors


def _trials(records: Records, metric: str) -> tuple["pd.DataFrame", tuple[str, ...]]:
    import pandas as pd

    factors = short(records.definition["searched"])
    rows = []
    for run in counted(attempts(records.frame, metric)):
        if run.outcome == FINISHED and run.value is not None:
            levels = searches.drawn(run.record, records.definition).values()
            told = {"trial": int(dict(json.loads(run.point))["trial"]), "value": run.value, "run_id": run.run_id}
            shown = ("" if level is None else searches.text(level) for level in levels)
            rows.append({**dict(zip(factors, shown, strict=True)), **told, **run.cost})
    columns = [*factors, "trial", "value", "run_id"]
    frame = pd.DataFrame(rows, columns=None if rows else columns).sort_values("trial", ignore_index=True)
    return frame.assign(cell=[f"trial {number}" for number in frame["trial"]], seed=0, repeat=0), factors


def results(
    frame: "pd.DataFrame", definition: Mapping[str, Any], factors: Sequence[str], *, metric: str = METRIC
) -> "pd.DataFrame":
    """One row a finished run that counts.

    Args:
        frame: Runs of one study, in the columns of ``tracking.read_runs``.
        definition: The sweep's record of itself.
        factors: Names of its axes, as the table shows them.
        metric: Name of the metric in the column ``value``.

    Returns:
        A column a factor, then ``cell`` (the levels in one), ``seed``, ``repeat``, ``value``, the costs that were
        recorded (such as ``params``, ``macs``) and ``run_id``; rows in the order of the axes' levels.
    """
    import pandas as pd

    runs = [run for run in counted(attempts(frame, metric)) if run.outcome == FINISHED and run.value is not None]
    rows = [_row(run, definition, factors) for run in runs]
    columns = [*factors, "cell", "seed", "repeat", "value", "run_id"]
    told = pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns)
    for factor, levels in zip(factors, definition["axes"].values(), strict=True):
        order = list(dict.fromkeys([*map(param_text, levels), *told[factor]]))
        told[factor] = pd.Categorical(told[factor], order)
    told = told.sort_values([*factors, "seed", "repeat"], ignore_index=True)
    return told.astype({factor: str for factor in factors})


def _row(run: Attempt, definition: Mapping[str, Any], factors: Sequence[str]) -> dict[str, Any]:
    levels = dict(json.loads(run.point))
    shown = [param_text(levels.get(axis)) for axis in definition["axes"]]
    named = dict(zip(factors, shown, strict=True))
    numbers = {name: int(levels.get(name) or 0) for name in ("seed", "repeat")}
    return {**named, "cell": ", ".join(shown), **numbers, "value": run.value, "run_id": run.run_id, **run.cost}


def curves(records: Records, runs: "pd.DataFrame", metric: str = VAL_TOP1_CURVE) -> "pd.DataFrame":
    """One row an epoch of a run.

    Args:
        records: The study that has the curves.
        runs: Rows of ``results``.
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


def logged(records: Records, metrics: Sequence[str]) -> str:
    """The first of these metrics that any run logged after its epochs; the last where none did."""
    every = [curve for curves in records.curves.values() for curve in curves.items()]
    there = {name for name, values in every if any(value is not None for value in values)}
    return next((name for name in metrics if name in there), metrics[-1])


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


def steps(runs: "pd.DataFrame", table: Table | None = None) -> "pd.DataFrame":
    """Each cell against the one before it, in their order, with the verdict that the study's own table gives.

    A step that the table compares too has its verdict, so that one study gives one answer. The others are judged by
    the same method, with the runs of all cells, and share alpha out among them evenly.

    Args:
        runs: Rows of ``results`` of a sweep whose cells are a chain, each one step from the last.
        table: The study's table, by whose rule steps are judged; None: more is better, at ``ALPHA``, by no margin.

    Returns:
        The columns of ``contrasts`` with ``mean`` (of the level) and ``n``.
    """
    import pandas as pd

    table = table or Table("", (), METRIC, ())
    cells = list(dict.fromkeys(runs["cell"]))
    told, pairs = _compared(runs, table.analysis), list(itertools.pairwise(cells))
    own = [pair for pair in pairs if pair not in told]
    told |= {pair: _step(runs, pair, table, table.alpha / len(own)) for pair in own}
    means = runs.groupby(["cell", "seed"])["value"].mean().groupby("cell").mean()
    rows = []
    for before, cell in pairs:
        found = told[before, cell]
        rows.append({"factor": "step", "baseline": "the step before", "level": cell, "kind": str(found.kind),
                     "effect": found.effect, "low": found.low, "high": found.high, "mean": float(means[cell]),
                     "n": found.n})  # fmt: skip
    return pd.DataFrame(rows, columns=["factor", "baseline", "level", "kind", "effect", "low", "high", "mean", "n"])


def _compared(runs: "pd.DataFrame", analysis: Analysis | None) -> dict[tuple[str, str], Verdict]:
    """Baseline's and level's cell -> the verdict, of all that the table compares."""
    found = {}
    for each in analysis.contrasts if analysis else ():
        levels = [{**each.at, each.factor: level} for level in (each.baseline, each.level)]
        named = [factor for factor in runs.columns if factor in levels[0]] or [each.factor]  # those of a zip are one
        below, above = (", ".join(at[factor] for factor in named) for at in levels)
        found[below, above] = each.verdict
    return found


def _step(runs: "pd.DataFrame", pair: tuple[str, str], table: Table, alpha: float) -> Verdict:
    """The verdict on one pair of cells; the runs of the others tell the spread, and none of them is compared."""
    before, cell = pair
    places = {name: (name, cell) for name in runs["cell"]} | {before: (cell, before)}
    rows = zip(runs["cell"], runs["seed"], runs["value"], strict=True)
    seen = [Observation(places[name], int(seed), float(value)) for name, seed, value in rows]
    found = analyse(seen, ["place", "cell"], {"place": cell, "cell": before}, compare=["cell"], margin=table.margin,
                    higher_is_better=table.higher_is_better is not False, alpha=alpha)  # fmt: skip
    return next(each.verdict for each in found.contrasts if each.at["place"] == cell)


def noise(runs: "pd.DataFrame") -> "pd.DataFrame":
    """Runs in which nothing was changed, by what differs between them: their seeds, or nothing that was set.

    Args:
        runs: Rows of ``results``.

    Returns:
        Rows of ``runs`` with ``differs`` (in words) and ``cell`` (the cell, and what differs): each seed's first run,
        and all runs of each seed that was repeated, so that a run may stand in both.
    """
    import pandas as pd

    parts = [runs[runs["repeat"] == 0].assign(differs="one run of each seed")]
    for (_, seed), group in runs.groupby(["cell", "seed"], sort=False):
        if len(group) > 1:
            parts.append(group.assign(differs=f"repeats of seed {seed}"))
    told = pd.concat(parts, ignore_index=True)
    return told.assign(cell=told["cell"] + ", " + told["differs"])
