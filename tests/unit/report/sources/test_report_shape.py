"""The shape of a records file: whatever its keys hold, it is a report or one sentence."""

import collections
import contextlib
import functools
import gzip
import json
import math
from pathlib import Path

import pandas as pd
import pytest

from ablate.design.sweep import Method
from ablate.report import Reading, ReportError, records_table, render, report_records
from ablate.report.pages import frames, html
from ablate.report.sources import records
from ablate.report.table import equal_compute
from ablate.tasks.classify import card, published, published_figures, published_text

OURS = Path(__file__).parents[4] / "docs" / "records"
DEEP = functools.reduce(lambda inside, _: [inside], range(40), [])
WRONG = (5, None, [], {}, "x", [1], math.nan, DEEP, -1, 10**30, True)
WORSE = ("", "inf", "-inf", 1.5, 1e149, 1e308, {"a": 1}, "²", "9" * 5000, [[]], [None], ["a"], {"a": []}, "\ud800",
         "a\nb", "$\\write18{id}$", [1e150], "[[\"seed\",0]]")  # fmt: skip
_ALIKE = ("params.", "metrics.train/", "metrics.val/", "metrics.cost.m", "tags.ablate.version.", "train/t", "val/l")
_GONE = object()


def _lines(name, runs, keep=lambda key: True):
    """A real file's first lines, as data."""
    head, *rest = (json.loads(line) for line in (OURS / f"{name}.jsonl").read_text("utf-8").splitlines()[: runs + 1])
    head["runs"] = len(rest)
    head["shared"] = {key: value for key, value in head["shared"].items() if keep(key)}
    return [head, *({key: value for key, value in run.items() if keep(key)} for run in rest)]


def _places(value, depth=4):
    """Ways to everything in a mapping: of a list its first two, of keys of one kind the first."""
    if not depth or not isinstance(value, dict | list):
        return
    met = set()
    for key, inside in value.items() if isinstance(value, dict) else list(enumerate(value))[:2]:
        kind = next((start for start in _ALIKE if str(key).startswith(start)), key)
        if kind not in met:
            met.add(kind)
            yield (key,)
            yield from ((key, *rest) for rest in _places(inside, depth - 1))


def _changed(whole, way, value):
    copied = json.loads(json.dumps(whole))
    inside = functools.reduce(lambda outer, key: outer[key], way[:-1], copied)
    if value is _GONE:
        del inside[way[-1]]
    else:
        inside[way[-1]] = value
    return copied


def _mutants(lines, values):
    """Each key of the study and of a run, points and levels within their texts included, removed or replaced."""
    for number in (0, 1):
        for way in _places(lines[number]):
            for value in (_GONE, *values):
                yield [*lines[:number], _changed(lines[number], way, value), *lines[number + 1 :]]
    for key in {"tags.ablate.point", "tags.ablate.levels"} & lines[1].keys():
        inner = json.loads(lines[1][key])
        for way in _places(inner):
            for value in (_GONE, *values):
                yield [lines[0], {**lines[1], key: json.dumps(_changed(inner, way, value))}, *lines[2:]]


def _outcomes(tmp_path, lines, values, use):
    """How many mutants were taken, and how many refused; ``use`` may refuse by a sentence of ours alone."""
    path, told = tmp_path / "mutant.jsonl", collections.Counter()
    for mutant in _mutants(lines, values):
        path.write_text("\n".join(map(json.dumps, mutant)) + "\n")
        try:
            use(records.read(path))
            told["taken"] += 1
        except ValueError as error:
            assert type(error).__module__.startswith("ablate"), (error, mutant)
            assert "\n" not in str(error) and len(str(error)) < 900
            told["refused"] += 1
    return told


