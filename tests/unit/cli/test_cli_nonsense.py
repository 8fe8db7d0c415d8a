"""Every leaf of a command, given nonsense of its type: a sentence that names it, or a reason why it may stand."""

import math
from dataclasses import asdict
from functools import cache
from typing import Any, get_args, get_type_hints

import pytest

from ablate.config.compose import compose, to_config
from ablate.config.leaves import without_none
from ablate.config.overrides import parse_overrides
from ablate.config.schema import ReportConfig
from ablate.sweep.levels import Specs
from ablate.sweep.plan import make_plan
from ablate.tasks.classify.running import ClassifierPreview
from ablate.tasks.classify.spec import Config, _leaves

NONSENSE: dict[type, list[Any]] = {
    int: [-1, 0, 10**12, 10**30, 1.5, math.nan, ""],
    float: [-1e300, 0.0, 1e300, math.nan, math.inf, -math.inf, ""],
    bool: [7, 0, "yes", "on", "", 1.0],
    str: ["", "a" * 300, "a\0b"],
}
OFF_AT_ZERO = (
    *("model.dropout", "model.attention_dropout", "model.stochastic_depth", "model.token_dropout"),
    *("model.projection_dropout", "model.head_dropout", "train.min_lr", "train.warmup_lr", "train.warmup_epochs"),
    *("train.label_smoothing", "train.weight_decay", "augment.flip", "augment.mixup", "augment.cutmix"),
    *("augment.colour_jitter", "augment.mix_probability", "augment.switch_probability", "augment.erasing_probability"),
    *("augment.rand_augment.magnitude", "augment.rand_augment.probability"),
)
FROM_ZERO_ON = (
    *("train.cooldown_epochs", "augment.crop_padding", "augment.rand_augment.ops", "retries"),
    *("seed", "seeds.init", "seeds.order", "seeds.dropout", "seeds.augment"),
)
MAY_STAND = {
    **{leaf: [0.0] for leaf in OFF_AT_ZERO},
    **{leaf: [0] for leaf in FROM_ZERO_ON},
    # What is larger than all there is means all there is, or never.
    "data.memory_limit": [0, 10**12, 10**30],
    "data.per_class": [10**12, 10**30],
    "data.class_level": [10**12, 10**30],  # of the digits, which lie in no folders
    "train.patience": [10**12, 10**30],
    "train.checkpoint_every": [10**12, 10**30],
    "augment.mix_off_epoch": [0, 10**12, 10**30],
    "augment.rand_augment.std": [0.0, 1e300],  # the magnitude is cut to 0 to 10 afterwards
    "model.weights_key": ["a" * 300],  # the file that it chooses from knows its keys
    # Numbers that only tell runs apart.
    "data.split_seed": [0, 10**12, 10**30],
    "repeat": [0, 10**12, 10**30],
}
WORDS = ["model=tiny", "data=digits", "train.warmup_epochs=0"]
SPECS = Specs(parse_overrides(WORDS), [])  # composes once for all
PREVIEW = ClassifierPreview()


def _kind(schema, leaf):
    for name in leaf.split("."):
        hint = get_type_hints(schema)[name]
        schema = without_none(hint)
    return schema, type(None) in get_args(hint)


@cache
def _every(schema=Config):
    """Each leaf with its type, but for lists, mappings, choices and what takes several kinds, which have own tests."""
    found = dict(_leaves(asdict(schema() if schema is ReportConfig else to_config(compose(WORDS)))))
    kinds = {leaf: _kind(schema, leaf)[0] for leaf in found if not leaf.startswith(("model.options.", "sweep"))}
    return {leaf: kind for leaf, kind in kinds.items() if kind in NONSENSE}


OF_A_RUN = [
    leaf for leaf in _every() if leaf.partition(".")[0] in ("model", "data", "augment", "train", "hardware", "seeds")
]
OF_NO_RUN = [leaf for leaf in _every() if leaf not in OF_A_RUN]


@pytest.fixture
def mine(write_sweep):
    write_sweep("base: {model: tiny, data: digits, train.epochs: 2}\naxes: {model.pooling: [seqpool]}\n")


def _refused(act, leaf, value, may_stand=MAY_STAND):
    """Whether it was refused as it should be; what is let through must have its reason above."""
    may_stand = any(value == other and type(value) is type(other) for other in may_stand.get(leaf, []))
    try:
        act()
    except ValueError as error:
        assert not may_stand, error
        assert leaf.rpartition(".")[2] in str(error) and "\n" not in str(error), error
        assert type(error) is not ValueError and type(error).__module__.startswith("ablate."), repr(error)
        return
    assert may_stand, f"{leaf}={value!r} passes"


@pytest.mark.parametrize("leaf", OF_A_RUN)
def test_a_level_that_makes_no_sense_is_refused_before_anything_trains(leaf):
    def planned(value):
        spec = SPECS.spec({leaf: value}, 0)
        spec.check_selection()
        PREVIEW.cost(spec)

    for value in NONSENSE[_every()[leaf]]:
        _refused(lambda value=value: planned(value), leaf, value)


def _word(value):
    return f"'{value}'" if isinstance(value, str) else str(value)


@pytest.mark.parametrize("leaf", OF_NO_RUN)
def test_a_word_that_makes_no_sense_is_refused_before_anything_trains(mine, leaf):
    for value in NONSENSE[_every()[leaf]]:
        _refused(lambda value=value: make_plan(["+sweep=mine", f"{leaf}={_word(value)}"]), leaf, value)


@pytest.mark.full
@pytest.mark.parametrize("leaf", OF_A_RUN)
def test_a_word_about_a_run_is_refused_as_a_level_is(mine, leaf):
    may_stand = MAY_STAND | {"data.per_class": []}  # a plan counts the images that there are
    for value in NONSENSE[_every()[leaf]]:
        _refused(lambda value=value: make_plan(["+sweep=mine", f"{leaf}={_word(value)}"]), leaf, value, may_stand)
