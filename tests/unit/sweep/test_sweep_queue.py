"""The queue: every point once, dead workers' points again, whatever happens in between. Nothing trains here."""

import contextlib
import json
import multiprocessing
import multiprocessing.pool
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import optuna
import pytest
import sqlalchemy

from ablate.config.overrides import ConfigError
from ablate.design.points import span
from ablate.design.sweep import SweepError, SweepSpec
from ablate.sweep import leader
from ablate.sweep.pace import Pace
from ablate.sweep.plan import make_plan
from ablate.sweep.queue import DEATHS, Standing, Study, open_study
from ablate.tracking import Store, TrackingSpec, liveness, read_runs

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


def test_a_look_is_due_again_after_twenty_times_what_it_cost_and_one_that_failed_at_once(monkeypatch):
    now = 100.0
    monkeypatch.setattr("ablate.sweep.pace.time.monotonic", lambda: now)

    def slow():
        nonlocal now
        now += 3.0
        return "seen"

    pace = Pace()
    assert pace.due and pace.rest(1.0) == 1.0
    assert pace.look(slow) == "seen" and not pace.due
    assert pace.rest(1.0) == 30.0
    now += 59.9
    assert not pace.due and pace.rest(1.0) == 1.0
    now += 0.2
    assert pace.due

    def fails():
        slow()
        raise OSError("away")

    with pytest.raises(OSError, match="away"):
        pace.look(fails)
    assert pace.due


def test_a_point_that_could_not_be_started_since_the_storage_was_away_waits_still(tmp_path, monkeypatch):
    monkeypatch.setattr("ablate.sweep.pace.SHARE", 1e9)
    study = Study(_storage(tmp_path), "s", POINTS)
    study.fill()
    first = study.claim()
    away = iter([sqlalchemy.exc.OperationalError("update", {}, Exception("away"))])

    def stumble(connection, cursor, statement, *_):
        if statement.startswith("UPDATE trials") and (error := next(away, None)):
            raise error

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", stumble)
    try:
        second = study.claim()
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", stumble)
    assert [first.key, second.key] == [point.key for point in POINTS[:2]]


def test_a_queue_whose_order_asks_what_became_of_others_is_read_for_each_point(tmp_path, monkeypatch):
    monkeypatch.setattr("ablate.sweep.pace.SHARE", 1e9)
    study = Study(_storage(tmp_path), "s", POINTS, always_read=True)
    study.fill()
    first = study.claim()
    study.fail(first, "out of memory", again=True)
    heard = []
    study.claim(lambda waiting, taken: heard.append(first.key in waiting) or waiting)
    assert heard == [True]


def test_a_queue_that_takes_long_to_read_is_read_once_and_two_workers_still_share_it_out(tmp_path, monkeypatch):
    monkeypatch.setattr("ablate.sweep.pace.SHARE", 1e9)  # one look, then none is due while this test lives
    one, other = Study(_storage(tmp_path), "s", POINTS), Study(_storage(tmp_path), "s", POINTS)
    one.fill()
    looks = []

    def hear(connection, cursor, statement, *_):
        looks.append("FROM trials" in statement and "WHERE trials.study_id = ? ORDER BY" in statement)

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", hear)
    try:
        keys = []
        while claims := [claim for claim in (one.claim(), other.claim()) if claim]:
            keys += [claim.key for claim in claims]
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", hear)
    assert sorted(keys) == sorted(point.key for point in POINTS)
    assert 4 <= sum(looks) <= 8  # first and last, each once or twice; not with every point


def test_study_repeats_failed_points_and_neither_finished_nor_diverged_ones(tmp_path):
    study = Study(_storage(tmp_path), "s", POINTS)
    study.fill()
    first, second, third = study.claim(), study.claim(), study.claim()
    study.complete(first, 91.5, "run1")
    study.diverge(second, "loss was nan", "run2")
    study.fail(third, "out of memory")
    assert study.progress() == Standing(done=1, failed=1, diverged=1, left=9)

    again = Study(_storage(tmp_path), "s", POINTS)
    assert again.fill() == []
    keys = []
    while claim := again.claim():
        keys.append(claim.key)
    assert sorted(keys) == sorted(p.key for p in POINTS if p.key not in (first.key, second.key))


