"""The queue of a sweep, kept by Optuna, which this file and ``sampler`` alone import.

Points are enqueued once, in order. A worker chooses among those that wait, under a lock that spans all workers (on
SQLite two may pop the same trial), and never asks an empty queue, where Optuna would invent a trial. A trial whose
worker died is failed by the next worker that is free, and its point queued again.

How a trial's state and its attribute ``outcome`` say what became of a point:

==========  ================  ==================================================================
state       ``outcome``       meaning
==========  ================  ==================================================================
COMPLETE                      finished
PRUNED                        stopped early by the pruner; an outcome
FAIL        ``diverged``      an outcome as well: not tried again
FAIL        ``failed``        its reason stands beside it; the next command tries again
FAIL        ``interrupted``   by hand; goes back into the queue
FAIL        ``postponed``     another study trains the same; goes back into the queue
FAIL        ``superseded``    was queued twice; counts nowhere
FAIL        (none)            its worker died, or fell silent; goes back into the queue
==========  ================  ==================================================================
"""

import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import filelock
import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, Trial, TrialState

from ablate.config.schema import StudySpec
from ablate.design.points import Point
from ablate.design.sweep import SweepError
from ablate.sweep.heartbeat import MISSED, Heartbeat
from ablate.sweep.pace import Pace
from ablate.sweep.plan import Plan
from ablate.tracking import databases, redact_of, redact_uri
from ablate.tracking.databases import Lock, ailment, lasts, probe, remedy
from ablate.tracking.liveness import lives, sign_of_worker
from ablate.tracking.names import DIVERGED, FAILED, PRUNED, SUPERSEDED
from ablate.tracking.schemas import Schema, make_whole

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


_AWAY = (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError, optuna.exceptions.StorageInternalError)
_CANNOT = (*_AWAY, sqlalchemy.exc.SQLAlchemyError, RuntimeError, ValueError, OSError, ImportError)


def _make(uri: str) -> None:
    optuna.storages.RDBStorage(uri).engine.dispose()


def _tables() -> list[str]:
    return sqlalchemy.inspect(optuna.storages.RDBStorage("sqlite://").engine).get_table_names()


_SCHEMA = Schema(
    _make, _tables, lambda: optuna.storages.RDBStorage("sqlite://").get_all_versions(), seeds={"version_info": 1}
)

DEATHS = 3
"""Workers that may die at one point, before it counts as failed: it may be what kills them."""

PATIENCE_SECONDS = 600
"""Seconds that a queue that is away is waited for."""

