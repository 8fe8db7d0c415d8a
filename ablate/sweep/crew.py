"""A sweep from its first point to its table: one process at work, or several that share the machine.

Workers share nothing but the queue and the tracking store; each takes the next point as soon as it is free. The
leader creates both, shows what happens, and prints the table. A worker whose leader dies ends at once, as if killed.
"""

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import Any, Protocol

from ablate.cli import INTERRUPTED, TERMINATED
from ablate.config import Engine, load_plugins
from ablate.hardware import import_keras
from ablate.progress import SweepScreen
from ablate.provenance import provenance
from ablate.report import report_study
from ablate.report.rendering import Format
from ablate.sweep.devices import gpus, share, share_of_cores
from ablate.sweep.engines import work_elsewhere
from ablate.sweep.interrupts import interrupt, remembered, terminable
from ablate.sweep.plan import Plan
from ablate.sweep.space import SweepError
from ablate.sweep.study import Progress, Study
from ablate.tracking import RunWriter, Store, TrackingError, list_studies, redact
from ablate.training.spec import Stopped

STOP_SECONDS = 30
"""How long workers have to close their records when they are told to stop."""

_CONTEXT = multiprocessing.get_context("spawn")  # a fork of a process that holds TensorFlow or a database hangs


class Screen(Protocol):
    """What is told while a worker works."""

    def start(self, label: str) -> None: ...

    def epoch(self, text: str) -> None: ...

    def end(self, outcome: str, *, failed: bool) -> None: ...


def run_sweep(plan: Plan) -> int:
    """Works on the sweep's queue until it is empty, then prints the table.

    Returns:
        Exit code: 1 where a point failed, or is left since all workers died.

    Raises:
        SweepError: ``workers`` is below 1.
    """
    workers = plan.config.workers
    if workers < 1:
        raise SweepError(f"workers must be at least 1, got {workers}.")
    store, study = Store(plan.config.tracking), open_study(plan)
    tags = provenance() | {"ablate.study": plan.study, "ablate.sweep": json.dumps(plan.definition())}
    with study.alone():  # two leaders at once would make two parents, where a server has no lock to offer
        recorded = _recorded(plan, store, study)
        parent = store.sweep_run(plan.study, tags)
        orphans = study.fill(recorded=recorded > 0 and not study.begun)
    store.share_view(parent, plan.study, plan.definition())
    for key in orphans:
        store.abandon(parent, key)
    record, before = store.resume(parent), study.progress()
    try:
        with (
            terminable(),
            SweepScreen(len(plan.points), before.done + before.diverged + before.pruned, workers) as screen,
        ):
            if plan.config.engine != Engine.local:
                work_elsewhere(plan, parent, screen, lambda: _standing(study.progress()))
            elif workers == 1:
                _alone(plan, parent, screen)
            else:
                _together(plan, parent, screen, lambda: study.progress().left > 0)
    except KeyboardInterrupt as stop:
        record.finish("killed", reason=str(stop) or "interrupted")
        if not str(stop):
            print("interrupted: the same command goes on from here.")
        raise
    after = study.progress()
    failed = after.failed + after.left
    try:
        store.deliver()
        print(_table(plan, "text"))
        _tell(plan, record)
    except TrackingError as error:  # all is trained, and what was logged is kept
        print(f"{error} Then: python -m ablate sync, and python -m ablate report {plan.sweep.name}.")
    record.finish("failed" if failed else "finished", reason=f"{failed} points failed" if failed else None)
    return int(failed > 0)


def _recorded(plan: Plan, store: Store, study: Study) -> int:
    """How many points of the study have a record that counts.

    Raises:
        SweepError: The queue knows of points that are through, and the store of none: one of them is the wrong one.
    """
    waits = store.deliver().waiting
    found = sum(
        each.finished for each in list_studies(plan.config.tracking, plan.sweep.name) if each.study == plan.study
    )
    told = study.progress()
    through = told.done + told.diverged + told.pruned
    if through and not found and not waits:
        raise SweepError(
            f"the tracking store must hold the runs of {plan.study}, but {store.uri_shown} has none of the {through} "
            f"points that are through according to {redact(plan.config.study.storage)}: set tracking.uri or "
            "study.storage to the one that belongs to the other, or train all anew with fresh=true."
        )
    return found


def open_study(plan: Plan) -> Study:
    """The plan's queue."""
    points = [planned.point for planned in plan.points]
    where = plan.config.study
    return Study(where.storage, plan.study, points, heartbeat_seconds=where.heartbeat_seconds)


def _tell(plan: Plan, record: RunWriter) -> None:
    """The report in every form that people look for beside the runs, figures included."""
    from ablate.report import page, studies

    record.artifact("report.md", _table(plan, "md"))
    record.artifact("table.csv", _table(plan, "csv"))
    records = studies.from_store(plan.config.tracking, plan.sweep.name, study=plan.study)
    for name, content in page.files(records).items():
        record.artifact(name, content)


