"""Points that are given the same training MACs, or the same time."""

import pytest

from ablate.design.sweep import SweepError
from ablate.sweep.plan import make_plan, summary


def test_budget_of_macs_gives_cheaper_models_more_epochs(sweep):
    plan = make_plan(sweep("axes: {model.layers: [2, 1, 8]}\nbudget: macs", "train.epochs=20"))
    spent = [planned.spec.train.epochs * planned.cost["macs"] for planned in plan.points]
    assert plan.points[0].spec.train.epochs == 20 and plan.points[1].spec.train.epochs > 20
    assert all(abs(each / spent[0] - 1) < 0.1 for each in spent)
    with pytest.raises(SweepError, match="same images and epochs at every point, got an axis moving data"):
        make_plan(sweep("axes: {data.per_class: [5, 10]}\nbudget: macs", "train.batch_size=32"))


def test_budget_of_seconds_needs_one_time_for_all(sweep):
    plan = make_plan(sweep("axes: {model.layers: [2, 1]}\nbudget: seconds", "train.seconds=5"))
    assert {planned.spec.train.seconds for planned in plan.points} == {5}
    with pytest.raises(SweepError, match=r"one train.seconds at every point, got None"):
        make_plan(sweep("axes: {model.layers: [2, 1]}\nbudget: seconds"))
    with pytest.raises(SweepError, match=r"got 5(\.0)?, 9"):
        make_plan(sweep("axes: {train.seconds: [5, 9]}\nbudget: seconds"))


@pytest.mark.parametrize(
    "axes", ["{data.val_fraction: [0.1, 0.5]}", "{train.epochs: [1, 2]}", "{data: [digits, mnist5k]}"]
)
def test_budget_of_macs_is_refused_where_an_axis_moves_images_or_epochs_by_whatever_name(sweep, axes):
    with pytest.raises(SweepError, match="same images and epochs"):
        make_plan(sweep(f"axes: {axes}\nbudget: macs"))


def test_budget_of_macs_says_how_far_whole_epochs_miss_it_and_that_time_would_end_it(sweep):
    plan = make_plan(sweep("axes: {model.layers: [1, 8]}\nbudget: macs"))
    assert any("% off since epochs are whole" in line for line in summary(plan))
    with pytest.raises(SweepError, match=r"train\.seconds=null"):
        make_plan(sweep("axes: {model.layers: [1, 8]}\nbudget: macs", "train.seconds=5"))


def test_two_folders_never_get_equal_training_macs(sweep, folders):
    photos = ["data=folder", "data.cache=cache", "data.val_fraction=0.25", "train.batch_size=2"]
    with pytest.raises(SweepError, match=r"budget=macs needs the same images .* an axis moving data\.root"):
        make_plan(sweep("axes: {data.root: [raw, cleaned]}\nbudget: macs", *photos))
