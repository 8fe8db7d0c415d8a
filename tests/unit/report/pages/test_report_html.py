"""The report page: one file that fetches nothing, says what the table says, and shows no text as markup."""

import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pandas as pd

from ablate.report import Reading, report_records
from ablate.report.pages import html
from ablate.report.sources.foreign import from_rows
from ablate.report.sources.records import Records

VOID = {"meta", "link", "br"}


def _runs(levels=("small", "<script>alert(1)</script>"), seeds=4):
    rows = [
        {"model": level, "top1": str(60 + 20 * n + seed), "seed": str(seed)}
        for n, level in enumerate(levels)
        for seed in range(seeds)
    ]
    return from_rows(rows, ["model"], "top1", "seed", {}, name="a & b", source="runs.csv")


def _ours():
    """Two levels and two seeds, with costs and curves, as a sweep records them."""
    rows, curves = [], {}
    for n, level in enumerate(("learnable", "none")):
        for seed in range(2):
            run = f"r{n}{seed}"
            rows.append(
                {
                    "run_id": run,
                    "status": "FINISHED",
                    "tags.ablate.point": f'[["model.positional","{level}"],["seed",{seed}]]',
                    "tags.ablate.status": "finished",
                    "tags.ablate.version.keras": "3.15.1",
                    "tags.mlflow.source.git.commit": "0123abc",
                    "metrics.final.test_top1_percent": 70.0 + 9 * n + seed,
                    "metrics.cost.params": 1000 * (n + 1),
                    "metrics.cost.macs": 5000 * (n + 1),
                    "metrics.final.seconds": 90.0,
                    "params.train.epochs": "2",
                }
            )
            curves[run] = {"val/top1_percent": [50.0 + n, 70.0 + n], "train/loss": [2.0, 1.0]}
    axes = {"model.positional": ["learnable", "none"]}
    definition = {"name": "pe", "question": "Does it matter?", "axes": axes, "seeds": [0, 1], "points": 4}
    definition["baseline"] = {"model.positional": "learnable"}
    return Records("pe-1", definition, "2026-01-01", pd.DataFrame(rows), curves, "pe.jsonl")