def test_a_point_whose_record_is_gone_is_run_again_and_the_others_are_not(tmp_path):
    study = Study(_storage(tmp_path), "s", POINTS)
    study.fill()
    for number, claim in enumerate(study.claims()):
        study.complete(claim, 1.0, f"run{number}")
    assert study.forget({"run1", "another's"}) == [POINTS[1].key]
    assert study.progress().left == 1
    again = Study(_storage(tmp_path), "s", POINTS)
    again.fill()
    claim = again.claim()
    assert claim.key == POINTS[1].key
    again.complete(claim, 1.0, "another")
    assert again.claim() is None
    assert study.forget({"run1"}) == [] and study.progress().done == len(POINTS)


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
        "from tests.unit.sweep.test_sweep_queue import POINTS\n"
        "from ablate.sweep.queue import Study\n"
        "print(Study(sys.argv[1], sys.argv[2], POINTS).claim().key, flush=True); time.sleep(600)"
    )
    root = str(Path(__file__).parents[3])
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
    assert Study(_storage(tmp_path), "s", POINTS).progress() == Standing(done=12, failed=0, diverged=0, left=0)


def test_study_names_a_storage_it_cannot_open_without_its_password(tmp_path):
    with pytest.raises(SweepError, match="must be a database that Optuna can open") as caught:
        Study("postgresql://me:secret@127.0.0.1:1/none", "s", POINTS)
    assert "secret" not in str(caught.value)
    with pytest.raises(SweepError, match=r'invalid sslmode value: "\*\*\*"'):  # as drivers quote what they are given
        Study("postgresql+psycopg://me:s3cretword@127.0.0.1:1/none?sslmode=s3cretword", "s", POINTS)


def test_study_tells_a_retry_from_a_first_attempt(tmp_path):
    study = Study(_storage(tmp_path), "s", POINTS)
    study.fill()
    first = study.claim()
    assert not first.retry
    study.fail(first, "interrupted")
    study.fill()
    claims = [study.claim() for _ in POINTS]
    assert [claim.key for claim in claims if claim.retry] == [first.key]


# ------------------------------------------------------------------------------------------ deaths, sleep, two leaders


def _trials(tmp_path):
    return optuna.load_study(study_name="s", storage=_storage(tmp_path)).trials


def _move_elsewhere(tmp_path, claim, *, silent_for="0 seconds"):
    """Makes the claim one of a worker on another machine, last heard of some time ago."""
    with sqlite3.connect(tmp_path / "optuna.db") as connection:
        connection.execute(
            "update trial_user_attributes set value_json = '\"elsewhere-1:1:0.00\"' "
            "where key = 'worker' and trial_id = ?",
            [claim.trial_id],
        )
        connection.execute(
            "update trial_heartbeats set heartbeat = datetime('now', ?) where trial_id = ?",
            [f"-{silent_for}", claim.trial_id],
        )
    connection.close()


def test_a_point_of_a_worker_elsewhere_is_taken_over_when_it_falls_silent_and_counts_once(tmp_path):
    sleeper, other = (Study(_storage(tmp_path), "s", POINTS[:1], heartbeat_seconds=20) for _ in range(2))
    sleeper.fill()
    late = sleeper.claim()
    _move_elsewhere(tmp_path, late, silent_for="58 seconds")
    assert other.fill() == [] and other.claim() is None
    _move_elsewhere(tmp_path, late, silent_for="62 seconds")
    claim = other.claim()
    assert claim.key == late.key and claim.retry
    assert not sleeper.complete(late, 99.0, "late")
    assert other.complete(claim, 50.0, "run")
    assert not sleeper.complete(late, 99.0, "late")
    assert [(t.state.name, t.value, t.user_attrs.get("run")) for t in _trials(tmp_path)] == [
        ("FAIL", None, None),
        ("COMPLETE", 50.0, "run"),
    ]
    assert other.progress() == Standing(done=1, failed=0, diverged=0, left=0)


def test_an_ending_that_was_told_twice_counts_once_and_is_ours(tmp_path):
    study = Study(_storage(tmp_path), "s", POINTS[:2])
    study.fill()
    done, diverged = study.claim(), study.claim()
    assert study.complete(done, 50.0, "run") and study.complete(done, 50.0, "run")
    assert study.diverge(diverged, "nan", "run2") and study.diverge(diverged, "nan", "run2")
    assert not study.fail(diverged, "no")
    assert study.progress() == Standing(done=1, failed=0, diverged=1, left=0)


