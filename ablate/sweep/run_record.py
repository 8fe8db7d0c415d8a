"""The record of one run, whatever its task: what is told of it while it goes on, and how it ended."""

import logging
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

from ablate.contract import Epoch, Observer, Result, Runner
from ablate.sweep.interrupts import check, training
from ablate.tracking import RunStatus, RunWriter, TrackingError
from ablate.tracking.names import DIVERGED, FAILED, FINISHED, KILLED, PRUNED, RESUMED, SUPERSEDED, TRACEBACK_FILE

logger = logging.getLogger(__name__)


class CutShort(Exception):
    """A run that its sweep ends before it is done; the message says why, ``status`` what its record says."""

    status: ClassVar[RunStatus]


class Pruned(CutShort):
    """A trial was stopped early; the message says where."""

    status = PRUNED


class Superseded(CutShort):
    """A point that another worker has taken over; what this one finds counts nowhere."""

    status = SUPERSEDED

    def __init__(self) -> None:
        super().__init__("superseded: this worker fell silent for too long, and another has taken the point over")


class Recording(Observer):
    """Writes what a run tells into its record, before another observer hears of it.

    Args:
        writer: Writer of the run's record.
        beside: Another observer, which hears the same after it was written.
    """

    def __init__(self, writer: RunWriter, beside: Observer) -> None:
        self._writer, self._beside = writer, beside

    def started(self, tags: Mapping[str, str], metrics: Mapping[str, float]) -> None:
        self._writer.tag(tags)
        self._writer.log(metrics)
        self._beside.started(tags, metrics)

    def resumed(self, epochs: int) -> None:
        self._writer.tag({RESUMED: str(epochs)})
        self._beside.resumed(epochs)

    def batch(self, step: int, steps: int) -> None:
        check()
        self._beside.batch(step, steps)

    def epoch(self, epoch: Epoch) -> None:
        self._writer.log(epoch.metrics, step=epoch.number)
        self._beside.epoch(epoch)


def recorded(
    run: Any,
    runner: Runner,
    writer: RunWriter,
    observer: Observer,
    *,
    model: bool,
    still_ours: Callable[[], None] = lambda: None,
) -> Result:
    """Runs, and writes the run's record, however it ends.

    Args:
        run: What the task runs.
        runner: The task's runner in this process.
        writer: Writer of the run's record, which is closed in the end.
        observer: Hears of the run meanwhile.
        model: Whether the trained model is kept as well.
        still_ours: Raises ``Superseded`` where others have taken the point over; asked before the outcome is written.

    Raises:
        Exception: What the run raised, after it was recorded.
    """
    with _closed(writer):
        with training():
            result = runner.run(run, Recording(writer, observer))
        still_ours()
        try:
            result.write(writer, model=model)
            writer.finish(DIVERGED if result.diverged else FINISHED, reason=result.diverged or None)
        except TrackingError as error:
            raise TrackingError(f"the training ended ({result.line}), but {error}") from None
        result.release()
    return result


@contextmanager
def _closed(writer: RunWriter) -> Iterator[None]:
    """A block whose run's record says how it ended, whatever ended it."""
    try:
        yield
    except CutShort as stop:
        _close(writer, stop.status, str(stop))
        raise
    except KeyboardInterrupt as stop:
        _close(writer, KILLED, str(stop) or "interrupted")
        raise
    except Exception as error:
        # A worker's process has no log, so that Python prints warnings and errors to the terminal.
        if _in_our_words(error):
            logger.info("run %s failed: %s", writer.run_id, error)
        else:
            logger.exception("run %s failed", writer.run_id)
        _close(writer, FAILED, f"{type(error).__name__}: {error}", traceback.format_exc())
        raise


def _in_our_words(error: Exception) -> bool:
    """Whether its sentence, which stands on the point's line, says all; libraries raise ValueError for what is not."""
    return isinstance(error, ValueError) and type(error).__module__.startswith("ablate.")


def _close(writer: RunWriter, status: RunStatus, reason: str, trace: str = "") -> None:
    """Ends the record of a run that did not finish; where even that cannot be written, why it ended is still told."""
    try:
        if trace:
            writer.artifact(TRACEBACK_FILE, trace)
        writer.finish(status, reason=reason)
    except TrackingError as error:
        logger.warning("%s", error)
