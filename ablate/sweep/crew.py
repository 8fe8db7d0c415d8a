"""Worker processes of one machine: each works on a sweep's queue until it is empty, and the dead are replaced.

They share nothing but the queue and the tracking store. A worker whose leader dies ends at once, as if killed.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import Any

from ablate.config.compose import load_plugins
from ablate.contract import Stopped, task
from ablate.design.sweep import SweepError
from ablate.sweep.devices import gpus, share, share_of_cores
from ablate.sweep.exits import FAILED, INTERRUPTED, TERMINATED
from ablate.sweep.interrupts import interrupt, terminable
from ablate.sweep.output import make_readable, say
from ablate.sweep.plan import Plan
from ablate.sweep.screen import SweepScreen
from ablate.tracking import TrackingError

STOP_SECONDS = 30
"""Seconds that workers have to close their records when they are told to stop."""

_CONTEXT = multiprocessing.get_context("spawn")  # a fork of a process that holds TensorFlow or a database hangs


SUBSTITUTES = 3
"""How often in a row a worker that died is replaced, without one of its points having ended between."""


class Crew:
    """Worker processes of this machine, of which the dead are replaced.

    Args:
        target: What each worker runs; its exit code is 0 where it found nothing more to do.
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


def work_together(plan: Plan, parent: str, screen: SweepScreen, needed: Callable[[], bool]) -> None:
    """Runs the plan's ``workers`` here until each has ended.

    Args:
        plan: The sweep.
        parent: Run id of the sweep's record.
        screen: What is told meanwhile.
        needed: Whether there is work for a substitute of a worker that died.
    """
    workers = plan.config.workers
    devices = gpus(os.environ) if task().takes_one_gpu(plan.config) else []

    def told(number: int) -> tuple[Any, ...]:
        return plan, parent, share_of_cores(workers), share(number, devices)

    Crew(_worker, told, screen, needed).work(workers)


class _Teller:
    """A screen that is another process's."""

    def __init__(self, mouth: Any) -> None:
        self._tell: Callable[[str, dict[str, Any]], None] = lambda method, said: mouth.send((method, said))

    def start(self, label: str) -> None:
        self._tell("start", {"label": label})

    def epoch(self, text: str) -> None:
        self._tell("epoch", {"text": text})

    def say(self, line: str) -> None:
        self._tell("say", {"line": line})

    def end(self, outcome: str, *, failed: bool) -> None:
        self._tell("end", {"outcome": outcome, "failed": failed})


def _worker(plan: Plan, parent: str, threads: int, environment: dict[str, str], mouth: Any) -> None:
    """One process of a crew; a signal that ends it is told by its exit code, as the command's own is."""
    make_readable()
    signal.signal(signal.SIGINT, interrupt)
    leader = multiprocessing.parent_process()
    if leader is not None:
        threading.Thread(target=_end_with, args=(leader.sentinel,), daemon=True).start()
    os.environ.update(environment)
    try:
        with terminable(led=True):
            load_plugins(plan.config.plugins)
            task().start()
            from ablate.sweep.worker import work

            work(plan, parent, _Teller(mouth), threads=threads)
    except (SweepError, TrackingError) as error:  # queue or records cannot be written
        say(f"ablate: {error}")
        sys.exit(FAILED)
    except Stopped:
        sys.exit(TERMINATED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