def test_an_interrupted_point_goes_back_into_the_queue_and_a_failed_one_waits_for_the_next_command(tmp_path):
    study = Study(_storage(tmp_path), "s", POINTS[:3])
    study.fill()
    failed, interrupted, again = study.claim(), study.claim(), study.claim()
    study.fail(failed, "no such file")
    study.interrupt(interrupted)
    assert study.progress() == Standing(done=0, failed=1, diverged=0, left=2)
    study.fail(again, "out of memory", again=True)
    claims = [study.claim(), study.claim()]
    assert {claim.key: claim.failures for claim in claims} == {interrupted.key: 0, again.key: 1}
    assert study.claim() is None
    study.fill()
    assert study.claim().key == failed.key


def test_a_postponed_point_waits_behind_the_others_and_was_never_begun(tmp_path):
    study = Study(_storage(tmp_path), "s", POINTS[:2])
    study.fill()
    first = study.claim()
    assert study.postpone(first) and study.progress().left == 2
    held_back = study.claim(lambda waiting, taken: [key for key in waiting if key != first.key])
    assert held_back.key == POINTS[1].key and study.complete(held_back, 1.0, "run")
    assert study.claim(lambda waiting, taken: []) is None and study.progress().left == 1
    again = study.claim()
    assert again.key == first.key and not again.retry and again.failures == 0
    assert study.through() == {POINTS[1].key: {"run"}}


def test_the_runs_of_points_that_are_through_are_told_by_point(tmp_path):
    study = Study(_storage(tmp_path), "s", POINTS[:4])
    study.fill()
    done, diverged, failed, _ = (study.claim() for _ in range(4))
    study.complete(done, 1.0, "a")
    study.diverge(diverged, "nan", "b")
    study.fail(failed, "no")
    assert study.through() == {done.key: {"a"}, diverged.key: {"b"}}
    study.forget({"a"})
    assert study.through() == {diverged.key: {"b"}}


@pytest.mark.parametrize("sign", ["", "here", "here:1", "a:b:c", f"here:{10**30}:1.0", "::"])
def test_what_is_no_signature_is_no_living_worker(sign, monkeypatch):
    monkeypatch.setattr(liveness, "_place", lambda: "here")
    assert not liveness.lives(sign)
    assert liveness.lives(liveness.sign_of_worker()) is True


def test_a_point_that_kills_its_workers_ends_as_failed(tmp_path):
    study = Study(_storage(tmp_path), "s", POINTS[:1])
    study.fill()
    other = Study(_storage(tmp_path), "s", POINTS[:1])
    for attempt in range(DEATHS):
        claim = other.claim()
        assert claim.trial.user_attrs.get("deaths", 0) == attempt
        _move_elsewhere(tmp_path, claim, silent_for="1 hour")
        other = Study(_storage(tmp_path), "s", POINTS[:1])
    assert other.claim() is None
    assert other.progress() == Standing(done=0, failed=1, diverged=0, left=0)
    study.fill()
    assert study.claim().key == POINTS[0].key  # the next command tries again


def test_a_point_that_two_leaders_queued_is_started_once(tmp_path):
    study = Study(_storage(tmp_path), "s", POINTS[:1])
    study.fill()
    study._enqueue(POINTS[0].key, {"retry": False})  # as a leader that slept between its look and its act
    claim = study.claim()
    assert study.claim() is None
    study.complete(claim, 1.0, "r")
    assert study.claim() is None
    assert sorted(t.user_attrs.get("outcome", t.state.name) for t in _trials(tmp_path)) == ["COMPLETE", "superseded"]


def test_a_free_worker_waits_for_the_others_and_takes_what_comes_back(tmp_path):
    busy, free = (Study(_storage(tmp_path), "s", POINTS[:1]) for _ in range(2))
    busy.fill()
    claim = busy.claim()
    got = []

    def work():
        for taken in free.claims():
            got.append(taken.key)
            free.complete(taken, 1.0, "r")

    thread = threading.Thread(target=work)
    thread.start()
    busy.interrupt(claim)
    thread.join(60)
    assert not thread.is_alive() and got == [claim.key]


