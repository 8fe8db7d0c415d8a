"""Many processes at one queue, on SQLite and on PostgreSQL: killed, stopped, started together. Nothing trains."""

import multiprocessing
import multiprocessing.pool
import os
import random
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest

from ablate.design.points import span
from ablate.design.sweep import SweepSpec
from ablate.sweep.heartbeat import MISSED
from ablate.sweep.queue import POLL_SECONDS, Study
from ablate.tracking import liveness
from tests import servers

pytestmark = pytest.mark.full

POINTS = span(SweepSpec(), {"model": ["a", "b", "c"], "train.lr": [1e-4, 1e-3]}, list(range(10)))[0]
WORKERS = 4
REPETITIONS = 20
FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["ablate.sweep.queue", "tests.servers"])


@pytest.fixture(params=["sqlite", "postgresql"])
def storage(request, tmp_path):
    """A storage without tables."""
    if request.param == "sqlite":
        in_memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # a disk's fsync is not what is tested
        with tempfile.TemporaryDirectory(dir=in_memory) as folder:
            yield f"sqlite:///{folder}/optuna.db"
        return
    name = "".join(letter for letter in request.node.name if letter.isalnum())
    yield servers.new_database(request.getfixturevalue("postgres_url"), name[-60:])


def _work(storage, studies, log, pace):
    """A worker that is its own leader: it opens, fills and empties one study after the other."""
    with open(log, "a", buffering=1) as out:
        for name in studies:
            study = Study(storage, name, POINTS, heartbeat_seconds=5)
            study.fill()
            for claim in study.claims():
                out.write(f"{name} started {claim.key}\n")
                time.sleep(random.random() * pace)  # the work
                counts = study.complete(claim, 1.0, f"{os.getpid()}")
                out.write(f"{name} {'counted' if counts else 'superseded'} {claim.key}\n")
            study.close()


def _crew(storage, studies, folder, pace=0.0):
    return [FORK.Process(target=_work, args=(storage, studies, f"{folder}/{n}.log", pace)) for n in range(WORKERS)]


def _said(folder, word):
    lines = [line.split(" ", 2) for path in Path(folder).glob("*.log") for line in path.read_text().splitlines()]
    return Counter((name, key) for name, what, key in lines if what == word)


def _trials(storage, name):
    return optuna.load_study(study_name=name, storage=storage).get_trials(deepcopy=False)


@pytest.mark.timeout(900)  # a minute on a quiet machine
def test_four_workers_that_start_at_once_take_each_point_once(storage, tmp_path):
    studies = [f"s{number}" for number in range(REPETITIONS)]
    crew = _crew(storage, studies, tmp_path)
    for process in crew:
        process.start()
    for process in crew:
        process.join(800)
    assert [process.exitcode for process in crew] == [0] * WORKERS
    every = {(name, point.key): 1 for name in studies for point in POINTS}
    assert _said(tmp_path, "started") == every
    assert _said(tmp_path, "counted") == every
    for name in studies:
        assert [trial.state.name for trial in _trials(storage, name)] == ["COMPLETE"] * len(POINTS)


def test_points_of_killed_workers_are_run_again_and_count_once(storage, tmp_path):
    chance, kills = random.Random(0), 0
    for repetition in range(3):
        study = Study(storage, f"s{repetition}", POINTS)
        study.fill()
        crew = _crew(storage, [f"s{repetition}"], tmp_path, pace=0.05)
        for process in crew:
            process.start()
        for _ in range(6):
            time.sleep(chance.random() * 0.5)
            number = chance.randrange(WORKERS)
            if crew[number].is_alive():
                os.kill(crew[number].pid, signal.SIGKILL)
                kills += 1
                crew[number].join()
                crew[number] = _crew(storage, [f"s{repetition}"], tmp_path, pace=0.05)[number]
                crew[number].start()
        for process in crew:
            process.join(120)
            assert process.exitcode == 0
        trials = _trials(storage, study.name)
        done = Counter(trial.user_attrs["point"] for trial in trials if trial.state.name == "COMPLETE")
        assert done == {point.key: 1 for point in POINTS}
        assert {trial.state.name for trial in trials} <= {"COMPLETE", "FAIL"}
    assert kills >= 6
    assert sum(_said(tmp_path, "started").values()) <= 3 * len(POINTS) + kills
    assert not _said(tmp_path, "superseded")


def _hold(storage, told, go, place):
    """Takes one point, and finishes it when told to."""
    if place:
        liveness._place = lambda: place
    study = Study(storage, "s", POINTS[:1], heartbeat_seconds=1)
    claim = study.claim()
    told.put(claim.key)
    go.wait()
    told.put(claim.lost.wait(30))
    told.put(study.complete(claim, 99.0, "late"))


@pytest.fixture
def holder(storage):
    """Starts a process that holds the only point, at the place that is asked for."""
    started = []
    told, go = FORK.Queue(), FORK.Event()

    def start(place=None):
        Study(storage, "s", POINTS[:1], heartbeat_seconds=1).fill()
        process = FORK.Process(target=_hold, args=(storage, told, go, place))
        process.start()
        started.append(process)
        assert told.get(timeout=60) == POINTS[0].key
        return process, told, go

    yield start
    for process in started:
        process.kill()


def test_a_worker_that_slept_for_longer_than_the_heartbeat_counts_nowhere(storage, holder):
    sleeper, told, go = holder()
    study = Study(storage, "s", POINTS[:1], heartbeat_seconds=1)
    os.kill(sleeper.pid, signal.SIGSTOP)
    claim = next(study.claims())
    os.kill(sleeper.pid, signal.SIGCONT)
    go.set()
    assert told.get(timeout=60) is True  # it hears of it, and need not train to the end
    assert told.get(timeout=60) is False
    assert study.complete(claim, 50.0, "run")
    assert [trial.value for trial in _trials(storage, "s") if trial.state.name == "COMPLETE"] == [50.0]


def test_a_worker_that_lives_elsewhere_keeps_its_point_and_a_killed_one_loses_it_in_the_stated_time(storage, holder):
    worker, _, _ = holder("elsewhere-1")
    study = Study(storage, "s", POINTS[:1], heartbeat_seconds=1)
    until = time.monotonic() + 2 * MISSED
    while time.monotonic() < until:
        assert study.claim() is None
        time.sleep(0.5)  # it lives for twice as long as a dead one would be believed in
    os.kill(worker.pid, signal.SIGKILL)
    killed = time.monotonic()
    claim = next(study.claims())
    assert claim.retry
    stated = (MISSED + 1) * 1 + POLL_SECONDS
    assert time.monotonic() - killed < stated + 20  # a busy machine's scheduling


def test_a_finished_point_outlives_a_database_that_is_away(tmp_path):
    with servers.postgres() as (server, url):
        study = Study(url, "s", POINTS[:2], heartbeat_seconds=1)
        study.fill()
        first = study.claim()
        server.stop()
        done = []
        with multiprocessing.pool.ThreadPool(1) as pool:
            ending = pool.apply_async(lambda: done.append(study.complete(first, 1.0, "run")))
            time.sleep(1.5)  # two signatures fail meanwhile
            assert not ending.ready()
            server.start()
            ending.get(60)
        assert done == [True]
        second = study.claim()
        assert second.key == POINTS[1].key and study.complete(second, 2.0, "run2")
        assert study.progress().done == 2
