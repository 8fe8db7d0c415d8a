"""What a sweep must know of what it runs.

The engine (design, config, sweep, report, tracking, stats) knows no model family: whatever it has to know of one run it
asks the task, by these names. ``ablate.tasks.classify`` is the task that trains Compact Transformers.
"""

import importlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol


class Stopped(KeyboardInterrupt):
    """SIGTERM ended a run between two steps, and its state is kept; the message says where."""


@dataclass(frozen=True)
class Epoch:
    """One epoch of a run.

    Attributes:
        number: Number of the epoch, from 1.
        metrics: What was measured, under its recorded names.
        line: The epoch's metrics for people, in one line.
        note: The epoch's metrics in a few words, for a screen that shows several runs.
    """

    number: int
    metrics: Mapping[str, float]
    line: str
    note: str


class Observer:
    """Who is told what a run does while it goes on: its record, its screen, the pruner, and who asks it to stop.

    Each call may raise, which ends the run: a lost lease, a pruner's verdict, an interrupt. This one does nothing;
    whoever wants to hear of something overrides that.
    """

    def started(self, tags: Mapping[str, str], metrics: Mapping[str, float]) -> None:
        """Before the first step: what is known of the run (identity, data digest), and what it costs."""

    def resumed(self, epochs: int) -> None:
        """An earlier attempt had finished so many epochs, of which ``epoch`` hears again."""

    def batch(self, step: int, steps: int) -> None:
        """One step of its epoch is done; both count from 1."""

    def epoch(self, epoch: Epoch) -> None:
        """An epoch is done."""


class Record(Protocol):
    """What is kept of one run; open until the sweep closes it (``ablate.tracking.RunWriter``)."""

    def tag(self, tags: Mapping[str, str]) -> None:
        """Sets tags; those that are there already are replaced."""

    def log(self, metrics: Mapping[str, float], *, step: int = 0) -> None:
        """Records metrics in one call."""

    def artifact(self, name: str, content: str | bytes) -> None:
        """Stores a file under this name: text, kept as UTF-8, or bytes."""

    def local_artifact(self, name: str) -> AbstractContextManager[Path]:
        """Stores the file that the block writes to the path that it gets."""
        ...


class Result(Protocol):
    """What a run that ended by itself leaves behind."""

    @property
    def diverged(self) -> str:
        """Why it diverged, which is an outcome too; empty where it finished."""
        ...

    @property
    def line(self) -> str:
        """How it ended, in one line for people."""
        ...

    @property
    def metrics(self) -> Mapping[str, float]:
        """What a search may select by, under its recorded names; of a run that finished."""
        ...

    def write(self, record: Record, *, model: bool) -> None:
        """Writes what was found into the record.

        Args:
            record: The run's record, which is closed afterwards.
            model: Whether the trained model is kept as well.
        """

    def release(self) -> None:
        """Removes what was kept on disk for a run to go on from, now that its record is complete."""


class Runner(Protocol):
    """What runs, one run after the other, in one process; data and compiled models serve the next run as well."""

    def identities(self, run: Any) -> Sequence[str]:
        """Digest of all that can change the run's result, then what earlier versions called it; reads its data."""
        ...

    def run(self, run: Any, observer: Observer) -> Result:
        """Runs; an interrupted run of the same identity goes on from where it was kept.

        Raises:
            Stopped: SIGTERM came, and the state is kept.
            ValueError: The run cannot be what it is said to be.
        """
        ...


@dataclass(frozen=True)
class Length:
    """How long a run is to last.

    Attributes:
        epochs: Passes over the run's examples, from 1, where ``seconds`` is None.
        seconds: Seconds of training, above 0, after which the run ends; None where epochs count.
    """

    epochs: int
    seconds: float | None


class Preview(Protocol):
    """What can be told of runs before their data is read; what was looked up for one is remembered for the others."""

    def check(self, run: Any) -> None:
        """Raises a ValueError, of one sentence, where the run is bound to fail."""

    def cost(self, run: Any) -> Mapping[str, int] | None:
        """What one example costs, by name (``macs`` among them); None where only the data tells.

        Raises:
            ValueError: The run cannot be built.
        """
        ...