class _Balance(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.seen, self.links = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.links += [value for key, value in attrs if key in ("src", "href") and not value.startswith("#")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def _parsed(text):
    parser = _Balance()
    parser.feed(text)
    assert parser.open == []
    return parser


def test_page_fetches_nothing_and_escapes_what_runs_say():
    text = html.page(_runs(), Reading("top1"))
    parsed = _parsed(text)
    assert "script" not in parsed.seen
    assert parsed.links == ["data:,"]
    assert "@import" not in text and "url(h" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text and "a &amp; b" in text


def test_page_holds_verdicts_table_figures_cost_and_origin():
    text = html.page(_ours())
    titles = re.findall("<h2>(.*?)</h2>", text)
    assert titles == ["Verdicts", "Table", "Figures", "Cost", "Notes and audit", "How to reproduce"]
    assert len(re.findall("<figure>", text)) == 6  # effects, runs, two curves, MACs, parameters
    assert "positional = none instead of learnable" in text
    assert "0123abc" in text and "keras 3.15.1" in text and "python -m ablate +sweep=pe" in text
    assert "0.10 hours" in text


def test_page_of_runs_without_curves_costs_and_variance_still_stands():
    text = html.page(_runs(levels=("only",), seeds=1), Reading("top1"))
    _parsed(text)
    assert "Nothing is compared" in text and "<h2>Cost</h2>" not in text


def test_page_figures_take_their_colours_from_the_page_and_share_no_names():
    text = html.page(_ours())
    drawings = re.findall("<svg.*?</svg>", text, flags=re.DOTALL)
    names = [set(re.findall(' id="([^"]*)"', drawing)) for drawing in drawings]
    for drawing in drawings:
        ElementTree.fromstring(drawing)
        assert "currentColor" in drawing and "#010203" not in drawing and "<metadata" not in drawing
    for n, mine in enumerate(names):
        assert not any(mine & other for other in names[n + 1 :])


def test_page_is_the_same_for_the_same_records():
    assert html.page(_ours()) == html.page(_ours())


def test_page_of_many_cells_draws_what_can_be_read_and_says_what_it_leaves_out():
    text = html.page(_runs(levels=[f"level {n:02d}" for n in range(60)], seeds=2), Reading("top1"))
    _parsed(text)
    captions = re.findall("<figcaption>(.*?)</figcaption>", text)
    assert "48 of 59 comparisons, those with the largest effects." in captions[0]
    assert captions[1].endswith("48 of 60 cells, those with the highest means.")
    assert "<summary>all 59 comparisons</summary>" in text and text.count("<li class=") == 59
    effects, points = re.findall("<svg.*?</svg>", text, flags=re.DOTALL)
    assert "level 59" in effects and ">level 01<" not in effects and ">level 01<" not in points


def test_page_draws_the_first_of_comparisons_whose_effects_are_equal():
    levels = [f"level {n:02d}" for n in range(60)]
    rows = [
        {"model": level, "top1": str(60 + 10 * (n % 3) + seed), "seed": str(seed)}
        for n, level in enumerate(levels)
        for seed in range(2)
    ]
    text = html.page(from_rows(rows, ["model"], "top1", "seed", {}, name="a", source="runs.csv"), Reading("top1"))
    drawn = set(re.findall(r">(level \d\d)<", re.findall("<svg.*?</svg>", text, flags=re.DOTALL)[0]))
    zero = levels[3::3]  # no different from the baseline, level 00; of 59 effects 40 are larger, and 48 are drawn
    assert drawn >= set(levels[1::3] + levels[2::3]) and drawn & set(zero) == set(zero[:8])


def _csv(*rows):
    runs = [dict(zip(("model", "acc", "seed"), row.split(","), strict=True)) for row in rows]
    return from_rows(runs, ["model"], "acc", "seed", {}, name="a", source="a.csv")


def test_page_calls_runs_that_nobody_recorded_not_audited():
    found = html.page(_runs(), Reading("top1"))
    assert "not audited: these records hold no configuration" in found and "differ in nothing but" not in found
    assert "\nnot audited: these records hold no configuration" in report_records(
        _runs(), "text", Reading("top1"), full=True
    )
    assert "differ in nothing but the declared factor" in html.page(_ours())
    alone = html.page(_runs(levels=("only",)), Reading("top1"))
    assert "audit" not in alone.replace("Notes and audit", "")


def test_page_marks_verdicts_whose_sides_differ_in_more_and_says_in_what():
    runs = ("a,90.1,0", "a,90.4,1", "a,90.2,2", "b,91.1,0", "b,91.4,1", "b,91.2,2", "c,88,0", "c,nan,1", "c,87.8,2")
    text = html.page(_csv(*runs), Reading("acc"))
    (lead,) = re.findall("<p class=lead>(.*?)</p>", text)
    assert lead.startswith("Against model = a: b ") and "; c hurts ‡ (‡ not only model differs)." in lead
    assert "‡" not in lead.partition("; c")[0]
    told = {kind: line for kind, line in re.findall("<li class=(.*?)>(.*?)</li>", text)}
    assert "model = c instead of a hurts ‡: " in told["hurts"]
    assert told["hurts"].endswith(
        "; ‡ not only model differs: seeds (0, 2 against 0, 1, 2), status (2 finished, 1 diverged against 3 finished)."
    )
    assert "<li>‡ not only the factor differs: seeds" in text and "differ in nothing but" not in text


def test_a_page_of_many_cells_shows_those_with_the_lowest_errors():
    rows = [{"model": f"m{n:02d}", "error": str(n + seed / 10)} for n in range(60) for seed in range(2)]
    found = from_rows(rows, ["model"], "error", "", {}, name="a", source="a.csv")
    for better, which, shown, hidden in ((None, "lowest", "m05", "m55"), (True, "highest", "m55", "m05")):
        said = html.files(found, Reading("error", higher_is_better=better))
        assert f"cells, those with the {which} means" in said["report.html"]
        drawn = said["figures/runs.svg"]
        assert f">{shown}<" in drawn and f">{hidden}<" not in drawn