@pytest.mark.parametrize("name", ["families-cifar10", "pareto-mnist5k"])
def test_a_file_whose_keys_hold_anything_is_a_report_or_one_sentence(tmp_path, name):
    def use(found):
        table, notes = records_table(found)
        for format in ("text", "csv"):
            render(table, format, notes)

    lines = _lines(name, 2, keep=lambda key: not key.startswith("params.model.o"))
    values = WRONG[:9] if name.startswith("families") else (5, None)
    told = _outcomes(tmp_path, lines, values, use)
    assert told["taken"] > 50 and told["refused"] > 100


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "values"), [("families-cifar10", (*WRONG, *WORSE)), ("pareto-mnist5k", (*WRONG[:3], *WORSE[4:6]))]
)
def test_a_file_whose_keys_hold_anything_is_written_in_every_form_or_one_sentence(tmp_path, name, values):
    def use(found):
        table, notes = records_table(found, Reading(margin=1.0))
        for format in ("text", "md", "latex", "csv", "json"):
            render(table, format, notes)
        runs, _ = frames.tidy(found)
        frames.curves(found, runs), published_figures.figure_title(found), equal_compute.readable(found)
        published_text.markdown(published.layout("table1", [found]))
        with contextlib.suppress(card.CardError):
            card.from_records(found, found.frame["run_id"].iloc[0])
        with contextlib.suppress(ReportError):
            report_records(found, "text", Reading(at="epoch:1"))
        records.write(found, tmp_path / "again.jsonl")
        records.read(tmp_path / "again.jsonl")

    assert _outcomes(tmp_path, _lines(name, 6), values, use)["refused"] > 300
    _outcomes(tmp_path, _lines(name, 4), ("x", 1e149, "$\\write18{id}$"), lambda found: html.page(found))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ((1, "tags.ablate.point", 5), "tags.ablate.point in line 2 must be text, got 5"),
        ((1, "tags.ablate.point", "[5]"), r"tags.ablate.point in line 2 must be a list of pairs \[axis, level\]"),
        ((0, "definition", None), "definition in line 1 must be a mapping, got null"),
        ((1, "metrics.val/loss", [1]), r"metrics.val/loss in line 2 must be a number, got \[1\]"),
        ((1, "curves", None), "curves in line 2 must be a mapping, got null"),
        ((1, "curves", {"val/loss": [1, "x"]}), "curves.val/loss in line 2 must be a list of numbers"),
        ((1, "metrics.x", math.nan), "line 2 holds NaN, which is no JSON"),
        ((1, "params.x", DEEP), "line 2 nests more than 16 lists and mappings"),
        ((1, "metrics.x", 10**30), "line 2 holds a whole number of more than 64 bits"),
        ((1, "params.x", "\ud800"), "line 2 holds text that is no Unicode"),
        ((1, "metrics.a$b", 1), r"must be params.…, metrics.…, tags.…, .* got 'metrics.a\$b'"),
        ((1, "run_id", "same"), None),
        ((2, "run_id", "same"), None),
        ((0, "study", "x' or '1"), "study in line 1 must be of at most 200 letters, digits"),
    ],
)
def test_a_file_that_is_wrong_names_line_key_and_what_must_hold(tmp_path, change, said):
    lines, path = _lines("families-cifar10", 3), tmp_path / "x.jsonl"
    number, key, value = change
    lines[number][key] = value
    path.write_text("\n".join(map(json.dumps, lines)))
    if said is None:
        assert len(records.read(path).frame) == 3
        lines[2 if number == 1 else 1][key] = value
        path.write_text("\n".join(map(json.dumps, lines)))
        said = "run_id in line 3 must be the id of no other run, got 'same'"
    with pytest.raises(records.RecordsError, match=said) as refused:
        records.read(path)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("method", Method)
def test_a_file_may_name_every_method_that_a_sweep_may_have(tmp_path, method):
    lines, path = _lines("families-cifar10", 3), tmp_path / "x.jsonl"
    lines[0]["definition"]["method"] = str(method)
    path.write_text("\n".join(map(json.dumps, lines)))
    assert records.read(path).definition["method"] == method


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        *(("margin", value, "a number above 0") for value in (0, -1, "1", True, None)),
        *(("alpha", value, "a number between 0 and 0.5") for value in (0, 0.5, 5, "x", True)),
        *(("scope", value, "one of population, these_images") for value in ("all", 3, ["population"])),
        ("compare", ["model", "lr"], r"names of axes \(model\), got 'lr'"),
        ("compare", "model", "a list"),
    ],
)
def test_a_file_whose_declared_rule_is_none_is_one_sentence(tmp_path, key, value, said):
    lines, path = _lines("families-cifar10", 3), tmp_path / "x.jsonl"
    lines[0]["definition"][key] = value
    path.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(records.RecordsError, match=f"definition.{key} in line 1 must be {said}"):
        records.read(path)


