"""Equal compute: points that are given the same training MACs, or the same time, whatever a model costs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ablate.contract import task
from ablate.design.sweep import Budget, SweepError, SweepSpec
from ablate.sweep.planned import PlannedPoint


def baseline_macs(points: Sequence[PlannedPoint], baseline: Mapping[str, Any], drawn: set[str]) -> int:
    """MACs of one example at the baseline, or at the first point where the baseline is left out.

    Args:
        points: Points of a sweep whose budget is MACs.
        baseline: Axis -> the level that others are held against.
        drawn: Axes that a search draws.

    Raises:
        SweepError: Points differ in their examples or epochs, time ends the runs, or the cost is not known.
    """
    first = points[0].leaves
    counts = task().changes_examples
    moved = [leaf for p in points for leaf, value in p.leaves.items() if counts(leaf) and value != first[leaf]]
    moved += [axis for axis in sorted(drawn) if counts(axis)]
    if moved:
        raise SweepError(f"budget=macs needs the same images and epochs at every point, got an axis moving {moved[0]}.")
    if task().length(points[0].spec).seconds is not None:
        raise SweepError("budget=macs needs train.seconds=null, since time would end the runs; leave it out of base.")
    reference = next((p for p in points if dict(p.point.levels) == dict(baseline)), points[0])
    if reference.cost is None:
        raise SweepError("budget=macs needs a model whose cost is known before its data is read.")
    return reference.cost["macs"]


def equalised(planned: PlannedPoint, macs: int | None) -> PlannedPoint:
    """The point with as many whole epochs, at least one, as come nearest to the baseline's MACs.

    Args:
        planned: A point.
        macs: MACs of one example at the baseline; None leaves the point alone.
    """
    if macs is None or planned.cost is None:
        return planned
    epochs = max(1, round(task().length(planned.spec).epochs * macs / planned.cost["macs"]))
    return replace(planned, spec=task().with_epochs(planned.spec, epochs))


def most_unequal(points: Sequence[PlannedPoint], macs: int, epochs: int) -> float:
    """The share, from 0, by which whole epochs miss the baseline's MACs at the point where they miss it most.

    Args:
        points: Points of a sweep, equalised.
        macs: MACs of one example at the baseline.
        epochs: Epochs of the baseline.
    """
    spent = [task().length(each.spec).epochs * each.cost["macs"] for each in points if each.cost]
    return max((abs(each / (macs * epochs) - 1) for each in spent), default=0.0)


def require_equal_time(sweep: SweepSpec, points: Sequence[PlannedPoint], drawn: set[str]) -> None:
    """Raises SweepError where points are to have equal time, and some have none, or another.

    Args:
        sweep: Definition of the sweep, whose budget is time.
        points: Points of the sweep.
        drawn: Axes that a search draws.
    """
    if sweep.budget != Budget.seconds:
        return
    if drawn & {"train.seconds", "train", "recipe"}:
        raise SweepError("budget=seconds needs one train.seconds at every point, got an axis that draws it.")
    times = {task().length(planned.spec).seconds for planned in points}
    if None in times or len(times) > 1:
        told = ", ".join(sorted(map(str, times)))
        raise SweepError(f"budget=seconds needs one train.seconds at every point, got {told}; set it in base.")
