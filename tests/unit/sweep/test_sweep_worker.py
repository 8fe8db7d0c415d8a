"""A worker that begins a point which another machine may be training: none of it goes unsaid."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ablate.sweep.plan import Plan, make_plan
from ablate.sweep.worker import _Worker
from ablate.tracking import RunWriter, Store, Training

SWEEP = "base: {model: tiny, data: digits, train.epochs: 1}\naxes: {model.pooling: [seqpool]}\n"
ELSEWHERE = "another-host:1:1.00"


class _Screen:
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)


@pytest.fixture
def plan(tmp_path: Path, store_uri: str, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "mine.yaml").write_text(SWEEP)
    return make_plan(["+sweep=mine", f"tracking.uri={store_uri}"])


def _other(store: Store, identity: str, worker: str) -> RunWriter:
    tags = {"ablate.study": "other-2", "ablate.identity": identity, "ablate.worker": worker}
    return store.start_run("other", {}, tags)


def _begin(plan: Plan) -> tuple[Any, list[str]]:
    """What becomes of the plan's only point, and what is said of it."""
    screen = _Screen()
    worker = _Worker(plan, Store(plan.config.tracking).sweep_run(plan.study, {}), screen, None)  # type: ignore[arg-type]
    worker._study.fill()
    claim = worker._study.claim()
    assert claim is not None
    try:
        return worker._begin(
            claim, plan.points[0].point, plan.points[0].spec, {"ablate.study": plan.study}
        ), screen.said
    finally:
        worker._study.interrupt(claim)
        worker._study.close()


def _between_look_and_start(monkeypatch: pytest.MonkeyPatch, act: Callable[[Store, str], object]) -> None:
    """As on a machine that shares no lock with this one: ``act`` comes after our look and before our run is there."""
    start = Store.start_run

    def meanwhile(self: Store, name: str, params: Any, tags: Any, **options: Any) -> RunWriter:
        monkeypatch.setattr(Store, "start_run", start)
        act(self, tags["ablate.identity"])
        return start(self, name, params, tags, **options)

    monkeypatch.setattr(Store, "start_run", meanwhile)


def test_a_point_that_another_machine_trains_already_is_said_to_be_trained_twice_once(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    _other(Store(plan.config.tracking), "of something else", ELSEWHERE)
    begun, said = _begin(plan)
    assert isinstance(begun, RunWriter) and not said
    begun.finish("killed")
    identity = Store(plan.config.tracking)._client.get_run(begun.run_id).data.tags["ablate.identity"]
    there = _other(Store(plan.config.tracking), identity, ELSEWHERE)
    begun, said = _begin(plan)
    assert isinstance(begun, RunWriter)
    assert said == [
        f"seqpool s0: run {there.run_id} of study other-2 may be training the same on another-host, and cannot be "
        "waited for from here: it is trained twice"
    ]


def test_two_that_begin_a_point_at_once_without_a_common_lock_do_not_both_keep_silent(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    _between_look_and_start(monkeypatch, lambda store, identity: _other(store, identity, ELSEWHERE))
    begun, said = _begin(plan)
    assert isinstance(begun, RunWriter)
    assert len(said) == 1 and "on another-host, and cannot be waited for from here: it is trained twice" in said[0]


def test_a_run_whose_worker_is_seen_to_be_dead_is_neither_waited_for_nor_mentioned(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, _ = _begin(plan)
    assert isinstance(begun, RunWriter)
    begun.finish("killed")
    store = Store(plan.config.tracking)
    identity = store._client.get_run(begun.run_id).data.tags["ablate.identity"]
    there = _other(store, identity, "no signature")
    begun, said = _begin(plan)
    assert isinstance(begun, RunWriter) and not said
    there.finish("killed")
    from ablate.tracking.liveness import sign_of_worker

    there = _other(store, identity, sign_of_worker())
    waited, said = _begin(plan)
    assert isinstance(waited, Training) and waited.run_id == there.run_id
    assert said == [f"seqpool s0: in training already, by run {there.run_id} of study other-2, which is waited for"]
