"""The rule that a sweep declared: what its tables go by, and what is said where a reader asks for another."""

import itertools
from pathlib import Path

import pandas as pd
import pytest

from ablate.design.sweep import SCOPES
from ablate.report import Reading, ReportError, records_table, report_records, report_table
from ablate.report.pages import html
from ablate.report.sources import records
from ablate.report.sources.records import Records
from ablate.report.table.analysis import comparisons
from ablate.report.table.declared import declared
from ablate.stats.crossed import Scope
from tests.unit.report.tables import AXES, DEFINITION, point, run

PLANNED = {"margin": 20.0, "alpha": 0.01, "scope": "these_images", "compare": ["model.positional"]}
FACTORS = ("model", "positional")


def _study(**changes):
    cells = list(itertools.product(*AXES.values()))
    seeds, noise = (0, 1, 2), [-1.0, 0.1, 0.9]
    runs = [run(point(*cell, s), 90 + noise[(s + number) % 3]) for number, cell in enumerate(cells) for s in seeds]
    baseline = {axis: levels[0] for axis, levels in AXES.items()}
    definition = {**DEFINITION, "baseline": baseline, "combinations": [list(cell) for cell in cells], **changes}
    return Records("pe-1", definition, "", pd.DataFrame(runs), {}, "made up")


def test_scopes_of_a_sweep_are_those_of_the_statistics():
    assert list(Scope) == list(SCOPES)


def test_declared_rule_holds_where_the_reader_says_nothing():
    assert declared({"axes": AXES, **PLANNED}, dict.fromkeys(PLANNED), FACTORS) == (PLANNED, [])
    assert declared({"axes": AXES}, dict.fromkeys(PLANNED), FACTORS) == ({}, [])


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("margin", 1.0, "margin is 1, and the sweep was planned with 20"),
        ("alpha", 0.05, "alpha is 0.05, and the sweep was planned with 0.01"),
        ("scope", Scope.population, "scope is population, and the sweep was planned with these_images"),
        ("compare", ["model"], "compare is model, and the sweep was planned with model.positional"),
        ("compare", ["model", "positional"],
         "compare is model and model.positional, and the sweep was planned with model.positional"),
    ],
)  # fmt: skip
def test_reader_s_own_rule_is_taken_and_said_to_be_another(key, value, said):
    table, _ = records_table(_study(**PLANNED), Reading(**{key: value}))
    assert [note for note in table.notes if "planned with" in note] == [said]
    assert said in report_records(_study(**PLANNED), reading=Reading(**{key: value}))


@pytest.mark.parametrize("key", PLANNED)
def test_reader_who_says_what_was_declared_is_told_nothing(key):
    same = {"compare": ["positional"], "scope": Scope.these_images}.get(key, PLANNED[key])
    table, _ = records_table(_study(**PLANNED), Reading(**{key: same}))
    assert not [note for note in table.notes if "planned with" in note]


@pytest.mark.parametrize("key", PLANNED)
def test_reader_of_a_study_that_declared_nothing_is_told_nothing(key):
    value = {"scope": Scope.population}.get(key, PLANNED[key])
    assert not [note for note in records_table(_study(), Reading(**{key: value}))[0].notes if "planned" in note]


def test_table_goes_by_margin_alpha_and_axes_that_were_declared():
    asked = Reading(margin=20.0, alpha=0.01, compare=["positional"], scope=Scope.these_images)
    by_record, by_reader = records_table(_study(**PLANNED))[0], records_table(_study(), asked)[0]
    assert by_record.analysis.contrasts == by_reader.analysis.contrasts
    assert {each.factor for each in by_record.analysis.contrasts} == {"positional"}
    assert {each.verdict.kind for each in by_record.analysis.contrasts} == {"equivalent"}
    assert (by_record.alpha, by_record.margin) == (0.01, 20.0) and "99 %" in by_record.title
    assert {each.verdict.kind for each in records_table(_study())[0].analysis.contrasts} == {"undecided"}


def test_page_draws_the_margin_that_was_declared():
    drawn = [html.files(_study(margin=margin))["figures/effects.svg"] for margin in (0.5, 50.0)]
    asked = html.files(_study(), Reading(margin=50.0))["figures/effects.svg"]
    assert len({len(each) for each in drawn}) == 2 and drawn[0] != drawn[1] and len(asked) == len(drawn[1])


@pytest.mark.parametrize("name", ["positional", "model.positional"])
def test_axis_to_compare_may_be_named_as_in_the_table_or_whole(name):
    table, _ = records_table(_study(), Reading(compare=[name]))
    assert {each.factor for each in table.analysis.contrasts} == {"positional"}


def test_axis_to_compare_that_there_is_not_is_one_sentence():
    with pytest.raises(
        ReportError, match=r"an axis in compare must be one of model, model\.positional; got 'postional'"
    ):
        records_table(_study(), Reading(compare=["postional"]))
    with pytest.raises(ReportError, match=r"an axis in compare must be one of a\.lr, b\.lr; got 'lr'"):
        definition = {**DEFINITION, "axes": {"a.lr": ["1"], "b.lr": ["1"]}}
        report_table(pd.DataFrame([run(point("a", "b", 0), 1.0)]), definition, Reading(compare=["lr"]))


@pytest.mark.parametrize("compare", [None, ["model"], ["model.positional"], ["model", "model.positional"]])
def test_comparisons_of_a_plan_are_those_of_its_table(compare):
    study = _study(**({"compare": compare} if compare else {}))
    assert comparisons(study.definition) == len(records_table(study)[0].analysis.contrasts)


def test_comparisons_of_a_zip_and_of_a_search():
    moved = {**_study().definition, "method": "zip", "combinations": [["vit_2_4", "learnable"], ["cct_2_3x2", "none"]]}
    assert comparisons(moved) == 1
    assert comparisons({**_study().definition, "method": "tuned"}) == 0


@pytest.mark.parametrize("name", ["pe_type-mnist5k", "tokenizer-mnist5k", "variants-mnist5k", "data_size-mnist5k"])
def test_comparisons_of_recorded_sweeps_are_those_of_their_tables(name):
    study = records.read(Path(__file__).parents[4] / "docs" / "records" / f"{name}.jsonl")
    assert comparisons(study.definition) == len(records_table(study)[0].analysis.contrasts) > 0


def test_a_declared_margin_that_no_results_differ_by_is_left_out_and_a_given_one_refused():
    study = _study(margin=200.0)
    table, _ = records_table(study)
    assert table.margin is None and [note for note in table.notes if "the margin, 200, is left out" in note]
    said = report_records(study)
    assert "no margin= in force" in said and "the margin, 200, is left out" in said
    with pytest.raises(ReportError, match="margin must be below the largest result"):
        records_table(study, Reading(margin=200.0))
