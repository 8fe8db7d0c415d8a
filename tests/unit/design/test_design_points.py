"""A sweep's definition and the points it spans."""

import json
import tracemalloc

import pytest

from ablate.design.points import Point, baseline_of, pin, span
from ablate.design.search import searched
from ablate.design.sweep import Method, SweepError, SweepSpec


def _sweep(**changes):
    return SweepSpec(
        **{"name": "s", "axes": {"model": ["a", "b"], "model.positional": ["x", "y", "z"]}, "seeds": 2} | changes
    )


def test_grid_spans_every_combination_once_with_whole_tables_first():
    points, left_out = span(_sweep(), _sweep().levels(), _sweep().seed_list())
    assert left_out == []
    assert len(points) == len({point.key for point in points}) == 12
    assert [point.seed for point in points] == [0] * 6 + [1] * 6
    assert points[1].levels == {"model": "a", "model.positional": "y"}


def test_point_key_is_json_of_its_levels_and_seed():
    point = span(_sweep(), {"model": ["a"], "train.lr": [0.1]}, [3])[0][0]
    assert json.loads(point.key) == [["model", "a"], ["train.lr", 0.1], ["seed", 3]]


def test_pin_fixes_the_axes_that_are_overridden_and_says_which():
    levels, seeds, pinned = pin(_sweep(), {"model": "c", "seed": 7, "train.lr": 0.1})
    assert levels == {"model": ["c"], "model.positional": ["x", "y", "z"]}
    assert seeds == [7]
    assert pinned == {"model": "c", "seed": 7}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"axes": {}}, "must have axes"),
        ({"axes": {"model": "a"}}, "must be a list of levels, got 'a'"),
        ({"axes": {"model": []}}, "must be a list of levels"),
        ({"axes": {"model": ["a", "a"]}}, "got 'a' twice"),
        ({"axes": {"seed": [1, 2]}}, "under seeds"),
        ({"seeds": 0}, "count of at least 1"),
        ({"seeds": [1, 1]}, "different integers"),
        ({"seeds": [-1]}, "from 0 on"),
        ({"seeds": True}, "got True"),
        ({"seeds": "3"}, "got '3'"),
        ({"seeds": 20241121}, r"write seeds: \[20241121\]"),
        ({"axes": {"repeat": [0, 1]}}, "under repeats"),
        ({"axes": {"seed": {"low": 1, "high": 2}}, "method": Method.optuna}, "under seeds"),
    ],
)
def test_sweep_refuses_what_spans_no_points(changes, message):
    sweep = _sweep(**changes)
    with pytest.raises(SweepError, match=message):
        pin(sweep, {})


def _combinations(sweep):
    return [tuple(point.levels.values()) for point in span(sweep, sweep.levels(), [0])[0]]


def test_one_factor_changes_one_axis_at_a_time_from_the_baseline():
    sweep = _sweep(method=Method.one_factor, baseline={"model.positional": "y"})
    assert _combinations(sweep) == [("a", "y"), ("b", "y"), ("a", "x"), ("a", "z")]


def test_zip_moves_axes_together_and_wants_them_equally_long():
    assert _combinations(_sweep(method=Method.zip, axes={"p": [1, 2], "q": [3, 4]})) == [(1, 3), (2, 4)]
    for axes in ({"p": [1, 2], "q": [3]}, {"p": [1, 2, 3], "q": [3, 4]}):  # one level is not spread over all, unsaid
        with pytest.raises(SweepError, match=r"equally long .* name a level again where an axis stands still"):
            _combinations(_sweep(method=Method.zip, axes=axes))


def test_where_leaves_combinations_out_with_their_reason():
    rules = [{"when": {"model": "a", "model.positional": ["x", "y"]}, "reason": "too slow"}]
    points, left_out = span(_sweep(where=rules), _sweep().levels(), [0])
    assert [tuple(p.levels.values()) for p in points] == [("a", "z"), ("b", "x"), ("b", "y"), ("b", "z")]
    assert [tuple(o.levels.values()) for o in left_out] == [("a", "x"), ("a", "y")]
    assert {o.reason for o in left_out} == {"too slow"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"where": [{"when": {"model": ["a", "b"]}, "reason": "all"}]}, "leaves all out"),
        ({"where": [{"when": {"modle": "a"}, "reason": "typo"}]}, "Did you mean model"),
        ({"where": [{"model": "a"}]}, "must list entries"),
    ],
)
def test_where_refuses_what_it_cannot_apply(changes, message):
    sweep = _sweep(**changes)
    with pytest.raises(SweepError, match=message):
        span(sweep, sweep.levels(), [0])


