"""What image classification answers when a command is composed."""

import pytest

from ablate.config.compose import compose, to_config
from ablate.config.files import group_choices, preset
from ablate.contract import task


@pytest.mark.parametrize(
    ("option", "layers"),
    [("cct_7_3x1", 7), ("cct_9_5x3", 9), ("vit_lite_3_8", 3), ("cct_keras_14_7x2", 14), ("keras_io_cct", 2)],
)
def test_an_architecture_is_a_preset_listed_or_not(option, layers):
    assert task().preset("model", option).layers == layers
    assert to_config(compose([f"model={option}"])).model.layers == layers


@pytest.mark.parametrize(
    ("group", "option"),
    [("model", "cct_7_3x1_32"), ("model", "cct_7_3x1_c100"), ("model", "tiny"), ("model", "x"), ("data", "cct_7_3x1")],
)
def test_a_name_that_says_more_than_an_architecture_is_no_preset(group, option):
    assert task().preset(group, option) is None and preset(group, option) is None


def test_only_the_model_has_options_in_no_file():
    others = [group for group in task().groups if group != "model"]
    assert [group for group in others if task().presets(group) or task().forms(group)] == []
    assert set(task().presets("model")) < set(group_choices("model"))


def test_options_leave_with_the_variant_that_they_belong_to():
    keras = ("model", "cct_keras_7_3x1")
    own = task().preset(*keras).options
    assert task().leaving(*keras, {}) == [] and task().leaving(*keras, {"model.tokenizer": "conv"}) == []
    leaving = task().leaving(*keras, {"model.tokenizer": "patch", "model.pooling": "seqpool"})
    assert leaving == [f"model.options.tokenizer.{name}" for name in own["tokenizer"]]
    assert task().leaving("data", "digits", {"model.tokenizer": "patch"}) == []
