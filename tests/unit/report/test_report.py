"""Tables whose every number can be checked by hand; the last tests go through a real store."""

import csv
import io
import itertools
import json
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

import pandas as pd
import pytest

from ablate import tracking
from ablate.report import Reading, ReportError, Table, render, report_study, report_table
from ablate.report.table.runs import attempts, counted
from ablate.tracking import Store, TrackingSpec

AXES = {"model": ["vit_2_4", "cct_2_3x2"], "model.positional": ["learnable", "none"]}
DEFINITION = {"name": "pe", "question": "Does it matter?", "axes": AXES, "seeds": [0, 1, 2], "points": 12}


_numbers = itertools.count()


def _point(model: Any, positional: Any, seed: int) -> str:
    return json.dumps([["model", model], ["model.positional", positional], ["seed", seed]], separators=(",", ":"))


def _run(point: str, value: float | None = None, outcome: str = "finished", **more: Any) -> dict[str, Any]:
    return {
        "run_id": f"run{next(_numbers)}",
        "status": {"failed": "FAILED", "killed": "KILLED", "running": "RUNNING"}.get(outcome, "FINISHED"),
        "tags.ablate.point": point,
        "tags.ablate.status": outcome,
        "metrics.final.test_top1_percent": float("nan") if value is None else value,
        "params.data.source": "digits",
        "params.data.root": "null",
        "params.train.epochs": "6",
        "params.train.select": "best",
        "metrics.cost.params": 1234.0,
        "metrics.cost.macs": 5678901.0,
        "metrics.cost.tokens": 49.0,
        **more,
    }


def _full(seeds: Iterable[int] = (0, 1, 2)) -> list[dict[str, Any]]:
    return [_run(_point(m, p, s), 80.0 + s) for m in AXES["model"] for p in AXES["model.positional"] for s in seeds]


def _table(runs: list[dict[str, Any]], **changes: Any) -> Table:
    return report_table(pd.DataFrame(runs), {**DEFINITION, **changes})


def test_report_table_has_a_row_a_combination_in_the_order_of_the_axes() -> None:
    runs = _full()
    table = _table(runs[::-1])
    assert [row.levels for row in table.rows] == [(m, p) for m in AXES["model"] for p in AXES["model.positional"]]
    assert table.factors == ("model", "positional")
    first = table.rows[0]
    assert first.estimate is not None
    assert (first.estimate.n, first.estimate.mean, first.estimate.std) == (3, 81.0, 1.0)
    assert first.cost["params"] == [1234]
    assert set(first.run_ids) == {run["run_id"] for run in runs[:3]}
    assert table.notes == ["12 of 12 points finished"]


def test_report_table_counts_a_point_once_however_often_it_was_tried() -> None:
    retried = _point("vit_2_4", "none", 0)
    runs = [
        _run(retried, outcome="killed"),
        _run(retried, outcome="failed", **{"tags.ablate.reason": "RuntimeError: once"}),
        *_full(),
        _run(retried, 99.0),
        _run(retried, outcome="running"),
    ]
    table = _table(runs)
    assert table.rows[1].estimate is not None
    assert (table.rows[1].estimate.n, table.rows[1].estimate.mean) == (3, pytest.approx((99 + 81 + 82) / 3))
    assert table.notes == ["12 of 12 points finished"]


def test_report_table_says_what_is_not_in_the_mean() -> None:
    runs = _full(seeds=(0, 1))
    runs[0] |= {
        "tags.ablate.status": "diverged",
        "metrics.final.test_top1_percent": None,
        "tags.ablate.reason": "NaN at 7",
    }
    runs[2] |= {"tags.ablate.status": "failed", "tags.ablate.reason": "DataError: cat.png\nmore"}
    table = _table(runs)
    assert table.rows[0].outcomes == {"diverged": 1, "finished": 1, "not run": 1}
    text = render(table, "text")
    assert "6 of 12 points finished, 1 diverged, 1 failed, 4 not run" in text
    assert "model=vit_2_4 model.positional=learnable seed=0 diverged: NaN at 7\n" in text
    assert "model=vit_2_4 model.positional=none seed=0 failed: DataError: cat.png\n" in text
    assert "1 diverged, 1 not run" in text
    assert "a cell of one run has no interval" in text


