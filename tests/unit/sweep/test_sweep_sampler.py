"""Searches: drawn once a trial, taken over with what was drawn, judged by objectives, nothing made up. No training."""

import math

import optuna
import pytest

from ablate.design.points import Point, span
from ablate.design.search import Objective, Search, Searched, objectives, searched
from ablate.design.sweep import Method, Pruner, Sampler, SweepError, SweepSpec
from ablate.sweep.sampler import Pruned, Searcher

AXES = (
    Searched("model.tokenizer", ("patch", "conv")),
    Searched("model.convs", (), 1, 3, when={"model.tokenizer": "conv"}),
    Searched("train.lr", (), 1e-4, 1e-2, log=True),
    Searched("data.image_size", ([8, 8], [16, 16])),
)
ACCURACY, MACS = Objective("final.val_top1_percent", True), Objective("cost.macs", False)


def _searcher(tmp_path, **changes):
    storage = f"sqlite:///{tmp_path}/optuna.db"
    optuna.storages.RDBStorage(storage)
    given = {"axes": AXES, "objectives": (ACCURACY,), "trials": 6, "sampler": Sampler.tpe, "pruner": Pruner.none}
    return Searcher(storage, "s", Search(**given, epochs=4) if not changes else Search(**given | changes, epochs=4))


@pytest.mark.parametrize("sampler", [Sampler.tpe, Sampler.random, Sampler.nsga2])
def test_search_draws_within_its_axes_and_only_what_applies(tmp_path, sampler):
    searcher = _searcher(tmp_path, sampler=sampler, trials=8)
    for number in range(8):
        point = Point({}, 0, trial=number)
        levels, proposal = searcher.settle(point)
        assert levels["model.tokenizer"] in ("patch", "conv") and 1e-4 <= levels["train.lr"] <= 1e-2
        assert ("model.convs" in levels) == (levels["model.tokenizer"] == "conv")
        assert levels["data.image_size"] in ([8, 8], [16, 16])
        searcher.tell(point, proposal, {"final.val_top1_percent": float(number)})


def test_search_by_cma_es_closes_in_on_the_best_rate(tmp_path):
    axes = (Searched("train.lr", (), 1e-5, 1e-1, log=True), Searched("train.weight_decay", (), 0.0, 1.0))
    searcher = _searcher(
        tmp_path, axes=axes, objectives=(ACCURACY,), sampler=Sampler.cmaes, pruner=Pruner.none, trials=60
    )
    misses = []
    for number in range(60):
        point = Point({}, 0, trial=number)
        levels, proposal = searcher.settle(point)
        miss = (math.log10(levels["train.lr"]) + 3) ** 2 + (levels["train.weight_decay"] - 0.2) ** 2
        searcher.tell(point, proposal, {"final.val_top1_percent": 90 - miss})
        misses.append(miss)
    assert sum(misses[-15:]) < 0.3 * sum(misses[:15])


def test_search_gives_a_trial_that_is_taken_over_what_was_drawn_for_it(tmp_path):
    point = Point({}, 0, trial=3)
    drawn = [_searcher(tmp_path).settle(point)[0] for _ in range(2)]
    assert drawn[0] == drawn[1]
    searcher = _searcher(tmp_path)
    searcher.tell(point, searcher.settle(point)[1], None)
    assert searcher.settle(point)[0] == drawn[0]  # failed, and tried again by the next command
    assert searcher.winner({}) is None  # no score was made up


def test_search_lets_no_level_learn_from_another_and_names_each_levels_winner(tmp_path):
    searcher = _searcher(tmp_path)
    for level, values in {"a": [1.0, 5.0, 2.0], "b": [9.0, 7.0, 8.0]}.items():
        for number, value in enumerate(values):
            point = Point({"model": level}, 3, trial=number)
            searcher.tell(point, searcher.settle(point)[1], {"final.val_top1_percent": value})
    for level, best in {"a": 1, "b": 0}.items():
        won = searcher.settle(Point({"model": level}, 0))
        assert won == (searcher.propose(Point({"model": level}, 3, trial=best)).levels, None)
    with pytest.raises(SweepError, match="needs a finished trial"):
        searcher.settle(Point({"model": "c"}, 0))


def test_search_holds_a_winner_back_until_its_levels_trials_are_through(tmp_path):
    searcher = _searcher(tmp_path)
    points = {p.key: p for level in "ab" for p in (Point({"m": level}, 1, trial=0), Point({"m": level}, 0))}
    keys = list(points)
    assert searcher.ready(keys, points) == [keys[0], keys[2]]
    proposal = searcher.settle(points[keys[0]])[1]
    assert searcher.ready([keys[1], keys[2], keys[3]], points) == [keys[2]]
    searcher.tell(points[keys[0]], proposal, {"final.val_top1_percent": 1.0})
    assert searcher.ready([keys[1], keys[2], keys[3]], points) == [keys[1], keys[2]]


def test_search_stops_what_lags_behind_the_median(tmp_path):
    searcher = _searcher(tmp_path, pruner=Pruner.median)
    for number in range(4):
        point = Point({}, 0, trial=number)
        proposal = searcher.settle(point)[1]
        for epoch in (1, 2):
            searcher.watch(proposal, epoch, {"val/top1_percent": 50.0 + number})
        searcher.tell(point, proposal, {"final.val_top1_percent": 50.0 + number})
    proposal = searcher.settle(Point({}, 0, trial=4))[1]
    searcher.watch(proposal, 1, {"val/top1_percent": 1.0})
    with pytest.raises(Pruned, match="after epoch 2"):
        searcher.watch(proposal, 2, {"val/top1_percent": 1.0})


