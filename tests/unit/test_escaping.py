"""Hostile names through every door: shown as they stand, obeyed by nothing."""

import csv
import io
import itertools
import json
import logging
import logging.config
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from matplotlib.figure import Figure
from omegaconf import OmegaConf
from PIL import Image
from rich.console import Console

from ablate import escaping
from ablate.cli import main as cli
from ablate.data import DataSpec, load
from ablate.escaping import visible
from ablate.report import Reading, ReportError, records_table, render
from ablate.report.pages import figures, frames, html
from ablate.report.sources.foreign import from_csv
from ablate.report.sources.records import Records
from ablate.sweep import output
from ablate.sweep.screen import SweepScreen
from ablate.tasks.classify import card, published_figures, token_maps

NAMES = (
    *("$\\write18{id}$", "\\input{/etc/passwd}", "50% & #1_{x}^~", "a^b", "}", "{", "*r", "\\", "$", "\\$b$"),
    *("=cmd|' /C calc'!A1", "+1+1", "-2+3", "@SUM(A1)", "\t=1", " =2", "\uff1d3", "-1.5", "+2e3", "'x", '"y"'),
    *("<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", "<!-- c -->", "&lt;b&gt;", "' onload='x"),
    *("[x](javascript:alert(1))", "![x](http://e/x.png)", "<javascript:alert(1)>", "[x]: javascript:y", "x](y)"),
    *("a|b", "\\|", "a\nb", "a\r\n\n# b", "`rm`", "*b*", "__c__", "~~d~~", "# h", "> q", "- l", "---", "1. n", "C #"),
    *("\x1b[2J\x1b]0;t\x07", "\u202eabc", "\u2028", "a\x85b", "\x9b2J", "[red]x[/]", "[/]", ":smile:", "{0}", "%s"),
    *("${oc.env:HOME}", "${", "???", "_x", "名前", "é", "x" * 300),
)  # fmt: skip
HIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def _study(names, factor="model.x$|<b>"):
    """Levels of these names, two seeds each, with costs, curves, a reason and a question."""
    rows, curves = [], {}
    for n, name in enumerate(names):
        for seed in range(3):
            run = f"r{n}-{seed}"
            rows.append(
                {
                    "run_id": run,
                    "status": "FINISHED",
                    "tags.ablate.point": json.dumps([[factor, name], ["seed", seed]]),
                    "tags.ablate.status": "diverged" if seed == 2 else "finished",
                    "tags.ablate.reason": f"{name} again" if seed == 2 else None,
                    "tags.ablate.study": name,
                    "tags.ablate.version.keras": name,
                    "tags.mlflow.source.git.commit": name,
                    "metrics.final.test_top1_percent": float("nan") if seed == 2 else 70.0 + n + seed / 7,
                    "metrics.cost.macs": 5000 * (n + 1),
                    "metrics.final.seconds": 90.0,
                    "params.data.source": name,
                    "params.data.root": f"/d/{name}",
                    "params.train.epochs": "2",
                    "params.model.dim": name,
                    "params.augment.kind": name,
                }
            )
            curves[run] = {"val/top1_percent": [50.0 + n, 70.0 + n], "train/loss": [2.0, 1.0]}
    definition = {"name": "pe; rm -rf ~", "question": "".join(names), "axes": {factor: list(names)}}
    definition |= {"baseline": {factor: names[0]}, "seeds": [0, 1, 2], "points": 3 * len(names)}
    return Records("pe-1", definition, "2026-01-01", pd.DataFrame(rows), curves, "pe.jsonl")


@pytest.fixture(scope="module")
def table():
    return records_table(_study(NAMES))


def test_text_holds_no_control_character_and_no_line_that_a_name_made(table):
    text, plain = render(table[0], "text", table[1]), [f"m{n}" for n in range(len(NAMES))]
    assert not HIDDEN.search(text)
    assert len(text.splitlines()) == len(render(records_table(_study(plain))[0], "text", table[1]).splitlines())
    assert "a\\nb" in text and "\\x1b[2J" in text and "\\u202eabc" in text


def test_text_aligns_wide_and_combining_characters():
    lines = render(records_table(_study(["名前", "e\u0301", "plain"], "axis"))[0], "text").splitlines()[5:8]
    assert [line.partition("7")[0] for line in lines] == ["名前   ", "e\u0301      ", "plain  "]