def test_report_table_leaves_out_a_value_of_a_run_that_did_not_finish() -> None:
    runs = _full()
    runs[0] |= {"tags.ablate.status": "failed", "metrics.final.test_top1_percent": 0.0}
    estimate = _table(runs).rows[0].estimate
    assert estimate is not None
    assert (estimate.n, estimate.mean) == (2, 81.5)


def test_report_table_of_no_runs_is_blank_not_zero() -> None:
    table = _table([{"run_id": "parent", "status": "RUNNING"}])
    assert all(row.estimate is None for row in table.rows)
    assert "12 not run" in table.notes[0]
    assert "0.00" not in render(table, "text")


def test_report_table_takes_a_run_that_mlflow_ended_as_ended() -> None:
    (run,) = attempts(pd.DataFrame([_run(_point("a", "b", 0), outcome="running", status="KILLED")]))
    assert run.outcome == "killed"


def test_counted_takes_the_latest_of_equal_attempts() -> None:
    point = _point("a", "b", 0)
    runs = attempts(pd.DataFrame([_run(point, 10.0), _run(point, 20.0), _run(point, outcome="failed")]))
    assert [run.value for run in counted(runs)] == [20.0]


def test_report_table_title_states_budget_and_rule() -> None:
    table = _table(_full())
    assert table.title == (
        "pe: Does it matter?\ntest top-1 %, mean ± 95 % interval over seeds (Student's t); data digits; 6 epochs; "
        "seeds 0, 1, 2; weights of the epoch with the best validation accuracy"
    )
    runs = _full()
    runs[0] |= {"params.data.source": "folder", "params.data.root": "/home/me/photos.zip", "params.train.epochs": "12"}
    assert "data folder photos.zip or digits; 12 or 6 epochs" in _table(runs).title


def test_report_table_of_a_partial_design_has_the_rows_that_it_spans() -> None:
    runs = [run for run in _full() if '"vit_2_4"],["model.positional","none"' not in run["tags.ablate.point"]]
    assert len(_table(runs, points=9).rows) == 3
    listed = _table(runs, points=3, combinations=[["cct_2_3x2", "none"]])
    assert [row.levels for row in listed.rows] == [("cct_2_3x2", "none")]


def test_report_table_matches_levels_that_are_no_text() -> None:
    axes = {"train.lr": [0.001, None], "data.image_size": [[8, 8]]}
    point = json.dumps([["train.lr", None], ["data.image_size", [8, 8]], ["seed", 0]], separators=(",", ":"))
    table = _table([_run(point, 50.0)], axes=axes, seeds=[0], points=2)
    assert [row.levels for row in table.rows] == [("0.001", "[8, 8]"), ("null", "[8, 8]")]
    assert [row.estimate is not None for row in table.rows] == [False, True]


def test_render_text_aligns_numbers_to_the_right() -> None:
    lines = render(_table(_full()), "text").splitlines()
    assert lines[3:7] == [
        "model      positional  test top-1 %  n  params       MACs  tokens",
        "---------  ----------  ------------  -  ------  ---------  ------",
        "vit_2_4    learnable   81.00 ± 2.48  3   1,234  5,678,901      49",
        "vit_2_4    none        81.00 ± 2.48  3   1,234  5,678,901      49",
    ]


def test_render_markdown_is_a_table_with_notes() -> None:
    lines = render(_table(_full(), question="a|b?"), "md", ["study x"]).splitlines()
    assert lines[0] == "### pe: a|b?"
    assert "| model | positional | test top-1 % | n | params | MACs | tokens |" in lines
    assert "| --- | --- | ---: | ---: | ---: | ---: | ---: |" in lines
    assert "| cct_2_3x2 | none | 81.00 ± 2.48 | 3 | 1,234 | 5,678,901 | 49 |" in lines
    assert lines[-1] == "- study x"


def test_render_csv_has_full_numbers_and_run_ids() -> None:
    runs = _full()
    rows = list(csv.DictReader(io.StringIO(render(_table(runs[:-1]), "csv", ["a note"]))))
    assert len(rows) == 4
    assert float(rows[0]["low"]) == pytest.approx(81 - 4.302653 / 3**0.5, abs=1e-6)
    assert rows[0]["run_ids"].split() == [run["run_id"] for run in runs[:3]]
    assert (rows[3]["n"], rows[3]["not_run"], rows[3]["macs"]) == ("2", "1", "5678901")


def test_render_refuses_an_unknown_format() -> None:
    with pytest.raises(ValueError, match="format must be one of text, md, latex, csv, json, got 'docx'"):
        render(_table(_full()), "docx")


