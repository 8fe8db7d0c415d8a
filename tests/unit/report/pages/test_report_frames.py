"""A study's records as frames, for figures and notebooks: rows by hand."""

import json

import pandas as pd

from ablate.report.pages import frames
from ablate.report.sources.records import Records


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


def test_steps_hold_each_cell_against_the_one_before_it_and_share_alpha_out():
    runs, _ = frames.tidy(chain({"a": [50, 51, 52], "b": [70, 71, 72], "c": [71, 71, 73]}))
    told = frames.steps(runs)
    assert list(told["level"]) == ["b", "c"] and list(told["effect"].round(6)) == [20.0, 0.666667]
    assert list(told["kind"]) == ["helps", "undecided"] and list(told["n"]) == [3, 3]
    alone = frames.steps(runs[runs["cell"] != "c"])
    assert told["high"][0] - told["low"][0] > alone["high"][0] - alone["low"][0]


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
