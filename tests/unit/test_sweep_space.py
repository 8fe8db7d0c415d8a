"""A sweep's definition and the points it spans."""

import json

import pytest

from ablate.sweep.space import SweepError, SweepSpec, grid, pin


def _sweep(**changes):
    return SweepSpec(
        **{"name": "s", "axes": {"model": ["a", "b"], "model.positional": ["x", "y", "z"]}, "seeds": 2} | changes
    )


def test_grid_spans_every_combination_once_with_whole_tables_first():
    points = grid(_sweep().levels(), _sweep().seed_list())
    assert len(points) == len({point.key for point in points}) == 12
    assert [point.seed for point in points] == [0] * 6 + [1] * 6
    assert points[1].levels == {"model": "a", "model.positional": "y"}


def test_point_key_is_json_of_its_levels_and_seed():
    point = grid({"model": ["a"], "train.lr": [0.1]}, [3])[0]
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
    ],
)
def test_sweep_refuses_what_spans_no_points(changes, message):
    sweep = _sweep(**changes)
    with pytest.raises(SweepError, match=message):
        pin(sweep, {})