@pytest.mark.parametrize("baseline", [{"modle": "a"}, {"model": "c"}])
def test_baseline_names_an_axis_and_a_level_of_it(baseline):
    with pytest.raises(SweepError, match="must be one of"):
        baseline_of(_sweep(baseline=baseline), _sweep().levels())


def test_baseline_of_a_pinned_axis_is_its_one_level():
    assert baseline_of(_sweep(baseline={"model": "a"}), {"model": ["c"], "model.positional": ["x"]})["model"] == "c"


def test_repeats_of_a_seed_are_points_of_their_own_after_what_every_seed_has():
    points, _ = span(_sweep(repeats={1: 3}), {"model": ["a"]}, [0, 1])
    assert [(p.seed, p.repeat) for p in points] == [(0, 0), (1, 0), (1, 1), (1, 2)]
    assert len({p.key for p in points}) == 4
    assert points[1].key == '[["model","a"],["seed",1]]' and points[2].label == "a s1 r1"
    assert [(p.seed, p.repeat) for p in span(_sweep(repeats=2), {"model": ["a"]}, [5])[0]] == [(5, 0), (5, 1)]


@pytest.mark.parametrize("repeats", [0, -1, "2", {0: 0}, True])
def test_repeats_are_counts_of_at_least_one(repeats):
    with pytest.raises(SweepError, match="count of at least 1"):
        span(_sweep(repeats=repeats), {"model": ["a"]}, [0])


def test_zip_lets_an_axis_stand_still():
    axes = {"p": [1, 1, 2], "q": [3, 4, 4]}
    assert _combinations(_sweep(method=Method.zip, axes=axes)) == [(1, 3), (1, 4), (2, 4)]
    sweep = _sweep(method=Method.zip, axes=axes)
    assert [tuple(p.levels.values()) for p in span(sweep, {"p": [7], "q": [3, 4, 4]}, [0])[0]] == [
        (7, 3),
        (7, 4),
        (7, 4),
    ]


HUGE = [n / 1e6 for n in range(1000)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"repeats": 10**12}, "of 6 combinations of levels with 2000000000000 runs each"),
        ({"repeats": {1: 10**12}}, "with 1000000000001 runs each"),
        ({"seeds": 10**9}, "count of at most 1000"),
        ({"seeds": 1000, "repeats": 11}, "of 6 combinations"),
        ({"axes": {"p": HUGE, "q": HUGE}}, "got 2000000 of 1000000 combinations of levels with 2 runs each"),
        ({"axes": {"p": list(range(10**6))}}, "got 1000000 levels of p"),
        ({"method": Method.optuna, "n_trials": 10**9, "seeds": 1}, "got 1000000000 of 1 combinations"),
        ({"method": Method.tuned, "n_trials": 10**9}, "got 6000000012 of 6 combinations"),
        ({"method": Method.zip, "axes": {"p": HUGE, "q": HUGE}, "repeats": 6}, "got 12000 of 1000 combinations"),
        ({"method": Method.one_factor, "axes": {"p": HUGE, "q": HUGE}, "repeats": 3}, "got 11994 of 1999 combinations"),
    ],
)
def test_a_sweep_of_too_many_points_is_refused_before_any_is_made(changes, said):
    sweep = _sweep(**changes)
    tracemalloc.start()
    try:
        with pytest.raises(SweepError) as told:
            span(sweep, {} if sweep.method == Method.optuna else sweep.levels(), sweep.seed_list())
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert said in str(told.value) and "at most 1" in str(told.value)
    assert most < 2**20


def test_levels_of_a_search_are_counted_too():
    sweep = _sweep(method=Method.optuna, axes={"p": list(range(10**6))})
    with pytest.raises(SweepError, match="got 1000000 levels of p"):
        searched(sweep)


def test_a_level_that_stands_twice_is_found_among_lists_and_equal_numbers():
    for levels in ([[1, 2], [3], [1, 2]], [1, 2, 1.0], [True, 1]):
        with pytest.raises(SweepError, match="twice"):
            _sweep(axes={"p": levels}).levels()
    assert _sweep(axes={"p": [[1, 2], [2, 1], 1, 2]}).levels()["p"] == [[1, 2], [2, 1], 1, 2]


def test_label_has_levels_as_a_sweeps_file_has_them():
    point = Point({"model.activation": None, "augment.flip": 0.5, "train.amsgrad": True, "model": "none"}, seed=0)
    assert point.label == "null 0.5 true none s0"
