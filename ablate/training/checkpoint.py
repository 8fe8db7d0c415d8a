"""Where a run stands, kept on disk so that the same command goes on from there after a crash, a kill or a SIGTERM."""

import hashlib
import itertools
import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from io import BufferedRandom
from pathlib import Path
from typing import Any, BinaryIO

import filelock
import numpy as np
from numpy.typing import NDArray

from ablate.locks import NoLocks, lock
from ablate.training.history import EpochMetrics
from ablate.training.spec import TrainError

Values = list[NDArray[Any]]


@dataclass(frozen=True)
class State:
    """A run between two steps: all that the next one depends on, but for what follows from the seeds.

    The order of the images and what is drawn for them are functions of seed, epoch and place, so the numbers of epochs
    and steps say where the data stands.

    Attributes:
        epochs: Metrics of the epochs that have ended, in order.
        steps: For each step of the epoch under way: its images, their mean loss, how many of them were right.
        seconds: Wall time of all attempts so far.
        epoch_seconds: Wall time of the epoch under way, in all attempts.
        spent: Seconds of training steps, as ``train.seconds`` counts them.
        model: Values of the model's variables, generators of dropout included.
        optimizer: Values of the optimizer's variables: moments, count of updates.
        average: Moving average of the weights; empty without one.
        best: Weights of the best epoch so far; empty where none is chosen.
        weights: Paths of the model's weights.
    """

    epochs: list[EpochMetrics]
    steps: list[tuple[int, float, float]]
    seconds: float
    epoch_seconds: float
    spent: float
    model: Values
    optimizer: Values
    average: Values
    best: Values
    weights: tuple[str, ...] = ()


_ARRAYS = ("model", "optimizer", "average", "best")
_SEAL = b"\nablate's state of a run; sha256 of all above: "
_SEALED = len(_SEAL) + 2 * hashlib.sha256().digest_size


