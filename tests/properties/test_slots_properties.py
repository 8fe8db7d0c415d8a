"""What holds whatever fills the slots of a model: closed forms are the graph's, and a saved model is the same model."""

from dataclasses import fields
from tempfile import TemporaryDirectory

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from keras import ops

from ablate.models import build, registry
from ablate.models.profile import profile
from ablate.models.registry import Stage
from ablate.models.slots import SpecError
from ablate.models.spec import ModelSpec

# Keras warns of a softmax over one token, which is what a model of one token has.
pytestmark = pytest.mark.filterwarnings("ignore:You are using a softmax over axis")
few = settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
many = settings(few, max_examples=150)


def ours(slot):
    """Names of a slot's variants without those of plugins, which other tests register."""
    return [name for name in registry.names(slot) if registry.get(slot, name).spec.__module__.startswith("ablate.")]


# (slot, variant) -> its options and values of each; `blocks`, which several variants have, is drawn for all of them.
OPTIONS = {
    ("tokenizer", "conv"): {
        "conv_widths": ["fixed", "doubling"],
        "conv_padding": ["symmetric", "same", "after"],
        "pool_padding": ["symmetric", "same"],
        "observability": [None, [2, 2]],
        "early_fusion": [False, True],
    },
    ("tokenizer", "patch"): {"observability": [None, [1, 3]], "early_fusion": [False, True]},
    ("positional", "learnable"): {"trained": [True, False]},
    ("positional", "rotary"): {"axes": [1, 2]},
    ("positional", "conditional"): {"after": ["all", "last"], "kernel": [3, 5]},
    ("pooling", "seqpool"): {"sums": [False, True]},
    ("attention", "manifold"): {
        "maps": [["euclid"], ["spd"], ["grassmann"], ["euclid", "grassmann"], ["euclid", "spd", "grassmann"]],
        "map_norm": ["layernorm", "batchnorm", "none"],
        "unused_table": [False, True],
    },
    ("attention", "spd_distance"): {"map_norm": ["none", "rows"], "unused_scale": [False, True]},
    ("attention", "grassmann_projection"): {"form": ["projection", "squared"]},
}


@st.composite
def models(draw):
    """A spec with anything in each slot, in some blocks only where the variant allows it, and a shape of images."""
    leaves = {slot: draw(st.sampled_from(ours(slot))) for slot in registry.slots()}
    layers, heads = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    options = {}
    for slot, name in leaves.items():
        known = {field.name for field in fields(registry.get(slot, name).spec)}
        there = {option: values for option, values in OPTIONS.get((slot, name), {}).items() if option in known}
        options[slot] = {option: draw(st.sampled_from(values)) for option, values in there.items()}
        if "blocks" in known:
            some = draw(st.lists(st.integers(0, layers - 1), min_size=1, unique=True))
            options[slot]["blocks"] = draw(st.sampled_from(["all", "last", some]))
    leaves["activation"] = draw(st.sampled_from([None, *ours("activation")]))
    kernel = draw(st.integers(1, 4))
    spec = ModelSpec(
        **leaves,
        kernel=kernel,
        convs=draw(st.integers(1, 2)) if leaves["tokenizer"] == "conv" else 1,
        layers=layers,
        dim=heads * 4 * draw(st.integers(1, 3)),
        heads=heads,
        mlp_ratio=draw(st.sampled_from([1.0, 1.5, 2.0])),
        qkv_bias=draw(st.booleans()),
        key_dim=draw(st.sampled_from([None, 4, 8])),
        residual=draw(st.sampled_from(["normalised", "plain", "post"])),
        mlp_second_activation=draw(st.booleans()),
        options=options,
    )
    height, width = (kernel * draw(st.integers(1, 12 // kernel)) for _ in range(2))
    shape = (height, width, draw(st.integers(1, 3)))
    try:
        spec.check()
        spec.grid(shape)
    except SpecError:
        assume(False)
    return spec, shape, draw(st.integers(1, 5))


def _check_costs(spec, shape, classes):
    model = build(spec, shape, classes)
    measured = profile(model)
    assert measured.tokens == spec.tokens(shape)
    assert measured.params == spec.params(shape, classes)
    assert measured.trainable_params == spec.trainable_params(shape, classes)
    for convention in ("macs", "macs_modules", "macs_fvcore"):
        assert getattr(measured, convention) == spec.macs(shape, classes, convention=convention), convention
    keras.backend.clear_session()


@few
@given(models())
def test_closed_form_equals_the_graph_whatever_fills_the_slots(case):
    _check_costs(*case)


@pytest.mark.full
@many
@given(models())
def test_closed_form_equals_the_graph_of_many_combinations(case):
    _check_costs(*case)


@few
@given(models())
def test_saved_model_is_the_same_whatever_fills_the_slots(case):
    spec, shape, classes = case
    model = build(spec, shape, classes)
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    with TemporaryDirectory() as folder:
        model.save(f"{folder}/model.keras")
        loaded = keras.models.load_model(f"{folder}/model.keras")
    assert [(w.path, w.trainable) for w in loaded.weights] == [(w.path, w.trainable) for w in model.weights]
    np.testing.assert_array_equal(ops.convert_to_numpy(loaded(x)), ops.convert_to_numpy(model(x)))


def test_combinations_reach_every_slot():
    assert {slot.stage for slot in registry.slots().values()} == set(Stage)
    assert all(len(ours(slot)) > 1 for slot in registry.slots())
