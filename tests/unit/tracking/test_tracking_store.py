"""An experiment, open for writing: studies, points that a dead worker left, and runs that serve several points."""

from ablate.tracking import Store, list_studies, read_runs
from tests.stores import start_run, start_sweep, where_at


def test_sweep_run_is_one_run_a_study(store_uri: str) -> None:
    store = Store(where_at(store_uri))
    first = start_sweep(store)
    assert start_sweep(Store(where_at(store_uri))) == first
    assert start_sweep(store, study="pe-2") != first
    store.resume(first).finish("finished")
    assert start_sweep(store) == first
    frame = read_runs(where_at(store_uri), study="pe-1")
    assert list(frame["status"]) == ["RUNNING"]


def test_abandon_closes_only_what_the_dead_worker_left(store_uri: str) -> None:
    store = Store(where_at(store_uri))
    parent = start_sweep(store)
    point = '[["model","it\'s"],["seed",0]]'
    dead, done, other = (start_run(store, p, parent=parent) for p in (point, point, "other"))
    done.finish("finished")
    store.abandon(parent, point)
    frame = read_runs(where_at(store_uri)).set_index("run_id")
    assert [frame.loc[writer.run_id, "status"] for writer in (dead, done, other)] == ["KILLED", "FINISHED", "RUNNING"]
    assert frame.loc[dead.run_id, "tags.ablate.reason"] == "its worker died"


def test_a_run_serves_trials_that_draw_it_again_and_each_counts_once(store_uri: str) -> None:
    store = Store(where_at(store_uri))
    parent = start_sweep(store)
    trials = [f'[["model","a"],["trial",{n}],["seed",0]]' for n in range(4)]
    assert store.serve_redraw("i", "pe-1", trials[1]) is None
    first, late = (
        start_run(store, point, parent=parent) for point in (trials[0], trials[3])
    )  # two drew the same at once
    for writer in (first, late):
        writer.tag({"ablate.identity": "i"})
        writer.log({"final.val_top1_percent": 7.0})
    late.finish("finished")
    for _ in range(2):  # its worker died before the queue heard
        found = store.serve_redraw("i", "pe-1", trials[1])
        assert found is not None and (found.run_id, found.metrics["final.val_top1_percent"]) == (late.run_id, 7.0)
    first.finish("finished")
    for point in trials:  # also those that have a run
        assert store.serve_redraw("i", "pe-1", point) is not None
    assert store.serve_redraw("i", "other-1", trials[1]) is None
    told = read_runs(where_at(store_uri)).set_index("run_id")["tags.ablate.redrawn.pe-1"]
    assert (told[first.run_id], told[late.run_id]) == ("[1, 2, 3]", "[1]")
    assert list_studies(where_at(store_uri))[0].finished == len(trials)


def test_a_study_whose_every_point_is_served_by_a_run_that_was_trained_alone_is_read_like_any(store_uri: str) -> None:
    store = Store(where_at(store_uri))
    alone = store.start_run("alone", {}, {"ablate.identity": "i"})
    alone.finish("finished")
    start_sweep(store)
    found = store.serve("i", "pe-1", "p")
    assert found is not None and found.run_id == alone.run_id
    frame = read_runs(where_at(store_uri), study="pe-1").set_index("run_id")
    assert frame.loc[alone.run_id, "tags.ablate.point"] == "p"
    assert list_studies(where_at(store_uri))[0].points == {"p"}


def test_a_point_that_two_runs_serve_has_the_older_one(store_uri: str) -> None:
    store = Store(where_at(store_uri))
    parent = start_sweep(store)
    runs = [store.start_run(name, {}, {"ablate.serves.pe-1": "p"}) for name in ("older", "newer")]
    for writer in runs:
        writer.finish("finished")
    assert list(read_runs(where_at(store_uri), study="pe-1")["run_id"]) == [parent, runs[0].run_id]