def _table(plan: Plan, format: Format) -> str:
    return report_study(plan.config.tracking, plan.sweep.name, format, study=plan.study)


def _standing(progress: Progress) -> str:
    names = ("done", "diverged", "pruned", "failed", "left")
    return ", ".join(f"{count} {name}" for name in names if (count := getattr(progress, name)) or name == "left")


def _alone(plan: Plan, parent: str, screen: SweepScreen) -> None:
    import_keras()
    from ablate.sweep.worker import work

    with remembered():
        work(plan, parent, screen.of(0), threads=None)


# ------------------------------------------------------------------------------------------------- several processes

SUBSTITUTES = 3
"""How often in a row a worker that died is replaced, without one of its points having ended between."""


class Crew:
    """Worker processes of this machine, of which the dead are replaced.

    Args:
        target: What each runs; its exit code is 0 where it found nothing more to do.
        told: Arguments of the worker with this number, but for the last: the end of a pipe that it speaks into.
        screen: Hears what workers say.
        needed: Whether there is work for a substitute.
    """

    def __init__(
        self,
        target: Callable[..., None],
        told: Callable[[int], tuple[Any, ...]],
        screen: SweepScreen,
        needed: Callable[[], bool],
    ) -> None:
        self._target, self._told, self._screen, self._needed = target, told, screen, needed
        self._processes: dict[int, Any] = {}
        self._ears: dict[Any, int] = {}
        self._deaths: Counter[int] = Counter()

    def work(self, workers: int) -> None:
        """Starts so many, and returns when all have ended; whatever ends it before ends them."""
        try:
            for number in range(workers):
                self._start(number)
            while self._ears:
                for ear in wait(list(self._ears)):
                    self._hear(ear)
        except BaseException as error:
            self._stop(signal.SIGTERM if isinstance(error, Stopped) else signal.SIGINT)
            raise

    def _start(self, number: int) -> None:
        ear, mouth = _CONTEXT.Pipe(duplex=False)
        process = _CONTEXT.Process(target=self._target, args=(*self._told(number), mouth), name=f"ablate-{number}")
        process.start()
        mouth.close()  # ours: the worker's own ends with it
        self._processes[number], self._ears[ear] = process, number

    def _hear(self, ear: Any) -> None:
        """Passes on what a worker says; a pipe each, which no other's death can block."""
        number = self._ears[ear]
        try:
            method, arguments = ear.recv()
        except (EOFError, OSError):
            del self._ears[ear]
            self._ended(number)
            return
        if method == "end":
            del self._deaths[number]
        getattr(self._screen.of(number), method)(**arguments)

    def _ended(self, number: int) -> None:
        process = self._processes[number]
        process.join()
        if not process.exitcode:
            return
        self._deaths[number] += 1
        self._screen.of(number).start("")
        then = "others go on"
        if self._deaths[number] <= SUBSTITUTES and self._needed():
            then = f"substitute {self._deaths[number]} of {SUBSTITUTES} starts"
            self._start(number)
        self._screen.say(
            f"worker {number} died with exit code {process.exitcode}; its point goes back into the queue, and {then}."
        )

    def _stop(self, number: int) -> None:
        """First by a signal, so that each hands its point back, and closes its record."""
        for process in self._processes.values():
            if process.is_alive() and process.pid:
                os.kill(process.pid, number)
        until = time.monotonic() + STOP_SECONDS
        for process in self._processes.values():
            process.join(max(0.0, until - time.monotonic()))
            if process.is_alive():
                process.kill()


def _together(plan: Plan, parent: str, screen: SweepScreen, needed: Callable[[], bool]) -> None:
    workers, devices = plan.config.workers, gpus(os.environ)

    def told(number: int) -> tuple[Any, ...]:
        return plan, parent, share_of_cores(workers), share(plan.config.hardware, number, devices)

    Crew(_worker, told, screen, needed).work(workers)


class _Teller:
    """A screen that is another process's."""

    def __init__(self, mouth: Any) -> None:
        self._tell: Callable[[str, dict[str, Any]], None] = lambda method, said: mouth.send((method, said))

    def start(self, label: str) -> None:
        self._tell("start", {"label": label})

    def epoch(self, text: str) -> None:
        self._tell("epoch", {"text": text})

    def end(self, outcome: str, *, failed: bool) -> None:
        self._tell("end", {"outcome": outcome, "failed": failed})


def _worker(plan: Plan, parent: str, threads: int, environment: dict[str, str], mouth: Any) -> None:
    """One process of a crew; a signal that ends it is told by its exit code, as the command's own is."""
    signal.signal(signal.SIGINT, interrupt)
    leader = multiprocessing.parent_process()
    if leader is not None:
        threading.Thread(target=_end_with, args=(leader.sentinel,), daemon=True).start()
    os.environ.update(environment)
    try:
        with terminable(led=True):
            load_plugins(plan.config.plugins)
            import_keras()
            from ablate.sweep.worker import work

            work(plan, parent, _Teller(mouth), threads=threads)
    except Stopped:
        sys.exit(TERMINATED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