class Run(Protocol):
    """One run as its task describes it: a dataclass, whose leaves are all that can change the result."""

    def leaves(self) -> dict[str, Any]:
        """Every leaf under its dotted name."""
        ...

    def defaults(self) -> dict[str, Any]:
        """Every leaf of a run in which nothing is set; of one that follows from others, what follows here."""
        ...

    def code(self, backend: str) -> Any:
        """Where the code that computes it begins (``identity.Code``), on a backend of Keras."""
        ...


class Task(Protocol):
    """One kind of run that can be swept.

    Attributes:
        name: The task's name.
        config: Dataclass of all that the command line can say: the fields of ``run``, then those of
            ``config.schema.EngineConfig``, of which it is a subclass.
        run: Dataclass of one run, a ``Run``. Its leaves are the axes of a sweep.
        groups: Config groups that a run is composed of, each a folder below conf/.
        tables: Names of published tables that a sweep's file may name.
        judged_by: Recorded names of the metrics that a finished run is judged by: the first of them that it has.
    """

    name: str
    config: type
    run: type
    groups: tuple[str, ...]
    tables: tuple[str, ...]
    judged_by: tuple[str, ...]

    def presets(self, group: str) -> Sequence[str]:
        """Options of a group that stand in no file and are listed; there may be more, of the forms in ``forms``."""
        ...

    def forms(self, group: str) -> Sequence[str]:
        """Forms of further options of a group, such as ``cct_L_PxC``; empty where ``presets`` lists them all."""
        ...

    def preset(self, group: str, option: str) -> Any | None:
        """What such an option stands for, as the group's dataclass; None where it is no preset's name."""
        ...

    def leaving(self, group: str, option: str, given: Mapping[str, Any]) -> Sequence[str]:
        """Leaves that a preset brings for a variant, and that must go since an override replaces this variant.

        Args:
            group: A config group.
            option: A preset of the group.
            given: Value of each override under its key.
        """
        ...

    def bringing(self, said: Mapping[str, Any]) -> Sequence[str]:
        """Axes, beside the config groups, whose level brings other settings with it or takes some away.

        Args:
            said: Value of each override, and level of each axis, under its key; an axis without a level is None.
        """
        ...

    def preview(self) -> Preview:
        """Looks at the runs of one plan; imports nothing that computes."""
        ...

    def length(self, run: Any) -> Length:
        """How long the run is to last."""
        ...

    def with_epochs(self, run: Any, epochs: int) -> Any:
        """The run with so many epochs."""
        ...

    def changes_examples(self, axis: str) -> bool:
        """Whether a leaf or group may change how many examples a run trains on, or for how many epochs."""
        ...

    def validates(self, run: Any) -> bool:
        """Whether the run holds out examples to be judged by."""
        ...

    def start(self) -> None:
        """Imports what computes, in a process that is about to run something."""
        ...

    def runner(self) -> Runner:
        """Runs in this process, after ``start``."""
        ...

    def takes_one_gpu(self, run: Any) -> bool:
        """Whether a worker of such runs may be given a single GPU of its machine."""
        ...

    def with_threads(self, run: Any, threads: int | None) -> Any:
        """The run on so many threads, where it leaves their number open."""
        ...

    def may_help(self, error: Exception) -> bool:
        """Whether another try of a run that ended by this error may go better."""
        ...

    def inputs(self, run: Any) -> str:
        """Digest of the data that the run reads."""
        ...

    def graph(self, run: Any) -> str:
        """A key that is the same for runs that share what a process has compiled; after ``start``."""
        ...

    def register_best(self, plan: Any, store: Any) -> str:
        """Registers the best model of a sweep that is through.

        Args:
            plan: The ``ablate.sweep.plan.Plan``.
            store: The ``ablate.tracking.Store`` of its records.

        Returns:
            For people: which model that is and under which name, or why there is none.
        """
        ...


_TASK = "ablate.tasks.classify.task:TASK"


@cache
def task() -> Task:
    """The task that this installation sweeps; imported when it is first asked for."""
    module, _, name = _TASK.partition(":")
    found: Task = getattr(importlib.import_module(module), name)
    return found
