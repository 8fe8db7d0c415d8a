"""A sweep from its first point to its table: one process at work, or several that share the machine.

Workers share nothing but the queue and the tracking store; each takes the next point as soon as it is free. The
leader creates both, shows what happens, and prints the table. A worker whose leader dies ends at once, as if killed.
"""

import json
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any, Protocol

from ablate.config import load_plugins
from ablate.hardware import import_keras
from ablate.progress import SweepScreen
from ablate.provenance import provenance
from ablate.report import Format, report_study
from ablate.sweep.plan import Plan
from ablate.sweep.space import SweepError
from ablate.sweep.study import Study
from ablate.tracking import Store, TrackingError

_CONTEXT = multiprocessing.get_context("spawn")  # a fork of a process that holds TensorFlow or a database hangs


class Screen(Protocol):
    """What is told while a worker works."""

    def start(self, label: str) -> None: ...

    def epoch(self, text: str) -> None: ...

    def end(self, outcome: str, *, failed: bool) -> None: ...


def run_sweep(plan: Plan) -> int:
    """Works on the sweep's queue until it is empty, then prints the table.

    Returns:
        Exit code: 1 where a point failed or a worker died.

    Raises:
        SweepError: ``workers`` is below 1.
    """
    workers = plan.config.workers
    if workers < 1:
        raise SweepError(f"workers must be at least 1, got {workers}.")
    store, study = Store(plan.config.tracking), open_study(plan)
    tags = provenance() | {"ablate.study": plan.study, "ablate.sweep": json.dumps(plan.definition())}
    with study.alone():  # two leaders at once would make two parents, where a server has no lock to offer
        parent = store.sweep_run(plan.study, tags)
        orphans = study.fill()
    for key in orphans:
        store.abandon(parent, key)
    record, before = store.resume(parent), study.progress()
    try:
        with SweepScreen(len(plan.points), before.done + before.diverged + before.pruned, workers) as screen:
            failed = _alone(plan, parent, screen) if workers == 1 else _together(plan, parent, screen)
    except KeyboardInterrupt:
        record.finish("killed", reason="interrupted")
        print("interrupted: the same command goes on from here.")
        raise
    try:
        store.deliver()
        record.artifact("report.md", _table(plan, "md"))
        print(_table(plan, "text"))
    except TrackingError as error:  # all is trained, and what was logged is kept
        print(f"{error} Then: python -m ablate sync, and python -m ablate report {plan.sweep.name}.")
    record.finish("failed" if failed else "finished", reason=f"{failed} points failed" if failed else None)
    return int(failed > 0)


def open_study(plan: Plan) -> Study:
    """The plan's queue."""
    points = [planned.point for planned in plan.points]
    where = plan.config.study
    return Study(where.storage, plan.study, points, heartbeat_seconds=where.heartbeat_seconds)


def _table(plan: Plan, format: Format) -> str:
    return report_study(plan.config.tracking, plan.sweep.name, format, study=plan.study)


def _alone(plan: Plan, parent: str, screen: SweepScreen) -> int:
    import_keras()
    from ablate.sweep.worker import work

    return work(plan, parent, screen.of(0), threads=None)


# ------------------------------------------------------------------------------------------------- several processes


def _together(plan: Plan, parent: str, screen: SweepScreen) -> int:
    """Returns how many points failed, a dead worker's among them."""
    told: Any = _CONTEXT.Queue()
    threads = max(1, (os.cpu_count() or 1) // plan.config.workers)
    crew = [
        _CONTEXT.Process(target=_worker, args=(plan, parent, number, threads, told), name=f"ablate-{number}")
        for number in range(plan.config.workers)
    ]
    for process in crew:
        process.start()
    with _ended_with(crew):
        failed = sum(_heard(told, screen) for _ in iter(lambda: any(process.is_alive() for process in crew), False))
        failed += _heard(told, screen)
    dead = [process for process in crew if process.exitcode]
    for process in dead:
        screen.say(
            f"worker {process.name} died with exit code {process.exitcode}; the same command runs its point again."
        )
    return failed + len(dead)


@contextmanager
def _ended_with(crew: list[Any]) -> Iterator[None]:
    """Whatever ends the leader ends its workers: first by an interrupt, so that each closes its record."""
    try:
        yield
    finally:
        for process in crew:
            if process.is_alive() and process.pid:
                os.kill(process.pid, signal.SIGINT)
        for process in crew:
            process.join(30)
            if process.is_alive():
                process.kill()


def _heard(told: Any, screen: SweepScreen) -> int:
    """Passes on what workers said until they fall silent for a moment. Returns how many points failed."""
    failed = 0
    while True:
        try:
            number, method, arguments = told.get(timeout=0.2)
        except queue.Empty:
            return failed
        failed += bool(arguments.get("failed"))
        getattr(screen.of(number), method)(**arguments)


class _Teller:
    """A screen that is another process's."""

    def __init__(self, number: int, told: Any) -> None:
        self._tell: Callable[[str, dict[str, Any]], None] = lambda method, said: told.put((number, method, said))

    def start(self, label: str) -> None:
        self._tell("start", {"label": label})

    def epoch(self, text: str) -> None:
        self._tell("epoch", {"text": text})

    def end(self, outcome: str, *, failed: bool) -> None:
        self._tell("end", {"outcome": outcome, "failed": failed})


def _worker(plan: Plan, parent: str, number: int, threads: int, told: Any) -> None:
    """One process of a crew."""
    signal.signal(signal.SIGINT, _interrupt_once)
    leader = multiprocessing.parent_process()
    if leader is not None:
        threading.Thread(target=_end_with, args=(leader.sentinel,), daemon=True).start()
    load_plugins(plan.config.plugins)
    try:
        import_keras()
        from ablate.sweep.worker import work

        work(plan, parent, _Teller(number, told), threads=threads)
    except KeyboardInterrupt:
        return


def _interrupt_once(number: int, frame: Any) -> None:
    """A terminal interrupts leader and workers, and the leader its workers again: once is enough to close a record."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
