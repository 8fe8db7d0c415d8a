"""A study's records as frames, for figures and notebooks: rows by hand."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from ablate.report import Reading, records_table
from ablate.report.pages import frames
from ablate.report.sources.records import Records
from ablate.stats.contrasts import analyse
from ablate.stats.design import Observation


def _run(n, point, **more):
    return {
        "run_id": f"r{n}",
        "status": "FINISHED",
        "tags.ablate.status": "finished",
        "tags.ablate.point": json.dumps(point),
        "params.data.source": "mnist5k",
        "params.train.epochs": "4",
        "metrics.cost.macs": 10.0,
        "metrics.data.train_images": 100.0,
        **more,
    }


def _records(rows, definition, curves=None):
    told = {"name": "made", "method": "grid", "seeds": [0, 1], "points": len(rows), **definition}
    return Records("made-1", told, "", pd.DataFrame(rows), curves or {}, "made up")


def chain(values, **more):
    """A study whose cells are a chain, so many runs each."""
    rows = [
        _run(f"{level}{seed}", [["model.convs", level], ["seed", seed]], **{"metrics.final.test_top1_percent": value})
        for level, several in values.items()
        for seed, value in enumerate(several)
    ]
    return _records(
        rows, {"axes": {"model.convs": list(values)}, "baseline": {"model.convs": next(iter(values))}, **more}
    )


def test_tidy_names_the_cells_of_a_sweep_by_its_axes_last_words():
    runs, factors = frames.tidy(chain({"2": [50, 52], "1": [70.0]}))
    assert factors == ("convs",)
    assert list(runs["cell"]) == ["2", "2", "1"] and list(runs["value"]) == [50, 52, 70]
    assert list(runs["macs"]) == [10] * 3 and list(runs["repeat"]) == [0] * 3


def test_tidy_gives_every_finished_trial_of_a_search_with_what_it_drew():
    metric = "final.val_top1_percent"
    levels = [{"model.tokenizer": "conv", "model.convs": 2}, {"model.tokenizer": "patch"}, {"model.tokenizer": "conv"}]
    rows = [
        _run(n, [["trial", n], ["seed", 0]], **{f"metrics.{metric}": 60.0 + n, "tags.ablate.levels": json.dumps(each)})
        for n, each in enumerate(levels)
    ]
    rows[2]["tags.ablate.status"] = "diverged"
    searched = {"model.tokenizer": ["patch", "conv"], "model.convs": {"low": 1, "high": 3}}
    definition = {"method": "optuna", "axes": {}, "searched": searched, "objectives": []}
    runs, factors = frames.tidy(_records(rows, definition), metric=metric)
    assert factors == ("tokenizer", "convs")
    assert runs[["cell", "tokenizer", "convs", "value"]].values.tolist() == [
        ["trial 0", "conv", "2", 60.0],
        ["trial 1", "patch", "", 61.0],
    ]


CHAIN = {"a": [50, 51, 52], "b": [70, 71, 72], "c": [71, 71.5, 73]}


def test_steps_hold_each_cell_against_the_one_before_it_and_share_alpha_out():
    runs, _ = frames.tidy(chain(CHAIN))
    told = frames.steps(runs)
    assert list(told["level"]) == ["b", "c"] and list(told["effect"].round(6)) == [20.0, 0.833333]
    assert list(told["kind"]) == ["helps", "undecided"] and list(told["n"]) == [3, 3]
    assert list(told["mean"].round(6)) == [71.0, 71.833333]
    alone = frames.steps(runs[runs["cell"] != "c"])
    assert alone["high"][0] - alone["low"][0] > 0 and len(alone) == 1


@pytest.mark.parametrize("method", ["grid", "zip"])
def test_steps_give_the_table_s_own_verdict_where_it_has_one_and_its_method_elsewhere(method):
    study = chain(CHAIN, method=method)
    table, _ = records_table(study, Reading(margin=30.0))
    (runs, _), (first, _) = frames.tidy(study), table.analysis.contrasts
    told = frames.steps(runs, table)
    assert (told["low"][0], told["high"][0]) == (first.verdict.low, first.verdict.high)
    assert list(told["kind"]) == [first.verdict.kind, "equivalent"]
    seen = [Observation((cell,), seed, value) for cell, values in CHAIN.items() for seed, value in enumerate(values)]
    by_b = analyse(seen, ["cell"], {"cell": "b"})
    (wider,) = (each.verdict for each in by_b.contrasts if each.level == "c")
    assert wider.high - wider.low > told["high"][1] - told["low"][1] > 0  # one comparison there, two of one family here


def test_steps_over_two_axes_are_found_among_the_table_s_comparisons():
    levels = [("vit", "none"), ("vit", "sine"), ("cct", "sine")]
    rows = [
        _run(f"{model}{positional}{seed}", [["model", model], ["model.positional", positional], ["seed", seed]],
             **{"metrics.final.test_top1_percent": 60.0 + 5 * number + seed})
        for number, (model, positional) in enumerate(levels)
        for seed in range(3)
    ]  # fmt: skip
    axes = {"model": ["vit", "cct"], "model.positional": ["none", "sine"]}
    study = _records(rows, {"axes": axes, "baseline": {"model": "vit", "model.positional": "none"}, "seeds": [0, 1, 2],
                            "combinations": [list(each) for each in levels]})  # fmt: skip
    table, _ = records_table(study)
    told = frames.steps(frames.tidy(study)[0], table)
    verdicts = {each.factor: each.verdict for each in table.analysis.contrasts}
    assert list(told["level"]) == ["vit, sine", "cct, sine"]
    assert list(told["low"]) == [verdicts["positional"].low, verdicts["model"].low]


def test_steps_take_repeats_of_a_seed_for_one_run_and_a_loss_for_better_where_it_falls():
    rows = [
        _run(f"{level}{seed}{n}", [["model.convs", level], ["seed", seed], *([["repeat", n]] if n else [])],
             **{"metrics.final.loss": value + seed / 100 + n / 1000})
        for level, value in {"a": 2.0, "b": 1.0}.items()
        for seed in range(3)
        for n in range(4)
    ]  # fmt: skip
    study = _records(rows, {"axes": {"model.convs": ["a", "b"]}, "baseline": {"model.convs": "a"}})
    runs, _ = frames.tidy(study, metric="final.loss")
    (n,) = frames.steps(runs)["n"]
    (kind,) = frames.steps(runs, replace(records_table(study, Reading("final.loss"))[0], analysis=None))["kind"]
    assert (n, kind) == (3, "helps")


def test_noise_tells_seeds_from_repeats_and_a_first_run_belongs_to_both():
    rows = [
        _run(f"{seed}{n}", [["model", "cct"], ["seed", seed], *([["repeat", n]] if n else [])],
             **{"metrics.final.test_top1_percent": 90.0 + seed + n / 10})
        for seed, repeats in ((0, 3), (1, 1))
        for n in range(repeats)
    ]  # fmt: skip
    runs, _ = frames.tidy(_records(rows, {"axes": {"model": ["cct"]}, "baseline": {"model": "cct"}}))
    told = frames.noise(runs).groupby("cell", sort=False)["value"].agg(list)
    assert told.to_dict() == {
        "cct, one run of each seed": [90.0, 91.0],
        "cct, repeats of seed 0": [90.0, 90.1, 90.2],
    }


def test_logged_names_the_first_metric_that_has_values():
    study = chain({"2": [50]})
    curves = {"r20": {"val/top1_percent": [None, None], "train/top1_percent": [0.0, 0.0]}}
    study = Records(study.study, study.definition, "", study.frame, curves, "")
    assert frames.logged(study, ["val/top1_percent", "train/top1_percent"]) == "train/top1_percent"
    assert frames.logged(study, ["val/top1_percent", "val/loss"]) == "val/loss"
