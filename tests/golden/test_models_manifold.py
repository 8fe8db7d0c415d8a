"""Attention over manifolds under the fork's weights gives the fork's numbers: each map, each stage, each gradient.

The files lie beside the checkout (../shared/reference/manifold/README.md); what proves the maps without them stands in
tests/unit/models/test_models_manifold_maps.py.
"""

import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from ablate.models import trace
from ablate.models.classifier import build
from ablate.models.spec import ModelSpec
from ablate.models.weights import assign, official_name, read_safetensors
from ablate.proof.parity import precisions

GOLDEN = Path(__file__).parents[3] / "shared" / "reference" / "manifold" / "golden"
pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason="../shared/reference/manifold is not here")

PATCHES = {"tokenizer": "patch", "kernel": 4, "convs": 1}
CLASS_TOKEN = {**PATCHES, "pooling": "class_token"}
# Name -> the model's leaves, and the options of its attention.
MODELS = {
    "manifold_vit_2_4_32_all_learnable": (CLASS_TOKEN, "manifold", {"spd_dropout": True}),
    "manifold_cvt_2_4_32_gm_sine": ({**PATCHES, "positional": "sine"}, "manifold", {"maps": ["euclid", "grassmann"]}),
    "manifold_cct_2_3x2_32_spd_learnable": ({}, "manifold", {"maps": ["euclid", "spd"], "map_norm": "none"}),
    "manifold_cct_2_3x2_24_all_noln_none": ({"positional": "none"}, "manifold", {"map_norm": "none"}),
    "riemmanian_vit_2_4_32_learnable": (CLASS_TOKEN, "spd_distance", {"unused_scale": True}),
    "seed_manifold_cvt_2_4_16_riem_learnable": (PATCHES, "manifold", {"maps": ["euclid", "spd"]}),
    "seed_manifold_vit_2_4_16_all_learnable": (
        CLASS_TOKEN,
        "manifold",
        {"map_norm": "batchnorm", "spd_dropout": True, "unused_table": True},
    ),
    "seed_riemmanian_vit_2_4_16_sine": (
        {**CLASS_TOKEN, "positional": "sine"},
        "spd_distance",
        {"map_norm": "rows", "unused_scale": True},
    ),
}
NAMES = {
    "euclid_scale": "scale",
    "scale": "scale",
    "spd_scale": "riem_scale",
    "grassmann_scale": "grassman_scale",
    "unused_table": "attn_matrix",
    "map_norm/gamma": "conv_attn.0.weight",
    "map_norm/beta": "conv_attn.0.bias",
    "map_norm/moving_mean": "conv_attn.0.running_mean",
    "map_norm/moving_variance": "conv_attn.0.running_var",
    "fusion/kernel": "conv_attn.1.weight",
    "fusion/bias": "conv_attn.1.bias",
    "fusion_alone/kernel": "conv_attn.0.weight",
    "fusion_alone/bias": "conv_attn.0.bias",
    "norm/gamma": "norm.weight",
    "norm/beta": "norm.bias",
    "qkv/bias": "qkv.bias",
}
# Shares of 5e-5 and 1e-9, and of the gradient's norm (the reference's README, "Tolerances").
LOGITS = {"float32": 5e-5, "float64": 1e-9}
GRADIENTS = {"float32": 2e-3, "float64": 1e-9}


def _name(path):
    """The fork's name of one of our variables' paths."""
    found = re.fullmatch(r"encoder/block_(\d+)/attention/(.*)", path)
    if found and found[2] in NAMES:
        return f"classifier.blocks.{found[1]}.self_attn.{NAMES[found[2]]}"
    return official_name(path)