def test_search_names_a_metric_that_no_run_logs(tmp_path):
    with pytest.raises(SweepError, match=r"got final.val_top1_percent; they log cost.macs"):
        _searcher(tmp_path).values({"cost.macs": 1.0})


def _sweep(**changes):
    return SweepSpec(**{"name": "s", "method": Method.optuna, "axes": {"train.lr": {"low": 1, "high": 2}}} | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"axes": {"train.lr": {"low": 2, "high": 1}}}, "low < high"),
        ({"axes": {"train.lr": {"low": 0, "high": 1, "log": True}}}, "low > 0"),
        ({"axes": {"train.lr": {"from": 0}}}, "must be a list of levels"),
        ({"axes": {"train.lr": {"low": 1, "high": 2, "when": {"model": "a"}}}}, "names an axis above it"),
        ({"axes": {"model": ["a", "b"]}, "sampler": Sampler.cmaes}, "plain range"),
        ({"objective": "final.test_top1_percent"}, "never selects"),
        ({"objective": {"metric": "x"}}, "maximize or minimize"),
        ({"objective": ["val/loss", "cost.macs"], "pruner": Pruner.median}, "one objective"),
        ({"objective": "cost.macs", "pruner": Pruner.median}, "each epoch has"),
        ({"seeds": 2}, "one seed"),
        ({"n_trials": 0}, "at least 1"),
        ({"method": Method.tuned, "axes": {"model": ["a"]}}, "at least one axis"),
        ({"axes": {"train.lr": {"low": None, "high": 1}}}, "numbers low < high"),
        ({"axes": {"train.lr": {"low": 1, "high": float("inf")}}}, "numbers low < high"),
        ({"axes": {"train.lr": {"low": 1, "high": 2, "log": 3}}}, "log true or false"),
        *(({"axes": {"x": {"low": 1, "high": 2, "step": step}}}, "lead from low to high") for step in (0, -1, 5)),
        ({"axes": {"train.lr": {"low": 1, "high": 2, "when": 3}}}, "must be a list of levels"),
        *(({"axes": {"train.lr": {"levels": levels}}}, "must be a list of levels") for levels in (3, None, [])),
        ({"axes": {"train.lr": {"levels": [1, 1]}}}, "got 1 twice"),
        ({"axes": {"model": ["a", "b"], "x": {"low": 1, "high": 2, "when": {"model": "c"}}}}, "one of a, b; got 'c'"),
        ({"axes": {"model": ["a", "b"], "x": {"low": 1, "high": 2, "when": {"model": []}}}}, "names levels of model"),
        (
            {"axes": {"y": {"low": 1, "high": 2}, "x": {"low": 1, "high": 2, "when": {"y": 1}}}},
            "which has levels: there is none",
        ),
        ({"sampler": Sampler.cmaes}, "at least two ranges"),
        ({"objective": "final.val_top5"}, "must be one of final.val_top1_percent"),
        *(({"objective": objective}, "must be a metric or") for objective in (3, None, [None])),
        *(({"objective": objective}, "each of its metrics once") for objective in ([], ["val/loss", "val/loss"])),
        ({"where": [{"when": {"train.lr": 1}, "reason": "no"}]}, "an axis in where"),
    ],
)
def test_search_refuses_what_it_cannot_draw_or_judge(changes, message):
    sweep = _sweep(**changes)
    with pytest.raises(SweepError, match=message):
        searched(sweep), objectives(sweep), span(sweep, {}, sweep.seed_list())


def test_tuned_spans_trials_of_every_level_and_then_winners_on_fresh_seeds():
    sweep = _sweep(
        method=Method.tuned, axes={"model": ["a", "b"], "train.lr": {"low": 1, "high": 2}}, n_trials=2, seeds=2
    )
    points = [(p.levels["model"], p.trial, p.seed) for p in span(sweep, sweep.levels(), [0, 1])[0]]
    assert points[:4] == [("a", 0, 2), ("b", 0, 2), ("a", 1, 2), ("b", 1, 2)]
    assert points[4:] == [("a", None, 0), ("b", None, 0), ("a", None, 1), ("b", None, 1)]


def test_loss_is_minimized_unless_told():
    assert objectives(_sweep(objective="val/loss")) == [Objective("val/loss", False)]
    both = ["final.val_top1_percent", {"metric": "cost.macs", "direction": "minimize"}]
    assert objectives(_sweep(objective=both)) == [ACCURACY, MACS]


def test_what_hangs_on_a_level_is_drawn_where_that_level_is_pinned_and_nowhere_else():
    axes = {"model": ["a", "b"], "train.lr": {"low": 1, "high": 2, "when": {"model": "a"}}, "x": [1, 2]}
    drawn = searched(_sweep(axes=axes), {"model": "a"})
    assert [(each.axis, dict(each.when)) for each in drawn] == [("train.lr", {}), ("x", {})]
    assert [each.axis for each in searched(_sweep(axes=axes), {"model": "b"})] == ["x"]


def test_costs_times_and_losses_are_minimized_where_nothing_is_said():
    wanted = ["final.val_top1_percent", "cost.macs", "final.seconds", "val/loss"]
    assert [each.maximize for each in objectives(_sweep(objective=wanted))] == [True, False, False, False]


def test_a_range_that_is_not_of_integers_is_checked_as_one():
    (axis,) = searched(_sweep(axes={"model.layers": {"low": 1, "high": 3, "step": 0.5}}))
    assert not axis.whole and all(type(end) is float for end in axis.ends)
