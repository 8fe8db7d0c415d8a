"""Where a run stands, kept on disk so that the same command goes on from there after a crash, a kill or a SIGTERM."""

import json
import os
import shutil
import signal
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablate.training.history import EpochMetrics
from ablate.training.spec import TrainError

Values = list[NDArray[Any]]


@dataclass(frozen=True)
class State:
    """A run between two steps: all that the next one depends on, but for what follows from the seeds.

    The order of the images and what is drawn for them are functions of seed, epoch and place, so the numbers of epochs
    and steps say where the data stands.

    Attributes:
        epochs: That have ended.
        steps: Of the epoch under way: images, mean loss, images that were right.
        seconds: Of all attempts so far.
        epoch_seconds: Of the epoch under way.
        model: Every variable, generators of dropout included.
        optimizer: Every variable: moments, count of updates.
        average: Moving average of the weights; empty without one.
        best: Weights of the best epoch so far; empty where none is chosen.
    """

    epochs: list[EpochMetrics]
    steps: list[tuple[int, float, float]]
    seconds: float
    epoch_seconds: float
    model: Values
    optimizer: Values
    average: Values
    best: Values


_ARRAYS = ("model", "optimizer", "average", "best")


class Checkpoint:
    """The state of one run, in a folder of its own.

    Args:
        folder: Is made with the first state.
        every: Epochs from one state to the next.

    Example:
        >>> kept = Checkpoint(Path("checkpoints/mine"), every=5)
        >>> history = trainer.fit(splits, spec, seeds, checkpoint=kept)
        >>> kept.remove()
    """

    def __init__(self, folder: Path, every: int) -> None:
        self.every = every
        self._folder = folder

    @property
    def path(self) -> Path:
        """The file that holds the state."""
        return self._folder / "state.npz"

    def load(self) -> State | None:
        """The last state that was kept; None where there is none.

        Raises:
            TrainError: The file is damaged.
        """
        if not self.path.is_file():
            return None
        try:
            with np.load(self.path, allow_pickle=False) as stored:
                told = json.loads(stored["told"].tobytes())
                arrays = {name: [stored[f"{name}/{n}"] for n in range(told["arrays"][name])] for name in _ARRAYS}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise TrainError(
                f"{self.path} must hold a run's state, but cannot be read ({type(error).__name__}: {error}); remove it "
                "to train from the start."
            ) from error
        epochs = [EpochMetrics(**epoch) for epoch in told["epochs"]]
        steps = [(int(images), loss, right) for images, loss, right in told["steps"]]
        return State(epochs, steps, told["seconds"], told["epoch_seconds"], **arrays)

    def save(self, state: State) -> None:
        """Keeps a state. Until it is whole on the disk the one before stays.

        Raises:
            TrainError: It cannot be written; the one before is left as it was.
        """
        part = self.path.with_name(f"state.{os.getpid()}.part")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with open(part, "wb") as file:
                np.savez(file, **_named(state))
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, self.path)
            _sync(self._folder)
        except OSError as error:
            with suppress(OSError):
                part.unlink()
            left = (
                f"the state before it, in {self.path}, is whole" if self.path.is_file() else "there is none before it"
            )
            raise TrainError(
                f"train.checkpoint_dir must take a state of the run after epoch {len(state.epochs)}, but: "
                f"{error.strerror or error}; {left}; make room and give the same command, which goes on from the last."
            ) from error

    def remove(self) -> None:
        """Forgets the run, whose record is complete."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _named(state: State) -> dict[str, Any]:
    arrays: dict[str, Values] = {name: getattr(state, name) for name in _ARRAYS}
    told = {
        "epochs": [asdict(epoch) for epoch in state.epochs],
        "steps": state.steps,
        "seconds": state.seconds,
        "epoch_seconds": state.epoch_seconds,
        "arrays": {name: len(values) for name, values in arrays.items()},
    }
    named = {f"{name}/{n}": value for name, values in arrays.items() for n, value in enumerate(values)}
    return {"told": np.frombuffer(json.dumps(told).encode(), np.uint8), **named}


def _sync(folder: Path) -> None:
    """Makes a rename last through a power cut, where a folder can be opened to say so."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class Termination:
    """Whether SIGTERM came."""

    asked = False


@contextmanager
def termination() -> Iterator[Termination]:
    """Takes note of a SIGTERM instead of dying of it; a second one ends the process at once.

    Only the main thread may ask for signals: elsewhere nothing is noted, and SIGTERM does what it did.
    """
    noted = Termination()
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return
    before = signal.getsignal(signal.SIGTERM)

    def note(number: int, frame: Any) -> None:
        noted.asked = True
        signal.signal(signal.SIGTERM, before)

    signal.signal(signal.SIGTERM, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGTERM, before)
