"""What a person sees while runs go: live on a terminal, plain lines elsewhere."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ablate.training.history import EpochMetrics


def epoch_line(metrics: EpochMetrics, epochs: int) -> str:
    """One epoch in one line, e.g. ``epoch  3/10  loss 1.204  train 71.2 %  val 80.5 %  lr 8.1e-04  2.1 s``."""
    width = len(str(epochs))
    val = "" if metrics.val_top1_percent is None else f"  val {metrics.val_top1_percent:5.1f} %"
    return (
        f"epoch {metrics.epoch:>{width}}/{epochs}  loss {metrics.train_loss:.3f}  "
        f"train {metrics.train_top1_percent:5.1f} %{val}  lr {metrics.lr:.1e}  {metrics.seconds:.1f} s"
    )


class RunScreen:
    """A single run: one line an epoch, and on a terminal the batch within it."""

    def __init__(self, epochs: int, console: Console | None = None) -> None:
        self._epochs = epochs
        self._console = console or Console(highlight=False)
        self._shown = 0.0

    def batch(self, step: int, steps: int) -> None:
        now = time.monotonic()
        if self._console.is_terminal and now - self._shown > 0.2:
            self._shown = now
            self._console.print(f"  batch {step}/{steps}", end="\r", soft_wrap=True)

    def resume(self, epochs: int) -> None:
        """An earlier attempt is gone on with; the epochs that it finished follow."""
        self._console.print(f"goes on from its last checkpoint, after epoch {epochs}", soft_wrap=True)

    def epoch(self, metrics: EpochMetrics) -> None:
        self._console.print(epoch_line(metrics, self._epochs), soft_wrap=True)


def epoch_note(metrics: EpochMetrics, epochs: int) -> str:
    """One epoch in a few words, for a bar that shows several runs."""
    val = "" if metrics.val_top1_percent is None else f" val {metrics.val_top1_percent:.1f} %"
    return f"epoch {metrics.epoch}/{epochs}{val}"


class SweepScreen:
    """A sweep: one bar over all points with done, failed and time left; a line for each point that ends."""

    def __init__(self, total: int, done: int, workers: int = 1, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._total, self._done, self._failed = total, done, 0
        self._task = self._progress.add_task("runs", total=total, completed=done, note="")
        self._workers = [WorkerScreen(self) for _ in range(workers)]

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def of(self, number: int) -> "WorkerScreen":
        """The part of the screen that one worker writes."""
        return self._workers[number]

    def say(self, line: str) -> None:
        """A line of its own, above the bar."""
        self._console.print(line, soft_wrap=True, markup=False)

    def ended(self, label: str, outcome: str, *, failed: bool) -> None:
        self._done += 1
        self._failed += failed
        self.say(f"[{self._done}/{self._total}] {label}: {outcome}")
        self._progress.update(self._task, completed=self._done)

    def refresh(self) -> None:
        failed = f"{self._failed} failed  " if self._failed else ""
        self._progress.update(self._task, note=failed + " | ".join(w.note for w in self._workers if w.note))


class WorkerScreen:
    """What one worker is at."""

    def __init__(self, screen: SweepScreen) -> None:
        self._screen = screen
        self._label = self.note = ""

    def start(self, label: str) -> None:
        """A point begins."""
        self._label = self.note = label
        self._screen.refresh()

    def epoch(self, text: str) -> None:
        """The point's epoch ends."""
        self.note = f"{self._label} {text}"
        self._screen.refresh()

    def end(self, outcome: str, *, failed: bool) -> None:
        """The point ends, well or not."""
        self.note = ""
        self._screen.ended(self._label, outcome, failed=failed)
        self._screen.refresh()
