"""What a person sees while runs go: live on a terminal, plain lines elsewhere."""

import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ablate.contract import Epoch, Observer
from ablate.escaping import terminal, visible


class Screen(Protocol):
    """What is told while a worker works."""

    def start(self, label: str) -> None: ...

    def epoch(self, text: str) -> None: ...

    def say(self, line: str) -> None: ...

    def end(self, outcome: str, *, failed: bool) -> None: ...


class RunScreen(Observer):
    """A single run: one line an epoch, and on a terminal the batch within it."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._shown = 0.0

    def batch(self, step: int, steps: int) -> None:
        now = time.monotonic()
        if self._console.is_terminal and now - self._shown > 0.2:
            self._shown = now
            self._console.print(f"  batch {step}/{steps}", end="\r", soft_wrap=True)

    def resumed(self, epochs: int) -> None:
        self._console.print(f"goes on from its last checkpoint, after epoch {epochs}", soft_wrap=True)

    def epoch(self, epoch: Epoch) -> None:
        self._console.print(epoch.line, soft_wrap=True)


class SweepScreen:
    """A sweep: a row a worker, one bar over all points with failed and time left; a line for each point that ends.

    Where the output is no terminal, there are the lines alone.
    """

    def __init__(self, total: int, done: int, workers: int = 1, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[failed]} failed"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._total, self._done, self._failed = total, done, 0
        self._task = self._progress.add_task("points", total=total, completed=done, failed=0)
        self._workers = [WorkerScreen(self) for _ in range(workers)]
        self._live = Live(console=self._console, get_renderable=self._render, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def of(self, number: int) -> "WorkerScreen":
        """The part of the screen that one worker writes."""
        return self._workers[number]

    def say(self, line: str) -> None:
        """A line of its own, above the rows."""
        self._console.print(terminal(line), soft_wrap=True, markup=False, emoji=False)

    def ended(self, label: str, outcome: str, *, failed: bool) -> None:
        self._done = min(self._done + 1, self._total)  # an attempt that is repeated ends as well
        self._failed += failed
        self.say(f"[{self._done}/{self._total}] {visible(label)}: {outcome}")
        self._progress.update(self._task, completed=self._done, failed=self._failed)

    def _render(self) -> Group:
        rows = Table.grid(padding=(0, 2))
        for number, worker in enumerate(self._workers):
            rows.add_row(f"worker {number}", Text(visible(worker.label) or "waits"), Text(visible(worker.note)))
        return Group(rows, self._progress)


class WorkerScreen:
    """What one worker is at: a point, and its last epoch with what it measured."""

    def __init__(self, screen: SweepScreen) -> None:
        self._screen = screen
        self.label = self.note = ""

    def start(self, label: str) -> None:
        """A point begins."""
        self.label, self.note = label, ""

    def epoch(self, text: str) -> None:
        """The point's epoch ends."""
        self.note = text

    def say(self, line: str) -> None:
        """A line that ends no point."""
        self._screen.say(line)

    def end(self, outcome: str, *, failed: bool) -> None:
        """The point ends, well or not."""
        label, self.label, self.note = self.label, "", ""
        self._screen.ended(label, outcome, failed=failed)