def test_csv_holds_no_formula_and_numbers_stay_numbers(table, tmp_path):
    text = render(table[0], "csv")
    head, *rows = csv.reader(io.StringIO(text))
    assert len(rows) == len(NAMES) and {len(row) for row in rows} == {len(head)}
    for cell in (cell for row in (head, *rows) for cell in row):
        number = re.fullmatch(r"[+-]?[\d.]+(e[+-]?\d+)?", cell)
        assert number or not cell.lstrip().startswith(("=", "+", "-", "@", "\uff1d")), cell
        assert not HIDDEN.search(cell) and "\n" not in cell
    levels = [row[0] for row in rows]
    assert levels == pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False).iloc[:, 0].tolist()
    assert "-1.5" in levels and "+2e3" in levels and "'=cmd|' /C calc'!A1" in levels
    (tmp_path / "t.csv").write_text(text)
    found = from_csv(tmp_path / "t.csv", [table[0].factors[0]], "mean", "", {})
    assert list(found.definition["axes"].values()) == [[visible(name) for name in NAMES]]


_CELLS = st.one_of(st.text(max_size=12), st.text(alphabet="=+-@,;|\t\"' 1.5ae(!\ufeff\uff1d", max_size=12))


@given(_CELLS)
def test_csv_gives_back_every_text_as_it_was_written(text):
    assert escaping.csv_text(escaping.csv_cell(text)) == visible(text)
    assert escaping.csv_text(escaping.csv_row([text, "=1", 2])[0]) == visible(text)


@pytest.mark.parametrize("cell", ["a;=1+1", "a\t=1", "a|=1", "a,=1", 'a; "=1', "\ufeff=1", ";;-2", "x;-2"])
def test_csv_puts_an_apostrophe_before_a_formula_that_another_split_would_make(cell):
    assert escaping.csv_cell(cell).count("'") == 1 or "\t" in cell
    assert escaping.csv_cell("a;b") == "a;b" and escaping.csv_cell("-1.5e3") == "-1.5e3"


@given(st.lists(st.lists(st.one_of(_CELLS, st.floats(), st.none()), min_size=1, max_size=4), min_size=1, max_size=3))
def test_csv_holds_no_formula_wherever_it_is_split(rows):
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(map(escaping.csv_row, rows))
    texts = out.getvalue().splitlines()
    naive = [piece for mark in ",;|\t" for line in texts for piece in line.split(mark)]
    read = [cell for mark in ",;|\t" for row in csv.reader(texts, delimiter=mark) for cell in row]
    for piece in (piece.lstrip(' \u3000\xa0\ufeff"') for piece in (*naive, *read)):
        calls = re.search(r"[^\w\s.,;:%/+\-\"]", piece)  # what is left is a number beside plain words
        assert not piece.startswith(("=", "@", "\uff1d")), (piece, texts)
        assert not piece.startswith(("+", "-")) or (re.match(r"[+-](inf|\d|\.\d)", piece) and not calls), (piece, texts)


def _flat(tokens):
    for token in tokens:
        yield token
        yield from _flat(token.children or ())


def _shown(inline):
    return "".join(child.content for child in inline.children)


def test_markdown_holds_no_markup_of_a_name(table):
    text = render(table[0], "md", [*table[1], *NAMES])
    tokens = MarkdownIt().enable(["table", "strikethrough"]).parse(text)
    kinds = {token.type.removesuffix("_open").removesuffix("_close") for token in _flat(tokens)}
    told = {"heading", "inline", "text", "paragraph", "table", "thead", "tbody", "tr", "th", "td"}
    assert kinds == told | {"bullet_list", "list_item"}
    inlines = [token for token in tokens if token.type == "inline"]
    cells = [_shown(after) for token, after in itertools.pairwise(tokens) if token.type == "td_open"]
    head = [token.type for token in tokens[: [token.type for token in tokens].index("thead_close")]]
    width = head.count("th_open")
    assert cells[: width * len(NAMES) : width] == [visible(name).strip() for name in NAMES]
    notes = [_shown(each) for each in inlines[-len(NAMES) :]]
    assert notes == [visible(name).strip() for name in NAMES]


def test_markdown_code_is_code_whatever_it_holds():
    for name in NAMES:
        (inline,) = (token for token in MarkdownIt().parse(f"a {escaping.markdown_code(name)} b") if token.children)
        assert [child.content.strip() for child in inline.children] == ["a", visible(name).strip(), "b"], name


