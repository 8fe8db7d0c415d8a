"""A table in each of its formats."""

import csv
import io
import itertools
import json

import pytest

from ablate.report import Table, render
from tests.unit.report.tables import AXES, full, point, run, table_of


def test_render_text_aligns_numbers_to_the_right() -> None:
    lines = render(table_of(full()), "text").splitlines()
    assert lines[3:7] == [
        "model      positional  test top-1 %  n  params       MACs  tokens",
        "---------  ----------  ------------  -  ------  ---------  ------",
        "vit_2_4    learnable   81.00 ± 2.48  3   1,234  5,678,901      49",
        "vit_2_4    none        81.00 ± 2.48  3   1,234  5,678,901      49",
    ]


def test_render_markdown_is_a_table_with_notes() -> None:
    lines = render(table_of(full(), question="a|b?"), "md", ["study x"]).splitlines()
    assert lines[0] == "### pe: a|b?"
    assert "| model | positional | test top-1 % | n | params | MACs | tokens |" in lines
    assert "| --- | --- | ---: | ---: | ---: | ---: | ---: |" in lines
    assert "| cct_2_3x2 | none | 81.00 ± 2.48 | 3 | 1,234 | 5,678,901 | 49 |" in lines
    assert lines[-1] == "- study x"


def test_render_csv_has_full_numbers_and_run_ids() -> None:
    runs = full()
    rows = list(csv.DictReader(io.StringIO(render(table_of(runs[:-1]), "csv", ["a note"]))))
    assert len(rows) == 4
    assert float(rows[0]["low"]) == pytest.approx(81 - 4.302653 / 3**0.5, abs=1e-6)
    assert rows[0]["run_ids"].split() == [run["run_id"] for run in runs[:3]]
    assert (rows[3]["n"], rows[3]["not_run"], rows[3]["macs"]) == ("2", "1", "5678901")


def test_render_refuses_an_unknown_format() -> None:
    with pytest.raises(ValueError, match="format must be one of text, md, latex, csv, json, got 'docx'"):
        render(table_of(full()), "docx")


def _compared(value: float = 80.0) -> Table:
    baseline = {"baseline": {"model": "vit_2_4", "model.positional": "learnable"}}
    runs = [
        run(point(m, p, s), value + s + 3 * (m == "cct_2_3x2") + 0.5 * s * (p == "none"))
        for m, p, s in itertools.product(AXES["model"], AXES["model.positional"], (0, 1, 2))
    ]
    runs[0] |= {"params.train.lr": "0.1"}
    return table_of(runs, **baseline)


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
    text = render(table_of([{"run_id": "parent", "status": "RUNNING"}]), "json")
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
