"""Tables whose every number can be checked by hand."""

import itertools
import json
from typing import Any

import pandas as pd
import pytest

from ablate.design.sweep import Method
from ablate.report import Reading, ReportError, render, report_table
from tests.unit.report.tables import AXES, DEFINITION, full, point, run, table_of


def test_report_table_has_a_row_a_combination_in_the_order_of_the_axes() -> None:
    runs = full()
    table = table_of(runs[::-1])
    assert [row.levels for row in table.rows] == [(m, p) for m in AXES["model"] for p in AXES["model.positional"]]
    assert table.factors == ("model", "positional")
    first = table.rows[0]
    assert first.estimate is not None
    assert (first.estimate.n, first.estimate.mean, first.estimate.std) == (3, 81.0, 1.0)
    assert first.cost["params"] == [1234]
    assert set(first.run_ids) == {run["run_id"] for run in runs[:3]}
    assert table.notes == ["12 of 12 points finished"]


def test_report_table_counts_a_point_once_however_often_it_was_tried() -> None:
    retried = point("vit_2_4", "none", 0)
    runs = [
        run(retried, outcome="killed"),
        run(retried, outcome="failed", **{"tags.ablate.reason": "RuntimeError: once"}),
        *full(),
        run(retried, 99.0),
        run(retried, outcome="running"),
    ]
    table = table_of(runs)
    assert table.rows[1].estimate is not None
    assert (table.rows[1].estimate.n, table.rows[1].estimate.mean) == (3, pytest.approx((99 + 81 + 82) / 3))
    assert table.notes == ["12 of 12 points finished"]


def test_report_table_says_what_is_not_in_the_mean() -> None:
    runs = full(seeds=(0, 1))
    runs[0] |= {
        "tags.ablate.status": "diverged",
        "metrics.final.test_top1_percent": None,
        "tags.ablate.reason": "NaN at 7",
    }
    runs[2] |= {"tags.ablate.status": "failed", "tags.ablate.reason": "DataError: cat.png\nmore"}
    table = table_of(runs)
    assert table.rows[0].outcomes == {"diverged": 1, "finished": 1, "not run": 1}
    text = render(table, "text")
    assert "6 of 12 points finished, 1 diverged, 1 failed, 4 not run" in text
    assert "model=vit_2_4 model.positional=learnable seed=0 diverged: NaN at 7\n" in text
    assert "model=vit_2_4 model.positional=none seed=0 failed: DataError: cat.png\n" in text
    assert "1 diverged, 1 not run" in text
    assert "a cell of one run has no interval" in text


def test_report_table_leaves_out_a_value_of_a_run_that_did_not_finish() -> None:
    runs = full()
    runs[0] |= {"tags.ablate.status": "failed", "metrics.final.test_top1_percent": 0.0}
    estimate = table_of(runs).rows[0].estimate
    assert estimate is not None
    assert (estimate.n, estimate.mean) == (2, 81.5)


def test_report_table_of_no_runs_is_blank_not_zero() -> None:
    table = table_of([{"run_id": "parent", "status": "RUNNING"}])
    assert all(row.estimate is None for row in table.rows)
    assert "12 not run" in table.notes[0]
    assert "0.00" not in render(table, "text")


def test_report_table_title_states_budget_and_rule() -> None:
    table = table_of(full())
    assert table.title == (
        "pe: Does it matter?\ntest top-1 %, mean ± 95 % interval over seeds (Student's t); higher is better; "
        "data digits; 6 epochs; "
        "seeds 0, 1, 2; weights of the epoch with the best validation accuracy"
    )
    runs = full()
    runs[0] |= {"params.data.source": "folder", "params.data.root": "/home/me/photos.zip", "params.train.epochs": "12"}
    assert "data folder photos.zip or digits; 12 or 6 epochs" in table_of(runs).title


def test_report_table_of_a_partial_design_has_the_rows_that_it_spans() -> None:
    runs = [run for run in full() if '"vit_2_4"],["model.positional","none"' not in run["tags.ablate.point"]]
    assert len(table_of(runs, points=9).rows) == 3
    listed = table_of(runs, points=3, combinations=[["cct_2_3x2", "none"]])
    assert [row.levels for row in listed.rows] == [("cct_2_3x2", "none")]


def test_report_table_matches_levels_that_are_no_text() -> None:
    axes = {"train.lr": [0.001, None], "data.image_size": [[8, 8]]}
    point = json.dumps([["train.lr", None], ["data.image_size", [8, 8]], ["seed", 0]], separators=(",", ":"))
    table = table_of([run(point, 50.0)], axes=axes, seeds=[0], points=2)
    assert [row.levels for row in table.rows] == [("0.001", "[8, 8]"), ("null", "[8, 8]")]
    assert [row.estimate is not None for row in table.rows] == [False, True]


def test_report_table_gives_the_best_of_four_where_there_are_four() -> None:
    runs = full(seeds=(0, 1, 2, 3))
    table = table_of(runs, seeds=[0, 1, 2, 3], points=16)
    assert [row.best_of_4 for row in table.rows] == [83.0] * 4
    assert "best of 4" in render(table, "md") and "best of 4" not in render(table_of(full()), "md")