def test_a_pruner_stops_a_point_which_is_an_outcome_of_its_own(tmp_path):
    pruner = optuna.pruners.ThresholdPruner(lower=10.0)
    study = Study(_storage(tmp_path), "s", POINTS[:2], pruner=pruner)
    study.fill()
    good, bad = study.claim(), study.claim()
    assert not good.report(1, 20.0) and bad.report(1, 5.0)
    assert study.prune(bad, "pruned after epoch 1", "run") and study.complete(good, 20.0, "run2")
    assert study.progress() == Standing(done=1, failed=0, diverged=0, left=0, pruned=1)
    study.fill()
    assert study.claim() is None
    assert _trials(tmp_path)[1].intermediate_values == {1: 5.0}


def test_without_a_pruner_no_point_is_stopped(tmp_path):
    study = Study(_storage(tmp_path), "s", POINTS[:1])
    study.fill()
    claim = study.claim()
    assert not any(claim.report(epoch, -1e9) for epoch in (1, 2))


# -------------------------------------------------------------------------------------------------- one sentence each


def test_study_takes_only_storages_that_lock_across_machines():
    with pytest.raises(ConfigError, match="must be a SQLite or PostgreSQL database") as caught:
        Study("mysql://me:secret@127.0.0.1/x", "s", POINTS)
    assert "secret" not in str(caught.value)


def test_study_in_a_read_only_file_is_one_sentence(tmp_path):
    Study(_storage(tmp_path), "s", POINTS)
    read_only = f"sqlite:///file:{tmp_path}/optuna.db?mode=ro&uri=true"
    with pytest.raises(SweepError, match=r"readonly database; make it writable, or set study\.storage"):
        Study(read_only, "s", POINTS)


def test_study_of_a_newer_schema_is_one_sentence(tmp_path):
    Study(_storage(tmp_path), "s", POINTS)
    with sqlite3.connect(tmp_path / "optuna.db") as connection:
        connection.execute("update alembic_version set version_num = 'v9.9.9.future'")
    connection.close()
    with pytest.raises(
        SweepError, match="use the Optuna that did, upgrade the database if this one is newer"
    ) as caught:
        Study(_storage(tmp_path), "s", POINTS)
    assert "\n" not in str(caught.value)


@pytest.mark.full
def test_study_in_a_file_that_another_program_holds_is_one_sentence(tmp_path):
    Study(_storage(tmp_path), "s", POINTS)
    holder = sqlite3.connect(tmp_path / "optuna.db", isolation_level=None)
    holder.execute("begin exclusive")
    with pytest.raises(SweepError, match="database is locked; another program holds it: try again"):
        Study(_storage(tmp_path), "s2", POINTS)
    holder.close()


@pytest.mark.parametrize("seconds", [0, -1])
def test_study_wants_a_second_between_heartbeats(tmp_path, seconds):
    with pytest.raises(ConfigError, match="heartbeat_seconds must be at least 1"):
        Study(_storage(tmp_path), "s", POINTS, heartbeat_seconds=seconds)


# ------------------------------------------------------------------------------------------------ beside the records


class _Slow:
    """MLflow's client, which after its search for runs waits for another one's, if it comes."""

    def __init__(self, client, both):
        self._client, self._both = client, both

    def __getattr__(self, name):
        return getattr(self._client, name)

    def search_runs(self, *args, **options):
        found = self._client.search_runs(*args, **options)
        with contextlib.suppress(threading.BrokenBarrierError):
            self._both.wait(2)
        return found


def test_a_finished_run_serves_one_of_two_equal_points_whose_workers_ask_at_once(tmp_path):
    where = TrackingSpec(uri=f"sqlite:///{tmp_path}/mlflow.db", spool=f"{tmp_path}/spool")
    made = Store(where).start_run("a", {}, {"ablate.study": "other", "ablate.point": "[]", "ablate.identity": "same"})
    made.finish("finished")
    keys, both = [point.key for point in POINTS[:2]], threading.Barrier(2)
    workers = [(Store(where), Study(_storage(tmp_path), "s", POINTS), key) for key in keys]
    for store, _, _ in workers:
        store._client = _Slow(store._client, both)

    def ask(store, study, key):
        return study.one_at_a_time(lambda: store.serve("same", "s", key))

    with multiprocessing.pool.ThreadPool(2) as pool:
        served = dict(zip(keys, pool.starmap(ask, workers), strict=True))
    linked = read_runs(where, study="s")["tags.ablate.point"].tolist()
    assert linked == [key for key, found in served.items() if found]
    assert len(linked) == 1


