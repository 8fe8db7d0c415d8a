"""The runs of a search -> rows of its table: trials by what they reached, or each level's winner on fresh seeds."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ablate.report.table.numbers import Digits, digits, in_percent, number_text
from ablate.report.table.runs import attempts, counted
from ablate.tracking import redrawn, redraws
from ablate.tracking.names import FINISHED, LEVELS, POINT, STATUS, STUDY, metric_column, param_column, tag_column

if TYPE_CHECKING:
    import pandas as pd

BEST_SHOWN = 10
"""Trials in the table of a search with one objective."""


def rows(frame: "pd.DataFrame", definition: Mapping[str, Any]) -> tuple["pd.DataFrame", dict[str, Any]]:
    """What ``report_table`` is to make rows of; of a sweep that is no search, all as it is.

    Args:
        frame: Runs of one study.
        definition: The sweep's record of itself.

    Returns:
        Runs and definition; ``notes`` in it say what the rows do not.
    """
    if "searched" not in definition or tag_column(POINT) not in frame:
        return frame, dict(definition)
    trials = frame[tag_column(POINT)].map(lambda point: isinstance(point, str) and "trial" in dict(json.loads(point)))
    if definition["method"] == "tuned":
        notes = [*_winners(frame[~trials], definition), _counts(frame[trials], definition)]
        return frame[~trials], {**definition, "notes": notes}
    return _trials(frame, definition)


def _counts(trials: "pd.DataFrame", definition: Mapping[str, Any]) -> str:
    ends = Counter(_ends(trials).values())
    said = ", ".join(f"{count} {status}" for status, count in sorted(ends.items()))
    each = " of each level, none of which is in a mean" if definition["method"] == "tuned" else ""
    pruner = "" if definition["pruner"] == "none" else f", pruner {definition['pruner']}"
    chosen = " and ".join(objective["metric"] for objective in definition["objectives"])
    return f"{definition['n_trials']} trials{each} ({said}); sampler {definition['sampler']}{pruner}, by {chosen}"


def _ends(runs: "pd.DataFrame") -> dict[str, str]:
    """Point -> how the attempt that counts ended (the best, the latest of equals), or that a finished run serves it."""
    found = {run.point: run for run in counted(attempts(runs))}
    ends: dict[str, str] = {point: run.outcome for point, run in found.items()}
    for run in found.values():
        told = run.record.get(tag_column(redrawn(str(run.record.get(tag_column(STUDY))))))
        for point in redraws(run.point, told) if run.outcome == FINISHED else ():
            if ends.get(point) != FINISHED:
                ends[point] = "drawn again and not trained twice"
    return ends


def _winners(runs: "pd.DataFrame", definition: Mapping[str, Any]) -> list[str]:
    """What each level was tuned to."""
    found: dict[str, str] = {}
    for row in runs.to_dict("records"):
        point = row.get(tag_column(POINT))
        if isinstance(point, str):
            name = " ".join(str(level) for axis, level in json.loads(point) if axis in definition["axes"])
            levels = drawn(row, definition).items()
            found[name] = ", ".join(f"{axis}={text(level)}" for axis, level in levels if level is not None)
    return [f"{name} was tuned to {levels}" for name, levels in found.items()]


def drawn(row: Mapping[str, Any], definition: Mapping[str, Any]) -> dict[str, Any]:
    """Axis -> level, as the run itself records it; an axis that was not drawn for it has None."""
    noted = row.get(tag_column(LEVELS))
    if isinstance(noted, str):
        levels = json.loads(noted)
        return {axis: levels.get(axis) for axis in definition["searched"]}
    return {axis: row.get(param_column(axis)) for axis in definition["searched"]}


def text(level: Any) -> str:
    """A level that a search drew, as people read it."""
    return f"{level:.4g}" if isinstance(level, float) else level if isinstance(level, str) else json.dumps(level)


def _trials(frame: "pd.DataFrame", definition: Mapping[str, Any]) -> tuple["pd.DataFrame", dict[str, Any]]:
    """Finished trials, the best first; with several objectives those that no other beats in all."""
    objectives = definition["objectives"]
    done: dict[str, dict[str, Any]] = {}
    for row in frame.to_dict("records"):
        values = [row.get(metric_column(objective["metric"])) for objective in objectives]
        whole = row.get(tag_column(STATUS)) == FINISHED and all(
            value == value and value is not None for value in values
        )
        if isinstance(row[tag_column(POINT)], str) and whole:
            signs = [1 if objective["maximize"] else -1 for objective in objectives]
            scores = [sign * value for sign, value in zip(signs, values, strict=True)]
            done[row[tag_column(POINT)]] = {"row": row, "values": values, "scores": scores}
    best = sorted(done.values(), key=lambda trial: trial["scores"], reverse=True)
    shown = best[:BEST_SHOWN] if len(objectives) == 1 else _front(best)
    axes = ["trial", *definition["searched"], *(objective["metric"] for objective in objectives)]
    columns = zip(*(trial["values"] for trial in shown), strict=True)
    written = [
        digits(column, percent=in_percent(objective["metric"]))
        for objective, column in zip(objectives, columns, strict=False)  # no columns where no trial is finished
    ]
    levels = [_levels(trial, definition, written) for trial in shown]
    points = {trial["row"]["run_id"]: json.dumps([*zip(axes, row, strict=True), ["seed", definition["seeds"][0]]])
              for trial, row in zip(shown, levels, strict=True)}  # fmt: skip
    kept = frame[frame["run_id"].isin(points)].assign(**{tag_column(POINT): lambda f: f["run_id"].map(points)})
    what = "best" if len(objectives) == 1 else "that no other trial beats in every objective"
    notes = [
        f"{len(shown)} of {len(done)} finished trials, {what}",
        _counts(frame[frame[tag_column(POINT)].notna()], definition),
    ]
    told = {key: value for key, value in definition.items() if key != "baseline"}
    table = {"axes": {axis: [] for axis in axes}, "combinations": levels, "runs_per_row": 1, "points": len(levels)}
    return kept, {**told, **table, "notes": notes}


def _levels(trial: Mapping[str, Any], definition: Mapping[str, Any], written: Sequence[Digits]) -> list[str]:
    number = dict(json.loads(trial["row"][tag_column(POINT)])).get("trial")
    levels = drawn(trial["row"], definition).values()
    values = (number_text(value, column) for value, column in zip(trial["values"], written, strict=True))
    return [str(number), *("" if level is None else text(level) for level in levels), *values]


def _front(best: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Trials that no other one equals or beats in all objectives, and beats in one."""

    def beats(one: Sequence[float], other: Sequence[float]) -> bool:
        return one != other and all(a >= b for a, b in zip(one, other, strict=True))

    return [trial for trial in best if not any(beats(other["scores"], trial["scores"]) for other in best)]