def _compared(value: float = 80.0) -> Table:
    baseline = {"baseline": {"model": "vit_2_4", "model.positional": "learnable"}}
    runs = [
        _run(_point(m, p, s), value + s + 3 * (m == "cct_2_3x2") + 0.5 * s * (p == "none"))
        for m, p, s in itertools.product(AXES["model"], AXES["model.positional"], (0, 1, 2))
    ]
    runs[0] |= {"params.train.lr": "0.1"}
    return _table(runs, **baseline)


def test_render_json_holds_all_there_is() -> None:
    table = _compared()
    read = json.loads(render(table, "json", ["one more_note"]))
    assert [row["levels"] for row in read["rows"]][3] == {"model": "cct_2_3x2", "positional": "none"}
    for got, row in zip(read["rows"], table.rows, strict=True):
        assert row.estimate is not None
        assert got["estimate"]["mean"] == pytest.approx(row.estimate.mean)
        assert tuple(got["run_ids"]) == row.run_ids
    assert table.analysis is not None
    assert len(read["analysis"]["contrasts"]) == len(table.analysis.contrasts) == 4
    assert read["analysis"]["contrasts"][0]["verdict"]["kind"] == str(table.analysis.contrasts[0].verdict.kind)
    assert read["analysis"]["effects"][-1]["factors"] == ["model", "positional"]
    assert read["notes"] == [*table.notes, "one more_note"]
    assert read["audit"][0]["kind"] == "train.lr" and read["audit"][0]["contrasts"]
    assert {"title", "factors", "metric"} <= read.keys()
    assert (read["alpha"], read["higher_is_better"]) == (0.05, True)


def test_render_json_has_no_number_that_json_has_none_for() -> None:
    text = render(_table([{"run_id": "parent", "status": "RUNNING"}]), "json")
    assert json.loads(text)["rows"][0]["estimate"] is None
    assert "NaN" not in text


def test_render_latex_escapes_and_closes_what_it_opens() -> None:
    text = render(_compared(), "latex", ["50 % of #1 at ~/x^2 {a_b} & c\\d"])
    assert r"50 \% of \#1 at \textasciitilde{}/x\textasciicircum{}2 \{a\_b\} \& c\textbackslash{}d" in text
    assert r"vit\_2\_4 & learnable & 81.00 $\pm$ 2.48" in text
    for opened in ("table", "tabular"):
        assert text.count(rf"\begin{{{opened}}}") == text.count(rf"\end{{{opened}}}") > 0
    assert text.encode("latin-1") and text.count("$") % 2 == 0
    rules = [line.count(" & ") for line in text.splitlines() if line.endswith(r"\\")]
    assert len(set(rules[:5])) == 1


def test_render_marks_a_contrast_that_differs_in_more_than_its_factor() -> None:
    for format in ("text", "md"):
        text = render(_compared(), format)
        assert "train.lr not recorded against 0.1, not recorded" in text
        flagged = [line for line in text.splitlines() if " ‡" in line and "differs" not in line]
        assert len(flagged) == 2, text


def test_report_table_gives_the_best_of_four_where_there_are_four() -> None:
    runs = _full(seeds=(0, 1, 2, 3))
    table = _table(runs, seeds=[0, 1, 2, 3], points=16)
    assert [row.best_of_4 for row in table.rows] == [83.0] * 4
    assert "best of 4" in render(table, "md") and "best of 4" not in render(_table(_full()), "md")


# ------------------------------------------------------------------------------------------------- from a real store


def _record(uri: str, study: str, value: float) -> None:
    store = Store(TrackingSpec(uri=uri))
    parent = store.sweep_run(study, {"ablate.sweep": json.dumps({**DEFINITION, "seeds": [0], "points": 4})})
    for model in AXES["model"]:
        tags = {"ablate.study": study, "ablate.point": _point(model, "none", 0)}
        writer = store.start_run(
            "x", {"train.epochs": 6, "data.source": "digits", "data.root": None}, tags, parent=parent
        )
        writer.log({"final.test_top1_percent": value, "cost.params": 10})
        writer.finish("finished")