def test_latex_holds_no_command_of_a_name(table):
    commands = {"textbackslash", "textasciitilde", "textasciicircum", "textbar", "S", "ldots", "pm", "dagger", "circ"}
    for name in (*NAMES, "<±†°[]|…²>"):
        said = escaping.latex(name)
        assert set(re.findall(r"\\([A-Za-z]+)", said)) <= commands, said
        bare = re.sub(r"\\[A-Za-z]+\{\}|\$\^?(<|>|2|\{\\circ\}|\\[a-z]+|-)\$|\{[\[\]*]\}|\\[&%$#_{}]", "", said)
        assert not re.search(r"[\\&%$#_{}^~]", bare), said
    text = render(table[0], "latex", table[1])
    assert not HIDDEN.search(text) and "\\write" not in text and "\\input{" not in text.replace("inputenc", "")
    rows = text.split("\\midrule\n")[1].split("\n\\bottomrule")[0].splitlines()
    assert len(rows) == len(NAMES)
    assert len({len(re.findall(r"(?<!\\)&", row)) for row in rows}) == 1


def test_json_is_the_names_themselves_and_shows_no_terminal_anything(table):
    text = render(table[0], "json")
    assert not HIDDEN.search(text)
    assert [*json.loads(text)["rows"][0]["levels"]] == list(table[0].factors)
    assert [next(iter(row["levels"].values())) for row in json.loads(text)["rows"]] == list(NAMES)


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.links, self.cells = set(), set(), [], []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {key for key, _ in attrs}
        self.links += [value for key, value in attrs if key in ("src", "href") and not value.startswith("#")]
        self.cells += [""] * (tag == "td")

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data


@pytest.mark.parametrize("start", range(0, len(NAMES), 16))
def test_page_and_its_figures_hold_no_markup_of_a_name(start):
    names = NAMES[start : start + 16]
    made = html.files(_study(names))
    parser = _Page()
    parser.feed(made.pop("report.html"))
    parser.close()
    plain = _Page()
    plain.feed(html.page(_study([f"m{n}" for n in range(len(names))])))
    assert parser.tags == plain.tags and parser.attributes == plain.attributes and parser.links == ["data:,"]
    assert [cell for cell in parser.cells if cell in map(visible, names)][: len(names)] == list(map(visible, names))
    for drawing in made.values():
        assert not HIDDEN.search(drawing)
        said = [text.text for text in ElementTree.fromstring(drawing).iter() if text.tag.endswith("text")]
        assert len(said) > 4
    said = "\n".join(ElementTree.fromstring(made["figures/runs.svg"]).itertext())
    assert all(visible(name)[:40].strip() in said for name in names)


def test_page_shows_a_command_that_a_shell_takes_as_one_word():
    assert "<pre>python -m ablate +sweep=&#x27;pe; rm -rf ~&#x27;</pre>" in html.page(_study(("a", "b")))


@pytest.mark.parametrize("along", ["first", "second"])
def test_figures_of_notebooks_draw_any_name(along):
    axes = {"first": list(NAMES[:12]), "second": ["$1$", "b\nc"]}
    rows = []
    for n, (one, two) in enumerate((one, two) for one in axes["first"] for two in axes["second"]):
        for seed in range(2):
            point = json.dumps([["first", one], ["second", two], ["seed", seed]])
            rows.append({"run_id": f"{n}-{seed}", "status": "FINISHED", "tags.ablate.status": "finished",
                         "tags.ablate.point": point, "metrics.final.test_top1_percent": n + seed / 2})  # fmt: skip
    study = Records(
        "s", {"name": "s", "question": "$x$ a\nb", "axes": axes, "seeds": [0, 1]}, "", pd.DataFrame(rows), {}, "s"
    )
    runs, factors = frames.tidy(study)
    canvas = Figure(figsize=(9, 9))
    figures.response(runs, canvas.subplots(), along, factors, "$y$")
    canvas.suptitle(published_figures.figure_title(study))
    canvas.savefig(io.BytesIO(), format="svg")
    assert published_figures.figure_title(study).splitlines()[0] == "\\$x\\$ a b"


def test_galleries_draw_any_class_and_rows_name():
    images, weights = np.zeros((2, 8, 8, 1), "uint8"), np.full((2, 4), 0.25)
    labels, predicted = np.array([0, 1]), np.array([1, 0])
    for classes in zip(NAMES[::2], NAMES[1::2], strict=False):
        canvas = Figure(figsize=(4, 4))
        token_maps.gallery(
            canvas.subplots(2, 2, squeeze=False), images, {classes[0]: weights}, (2, 2), labels, predicted, classes
        )
        canvas.savefig(io.BytesIO(), format="svg")
    canvas = Figure(figsize=(4, 4))
    token_maps.mean_maps(canvas.subplots(1, 2, squeeze=False), weights, (2, 2), labels, ("$\\write18{id}$", "\x1b"))
    canvas.savefig(io.BytesIO(), format="svg")