@pytest.fixture
def model(request):
    """Builds a golden model in a precision, under its weights."""
    before = keras.config.floatx(), keras.config.dtype_policy()

    def made(name, precision):
        keras.config.set_floatx(precision)
        keras.config.set_dtype_policy(precision)
        leaves, attention, options = MODELS[name]
        facts = json.loads((GOLDEN / f"{name}.json").read_text("utf-8"))
        sizes = {leaf: facts["config"][key] for leaf, key in (("dim", "embedding_dim"), ("heads", "num_heads"))}
        spec = ModelSpec(**leaves, **sizes, attention=attention, qkv_bias=True, options={"attention": options})
        side = facts["config"]["img_size"]
        built = build(spec, (side, side, 3), 10)
        stored = read_safetensors(GOLDEN / f"{name}.safetensors")
        stored = {key.replace("classifier.head.", "classifier.fc."): value for key, value in stored.items()}
        theirs = {key for key in stored if not key.endswith("num_batches_tracked")}
        assert {_name(weight.path) for weight in built.weights} == theirs
        turned = {official_name(w.path) or w.path: stored[_name(w.path)] for w in built.weights}
        assign(built, turned, source=name)
        return built, facts, dict(np.load(GOLDEN / f"{name}.npz"))

    yield made
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])


each_model = pytest.mark.parametrize("name", MODELS)
each_precision = pytest.mark.parametrize("precision", precisions())


@each_model
@each_precision
def test_manifold_forward_is_the_forks(name, precision, model):
    built, facts, arrays = model(name, precision)
    seen = trace(built, arrays["x"])
    assert built.count_params() == facts["params"] + (12 * 2 if "batchnorm" in str(MODELS[name]) else 0)
    stages = {"tokenizer": "tokens", "tokens": "embedded", "block_0": "block_0", "block_1": "block_1"}
    stages |= {"block_0.attention": "attention_0", "block_0.attention.fused": "fused_0"}
    stages |= {f"block_0.attention.{each}": f"map_{each}_0" for each in ("euclid", "spd", "grassmann")}
    for ours, theirs in stages.items():
        if f"{theirs}_sample0" in arrays:
            np.testing.assert_allclose(seen[ours][0], arrays[f"{theirs}_sample0"], rtol=0, atol=5e-5, err_msg=ours)
    for what in ("features", "logits"):
        np.testing.assert_allclose(seen[what], arrays[f"{what}_f64"], rtol=0, atol=LOGITS[precision], err_msg=what)


@each_model
@each_precision
def test_manifold_gradients_are_the_forks(name, precision, model):
    built, facts, arrays = model(name, precision)
    loss, found = _differentiated(built, arrays["x"], arrays["labels"])
    assert loss == pytest.approx(facts["loss_mean_ce_eval"], rel=0, abs=LOGITS[precision])
    for weight in built.trainable_variables:
        name, got = _name(weight.path), found[weight.path]
        known = facts["grads"].get(name.replace("classifier.fc.", "classifier.head.")) or facts["grads"].get(name)
        if name in facts["dead_parameters"]:
            assert not np.any(got), name
            continue
        if name.endswith(("attention_pool.bias",)) or weight.path.endswith(("fusion/bias", "fusion_alone/bias")):
            continue  # 0 in exact arithmetic
        slack = GRADIENTS[precision] * known["norm"] + (1e-5 if precision == "float32" else 1e-9)
        value = np.asarray(ops.convert_to_numpy(weight.value), "float64")
        dot = float(np.sum(got * value))
        if weight.shape == ():
            assert abs(dot - known["dot_param"]) <= 1e-5 + 1e-3 * abs(known["dot_param"]), name
            continue
        assert abs(np.linalg.norm(got) - known["norm"]) <= slack, name
        assert abs(np.abs(got).max() - known["absmax"]) <= slack, name
        assert abs(got.sum() - known["sum"]) <= slack * np.sqrt(got.size), name
        assert abs(dot - known["dot_param"]) <= slack * np.linalg.norm(value), name


def _differentiated(model, x, labels):
    """Mean cross entropy in inference mode, and its gradient for every trainable variable, 0 where it sees none."""
    variables = model.trainable_variables

    def cross_entropy(logits):
        return ops.mean(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True))

    if keras.backend.backend() == "jax":
        import jax

        fixed = [each.value for each in model.non_trainable_variables]

        def loss(values):
            return cross_entropy(model.stateless_call(values, fixed, x, training=False)[0])

        value, found = jax.value_and_grad(loss)([each.value for each in variables])
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = cross_entropy(model(x, training=False))
        zero = tf.UnconnectedGradients.ZERO
        found = tape.gradient(value, [each.value for each in variables], unconnected_gradients=zero)
    arrays = [np.asarray(ops.convert_to_numpy(each), "float64") for each in found]
    return float(value), dict(zip([each.path for each in variables], arrays, strict=True))