def test_a_file_keeps_the_rule_that_was_declared(tmp_path):
    lines, path = _lines("families-cifar10", 6), tmp_path / "x.jsonl"
    lines[0]["definition"] |= {"margin": 20.0, "alpha": 0.01, "scope": "these_images", "compare": ["model"]}
    path.write_text("\n".join(map(json.dumps, lines)))
    records.write(records.read(path), tmp_path / "again.jsonl")
    table, _ = records_table(records.read(tmp_path / "again.jsonl"))
    assert (table.margin, table.alpha) == (20.0, 0.01)


def test_a_line_that_names_a_key_twice_or_nests_without_end_is_one_sentence(tmp_path):
    head, *rest = (OURS / "families-cifar10.jsonl").read_text("utf-8").splitlines()
    path = tmp_path / "x.jsonl"
    for line, said in (('{"run_id":"a","run_id":"b"}', "line 2 holds the key 'run_id' twice"),
                       ("[" * 100_000, "line 2 nests more than 16"), ("5", "line 2 is no mapping"),
                       (rest[0][:200], "line 2 is cut off or no JSON")):  # fmt: skip
        path.write_text("\n".join([head, line, *rest[1:]]))
        with pytest.raises(records.RecordsError, match=said):
            records.read(path)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda text: text.encode("utf-16"), "it is text in UTF-16: save it in UTF-8"),
        (lambda text: text.encode() + b"\xff", "it is no text in UTF-8"),
        (gzip.compress, "it is compressed .gzip.: unpack it first"),
        (lambda text: b"", "it is empty"),
        (lambda text: b"\n\n", "line 1 is cut off or no JSON .Expecting value"),
        (lambda text: text.encode()[:-500], "line 6 is cut off or no JSON"),
    ],
)
def test_a_file_in_another_encoding_or_cut_off_is_one_sentence(tmp_path, made, said):
    text, path = (OURS / "families-cifar10.jsonl").read_text("utf-8"), tmp_path / "x.jsonl"
    path.write_bytes(made(text.encode() if made is gzip.compress else text))
    with pytest.raises(records.RecordsError, match=said):
        records.read(path)
    with pytest.raises(records.RecordsError, match="it is a folder"):
        records.read(tmp_path)


def test_a_file_with_a_byte_order_mark_other_ends_of_lines_or_odd_ones_in_a_string_reads_the_same(tmp_path):
    text, path = (OURS / "families-cifar10.jsonl").read_text("utf-8"), tmp_path / "x.jsonl"
    wanted = records.read(OURS / "families-cifar10.jsonl").frame
    path.write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
    pd.testing.assert_frame_equal(records.read(path).frame, wanted)
    path.write_text(text.replace("Intel(R)", "a\u2028b\x85c"), "utf-8")  # ends of lines to str.splitlines
    assert "a\u2028b\x85c" in records.read(path).frame["tags.ablate.cpu"].iloc[0]


def test_infinite_metrics_read_as_numbers_and_enter_no_mean(tmp_path):
    lines, path = _lines("families-cifar10", 4), tmp_path / "x.jsonl"
    lines[1]["metrics.final.test_top1_percent"] = "inf"
    path.write_text("\n".join(map(json.dumps, lines)))
    found = records.read(path)
    assert found.frame["metrics.final.test_top1_percent"].iloc[0] == math.inf
    assert "1 diverged" in report_records(found)
    records.write(found, tmp_path / "again.jsonl")
    assert '"inf"' in (tmp_path / "again.jsonl").read_text()
