"""Levels without a baseline to be held against."""

import math

from ablate.stats.contrasts import analyse
from ablate.stats.design import Observation, without_baseline

GRID = [("a", "x"), ("b", "x"), ("a", "y"), ("b", "y"), ("c", "y")]
HELD = {"f": "a", "g": "x"}


def _runs(cells, dead=()):
    return [
        Observation(cell, seed, math.nan if cell in dead else 80.0 + seed + 3 * number)
        for number, cell in enumerate(cells)
        for seed in range(3)
    ]


def test_a_baseline_cell_that_was_not_run_is_named_with_the_levels_that_lack_it():
    cells = [cell for cell in GRID if cell != ("a", "y")]
    notes = analyse(_runs(cells), ["f", "g"], HELD).notes
    assert "no verdict on f b, c at y: the baseline, f a, g y, was not run" in notes
    assert "no verdict on g y at c: the baseline, f c, g x, was not run" in notes
    assert sum("no verdict" in note for note in notes) == 2


def test_a_baseline_cell_without_a_result_is_named():
    notes = analyse(_runs(GRID, dead=[("a", "y")]), ["f", "g"], HELD, compare=["f"]).notes
    assert [note for note in notes if "no verdict" in note] == [
        "no verdict on f b, c at y: the baseline, f a, g y, has no result"
    ]


def test_a_baseline_that_nobody_ran_is_named_where_nothing_is_compared():
    got = analyse(_runs([("b",), ("c",)]), ["f"], {"f": "a"})
    assert not got.contrasts and "no verdict on f b, c: the baseline, f a, was not run" in got.notes


def test_whole_designs_and_one_factor_at_a_time_lack_no_baseline():
    grid = [(f, g) for f in "abc" for g in "xy"]
    alone = [("a", "x"), ("b", "x"), ("c", "x"), ("a", "y")]
    for cells in (grid, alone):
        assert without_baseline(cells, cells, ["f", "g"], [0, 1], HELD) == []


def test_many_levels_and_baselines_are_counted_rather_than_named():
    cells = [(f"l{n}", f"at{place}") for n in range(9) for place in range(8)]
    told = without_baseline(cells, cells, ["f", "g"], [0], {"f": "none", "g": "at0"})
    assert len(told) == 6 and told[0].startswith("no verdict on f l0, l1, l2, l3, l4 and 4 more at at0")
    assert told[-1] == "no verdict either beside 3 further baselines without a result"
