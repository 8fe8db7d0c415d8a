"""A table in each of its formats."""

import csv
import io
import itertools
import json
from dataclasses import replace

import pytest

from ablate.report import Table, render
from ablate.report.pages import findings
from ablate.report.table.notes import Detail
from ablate.stats.contrasts import Interval, OverImages
from ablate.stats.crossed import Scope
from ablate.stats.estimates import SECOND_LOOK
from ablate.stats.verdicts import Kind, Verdict
from tests.unit.report.tables import AXES, full, point, rewards, run, table_of


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


def _over_both(seeds: bool = True) -> Table:
    """A table whose verdicts are over seeds and images, with the interval over seeds alone beside them."""
    table = _compared()
    assert table.analysis is not None
    contrasts = []
    for n, each in enumerate(table.analysis.contrasts):
        verdict = replace(each.verdict, effect=1.8 + n, low=0.002, high=3.67, kind=Kind.helps)
        more = {"over_seeds": Interval(0.5, 3.1)} if seeds else {}
        contrasts.append(replace(each, verdict=verdict, over_images=OverImages(0.25, 3.25, 1000), **more))
    scope = Scope.population if seeds else Scope.these_images
    notes = [note for note in table.analysis.notes if not note.startswith("verdicts hold for")]  # of other verdicts
    analysis = replace(table.analysis, contrasts=contrasts, scope=scope, comparisons=7, notes=notes)
    return replace(table, analysis=analysis)


def _plain(text: str) -> str:
    """Without LaTeX's braces around brackets."""
    return text.replace("{[}", "[").replace("{]}", "]")


def test_render_says_in_words_which_interval_is_over_what() -> None:
    table = _over_both()
    for format in ("text", "md", "latex"):
        said = _plain(render(table, format))
        assert "over seeds and test images, simultaneous" in said and "over seeds, on the same test data" in said
        assert "[+0.002, +3.67]" in said and "[+0.50, +3.10]" in said and "[+0.25, +3.25]" not in said
        assert "verdicts hold for other seeds and for other test images of the same kind" in said
        assert "7 comparisons share alpha 0.05" in said
        whole = _plain(render(table, format, full=True))
        assert "over test images, of the same trained models" in whole and "[+0.25, +3.25]" in whole
    alone = render(_over_both(seeds=False), "text")
    assert "interval over seeds, on the same test data, simultaneous], then [over test images, of" in alone
    assert "[+0.25, +3.25]" in alone and "other seeds on the same test data; no margin" in alone


def test_render_csv_has_the_interval_of_the_verdict_and_those_over_seeds_and_images() -> None:
    names = ("effect", "low", "high", "seeds_low", "seeds_high", "images_low", "images_high")
    row = list(csv.DictReader(io.StringIO(render(_over_both(), "csv"))))[2]
    assert [float(row[f"model_{name}"]) for name in names] == [1.8, 0.002, 3.67, 0.5, 3.1, 0.25, 3.25]
    row = list(csv.DictReader(io.StringIO(render(_over_both(seeds=False), "csv"))))[2]
    assert [float(row[f"model_{name}"]) for name in names] == [1.8, 0.002, 3.67, 0.002, 3.67, 0.25, 3.25]


def test_render_json_says_whom_verdicts_speak_for() -> None:
    told = json.loads(render(_over_both(), "json"))
    assert (told["analysis"]["scope"], told["analysis"]["comparisons"], told["margin"]) == ("population", 7, None)
    assert told["analysis"]["contrasts"][0]["over_seeds"] == {"low": 0.5, "high": 3.1}


@pytest.mark.parametrize("format", ["text", "md", "latex"])
def test_render_leaves_out_what_nobody_needs_to_read_the_table_unless_it_is_asked_for(format: str) -> None:
    table = _compared()
    assert table.analysis is not None
    notes = [*table.analysis.notes, SECOND_LOOK, "a log came twice"]
    table = replace(table, analysis=replace(table.analysis, notes=notes), margin=0.5)
    further = [Detail("study x"), "also of this name: y"]
    short, full = (render(table, format, further, full=full) for full in (False, True))
    for said in ("12 of 12 points finished", "also of this name: y", "not only the factor differs", "a log came twice"):
        assert said in short and said in full
    assert "margin 0.5" in short and "notes=full" in short and "notes=full" not in full
    for said in ("study x", "main effect", "standard deviation of a run", "moderated variances"):
        assert said not in short and said in full


def test_render_says_once_whom_verdicts_hold_for_and_why() -> None:
    table = _over_both(seeds=False)
    assert table.analysis is not None
    said = "verdicts hold for other seeds on these test images alone, since one run keeps none"
    table = replace(table, analysis=replace(table.analysis, notes=[*table.analysis.notes, said]))
    for whole in (False, True):
        text = render(table, "text", full=whole)
        assert text.count("verdicts hold for") == 1 and f"comparisons share alpha 0.05; {said}; no margin=" in text


def test_render_says_in_place_of_how_verdicts_were_made_that_there_are_none() -> None:
    table = _compared()
    assert table.analysis is not None
    none = [
        replace(each, verdict=replace(each.verdict, kind=Kind.undecided, low=None, high=None, p=None))
        for each in table.analysis.contrasts
    ]
    table = replace(table, analysis=replace(table.analysis, contrasts=none, comparisons=0))
    for whole in (False, True):
        text = render(table, "text", full=whole)
        assert "these runs allow no verdict" in text and "share alpha" not in text and "verdicts hold" not in text


def test_render_says_which_way_is_better() -> None:
    table = _compared()
    for better, said in ((True, "higher is better"), (False, "lower is better")):
        for format in ("text", "md", "latex"):
            assert f"({said})" in render(replace(table, higher_is_better=better), format)
    assert "is better" not in render(replace(table, title="", higher_is_better=None), "text")
    assert "higher is better" in table.title


@pytest.mark.parametrize(
    ("least", "most", "said"),
    [
        (None, None, ""),
        (None, 9, "9 seeds decide in 4 of 5 cases"),
        (9, 9, "9 seeds decide in 4 of 5 cases"),
        (18, 34, "18 to 34 seeds decide in 4 of 5 cases"),
        (300, 1001, "300 to more than 1,000 seeds decide in 4 of 5 cases"),
        (1001, 1001, "more than 1,000 seeds: the margin is too small for this spread"),
    ],
)
def test_the_seeds_that_decide_are_a_range(least: int | None, most: int | None, said: str) -> None:
    found = Verdict(Kind.undecided, 0.2, -1.0, 1.4, 0.6, 3, most, least)
    assert findings.needed(found) == said


@pytest.mark.parametrize(
    ("scale", "cell", "effect"),
    [
        (1e-2, "0.810 ± 0.025", "+0.030 [+0.0"),
        (2e-6, "1.620e-4 ± 0.050e-4", "+0.60e-5 ["),
        (2e7, "1,620,000,000 ± 50,000,000", "+60,000,000 ["),
        (1e-12, "8.10e-11 ± 0.25e-11", "e-12"),
    ],
)
def test_render_writes_numbers_of_any_size(scale: float, cell: str, effect: str) -> None:
    runs = [
        run(point(m, "none", s), 0.0, **{"metrics.reward": scale * (80 + s + 3 * (m == "cct_2_3x2"))})
        for m in AXES["model"]
        for s in (0, 1, 2)
    ]
    table = rewards(runs)
    for format in ("text", "md"):
        said = render(table, format)
        assert cell in said and effect in said and " 0.00 " not in said