def _spread(effects: dict[tuple[str, str], float]) -> list[dict[str, Any]]:
    """Three seeds a cell of the definition's axes."""
    cells = list(itertools.product(AXES["model"], AXES["model.positional"]))
    noise = [-1.0, 0.1, 0.9]
    return [run(point(m, p, s), 90 + effects.get((m, p), 0.0) + noise[(s + n) % 3])
            for n, (m, p) in enumerate(cells) for s in range(3)]  # fmt: skip


def _judged(
    runs: list[dict[str, Any]], format: str = "text", margin: float | None = None, full: bool = False, **changes: Any
) -> str:
    base = {axis: levels[0] for axis, levels in AXES.items()}
    definition = {**DEFINITION, "baseline": base, **changes}
    return render(report_table(pd.DataFrame(runs), definition, Reading(margin=margin)), format, full=full)


def test_report_judges_each_level_against_its_baseline() -> None:
    model, other = AXES["model"][:2]
    level = AXES["model.positional"][1]
    runs = _spread({(model, level): -30.0})
    text, whole = (_judged(runs, margin=5.0, full=full) for full in (False, True))
    found = {tuple(line.split()[:4]) for line in text.splitlines() if line.startswith("    ")}
    assert (level, "at", model, "hurts") in found and (level, "at", other, "equivalent") in found
    assert "positional, against" in text and "interaction model x positional: F" in whole


def _shifted() -> list[dict[str, Any]]:
    """Seeds that shift every cell alike, by far more than the second level does."""
    runs = []
    for (n, (m, p)), s in itertools.product(enumerate(itertools.product(*AXES.values())), range(3)):
        value = 80 + 5 * s - 2.0 * (p == "none") + (0.1, -0.1, 0.0)[(n + s) % 3]
        runs.append(
            run(point(m, p, s), value, **{"params.data.split_seed": str(s), "tags.ablate.data.digest": f"d{s}"})
        )
    return runs


def test_report_takes_out_what_seeds_shift_where_they_are_blocks() -> None:
    definition = {**DEFINITION, "baseline": {axis: levels[0] for axis, levels in AXES.items()}}
    frame = pd.DataFrame(_shifted())
    plain, blocked = (report_table(frame, definition, Reading(blocks=blocks)) for blocks in (False, True))
    assert plain.analysis is not None and blocked.analysis is not None
    where = [(each.factor, each.level) for each in plain.analysis.contrasts]
    kinds = [dict(zip(where, table.analysis.contrasts, strict=True)) for table in (plain, blocked) if table.analysis]
    none = ("positional", "none")
    assert [each[none].verdict.kind for each in kinds] == ["undecided", "hurts"]
    assert any("seeds are blocks" in note for note in blocked.analysis.notes)


def test_report_takes_no_seeds_for_blocks_that_had_other_data() -> None:
    definition = {**DEFINITION, "baseline": {axis: levels[0] for axis, levels in AXES.items()}}
    runs = _shifted()
    runs[4]["params.data.split_seed"] = "7"
    with pytest.raises(ReportError, match=r"those of seed 1 differ in data\.split_seed; leave out blocks=true"):
        report_table(pd.DataFrame(runs), definition, Reading(blocks=True))


def test_report_calls_nothing_equivalent_without_a_margin_and_says_what_seeds_it_takes() -> None:
    runs = _spread({})
    assert "equivalent" not in _judged(runs) and "seeds decide in 4 of 5 cases" not in _judged(runs)
    assert "seeds decide in 4 of 5 cases" in _judged(runs, margin=0.5)


def test_report_judges_in_markdown_and_only_the_axes_to_compare() -> None:
    text = _judged(_spread({}), "md", compare=["model.positional"])
    rows = [line for line in text.splitlines() if line.startswith("| positional |")]
    assert len(rows) == len(AXES["model"]) * (len(AXES["model.positional"]) - 1)
    assert not [line for line in text.splitlines() if line.startswith("| model |") and "undecided" in line]


def test_report_judges_axes_that_move_together_as_one() -> None:
    pairs = list(zip(AXES["model"], AXES["model.positional"], strict=False))
    runs = [run(point(m, p, s), 80.0 + 5 * n + s) for n, (m, p) in enumerate(pairs) for s in range(3)]
    text = _judged(runs, method="zip", combinations=[list(pair) for pair in pairs])
    assert f"model + positional, against {', '.join(pairs[0])}" in text


@pytest.mark.parametrize("method", Method)
def test_report_judges_all_but_searches_whose_points_were_chosen_by_their_results(method: Method) -> None:
    assert ("verdicts" in _judged(_spread({}), method=str(method))) is not method.searches


def test_report_table_title_states_epochs_of_cooldown() -> None:
    runs = [{**run, "params.train.cooldown_epochs": "2"} for run in full()]
    assert "6 epochs + 2 of cooldown" in table_of(runs).title
    assert "cooldown" not in table_of([{**run, "params.train.cooldown_epochs": "0"} for run in full()]).title
