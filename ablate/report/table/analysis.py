"""Runs of a sweep -> the analysis of its levels: what is compared with what, and from which runs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ablate.design.sweep import Method
from ablate.report.table import equal_compute
from ablate.report.table.runs import Attempt
from ablate.stats.contrasts import Analysis, Rule, analyse
from ablate.stats.crossed import Sampling
from ablate.stats.design import Observation, pairs_of
from ablate.tracking import param_text
from ablate.tracking.names import DIVERGED, FINISHED

METHODS = tuple(method for method in Method if not method.searches)
"""Sweeps whose points are levels to compare; those of a search were chosen by their results."""


def analyse_runs(
    definition: Mapping[str, Any],
    runs: Sequence[Attempt],
    factors: Sequence[str],
    rule: Rule,
    sampling: Sampling | None = None,
) -> Analysis | None:
    """The analysis of a sweep, or None where its design compares nothing.

    Finished runs enter it, and diverged ones, which have an outcome and no value.

    Args:
        definition: The sweep's record: ``axes``, ``baseline``, ``method``, and ``compare``, the axes that are judged.
        runs: One a point of the sweep.
        factors: Names of the axes, as the table shows them.
        rule: How verdicts are made.
        sampling: What other test images would do to the cells' means; None where verdicts go by seeds alone.
    """
    if "baseline" not in definition:
        return None
    observations = []
    unequal: set[tuple[str, ...]] = set()  # cells with a run that spent less than the others
    for run in runs:
        levels = dict(json.loads(run.point))
        value = run.value if run.outcome == FINISHED else None
        shown = tuple(param_text(levels.get(axis)) for axis in definition["axes"])
        if run.record.get(equal_compute.ENDED) == "true":
            unequal.add(shown)
        if value is not None or run.outcome == DIVERGED:
            observations.append(Observation(shown, int(levels["seed"]), float("nan") if value is None else value))
    observations = [each for each in observations if each.levels not in unequal]
    shown_as = ([param_text(level) for level in levels] for levels in definition["axes"].values())
    place = [{level: number for number, level in reversed(list(enumerate(levels)))} for levels in shown_as]
    observations.sort(key=lambda each: [at[level] for at, level in zip(place, each.levels, strict=True)])
    baseline = [param_text(definition["baseline"][axis]) for axis in definition["axes"]]
    return _find(observations, factors, definition, baseline, rule, sampling)


def comparisons(definition: Mapping[str, Any]) -> int:
    """How many comparisons the table of a sweep makes once all its points have a result.

    Args:
        definition: The sweep's record: ``axes``, ``combinations``, ``baseline``, ``method`` and ``compare``.
    """
    axes = list(definition["axes"])
    if definition.get("method", "grid") not in METHODS or "baseline" not in definition:
        return 0
    cells = dict.fromkeys(tuple(map(param_text, levels)) for levels in definition["combinations"])
    baseline = {axis: param_text(level) for axis, level in definition["baseline"].items()}
    if definition.get("method") == "zip":  # axes that move together are one factor
        joined = {(", ".join(levels),): None for levels in cells}
        return len(pairs_of(joined, ["all"], [0], {"all": ", ".join(baseline[axis] for axis in axes)}))
    judged = [number for number, axis in enumerate(axes) if axis in (definition.get("compare") or axes)]
    return len(pairs_of(cells, axes, judged, baseline))


def _find(
    observations: Sequence[Observation],
    axes: Sequence[str],
    definition: Mapping[str, Any],
    baseline: Sequence[str],
    rule: Rule,
    sampling: Sampling | None,
) -> Analysis | None:
    """The analysis of runs whose levels are known.

    Args:
        observations: Runs, with their levels as the table shows them.
        axes: Names of the axes, as the table shows them.
        definition: The sweep's record: ``method``, and ``compare``, the axes that are judged.
        baseline: The level of each axis that others are held against, as the table shows it.
        rule: How verdicts are made.
        sampling: What other test images would do to the cells' means.
    """
    method = definition.get("method", "grid")
    if method not in METHODS or len({run.levels for run in observations}) < 2:
        return None
    judged = definition.get("compare") or list(definition["axes"])
    compare = [axis for axis, full in zip(axes, definition["axes"], strict=True) if full in judged]
    if method == "zip":  # axes that move together are one factor
        observations = [Observation((", ".join(run.levels),), run.seed, run.value) for run in observations]
        axes, baseline = [" + ".join(axes)], [", ".join(baseline)]
        compare = list(axes)
    held = dict(zip(axes, baseline, strict=True))
    return analyse(observations, axes, held, compare=compare, sampling=sampling, **asdict(rule))