POLL_SECONDS = 1.0
"""Seconds between two looks of a free worker whether a point has come back into the queue."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Claim:
    """A point that this worker has taken from the queue."""

    key: str
    trial: Trial
    trial_id: int
    lost: threading.Event = field(default_factory=threading.Event)
    """Set when others took this worker for dead, and its point over."""

    @property
    def retry(self) -> bool:
        """Whether an earlier attempt was made, which may have been cut off after its record was complete."""
        return bool(self.trial.user_attrs.get("retry"))

    @property
    def begun(self) -> bool:
        """Whether this queue knows of an earlier attempt; a retry without one is of a record older than the queue."""
        return self.retry and not self.trial.user_attrs.get("recorded")

    @property
    def failures(self) -> int:
        """Attempts of this command that failed before."""
        return int(self.trial.user_attrs.get("failures", 0))

    def report(self, epoch: int, value: float) -> bool:
        """Tells the pruner an epoch's value of the objective.

        Returns:
            Whether the point should be stopped here; never, without a pruner.
        """
        self.trial.report(value, epoch)
        return self.trial.should_prune()


_FORGOTTEN = "forgotten"
"""Attribute of a study: numbers of its trials that count no more."""

Order = Callable[[list[str], Collection[str]], list[str]]


@dataclass(frozen=True)
class Standing:
    """How far a study is: how many of its points are through, failed, or left."""

    done: int
    failed: int
    diverged: int
    left: int
    pruned: int = 0


def _as_they_come(waiting: list[str], taken: Collection[str]) -> list[str]:
    return waiting


class Study:
    """A sweep's points and their states, in Optuna's storage."""

    def __init__(
        self,
        storage: str,
        name: str,
        points: Iterable[Point],
        *,
        heartbeat_seconds: int = 20,
        pruner: optuna.pruners.BasePruner | None = None,
        always_read: bool = False,
    ) -> None:
        """Opens or creates the study.

        Args:
            storage: SQLite for one machine, PostgreSQL for several.
            name: Name of the study.
            points: All points of the study.
            heartbeat_seconds: Seconds between two heartbeats of a worker; after ``MISSED`` missing ones it counts as
                dead.
            pruner: What ``Claim.report`` asks; None never stops a point.
            always_read: Whether ``claim`` reads the whole queue each time, as who orders points by what became of
                others must.

        Raises:
            ConfigError: The storage is none, or the heartbeat.
            SweepError: The storage cannot be opened; the message leaves passwords out.
        """
        self.name, self._storage_uri, self._seconds = name, storage, heartbeat_seconds
        self._points = {point.key: point for point in points}
        self._distributions = _distributions(self._points.values())
        self._held: dict[int, Claim] = {}
        self._heartbeat: Heartbeat | None = None
        self._always, self._pace, self._waiting, self._taken = always_read, Pace(), dict[str, int](), set[str]()
        StudySpec(storage, heartbeat_seconds).check()
        self._lock, self._links = Lock(storage, "queue"), Lock(storage, "links")
        try:
            with self._lock():  # Optuna's own making of tables breaks where two do it at once
                make_whole(storage, _SCHEMA)
                self._open(pruner)
        except _CANNOT as error:
            raise self._error(error) from None

    def _open(self, pruner: optuna.pruners.BasePruner | None) -> None:
        self._storage = optuna.storages.RDBStorage(
            self._storage_uri,
            engine_kwargs={"pool_pre_ping": True},
            heartbeat_interval=self._seconds,
            grace_period=MISSED * self._seconds,
        )
        with self._storage.engine.connect() as connection:
            probe(connection)
            connection.rollback()
        self._study = optuna.create_study(
            storage=self._storage,
            sampler=optuna.samplers.RandomSampler(),  # all is enqueued: nothing is sampled
            pruner=pruner or optuna.pruners.NopPruner(),
            study_name=self.name,
            direction="maximize",
            load_if_exists=True,
        )
        self._study_id = self._storage.get_study_id_from_name(self.name)

    def _error(self, error: Exception) -> SweepError:
        return _error_of(self._storage_uri, error)

    # ------------------------------------------------------------------------------------------------------ the queue

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A block that no other process runs at the same time, on any machine that uses this storage."""
        with ExitStack() as held:
            self._patiently(lambda: held.enter_context(self._lock()))
            yield

    def one_at_a_time(self, act: Callable[[], _T]) -> _T:
        """What ``act`` gives, while no other worker that uses this storage does the like.

        The queue goes on meanwhile, but for SQLite, where one file locks both.
        """

        def alone() -> _T:
            with self._links():
                return act()

        return self._patiently(alone)

    @property
    def begun(self) -> bool:
        """Whether any of the points was ever queued."""
        return bool(self._patiently(self._trials))

    def fill(self, *, recorded: bool = False) -> list[str]:
        """Queues every point that is neither finished, waiting, nor in a live worker's hands; failed ones again.

        Args:
            recorded: Whether points that this queue has never heard of may have a record, since an earlier queue is
                lost: their claims are then retries.

        Returns:
            Keys of the points that a dead worker had left, now queued again.
        """
        return self._patiently(lambda: self._tend(anew=True, recorded=recorded)[1])

    def forget(self, runs: Collection[str]) -> list[str]:
        """Lets points be run again whose record is gone.

        Args:
            runs: Ids of runs whose record is gone.

        Returns:
            Keys of the points that one of them had been the record of.
        """

        def forgotten() -> list[str]:
            with self._lock():
                gone = [trial for trial in self._trials() if trial.user_attrs.get("run") in runs]
                if gone:  # a trial that has ended can no longer be written to
                    before = self._study.user_attrs.get(_FORGOTTEN, [])
                    self._study.set_user_attr(_FORGOTTEN, sorted({*before, *map(_id, gone)}))
                return [_key(trial) for trial in gone]

        return self._patiently(forgotten)

    def through(self) -> dict[str, set[str]]:
        """Points that are through, each with the ids of the runs that are its record."""
        found: dict[str, set[str]] = {}
        for trial in self._patiently(self._trials):
            if _is_outcome(trial) and (run := trial.user_attrs.get("run")):
                found.setdefault(_key(trial), set()).add(run)
        return found

    def claims(self, order: Order = _as_they_come) -> Iterator[Claim]:
        """Points for this worker, one after the other, until none is left for anybody.

        While others still work, it waits: theirs may come back into the queue.

        Args:
            order: Order in which to try the keys of waiting points; see ``claim``.
        """
        while True:
            if claim := self.claim(order):
                yield claim
            elif self.progress().left:
                time.sleep(self._pace.rest(POLL_SECONDS))
            else:
                return

    def claim(self, order: Order = _as_they_come) -> Claim | None:
        """Takes a waiting point; None when the queue is empty. Points of dead workers are queued again before that.

        The whole queue is read no oftener than its length allows: what was read before is asked first, point by point.

        Args:
            order: Order in which to try the keys of waiting points, given also those that are in hands or done.
        """
        return self._patiently(lambda: self._claim(order))

    def _claim(self, order: Order) -> Claim | None:
        with self._lock():
            if not (self._always or self._pace.due) and (claim := self._take(order)):
                return claim
            trials, _ = self._pace.look(lambda: self._tend(anew=False))
            self._taken = {_key(trial) for trial in trials if trial.state != TrialState.WAITING}
            self._waiting = {_key(trial): _id(trial) for trial in trials if trial.state == TrialState.WAITING}
            return self._take(order)

    def _take(self, order: Order) -> Claim | None:
        """The first point that waits still, of those that did when the queue was last read."""
        for key in order(list(self._waiting), self._taken):
            trial_id = self._waiting[key]
            trial = self._start(trial_id)  # which may find the storage away: then the point waits still
            del self._waiting[key]
            self._taken.add(key)
            if trial:
                return self._hold(Claim(key, trial, trial_id))
        return None

    def _start(self, trial_id: int) -> Trial | None:
        """Moves a trial from waiting to running, unless another worker did before: the storage lets only one.

        Its first heartbeat comes before: what is running without any would be believed alive for ever.
        """
        if self._storage.get_trial(trial_id).state != TrialState.WAITING:  # read before another worker took it
            return None
        self._storage.set_trial_user_attr(trial_id, "worker", sign_of_worker())
        self._storage.record_heartbeat(trial_id)
        try:
            if not self._storage.set_trial_state_values(trial_id, TrialState.RUNNING):
                return None
        except optuna.exceptions.UpdateFinishedTrialError:
            return None
        return Trial(self._study, trial_id)

    def _tend(self, *, anew: bool, recorded: bool = False) -> tuple[list[FrozenTrial], list[str]]:
        """Buries the dead, and queues what is to be run (again).

        Args:
            anew: Whether points that failed are given another try, as a new command does.
            recorded: Whether points new to this queue may have a record; see ``fill``.

        Returns:
            All trials as they are then, and the points that dead workers left.
        """
        with self._lock():
            trials = self._trials()
            orphans = self._bury([trial for trial in trials if trial.state == TrialState.RUNNING])
            trials = self._trials() if orphans else trials
            attempts: dict[str, list[FrozenTrial]] = {key: [] for key in self._points}
            for trial in trials:
                attempts[_key(trial)].append(trial)
            missing = {key: attrs for key, tried in attempts.items() if (attrs := _next(tried, anew=anew)) is not None}
            surplus = [trial for tried in attempts.values() for trial in _surplus(tried)]
            for key, attrs in missing.items():
                self._enqueue(key, attrs | ({"retry": True, "recorded": True} if recorded else {}))
            for trial in surplus:
                self._storage.set_trial_user_attr(_id(trial), "outcome", SUPERSEDED)
                self._storage.set_trial_state_values(_id(trial), TrialState.FAIL)
            return self._trials() if missing or surplus else trials, orphans

    def _bury(self, running: list[FrozenTrial]) -> list[str]:
        """Fails the trials of workers that died here, or elsewhere fell silent. Returns their points."""
        others = [trial for trial in running if _id(trial) not in self._held]
        dead = [trial for trial in others if lives(trial.user_attrs.get("worker")) is False]
        for trial in dead:
            self._storage.set_trial_state_values(_id(trial), TrialState.FAIL)
        if len(dead) == len(others) or not (self._heartbeat is None or self._heartbeat.steady):
            return [_key(trial) for trial in dead]
        optuna.storages.fail_stale_trials(self._study)
        left = {_id(trial) for trial in self._trials() if trial.state == TrialState.RUNNING}
        return [_key(trial) for trial in others if _id(trial) not in left]

    def _enqueue(self, key: str, attrs: dict[str, Any]) -> None:
        self._study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.WAITING,
                params=_params(self._points[key]),
                distributions=self._distributions,
                user_attrs={"point": key, **attrs},
            )
        )

    # -------------------------------------------------------------------------------------------------- a claim's end

    def complete(self, claim: Claim, value: float, run_id: str) -> bool:
        """Marks the point finished, with the metric that selects and the run that holds its record.

        Returns:
            Whether it counts: not where another worker has taken the point over. So it is with the other endings.
        """
        return self._close(claim, TrialState.COMPLETE, value, run=run_id)

    def diverge(self, claim: Claim, reason: str, run_id: str) -> bool:
        """Marks the point finished without a value: divergence is an outcome, and is not tried again."""
        return self._close(claim, TrialState.FAIL, outcome=DIVERGED, reason=reason, run=run_id)

    def prune(self, claim: Claim, reason: str, run_id: str) -> bool:
        """Marks the point stopped by the pruner: an outcome too."""
        return self._close(claim, TrialState.PRUNED, outcome=PRUNED, reason=reason, run=run_id)

    def interrupt(self, claim: Claim) -> bool:
        """Gives the point back to whoever goes on."""
        return self._close(claim, TrialState.FAIL, outcome="interrupted", reason="interrupted")

    def postpone(self, claim: Claim) -> bool:
        """Gives the point back, since another study trains the same meanwhile."""
        return self._close(claim, TrialState.FAIL, outcome="postponed")

    def fail(self, claim: Claim, reason: str, *, again: bool = False) -> bool:
        """Marks the attempt failed.

        Args:
            claim: The point.
            reason: One sentence.
            again: Queue it once more now; else the next command does.
        """

        def failed() -> bool:
            with self._lock():
                counts = self._closed(claim, TrialState.FAIL, None, {"outcome": FAILED, "reason": reason})
                if counts and again:
                    self._enqueue(claim.key, {"retry": True, "failures": claim.failures + 1})
            return counts

        return self._patiently(failed)

    def holds(self, claim: Claim) -> bool:
        """Whether the point is still this worker's."""
        return self._patiently(lambda: self._storage.get_trial(claim.trial_id).state == TrialState.RUNNING)

    def _close(self, claim: Claim, state: TrialState, value: float | None = None, **notes: str) -> bool:
        return self._patiently(lambda: self._closed(claim, state, value, notes))

    def _closed(self, claim: Claim, state: TrialState, value: float | None, notes: dict[str, str]) -> bool:
        with self._lock():
            found = self._storage.get_trial(claim.trial_id)
            if found.state == TrialState.RUNNING:
                for name, text in notes.items():
                    self._storage.set_trial_user_attr(claim.trial_id, name, text[:2000])
                self._study.tell(claim.trial, value, state=None if state == TrialState.COMPLETE else state)
            self._held.pop(claim.trial_id, None)
            # An answer that was lost on its way lets us ask twice: then it is closed already, and by us.
            ours = found.state == state and bool(notes) and notes.items() <= found.user_attrs.items()
            return found.state == TrialState.RUNNING or ours

    # -------------------------------------------------------------------------------------------------- how it stands

    def progress(self) -> Standing:
        """Counts points, each once, by its best attempt."""
        attempts: dict[str, list[FrozenTrial]] = {key: [] for key in self._points}
        for trial in self._patiently(self._trials):
            attempts[_key(trial)].append(trial)
        counts = Counter(_standing(tried) for tried in attempts.values())
        return Standing(**{name: counts[name] for name in ("done", "failed", "diverged", "left", "pruned")})

    def close(self) -> None:
        """Ends the heartbeat."""
        if self._heartbeat:
            self._heartbeat.stop()

    def _hold(self, claim: Claim) -> Claim:
        self._held[claim.trial_id] = claim
        if self._heartbeat is None:
            self._heartbeat = Heartbeat(self._seconds, self._sign, (*_AWAY, sqlalchemy.exc.SQLAlchemyError))
        return claim

    def _sign(self) -> None:
        """One heartbeat for each point in hand; tells where another worker has it now."""
        for trial_id, claim in list(self._held.items()):
            self._storage.record_heartbeat(trial_id)
            if trial_id in self._held and self._storage.get_trial(trial_id).state != TrialState.RUNNING:
                claim.lost.set()
        if not self._held:
            self._storage.get_study_name_from_id(self._study_id)  # is it there at all?

    def _patiently(self, act: Callable[[], _T]) -> _T:
        """Repeats what fails because the storage is away: a point that was trained is worth minutes of waiting.

        A disk that is full, damaged or read-only is not waited for.

        Raises:
            SweepError: It stayed away, or cannot be written.
        """
        until, pause = time.monotonic() + PATIENCE_SECONDS, 0.1
        while True:
            try:
                return act()
            except (*_AWAY, sqlalchemy.exc.SQLAlchemyError, OSError) as error:
                away = isinstance(error, (*_AWAY, filelock.Timeout)) and not lasts(error)
                if not away or time.monotonic() > until:
                    raise self._error(error) from None
            time.sleep(pause)
            pause = min(2 * pause, 5.0)

    def _trials(self) -> list[FrozenTrial]:
        trials, gone = self._study.get_trials(deepcopy=False), self._study.user_attrs.get(_FORGOTTEN, [])
        return [trial for trial in trials if trial.user_attrs.get("point") in self._points and _id(trial) not in gone]


