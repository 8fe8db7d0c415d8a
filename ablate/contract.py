"""What a sweep must know of what it runs.

The engine (design, config, sweep, report, tracking, stats) knows no model family: whatever it has to know of one run it
asks the task, by these names. ``ablate.tasks.classify`` is the task that trains Compact Transformers.
"""

import importlib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Protocol


class Stopped(KeyboardInterrupt):
    """SIGTERM ended a run between two steps, and its state is kept; the message says where."""


class Observer(Protocol):
    """Who is told what a run does while it goes on: its record, its screen, the pruner, and who asks it to stop.

    Each call may raise, which ends the run: a lost lease, a pruner's verdict, an interrupt.
    """

    def started(self, tags: Mapping[str, str], metrics: Mapping[str, float]) -> None:
        """Before the first step: what is known of the run (identity, data digest), and what it costs."""

    def resumed(self, epochs: int) -> None:
        """An earlier attempt had finished so many epochs, of which ``epoch`` hears again."""

    def batch(self, step: int, steps: int) -> None:
        """One step of its epoch is done; both count from 1."""

    def epoch(self, number: int, metrics: Mapping[str, float], line: str) -> None:
        """An epoch, from 1, is done: its metrics under their recorded names, and the same for people in one line."""


class Run(Protocol):
    """One run as its task describes it: a dataclass, whose leaves are all that can change the result."""

    def leaves(self) -> dict[str, Any]:
        """Every leaf under its dotted name."""
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
    """

    name: str
    config: type
    run: type
    groups: tuple[str, ...]
    tables: tuple[str, ...]

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

    def start(self) -> None:
        """Imports what computes, in a process that is about to run something."""
        ...

    def modules(self, run: Any) -> Sequence[str]:
        """Modules whose source can change the result of this run."""
        ...

    def inputs(self, run: Any) -> str:
        """Digest of the data that the run reads."""
        ...

    def graph(self, run: Any) -> str:
        """The same for runs that share what a process has compiled."""
        ...


_TASK = "ablate.tasks.classify.task:TASK"


@cache
def task() -> Task:
    """The task that this installation sweeps; imported when it is first asked for."""
    module, _, name = _TASK.partition(":")
    found: Task = getattr(importlib.import_module(module), name)
    return found
