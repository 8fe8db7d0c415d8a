"""The queue of a sweep, kept by Optuna: the only importer of optuna.

Points are enqueued once, in order. A worker chooses among those that wait, under a lock (on SQLite two may pop the same
trial), and never asks an empty queue, where Optuna would invent a trial. A trial whose worker died is failed, and its
point queued again.
"""

import hashlib
import os
import socket
import tempfile
import warnings
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import optuna
import psutil
import sqlalchemy
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, Trial, TrialState

from ablate.sweep.space import Point, SweepError
from ablate.tracking import redact

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


@dataclass(frozen=True)
class Claim:
    """A point that this worker has taken from the queue."""

    key: str
    trial: Trial

    @property
    def retry(self) -> bool:
        """Whether an earlier attempt was made, which may have been cut off after its record was complete."""
        return bool(self.trial.user_attrs.get("retry"))


Order = Callable[[list[str], Collection[str]], list[str]]


@dataclass(frozen=True)
class Progress:
    """How far a study is, in points."""

    done: int
    failed: int
    diverged: int
    left: int


class Study:
    """A sweep's points and their states, in Optuna's storage."""

    def __init__(self, storage: str, name: str, points: Iterable[Point]) -> None:
        """Opens or creates the study.

        Raises:
            SweepError: The storage cannot be opened; the message leaves passwords out.
        """
        self.name = name
        self._points = {point.key: point for point in points}
        self._distributions = _distributions(self._points.values())
        self._lock = filelock.FileLock(_lock_path(storage))
        try:
            with self._lock:
                self._storage = optuna.storages.RDBStorage(storage)
                self._study = optuna.create_study(
                    storage=self._storage,
                    sampler=optuna.samplers.RandomSampler(),  # all is enqueued: nothing is sampled
                    study_name=name,
                    direction="maximize",
                    load_if_exists=True,
                )
                self._study_id = self._storage.get_study_id_from_name(name)
        except (sqlalchemy.exc.SQLAlchemyError, RuntimeError, ValueError, OSError, ImportError) as error:
            reason = redact(str(error).splitlines()[0])
            raise SweepError(
                f"study.storage must be a database that Optuna can open, got {redact(storage)}: {reason}."
            ) from None

    def fill(self) -> list[str]:
        """Queues every point that is neither finished, waiting, nor in a live worker's hands.

        Returns:
            Keys of the points that a dead worker had left, now queued again.
        """
        with self._lock:
            taken, orphans, tried = set(), [], set()
            for trial in self._trials():
                tried.add(trial.user_attrs["point"])
                if trial.state == TrialState.RUNNING and not _alive(trial.user_attrs.get("worker")):
                    self._study.tell(trial.number, state=TrialState.FAIL)
                    orphans.append(trial.user_attrs["point"])
                elif trial.state != TrialState.FAIL or trial.user_attrs.get("outcome") == "diverged":
                    taken.add(trial.user_attrs["point"])
            for key, point in self._points.items():
                if key not in taken:
                    self._study.enqueue_trial(_params(point), user_attrs={"point": key, "retry": key in tried})
        return orphans

    def claim(self, order: Order = lambda waiting, taken: waiting) -> Claim | None:
        """Takes a waiting point; None when the queue is empty.

        Args:
            order: In which to try the keys of waiting points, given also those that are in hands or done.
        """
        with self._lock:
            trials = self._trials()
            taken = {trial.user_attrs["point"] for trial in trials if trial.state != TrialState.WAITING}
            waiting = {t.user_attrs["point"]: t.number for t in trials if t.state == TrialState.WAITING}
            for key in order(list(waiting), taken):
                if trial := self._start(waiting[key]):
                    return Claim(key, trial)
        return None

    def _start(self, number: int) -> Trial | None:
        """Moves a trial from waiting to running, unless another worker just did: the storage lets only one."""
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
        try:
            if not self._storage.set_trial_state_values(trial_id, TrialState.RUNNING):
                return None
        except optuna.exceptions.UpdateFinishedTrialError:
            return None
        trial = Trial(self._study, trial_id)
        trial.set_user_attr("worker", _worker())
        for axis, distribution in self._distributions.items():
            trial.suggest_categorical(axis, distribution.choices)
        return trial

    def complete(self, claim: Claim, value: float, run_id: str) -> None:
        """Marks the point finished, with the metric that selects and the run that holds its record."""
        _note(claim, run=run_id)
        self._study.tell(claim.trial, value)

    def diverge(self, claim: Claim, reason: str, run_id: str) -> None:
        """Marks the point finished without a value: divergence is an outcome, and is not tried again."""
        _note(claim, outcome="diverged", reason=reason, run=run_id)
        self._study.tell(claim.trial, state=TrialState.FAIL)

    def fail(self, claim: Claim, reason: str) -> None:
        """Marks the attempt failed; the next ``fill`` queues the point again."""
        _note(claim, outcome="failed", reason=reason)
        self._study.tell(claim.trial, state=TrialState.FAIL)

    def progress(self) -> Progress:
        """Counts points, each once, by its best attempt."""
        done, diverged, failed, open_ = set(), set(), set(), set()
        for trial in self._trials():
            key = trial.user_attrs["point"]
            if trial.state == TrialState.COMPLETE:
                done.add(key)
            elif trial.state in (TrialState.WAITING, TrialState.RUNNING):
                open_.add(key)
            elif trial.user_attrs.get("outcome") == "diverged":
                diverged.add(key)
            else:
                failed.add(key)
        failed -= done | diverged | open_
        return Progress(len(done), len(failed), len(diverged), len(self._points) - len(done | diverged | failed))

    def _trials(self) -> list[FrozenTrial]:
        trials = self._study.get_trials(deepcopy=False)
        return [trial for trial in trials if trial.user_attrs.get("point") in self._points]


def _note(claim: Claim, **notes: str) -> None:
    for name, text in notes.items():
        claim.trial.set_user_attr(name, text[:2000])


def _distributions(points: Iterable[Point]) -> dict[str, CategoricalDistribution]:
    values: dict[str, list[Any]] = {}
    for point in points:
        for axis, level in _params(point).items():
            if level not in values.setdefault(axis, []):
                values[axis].append(level)
    return {axis: CategoricalDistribution(levels) for axis, levels in values.items()}


def _params(point: Point) -> dict[str, Any]:
    """Levels as Optuna can keep them: what is no scalar becomes text."""
    levels = {**point.levels, "seed": point.seed}
    return {
        axis: level if isinstance(level, str | int | float | bool | None) else str(level)
        for axis, level in levels.items()
    }


def _lock_path(storage: str) -> Path:
    """Beside a SQLite file; for a server, one file a storage among this machine's processes."""
    url = sqlalchemy.engine.make_url(storage)
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        return Path(f"{url.database}.lock")
    server = f"{url.host}:{url.port}/{url.database}"
    return Path(tempfile.gettempdir()) / f"ablate-{hashlib.sha256(server.encode()).hexdigest()[:16]}.lock"


def _worker() -> str:
    process = psutil.Process()
    return f"{socket.gethostname()}:{os.getpid()}:{process.create_time():.2f}"


def _alive(worker: str | None) -> bool:
    """Whether a worker's process lives; one elsewhere is believed to. A claim unsigned was cut off at birth."""
    if worker is None:
        return False
    host, pid, created = worker.rsplit(":", 2)
    if host != socket.gethostname():
        return True
    try:
        return bool(abs(psutil.Process(int(pid)).create_time() - float(created)) < 1.0)
    except psutil.Error:
        return False