def _id(trial: FrozenTrial) -> int:
    """Optuna's own number of a trial in the storage, which its public calls ask for and give no other way to."""
    return trial._trial_id


def _key(trial: FrozenTrial) -> str:
    return str(trial.user_attrs["point"])


def _is_open(trial: FrozenTrial) -> bool:
    return trial.state in (TrialState.WAITING, TrialState.RUNNING)


def _is_outcome(trial: FrozenTrial) -> bool:
    """Whether the point is through: neither open, nor failed, nor cut off."""
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED) or trial.user_attrs.get("outcome") == DIVERGED


def _standing(attempts: list[FrozenTrial]) -> str:
    """As what a point counts; one that is about to go back into the queue is left, before somebody puts it there."""
    states = {trial.state for trial in attempts}
    outcomes = {trial.user_attrs.get("outcome") for trial in attempts}
    if TrialState.COMPLETE in states:
        return "done"
    if DIVERGED in outcomes:
        return DIVERGED
    if TrialState.PRUNED in states:
        return PRUNED
    open_ = any(_is_open(trial) for trial in attempts)
    return "left" if open_ or _next(attempts, anew=False) is not None else FAILED


def _next(attempts: list[FrozenTrial], *, anew: bool) -> dict[str, Any] | None:
    """Attributes of a point's next attempt; None where it needs none."""
    if any(_is_open(trial) or _is_outcome(trial) for trial in attempts):
        return None
    if not attempts or anew:
        return {"retry": bool(attempts)}
    last = attempts[-1].user_attrs
    carried = {"retry": True, "failures": last.get("failures", 0), "deaths": last.get("deaths", 0)}
    if last.get("outcome") == "interrupted":
        return carried
    if last.get("outcome") == "postponed":  # it was not begun
        return {**carried, "retry": bool(last.get("retry")), "recorded": bool(last.get("recorded"))}
    died = "outcome" not in last
    carried["deaths"] += died
    return carried if died and carried["deaths"] < DEATHS else None


