"""The queue: every point once, dead workers' points again, whatever happens in between. Nothing trains here."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import optuna
import pytest

from ablate.sweep.space import SweepError, SweepSpec, span
from ablate.sweep.study import Progress, Study

POINTS = span(SweepSpec(), {"model": ["a", "b"], "data.image_size": [[8, 8], [16, 16]]}, [0, 1, 2])[0]


def _storage(tmp_path):
    return f"sqlite:///{tmp_path}/optuna.db"


def test_study_hands_out_every_point_once_in_order_and_then_none(tmp_path):
    study = Study(_storage(tmp_path), "s", POINTS)
    study.fill()
    study.fill()
    claims = [study.claim() for _ in POINTS]
    assert [claim.key for claim in claims] == [point.key for point in POINTS]
    assert study.claim() is None
    assert len(optuna.load_study(study_name="s", storage=_storage(tmp_path)).trials) == len(POINTS)


def test_a_worker_chooses_among_waiting_points_and_hears_which_are_taken(tmp_path):
    study = Study(_storage(tmp_path), "s", POINTS)
    study.fill()
    heard = []

    def last(waiting, taken):
        heard.append((len(waiting), set(taken)))
        return waiting[::-1]

    first, second = study.claim(last), study.claim(last)
    assert [first.key, second.key] == [POINTS[-1].key, POINTS[-2].key]
    assert heard == [(12, set()), (11, {first.key})]
    assert study.claim(lambda waiting, taken: []) is None
    trial = optuna.load_study(study_name="s", storage=_storage(tmp_path)).trials[-1]
    assert trial.params == {"model": "b", "data.image_size": "[16, 16]", "seed": 2}


def test_study_repeats_failed_points_and_neither_finished_nor_diverged_ones(tmp_path):
    study = Study(_storage(tmp_path), "s", POINTS)
    study.fill()
    first, second, third = study.claim(), study.claim(), study.claim()
    study.complete(first, 91.5, "run1")
    study.diverge(second, "loss was nan", "run2")
    study.fail(third, "out of memory")
    assert study.progress() == Progress(done=1, failed=1, diverged=1, left=9)

    again = Study(_storage(tmp_path), "s", POINTS)
    assert again.fill() == []
    keys = []
    while claim := again.claim():
        keys.append(claim.key)
    assert sorted(keys) == sorted(p.key for p in POINTS if p.key not in (first.key, second.key))


def test_study_keeps_a_live_workers_point(tmp_path):
    study = Study(_storage(tmp_path), "s", POINTS)
    study.fill()
    mine = study.claim()
    other = Study(_storage(tmp_path), "s", POINTS)
    assert other.fill() == []
    keys = []
    while claim := other.claim():
        keys.append(claim.key)
    assert mine.key not in keys and len(keys) == len(POINTS) - 1


def test_study_requeues_the_point_of_a_killed_worker(tmp_path):
    storage = _storage(tmp_path)
    Study(storage, "s", POINTS).fill()
    code = (
        "import time, sys; sys.path.insert(0, sys.argv[3])\n"
        "from tests.unit.test_sweep_study import POINTS\n"
        "from ablate.sweep.study import Study\n"
        "print(Study(sys.argv[1], sys.argv[2], POINTS).claim().key, flush=True); time.sleep(600)"
    )
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    worker = subprocess.Popen(
        [sys.executable, "-c", code, storage, "s", root], stdout=subprocess.PIPE, text=True, cwd=root
    )
    key = worker.stdout.readline().strip()
    study = Study(storage, "s", POINTS)
    assert study.fill() == []
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert study.fill() == [key]
    keys = []
    while claim := study.claim():
        keys.append(claim.key)
    assert sorted(keys) == sorted(point.key for point in POINTS)


def _drain(storage, queue):
    study = Study(storage, "s", POINTS)
    study.fill()
    while claim := study.claim():
        queue.put(claim.key)
        time.sleep(0.01)
        study.complete(claim, 1.0, "r")


def test_study_gives_no_point_to_two_processes_on_sqlite(tmp_path):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    workers = [context.Process(target=_drain, args=(_storage(tmp_path), queue)) for _ in range(3)]
    for worker in workers:
        worker.start()
    keys = [queue.get(timeout=120) for _ in POINTS]
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert sorted(keys) == sorted(point.key for point in POINTS)
    assert Study(_storage(tmp_path), "s", POINTS).progress() == Progress(done=12, failed=0, diverged=0, left=0)


def test_study_names_a_storage_it_cannot_open_without_its_password(tmp_path):
    with pytest.raises(SweepError, match="must be a database that Optuna can open") as caught:
        Study("postgresql://me:secret@127.0.0.1:1/none", "s", POINTS)
    assert "secret" not in str(caught.value)


def test_study_tells_a_retry_from_a_first_attempt(tmp_path):
    study = Study(_storage(tmp_path), "s", POINTS)
    study.fill()
    first = study.claim()
    assert not first.retry
    study.fail(first, "interrupted")
    study.fill()
    claims = [study.claim() for _ in POINTS]
    assert [claim.key for claim in claims if claim.retry] == [first.key]
