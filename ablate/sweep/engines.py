"""Workers that others start: tasks of a Ray cluster, jobs of SLURM. Each takes points from the same queue as ours.

Nothing is scheduled here: N workers are handed over, and each works until the queue is empty. One that dies leaves its
point to the others, or to the same command, given again.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from ablate.config.compose import load_plugins
from ablate.config.schema import Engine
from ablate.contract import task
from ablate.design.sweep import SweepError
from ablate.sweep.output import make_readable, unbroken
from ablate.sweep.pace import Pace
from ablate.sweep.plan import Plan
from ablate.sweep.screen import SweepScreen

POLL_SECONDS = 1.0
JOB_FOLDER = "outputs/slurm"
_TIMEOUT_MINUTES = 24 * 60


class RemoteWorker(Protocol):
    """A worker that an engine runs for us."""

    def ended(self, seconds: float) -> bool:
        """Whether it has, after waiting so long at most."""

    def failure(self) -> str | None:
        """What ended it, if it did not end well."""

    def stop(self) -> None:
        """Interrupts it."""


def work_elsewhere(plan: Plan, parent: str, screen: SweepScreen, standing: Callable[[], str]) -> None:
    """Hands the plan's ``workers`` to the engine and waits for them.

    Args:
        plan: The sweep.
        parent: Run id of the sweep's record.
        screen: The sweep's screen, which is told what changes.
        standing: How far the queue is, in words.

    Raises:
        SweepError: The engine refuses its options.
    """
    shown, pace = "", Pace()
    with _started(plan, parent) as workers:
        left = dict(enumerate(workers))
        while left:
            for number, worker in list(left.items()):
                if worker.ended(POLL_SECONDS / len(left)):
                    del left[number]
                    if failure := worker.failure():
                        screen.say(f"worker {number} died: {failure}; others take its point over, or the same command.")
            if (not left or pace.due) and (now := pace.look(standing)) != shown:
                shown = now
                screen.say(shown)


@contextmanager
def _started(plan: Plan, parent: str) -> Iterator[list[RemoteWorker]]:
    """The workers, stopped where the block is left early."""
    engine = plan.config.engine
    try:
        workers = _ENGINES[engine](plan, parent)
    except (TypeError, ValueError, ConnectionError, NameError) as error:
        told = str(error).splitlines()[0].rstrip(".")
        raise SweepError(f"engine_options must be what {engine} takes, but: {told}.") from None
    try:
        yield workers
    except BaseException:
        for worker in workers:
            worker.stop()
        for worker in workers:
            with suppress(Exception):
                worker.ended(30)
        raise


def at_work(plan: Plan, parent: str, folder: str, threads: int | None) -> None:
    """What a worker elsewhere does.

    Args:
        plan: The sweep.
        parent: Run id of the sweep's record.
        folder: Where relative paths begin: the leader's working directory.
        threads: Threads of the process, where the plan leaves them open.
    """
    make_readable()
    os.chdir(folder)
    plan = plan.from_a_file()
    load_plugins(plan.config.plugins)
    task().start()
    from ablate.sweep.worker import work

    with unbroken(), SweepScreen(len(plan.points), 0) as screen:
        work(plan, parent, screen.of(0), threads=threads)


# ------------------------------------------------------------------------------------------------------------- Ray


class _RayWorker:
    def __init__(self, reference: Any) -> None:
        self._reference = reference

    def ended(self, seconds: float) -> bool:
        import ray

        return bool(ray.wait([self._reference], timeout=seconds)[0])

    def failure(self) -> str | None:
        import ray

        try:
            ray.get(self._reference)
        except Exception as error:  # whatever the task raised, or became of its machine
            return f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}"
        return None

    def stop(self) -> None:
        import ray

        ray.cancel(self._reference)


def _on_ray(plan: Plan, parent: str) -> list[RemoteWorker]:
    """On the cluster at ``address``, or RAY_ADDRESS; without either, on this machine alone."""
    import ray

    options: dict[str, Any] = dict(plan.config.engine_options)
    address, workers = options.pop("address", None), plan.config.workers
    if not ray.is_initialized():
        ray.init(address=address, log_to_driver=False, include_dashboard=None if address else False)
    resources: dict[str, Any] = {"num_cpus": 1, "num_gpus": 0, "max_retries": 0} | options
    remote = ray.remote(**resources)(at_work)
    threads = max(1, int(resources["num_cpus"]))
    return [_RayWorker(remote.remote(plan, parent, os.getcwd(), threads)) for _ in range(workers)]


# ----------------------------------------------------------------------------------------------------------- SLURM


class _SlurmJob:
    def __init__(self, job: Any) -> None:
        self._job = job

    def ended(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while not self._job.done():
            if time.monotonic() >= until:
                return False
            time.sleep(0.2)
        return True

    def failure(self) -> str | None:
        error = self._job.exception()
        return None if error is None else str(error).strip().splitlines()[-1]

    def stop(self) -> None:
        self._job.cancel()


def _on_slurm(plan: Plan, parent: str) -> list[RemoteWorker]:
    """One job array; ``cluster`` says where: slurm where there is one, else local processes."""
    import submitit

    options: dict[str, Any] = {"timeout_min": _TIMEOUT_MINUTES, "name": plan.sweep.name} | dict(
        plan.config.engine_options
    )
    executor = submitit.AutoExecutor(folder=JOB_FOLDER, cluster=options.pop("cluster", None))
    executor.update_parameters(**options)
    count, threads = plan.config.workers, options.get("cpus_per_task")
    shared = plan.for_a_file()  # submitit keeps it in JOB_FOLDER, and SLURM hands our environment on
    jobs = executor.map_array(at_work, [shared] * count, [parent] * count, [os.getcwd()] * count, [threads] * count)
    return [_SlurmJob(job) for job in jobs]


_ENGINES: dict[Engine, Callable[[Plan, str], list[RemoteWorker]]] = {Engine.ray: _on_ray, Engine.slurm: _on_slurm}