def _surplus(attempts: list[FrozenTrial]) -> list[FrozenTrial]:
    """Waiting trials of a point that needs none of them: what two leaders queued, of which one slept meanwhile."""
    waiting = [trial for trial in attempts if trial.state == TrialState.WAITING]
    if any(trial.state == TrialState.RUNNING or _is_outcome(trial) for trial in attempts):
        return waiting
    return waiting[1:]


def _distributions(points: Iterable[Point]) -> dict[str, BaseDistribution]:
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


def ask(storage: str) -> None:
    """Asks a queue's database whether it is there; makes nothing.

    Raises:
        SweepError: It does not answer, or cannot be written.
    """
    try:
        databases.ask(storage, "queue")
    except _CANNOT as error:
        raise _error_of(storage, error) from None


def _error_of(storage: str, error: Exception) -> SweepError:
    words = ailment(storage, error)
    reason = redact_of(storage, words.splitlines()[0]).rstrip(".")
    advice = remedy(words, setting="study.storage", library="Optuna")
    return SweepError(
        f"study.storage must be a database that Optuna can open and write, but {redact_uri(storage)} fails: {reason}; "
        f"{advice}."
    )


def open_study(plan: Plan) -> Study:
    """The plan's queue."""
    points = [planned.point for planned in plan.points]
    where = plan.config.study
    reads = plan.search is not None  # a level's winner has to wait for the last of its trials
    return Study(where.storage, plan.study, points, heartbeat_seconds=where.heartbeat_seconds, always_read=reads)
