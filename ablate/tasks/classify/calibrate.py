"""A few training steps of each distinct graph: what a sweep will take in time and memory on this machine."""

import contextlib
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median

import psutil

from ablate.contract import Observer
from ablate.sweep.planned import PlannedPoint
from ablate.tasks.classify.run import Workbench, graph_key, run
from ablate.tasks.classify.spec import RunSpec
from ablate.training.spec import TrainSpec

STEPS = 8
"""Steps that are measured of each graph; the first, which traces it, is told apart."""


@dataclass(frozen=True)
class Measured:
    """One graph.

    Attributes:
        label: Label of the first point that has the graph.
        points: Number of points that share the graph.
        start_seconds: Seconds until the first step was done: building, tracing, reading data.
        step_seconds: Median seconds of the steps after the first.
        run_seconds: Seconds of all points that share the graph: epochs and validation, and the start once.
        peak_mib: Most memory that this process was seen to hold meanwhile.
    """

    label: str
    points: int
    start_seconds: float
    step_seconds: float
    run_seconds: float
    peak_mib: float


class _Enough(Exception):
    """Steps were measured; the training need not go on."""


class _Stopwatch(Observer):
    """Measures a run's first steps, then ends it.

    Attributes:
        times: Moments by ``time.perf_counter``: when the stopwatch was made, then the end of each step.
        peak: Most memory that this process was seen to hold, in bytes.
        steps: Number of steps of an epoch.
    """

    def __init__(self) -> None:
        self._process = psutil.Process()
        self.times, self.peak, self.steps = [time.perf_counter()], 0, 1

    def batch(self, step: int, steps: int) -> None:
        self.times.append(time.perf_counter())
        self.peak = max(self.peak, self._process.memory_info().rss)
        self.steps = steps
        if step >= min(STEPS, steps):
            raise _Enough


def calibrate(planned: Sequence[PlannedPoint]) -> Iterator[Measured]:
    """Measures each distinct graph, one after the other.

    Args:
        planned: The points of a sweep; of a search, as planned.
    """
    groups: dict[str, list[PlannedPoint]] = {}
    for each in planned:
        key = graph_key(each.spec) + json.dumps([each.spec.train.batch_size, asdict(each.spec.augment)], default=str)
        groups.setdefault(key, []).append(each)
    workbench = Workbench()
    for group in groups.values():
        yield _measured(group, workbench)


def _measured(group: Sequence[PlannedPoint], workbench: Workbench) -> Measured:
    spec, watch = group[0].spec, _Stopwatch()
    with contextlib.suppress(_Enough):
        run(spec, workbench, watch)
    start = watch.times[1] - watch.times[0]
    steps = [b - a for a, b in itertools.pairwise(watch.times[1:])]
    step = median(steps) if steps else start
    once = sum(_training(each.spec.train, watch.steps * step) for each in group)
    seconds = start + once * (1 + _validation(spec, workbench))
    return Measured(group[0].point.label, len(group), start, step, seconds, watch.peak / 2**20)


def _training(train: TrainSpec, epoch_seconds: float) -> float:
    """Seconds of a run's steps."""
    return epoch_seconds * train.total_epochs if train.total_epochs is not None else float(train.seconds or 0)


def _validation(spec: RunSpec, workbench: Workbench) -> float:
    """An epoch's validation as a part of its training: a forward pass is about a third of a step's work."""
    splits = workbench.splits(spec.data)
    return len(splits.val) / max(1, len(splits.train)) / 3