def test_card_holds_no_markup_of_a_name():
    for number, name in enumerate(NAMES):
        text = card.from_records(_study(NAMES), f"r{number}-0", license=name)
        _, head, body = text.split("---\n", 2)
        assert not HIDDEN.search(text) and "\n---" not in head
        kinds = {token.type for token in _flat(MarkdownIt().enable("table").parse(body))}
        assert not kinds & {"html_inline", "html_block", "link_open", "image", "em_open", "strong_open", "code_block"}


def test_screen_shows_labels_and_outcomes_as_they_stand():
    for terminal in (True, False):
        console = Console(file=io.StringIO(), force_terminal=terminal, width=900, highlight=False, color_system=None)
        screen = SweepScreen(len(NAMES), 0, workers=1, console=console)
        for number, name in enumerate(NAMES, start=1):
            screen.of(0).start(name)
            screen.of(0).epoch(name)
            console.print(screen._render())
            screen.of(0).end("done", failed=False)
            assert f"[{number}/{len(NAMES)}] {visible(name)}: done\n" in console.file.getvalue()
        assert not HIDDEN.search(console.file.getvalue())


def test_progress_of_decoding_shows_a_folders_name_as_it_stands(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    root = tmp_path / "a[red]b\x1b[2J"
    for part in ("train", "test"):
        for name in ("cat", "[bold]"):
            (root / part / name).mkdir(parents=True)
            Image.linear_gradient("L").resize((4, 4)).save(root / part / name / "0.png")
    splits = load(DataSpec(source="folder", root=str(root), val_fraction=0.0, cache=str(tmp_path / "cache")))
    assert splits.classes == ("[bold]", "cat")
    assert "Decoding a[red]b\\x1b[2J" in re.sub("\x1b\\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)


def test_log_lines_hold_no_password():
    error = ValueError("train.epochs must be of type int, got 'http://me:hunter2@h'")
    record = logging.LogRecord("a", logging.ERROR, "", 1, "at %s", ("postgresql://me:hunter2@db",), (None, error, None))
    told = output.LogFormatter("%(message)s").format(record)
    assert "hunter2" not in told and told.startswith("at postgresql://me:***@db\nValueError: train.epochs")


def test_log_lines_hold_no_control_character():
    record = logging.LogRecord("a", logging.WARNING, "", 1, "%s", ("\x1b[2J\u202eb\nc",), None)
    assert output.LogFormatter("%(message)s").format(record) == "\\x1b[2J\\u202eb\nc"
    told = OmegaConf.load(Path(cli.__file__).parents[2] / "conf" / "hydra" / "job_logging" / "file.yaml")
    settings = OmegaConf.to_container(told.formatters)
    formatter = logging.config.DictConfigurator({"version": 1}).configure_formatter(settings["simple"])
    assert formatter.format(record).endswith("[WARNING] - \\x1b[2J\\u202eb\nc")


def test_errors_of_the_command_line_hold_no_control_character(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["report", "\x1b[2J\u202e.jsonl"])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and "\\x1b[2J\\u202e.jsonl" in said and not HIDDEN.search(said)


def test_plan_and_help_show_a_sweeps_words_as_they_stand(write_sweep, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'none.db'}")
    write_sweep(
        'question: "Which\\e[31m pooling?"\nbase: {model: tiny, data: digits}\n'
        'axes: {model.pooling: [seqpool, mean]}\nwhere: [{when: {model.pooling: mean}, reason: "too\\x07 loud"}]\n'
    )
    for words in (["plan", "+sweep=mine"], ["--help"]):
        with pytest.raises(SystemExit) as ended:
            cli.main(words)
        told = capsys.readouterr()
        assert ended.value.code == 0, told.err
        assert "Which\\x1b[31m pooling?" in told.out and not re.search(r"[\x00-\x09\x0b-\x1f]", told.out)


def test_metric_and_columns_of_anybodys_runs_are_escaped_too(tmp_path):
    path = tmp_path / "runs.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(
            [["=f", "$m$|<b>"], *([name, str(n)] for n, name in enumerate(NAMES[:9]) for _ in "ab")]
        )
    found = from_csv(path, ["=f"], "$m$|<b>", "", {})
    with pytest.raises(ReportError, match=r"the name \$m\$\|<b> does not say") as stop:
        records_table(found, Reading("$m$|<b>"))
    assert not HIDDEN.search(str(stop.value))
    reading = Reading("$m$|<b>", higher_is_better=True)
    table, notes = records_table(replace(found, source="a\x1bb"), reading)
    for format in ("text", "md", "latex", "csv", "json"):
        assert not HIDDEN.search(render(table, format, notes)), format
    assert render(table, "csv").startswith("'=f,metric,")
    parser = _Page()
    parser.feed(html.page(found, reading))
    assert "b" not in parser.tags