def test_report_study_takes_the_latest_and_names_the_others(store_uri: str) -> None:
    _record(store_uri, "pe-old", 11.0)
    _record(store_uri, "pe-new", 22.0)
    where = TrackingSpec(uri=store_uri)
    text = report_study(where, "pe")
    assert "22.00" in text
    assert "11.00" not in text
    assert "study pe-new, started" in text
    assert "also of this name: pe-old" in text
    assert text.count("pe-new") == 1
    assert "2 of 4 points" in text
    assert "mlartifacts/ablate" in text
    assert "--host 127.0.0.1" in text
    old = report_study(where, "pe", study="pe-old")
    assert "11.00" in old
    assert "also of this name: pe-new" in old
    assert "11.00" in report_study(where, "pe-old", "md")


def test_report_study_of_an_unknown_name_lists_what_there_is(store_uri: str) -> None:
    with pytest.raises(ValueError, match="got 'pe'; it has none yet: run python -m ablate"):
        report_study(TrackingSpec(uri=store_uri), "pe")
    _record(store_uri, "pe-1", 1.0)
    with pytest.raises(ValueError, match=r"got 'pooling'; it has pe\."):
        report_study(TrackingSpec(uri=store_uri), "pooling")


def test_report_study_imports_neither_keras_nor_mlflow(store_uri: str) -> None:
    _record(store_uri, "pe-1", 1.0)
    code = (
        "import sys; from ablate.report import report_study; from ablate.tracking import TrackingSpec; "
        f"report_study(TrackingSpec(uri={store_uri!r}), 'pe'); "
        "print([m for m in ('keras', 'tensorflow', 'mlflow', 'optuna', 'scipy.stats') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "[]\n"


def test_report_study_shows_no_password() -> None:
    with pytest.raises(tracking.TrackingError) as caught:
        report_study(TrackingSpec(uri="http://me:hunter22@127.0.0.1:9"), "pe")
    assert "hunter22" not in str(caught.value)


def _spread(effects: dict[tuple[str, str], float]) -> list[dict[str, Any]]:
    """Three seeds a cell of the definition's axes."""
    cells = list(itertools.product(AXES["model"], AXES["model.positional"]))
    noise = [-1.0, 0.1, 0.9]
    return [_run(_point(m, p, s), 90 + effects.get((m, p), 0.0) + noise[(s + n) % 3])
            for n, (m, p) in enumerate(cells) for s in range(3)]  # fmt: skip


def _judged(runs: list[dict[str, Any]], format: str = "text", margin: float | None = None, **changes: Any) -> str:
    base = {axis: levels[0] for axis, levels in AXES.items()}
    definition = {**DEFINITION, "baseline": base, **changes}
    return render(report_table(pd.DataFrame(runs), definition, Reading(margin=margin)), format)


def test_report_judges_each_level_against_its_baseline() -> None:
    model, other = AXES["model"][:2]
    level = AXES["model.positional"][1]
    text = _judged(_spread({(model, level): -30.0}), margin=5.0)
    found = {tuple(line.split()[:4]) for line in text.splitlines() if line.startswith("    ")}
    assert (level, "at", model, "hurts") in found and (level, "at", other, "equivalent") in found
    assert "positional, against" in text and "interaction model x positional: F" in text


def _shifted() -> list[dict[str, Any]]:
    """Seeds that shift every cell alike, by far more than the second level does."""
    runs = []
    for (n, (m, p)), s in itertools.product(enumerate(itertools.product(*AXES.values())), range(3)):
        value = 80 + 5 * s - 2.0 * (p == "none") + (0.1, -0.1, 0.0)[(n + s) % 3]
        runs.append(
            _run(_point(m, p, s), value, **{"params.data.split_seed": str(s), "tags.ablate.data.digest": f"d{s}"})
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
    runs = [_run(_point(m, p, s), 80.0 + 5 * n + s) for n, (m, p) in enumerate(pairs) for s in range(3)]
    text = _judged(runs, method="zip", combinations=[list(pair) for pair in pairs])
    assert f"model + positional, against {', '.join(pairs[0])}" in text


def test_report_of_a_search_judges_nothing_since_its_points_were_chosen_by_their_results() -> None:
    assert "verdicts" not in _judged(_spread({}), method="optuna")


def test_report_table_title_states_epochs_of_cooldown() -> None:
    runs = [{**run, "params.train.cooldown_epochs": "2"} for run in _full()]
    assert "6 epochs + 2 of cooldown" in _table(runs).title
    assert "cooldown" not in _table([{**run, "params.train.cooldown_epochs": "0"} for run in _full()]).title