def test_points_that_a_lost_queue_knew_are_looked_for_among_the_records(tmp_path):
    study = Study(_storage(tmp_path), "s", POINTS)
    assert not study.begun
    study.fill(recorded=True)
    assert study.begun
    claim = study.claim()
    assert claim.retry and not claim.begun  # nobody was interrupted here
    study.postpone(claim)
    claim = next(other for other in iter(study.claim, None) if other.key == claim.key)
    assert claim.retry and not claim.begun  # put back before it was begun
    study.interrupt(claim)
    study.fill()
    again = next(other for other in iter(study.claim, None) if other.key == claim.key)
    assert again.retry and again.begun


SEARCH = """
base: {model: tiny, data: digits, train.epochs: 1, data.val_fraction: 0.2}
method: optuna
axes: {train.lr: {low: 1.0e-3, high: 1.0e-2}}
n_trials: 3
"""
GRID = "base: {model: tiny, data: digits, train.epochs: 1}\naxes: {train.lr: [1.0e-3, 3.0e-3]}\n"


@pytest.fixture
def through(store_uri, tmp_path, monkeypatch):
    """Makes a sweep that is through, as if it had trained: its plan, its store, its queue, and the runs by point."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps").mkdir()

    def make(text):
        (tmp_path / "sweeps" / "mine.yaml").write_text(text)
        plan = make_plan(["+sweep=mine", f"tracking.uri={store_uri}"])
        store, study, runs = Store(plan.config.tracking), open_study(plan), {}
        definition = {"ablate.sweep": json.dumps(plan.definition())}
        parent = store.sweep_run(plan.study, definition)
        study.fill()
        while claim := study.claim():
            tags = {"ablate.study": plan.study, "ablate.point": claim.key}
            writer = store.start_run("x", {}, tags, parent=parent)
            writer.log({"final.test_top1_percent": 80.0, "final.val_top1_percent": 80.0})
            writer.finish("finished")
            study.complete(claim, 80.0, writer.run_id)
            runs[claim.key] = writer.run_id
        return plan, store, study, runs

    return make


def test_a_search_is_whole_without_a_trial_that_was_deleted(through, capsys):
    plan, store, study, runs = through(SEARCH)
    trials = [planned.point.key for planned in plan.points if planned.point.trial is not None]
    store.discard(runs[trials[0]])
    leader._reconcile(plan, store, study)
    assert "1 trial was deleted from" in capsys.readouterr().out
    study.fill()
    assert study.claim() is None and not leader._lacking(plan, store, study, store.deliver())
    store.discard(runs[trials[1]])
    leader._reconcile(plan, store, study)
    assert "2 trials were deleted from" in capsys.readouterr().out


def test_runs_in_another_experiment_are_told_by_the_setting_that_names_it(through, monkeypatch):
    plan, _, study, _ = through(GRID)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "foo")
    with pytest.raises(
        SweepError, match=r"\(experiment foo\) has none of the 2 .*: set tracking\.experiment \(or MLFLOW_"
    ):
        leader._reconcile(plan, Store(plan.config.tracking), study)


def test_runs_that_wait_for_another_store_are_no_reason_to_train_anew(through, new_store, monkeypatch):
    plan, store, study, _ = through(GRID)
    writer = store.start_run("y", {}, {"ablate.study": plan.study, "ablate.point": "[]"})
    writer._journal.add({"kind": "finish", "status": "FINISHED", "time": 7})
    writer._journal.release()
    other = make_plan(["+sweep=mine", f"tracking.uri={new_store()}"])
    with pytest.raises(
        SweepError, match=rf"1 waits for {store.uri_shown}, experiment ablate: set tracking.uri"
    ) as told:
        leader._reconcile(other, Store(other.config.tracking), study)
    assert "fresh" not in str(told.value)


@pytest.mark.parametrize(
    ("failed", "left", "told"),
    [
        (0, 0, []),
        (1, 0, ["1 point failed"]),
        (2, 1, ["2 points failed", "1 point is left; the same command trains it"]),
        (0, 3, ["3 points are left; the same command trains them"]),
    ],
)
def test_points_that_failed_and_points_that_are_left_are_told_apart(failed, left, told):
    assert leader._unfinished(Standing(done=4, failed=failed, diverged=0, left=left)) == told
