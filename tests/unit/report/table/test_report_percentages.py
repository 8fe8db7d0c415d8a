"""Percentages stay within 0 and 100, and their differences within -100 and 100 points."""

import json

import pandas as pd
import pytest

from ablate.report import Reading, render, report_table
from ablate.report.sources.foreign import from_csv
from ablate.report.table.percentages import cut_estimate, is_percentage
from ablate.report.table.rows import records_table
from ablate.stats.estimates import mean_interval
from tests.unit.report.tables import AXES, DEFINITION, point, run


def _table(metric="final.test_top1_percent"):
    values = {("vit_2_4", "learnable"): (2.0, 9.0, 40.0), ("vit_2_4", "none"): (99.0, 97.0, 70.0)}
    runs = [
        run(point(*cell, seed), value, **{f"metrics.{metric}": value})
        for cell, several in values.items()
        for seed, value in enumerate(several)
    ]
    axes = {"model": AXES["model"][:1], "model.positional": AXES["model.positional"]}
    base = {"model": "vit_2_4", "model.positional": "learnable"}
    definition = {**DEFINITION, "axes": axes, "baseline": base, "points": 6}
    return report_table(pd.DataFrame(runs), definition, Reading(metric=metric))


def test_intervals_of_percentages_end_at_0_and_100():
    table = _table()
    told = json.loads(render(table, "json"))
    assert [(row["estimate"]["low"] >= 0, row["estimate"]["high"] <= 100) for row in told["rows"]] == [(True, True)] * 2
    (contrast,) = told["analysis"]["contrasts"]
    assert contrast["verdict"]["high"] == 100
    for format in ("text", "md", "latex"):
        said = render(table, format).replace("{[}", "[").replace("{]}", "]")
        assert "17.00 [0.00, 67.24]" in said and "88.67 [48.43, 100.00]" in said
        assert "has both ends told instead of" in said


def test_what_is_left_of_an_interval_tells_its_half_width():
    whole = mean_interval([99.0, 97.0, 95.0])
    assert whole.high > 100
    cut = cut_estimate(whole)
    assert (cut.high, cut.low, cut.mean) == (100.0, whole.low, 97.0)
    assert cut.half == pytest.approx(whole.half)
    assert cut_estimate(mean_interval([99.0])).half is None


def test_other_numbers_are_not_cut_off():
    table = _table("reward")
    assert table.rows[0].estimate is not None and table.rows[0].estimate.low < 0
    assert "has both ends told" not in render(table, "text")
    assert is_percentage("at.val_top1_percent", {}) and not is_percentage("growth_percent", {})


def test_a_file_with_percent_signs_has_percentages_where_all_lie_within(tmp_path):
    for highest, cut in ((99, True), (140, False)):
        rows = [f"{model},{value}%" for model in "ab" for value in (60, 95, highest)]
        (tmp_path / "runs.csv").write_text("\n".join(["model,acc", *rows]))
        records = from_csv(tmp_path / "runs.csv", ["model"], "acc", "", {})
        table, _ = records_table(records, Reading("acc"))
        assert (table.rows[0].estimate.high == 100) is cut
