"""A sweep from its first point to its table: one process at work, or several that share the machine.

Workers share nothing but the queue and the tracking store; each takes the next point as soon as it is free. The
leader creates both, shows what happens, and prints the table. A worker whose leader dies ends at once, as if killed.
"""

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any, Protocol

from ablate.config import Engine, load_plugins
from ablate.hardware import import_keras
from ablate.progress import SweepScreen
from ablate.provenance import provenance
from ablate.report import report_study
from ablate.report.rendering import Format
from ablate.sweep.devices import gpus, share, share_of_cores
from ablate.sweep.engines import work_elsewhere
from ablate.sweep.interrupts import interrupt, remembered
from ablate.sweep.plan import Plan
from ablate.sweep.space import SweepError
from ablate.sweep.study import Progress, Study
from ablate.tracking import RunWriter, Store, TrackingError

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
        parent = store.sweep_run(plan.study, tags)
        orphans = study.fill()
    store.share_view(parent, plan.study, plan.definition())
    for key in orphans:
        store.abandon(parent, key)
    record, before = store.resume(parent), study.progress()
    try:
        with SweepScreen(len(plan.points), before.done + before.diverged + before.pruned, workers) as screen:
            if plan.config.engine != Engine.local:
                work_elsewhere(plan, parent, screen, lambda: _standing(study.progress()))
            elif workers == 1:
                _alone(plan, parent, screen)
            else:
                _together(plan, parent, screen)
    except KeyboardInterrupt:
        record.finish("killed", reason="interrupted")
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


def _together(plan: Plan, parent: str, screen: SweepScreen) -> None:
    threads, devices = share_of_cores(plan.config.workers), gpus(os.environ)
    crew, heard = [], []
    for number in range(plan.config.workers):
        ear, mouth = _CONTEXT.Pipe(duplex=False)
        environment = share(plan.config.hardware, number, devices)
        told = (plan, parent, threads, environment, mouth)
        crew.append(_CONTEXT.Process(target=_worker, args=told, name=f"ablate-{number}"))
        heard.append(ear)
        crew[-1].start()
        mouth.close()  # ours: the worker's own ends with it
    with _ended_with(crew):
        _listen(heard, screen)
        for process in crew:
            process.join()
    for process in crew:
        if process.exitcode:
            screen.say(
                f"worker {process.name} died with exit code {process.exitcode}; its point went back into the queue."
            )


def _listen(ears: list[Any], screen: SweepScreen) -> None:
    """Passes on what workers say until the last has fallen silent; a pipe each, which no other's death can block."""
    numbers: dict[Any, int] = {ear: number for number, ear in enumerate(ears)}
    while numbers:
        ready: list[Any] = wait(list(numbers))
        for ear in ready:
            try:
                method, arguments = ear.recv()
            except (EOFError, OSError):
                del numbers[ear]
                continue
            getattr(screen.of(numbers[ear]), method)(**arguments)


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
    """One process of a crew."""
    signal.signal(signal.SIGINT, interrupt)
    leader = multiprocessing.parent_process()
    if leader is not None:
        threading.Thread(target=_end_with, args=(leader.sentinel,), daemon=True).start()
    os.environ.update(environment)
    load_plugins(plan.config.plugins)
    try:
        import_keras()
        from ablate.sweep.worker import work

        work(plan, parent, _Teller(mouth), threads=threads)
    except KeyboardInterrupt:
        return


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