class Checkpoint:
    """The state of one run, in a folder of its own.

    Where several processes train the very same run at once, each has a place of its own in the folder, with a lock that
    the system drops when its holder dies: ``state.npz``, ``state.1.npz``, … The next attempt takes the first that is
    free, and goes on from what lies there. On a file system without locks no state is kept, since two processes would
    spoil each other's: that is said once, and the training goes on.

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
        self._place = 0
        self._lock: filelock.BaseFileLock | None = None
        self._without = False

    @property
    def path(self) -> Path:
        """The file that holds the state."""
        return self._folder / (f"state.{self._place}.npz" if self._place else "state.npz")

    def _claim(self) -> None:
        """Takes the first place that nobody holds, and clears away what a kill there left half written."""
        if self._lock is not None:
            return
        for self._place in itertools.count():
            with suppress(filelock.Timeout):
                self._lock = _lock(self._folder / f"{self._place}.lock")
                self._part.unlink(missing_ok=True)
                return

    @property
    def _part(self) -> Path:
        return self.path.with_suffix(".part")

    def release(self) -> None:
        """Leaves the place, and what lies there, to the next attempt."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def load(self) -> State | None:
        """The last state that was kept where no other process is at it; None where there is none.

        Raises:
            TrainError: The file is damaged, of which nothing is taken then; or its folder cannot be written to.
        """
        if not self._folder.is_dir():
            return None
        try:
            self._claim()
        except NoLocks as error:
            self._go_without(error)
        except OSError as error:
            raise TrainError(
                f"train.checkpoint_dir must be a folder that can be written to, but in {self._folder}: "
                f"{error.strerror}; name another."
            ) from error
        if not self.path.is_file():
            return None
        try:
            with open(self.path, "rb") as file:
                _require_sealed(file)
                return _parsed(file)
        except Exception as error:  # what another version sealed can be anything
            raise TrainError(
                f"{self.path} must hold a run's state, but cannot be read ({type(error).__name__}: {error}); remove it "
                "to train from the start."
            ) from error

    def require_fit(self, state: State, arrays: Mapping[str, Sequence[Any]], weights: Sequence[str]) -> None:
        """Raises TrainError where a state is of another model or optimizer; nothing is set by then.

        Args:
            state: From ``load``.
            arrays: What its lists of arrays are to be set into, by their names: anything with a shape and a dtype.
            weights: Paths of the model's weights.
        """
        problems = [f"its weights are {', '.join(state.weights[:3])}, …"] if state.weights != tuple(weights) else []
        for name, targets in arrays.items():
            problems += _differences(name, getattr(state, name), targets)[:1]
        if problems:
            raise TrainError(
                f"{self.path} must hold a state of this model in this training, but {'; '.join(problems)}; remove it "
                "to train from the start."
            )

    def _go_without(self, error: NoLocks) -> None:
        if not self._without:
            told = (
                "the run goes on, but no state of it is kept: train.checkpoint_dir must be on a file system with "
                f"locks, and that of {error.filename} offers none; set it to a folder on a local disk."
            )
            print(f"ablate: {told}", file=sys.stderr, flush=True)  # the log file is read when all is lost
        self._without = True

    def save(self, state: State) -> bool:
        """Keeps a state. Until it is whole on the disk the one before stays.

        Returns:
            Whether it is kept: not on a file system without locks.

        Raises:
            TrainError: It cannot be written; the one before is left as it was.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._claim()
            with open(self._part, "w+b") as file:
                np.savez(file, **_named(state))
                _seal(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(self._part, self.path)
            _sync(self._folder)
        except NoLocks as error:
            self._go_without(error)
            return False
        except OSError as error:
            with suppress(OSError):
                self._part.unlink()
            left = (
                f"the state before it, in {self.path}, is whole" if self.path.is_file() else "there is none before it"
            )
            raise TrainError(
                f"train.checkpoint_dir must take a state of the run after epoch {len(state.epochs)}, but: "
                f"{error.strerror or error}; {left}; make room and give the same command, which goes on from the last."
            ) from error
        return True

    def remove(self) -> None:
        """Forgets the run, whose record is complete; a process that trains it still keeps the folder."""
        self.release()
        with suppress(filelock.Timeout, OSError), ExitStack() as held:
            for path in self._folder.glob("*.lock"):
                held.callback(_lock(path).release)
            shutil.rmtree(self._folder, ignore_errors=True)


def _lock(path: Path) -> filelock.BaseFileLock:
    """Taken at once or not at all; any thread may let go of it."""
    return lock(path, timeout=0, any_thread=True)


def _seal(file: BufferedRandom) -> None:
    """Writes the digest of all that the file holds behind it, where NumPy's reader does not mind it.

    The checksums of a zip archive are not enough: of 9,000 files with a flipped bit or an end too early, 58 ended in
    errors of any type, and one gave an array of another shape.
    """
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    file.write(_SEAL + digest.encode())


def _require_sealed(file: BinaryIO) -> None:
    """Raises ValueError where the file is not, to the bit, what was sealed."""
    left = file.seek(0, os.SEEK_END) - _SEALED
    if left < 0:
        raise ValueError("it is too short")
    file.seek(0)
    found = hashlib.sha256()
    while chunk := file.read(min(left, 2**20)):
        found.update(chunk)
        left -= len(chunk)
    seal = file.read(_SEALED)
    if not seal.startswith(_SEAL):
        raise ValueError("it does not end in a digest: it is damaged, or of an older version")
    if seal[len(_SEAL) :] != found.hexdigest().encode():
        raise ValueError("its content has another digest than the one written with it: it is damaged")
    file.seek(0)


def _parsed(file: BinaryIO) -> State:
    with np.load(file, allow_pickle=False) as stored:
        told = json.loads(stored["told"].tobytes())
        values = {name: [stored[f"{name}/{n}"] for n in range(told["arrays"][name])] for name in _ARRAYS}
    epochs = [EpochMetrics(**epoch) for epoch in told["epochs"]]
    steps = [(int(images), loss, right) for images, loss, right in told["steps"]]
    model, optimizer, average, best = (values[name] for name in _ARRAYS)
    seconds, epoch_seconds, spent = told["seconds"], told["epoch_seconds"], told["spent"]
    weights = tuple(told["weights"])
    return State(epochs, steps, seconds, epoch_seconds, spent, model, optimizer, average, best, weights)


def _differences(name: str, stored: Values, targets: Sequence[Any]) -> list[str]:
    if len(stored) != len(targets):
        return [f"it has {len(stored)} arrays of {name}, not {len(targets)}"]
    kinds = [(_kind(value), _kind(target)) for value, target in zip(stored, targets, strict=True)]
    return [f"{name} {number} is {ours}, not {theirs}" for number, (ours, theirs) in enumerate(kinds) if ours != theirs]


def _kind(value: Any) -> str:
    return f"{getattr(value.dtype, 'name', value.dtype)}{tuple(value.shape)}"


def _named(state: State) -> dict[str, Any]:
    arrays: dict[str, Values] = {name: getattr(state, name) for name in _ARRAYS}
    told = {
        "epochs": [asdict(epoch) for epoch in state.epochs],
        "steps": state.steps,
        "seconds": state.seconds,
        "epoch_seconds": state.epoch_seconds,
        "spent": state.spent,
        "arrays": {name: len(values) for name, values in arrays.items()},
        "weights": state.weights,
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
