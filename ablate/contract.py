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


class Task(Protocol):
    """One kind of run that can be swept.

    Attributes:
        name: The task's name.
        config: Dataclass of all that the command line can say of one run and of the engine; its leaves are the axes.
        run: Dataclass of one run, without the engine's settings.
        groups: Config groups that a run is composed of, each a folder below conf/.
        tables: Names of published tables that a sweep's file may name.
    """

    name: str
    config: type
    run: type
    groups: tuple[str, ...]
    tables: tuple[str, ...]

    def presets(self, group: str) -> Sequence[str]:
        """Options of a group that are computed and stand in no file."""
        ...

    def preset(self, group: str, option: str) -> Any | None:
        """The dataclass that such an option stands for; None where there is none of that name."""
        ...

    def hint(self, group: str) -> str:
        """What is said of a group beside a list of its options, e.g. that any L/PxC works; empty for nothing."""
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
