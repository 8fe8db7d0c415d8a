"""Levels that are one run, or one data set, under two names are found before any training."""

import pytest

from ablate.cli.training import train
from ablate.config.compose import compose, to_config
from ablate.design.sweep import SweepError
from ablate.sweep.duplicate_levels import same_data
from ablate.sweep.plan import make_plan


def test_plan_refuses_levels_that_resolve_to_one_run_and_goes_on_when_told(sweep):
    words = sweep("axes: {model: [tiny, cct_2_3x1], model.layers: [2, 1], model.dim: [32]}", "model.heads=2")
    words += ["model.kernel=3", "model.convs=1", "model.mlp_ratio=1", "model.stochastic_depth=0.1"]
    with pytest.raises(
        SweepError, match=r"model=tiny and model=cct_2_3x1 \(with model.layers=2, model.dim=32\) resolve"
    ):
        make_plan(words)
    assert len(make_plan([*words, "allow_inert=true"]).points) == 4


def test_plan_finds_no_learning_rates_to_be_duplicates(sweep):
    assert len(make_plan(sweep("axes: {train.lr: [1.0e-3, 2.0e-3]}")).points) == 2


def test_plan_finds_seeds_to_be_duplicates_that_drive_nothing(sweep):
    words = ["seeds.init=0", "seeds.order=0", "seeds.dropout=0"]
    seeds = [word for word in words if word.split("=")[0] in to_config(compose([])).point().leaves()]
    others = [leaf for leaf in to_config(compose([])).point().leaves() if leaf.startswith("seeds.")]
    seeds += [f"{leaf}=0" for leaf in others if f"{leaf}=0" not in seeds]
    with pytest.raises(SweepError, match="two seeds"):
        make_plan(sweep("axes: {train.lr: [1.0e-3]}\nseeds: 2", *seeds))


def test_levels_that_tuning_compares_must_differ_too(sweep):
    axes = "{model: [tiny, cct_2_3x1], train.lr: {low: 1.0e-3, high: 2.0e-3}}"
    words = ["model.layers=1", "model.dim=32", "model.heads=2", "model.kernel=3", "model.convs=1"]
    words += ["model.mlp_ratio=1", "model.stochastic_depth=0.1"]
    with pytest.raises(SweepError, match="resolve to the same settings"):
        make_plan(sweep(f"axes: {axes}\nmethod: tuned\nn_trials: 2", *words))


PHOTOS = ["data=folder", "data.cache=cache", "data.val_fraction=0.25", "train.batch_size=2"]


def test_plan_takes_two_folders_as_levels_and_is_another_study_with_others(sweep, folders):
    axes = {"data.root": ["raw", "cleaned"], "model.pooling": ["seqpool", "mean"]}
    plan = make_plan(sweep(f"axes: {axes}\nseeds: 2", *PHOTOS))
    assert [p.spec.data.root for p in plan.points[:4]] == ["raw", "raw", "cleaned", "cleaned"]
    assert plan.points[0].point.label == "raw seqpool s0"
    assert not same_data(plan.points)
    other = make_plan(sweep(f"axes: {axes | {'data.root': ['raw', 'copy']}}\nseeds: 2", *PHOTOS))
    assert other.study != plan.study
    alone = [make_plan(sweep(f"axes: {axes}", *PHOTOS, f"data.root={root}")).study for root in ("raw", "cleaned")]
    assert alone[0] == alone[1]  # where one folder lies is nobody's affair


def test_two_folders_that_hold_the_same_images_are_no_two_levels(sweep, folders):
    axes = {"data.root": ["raw", "cleaned", "copy", "./raw"], "data.image_size": [[8, 8], [16, 16]]}
    words = sweep(f"axes: {axes}\nseeds: 2", *PHOTOS)
    found = [
        (each.one.levels["data.root"], each.other.levels["data.root"]) for each in same_data(make_plan(words).points)
    ]
    assert {*found} == {("raw", "copy"), ("raw", "./raw")}
    with pytest.raises(SweepError, match=r"data.root=raw and data.root=copy .*read the same images, labels and split"):
        train(words, [])


def test_places_that_move_together_with_another_setting_are_levels_whatever_they_hold(sweep, folders):
    axes = {"data.root": ["raw", "copy"], "train.lr": [1.0e-3, 2.0e-3]}
    assert not same_data(make_plan(sweep(f"axes: {axes}\nmethod: zip", *PHOTOS)).points)
