"""What fills a block's slots and the head's: each gives what its paper's formula gives, and the plain MLP's cost."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from scipy import special

from ablate.models import build, load_weights, numerics, save_weights, trace
from ablate.models.attention.layers import LinearAttention
from ablate.models.head.layers import MlpHead
from ablate.models.mlp.layers import GatedMlp
from ablate.models.norm.layers import RmsNorm
from ablate.models.slots import Geometry, SpecError
from ablate.models.spec import ModelSpec

GEOMETRY = Geometry((6, 10, 1), (3, 5), num_classes=4)
SHAPE = (15, 8)


def _draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def _array(x):
    return np.asarray(ops.convert_to_numpy(ops.cast(x, "float32")), "float64")


def _spec(**leaves):
    return ModelSpec(**({"dim": 8, "heads": 2, "mlp_ratio": 2.0, "attention_dropout": 0.0} | leaves))


def _randomised(layer, *shape):
    """The layer with weights that matter, and these by name."""
    layer.build((None, *shape))
    for index, weight in enumerate(layer.weights):
        weight.assign(_draw(*weight.shape, seed=index + 1))
    return {weight.path.split("/", 1)[1]: _array(weight) for weight in layer.weights}


# ---------------------------------------------------------------------------------------------------- activations


def _gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


ACTIVATIONS = {
    "gelu_tanh": (numerics.gelu_tanh, _gelu_tanh),
    "relu": (numerics.relu, lambda x: np.maximum(x, 0)),
    "silu": (numerics.silu, lambda x: x * special.expit(x)),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_is_its_formula(name, training):
    function, formula = ACTIVATIONS[name]
    x = np.concatenate([5 * _draw(500), [0.0, -40.0, 40.0]])
    for dtype, tolerance in (("float64", 1e-13), ("float32", 2e-6)):
        found = function(ops.convert_to_tensor(x, dtype), training=training)
        assert keras.backend.standardize_dtype(found.dtype) == dtype
        np.testing.assert_allclose(np.asarray(found), formula(x), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_in_bfloat16_is_rounded_once(name):
    function, formula = ACTIVATIONS[name]
    x = ops.cast(5 * _draw(500), "bfloat16")
    # Half a unit of bfloat16's last place, and a little for how close float32 comes.
    np.testing.assert_allclose(_array(function(x)), formula(_array(x)), rtol=1.05 * 2**-8, atol=1e-6)


# ----------------------------------------------------------------------------------------------------------- norm


def test_rms_norm_is_its_formula_and_has_no_shift():
    layer, x = RmsNorm(epsilon=1e-2), 3 * _draw(7, *SHAPE) + 2
    (gamma,) = _randomised(layer, *SHAPE).values()
    expected = x / np.sqrt(np.mean(x**2, -1, keepdims=True) + 1e-2) * gamma
    np.testing.assert_allclose(_array(layer(x)), expected, rtol=1e-5, atol=1e-6)
    assert [weight.name for weight in layer.weights] == ["gamma"]


def test_rms_norm_in_bfloat16_is_rounded_once():
    x = ops.cast(_draw(7, 40) + 0.5, "bfloat16")
    exact = _array(x) / np.sqrt(np.mean(_array(x) ** 2, -1, keepdims=True) + 1e-5)
    found = RmsNorm(epsilon=1e-5, dtype="mixed_bfloat16")(x)
    np.testing.assert_allclose(_array(found), exact, rtol=1.05 * 2**-8, atol=1e-6)


# ------------------------------------------------------------------------------------------------------------ MLP


@pytest.mark.parametrize("activation", [None, "relu"])
def test_gated_mlp_is_its_formula(activation):
    layer, x = GatedMlp(_spec(mlp="gated", activation=activation), GEOMETRY), _draw(3, *SHAPE)
    weights = _randomised(layer, *SHAPE)
    act = ACTIVATIONS[activation or "silu"][1]
    gate, value = np.split(x @ weights["dense_1/kernel"] + weights["dense_1/bias"], 2, axis=-1)
    expected = (act(gate) * value) @ weights["dense_2/kernel"] + weights["dense_2/bias"]
    np.testing.assert_allclose(_array(layer(x)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mlp_ratio", [1.0, 2.0, 3.0, 4.0])
@pytest.mark.parametrize("dim", [12, 128, 192, 256, 384, 768])
def test_gated_mlp_has_the_parameters_of_the_plain_one(dim, mlp_ratio):
    plain, gated = (
        ModelSpec(dim=dim, heads=2, mlp_ratio=mlp_ratio, layers=1, mlp=mlp).params((32, 32, 3), 10)
        for mlp in ("plain", "gated")
    )
    assert abs(plain - gated) <= (3 * dim + 2) / 2  # half of what one hidden number has


def test_second_activation_without_any_mlp_is_refused():
    with pytest.raises(SpecError, match="must be false where no block has an MLP"):
        _spec(mlp="none", mlp_second_activation=True).check()
    _spec(mlp="none", mlp_second_activation=True, layers=2, options={"mlp": {"blocks": "last"}}).check()


def test_activation_without_any_mlp_is_refused():
    with pytest.raises(SpecError, match=r"model\.activation must be null where no block has an MLP"):
        _spec(mlp="none", activation="relu").check()


@pytest.mark.parametrize(("slot", "name"), [("mlp", "gated"), ("mlp", "none"), ("attention", "linear")])
def test_blocks_that_a_model_does_not_have_are_refused(slot, name):
    with pytest.raises(SpecError, match=rf"model\.options\.{slot}\.blocks must be all, last, or a list"):
        _spec(**{slot: name}, layers=2, options={slot: {"blocks": [2]}}).check()


def test_blocks_differ_where_an_option_says_so():
    spec = _spec(
        layers=3, mlp="none", attention="linear", options={"mlp": {"blocks": [0, 2]}, "attention": {"blocks": "last"}}
    )
    blocks = build(spec, (8, 8, 1), 3).get_layer("encoder").blocks
    assert [type(block.mlp).__name__ for block in blocks] == ["NoneType", "PlainMlp", "NoneType"]
    kinds = ["SoftmaxAttention", "SoftmaxAttention", "LinearAttention"]
    assert [type(block.attention).__name__ for block in blocks] == kinds


# ------------------------------------------------------------------------------------------------------ attention


def _linear_attention(x, weights, heads):
    """By its weights, which the layer never computes."""
    query, key, value = (
        each.reshape(*each.shape[:2], heads, -1).transpose(0, 2, 1, 3)
        for each in np.split(x @ weights["qkv/kernel"] + weights.get("qkv/bias", 0), 3, axis=-1)
    )
    query, key = (np.where(each > 0, each + 1, np.exp(np.minimum(each, 0))) for each in (query, key))
    seen = query @ key.transpose(0, 1, 3, 2)
    mixed = (seen / seen.sum(-1, keepdims=True)) @ value
    mixed = mixed.transpose(0, 2, 1, 3).reshape(*x.shape[:2], -1)
    return mixed @ weights["projection/kernel"] + weights["projection/bias"]


@pytest.mark.parametrize("leaves", [{}, {"qkv_bias": True}, {"key_dim": 3}])
def test_linear_attention_is_its_formula(leaves):
    layer, x = LinearAttention(_spec(attention="linear", **leaves), GEOMETRY), _draw(3, *SHAPE)
    expected = _linear_attention(x, _randomised(layer, *SHAPE), heads=2)
    np.testing.assert_allclose(_array(layer(x)), expected, rtol=1e-4, atol=1e-4)


def test_linear_attention_drops_a_key_for_all_queries_of_a_head():
    spec = _spec(attention="linear", attention_dropout=0.5)
    layer, x = LinearAttention(spec, GEOMETRY), _draw(400, *SHAPE)
    weights = _randomised(layer, *SHAPE)
    layer.projection.kernel.assign(np.eye(8))
    layer.projection.bias.assign(np.zeros(8))
    layer.qkv.kernel.assign(np.concatenate([weights["qkv/kernel"][:, :16], np.zeros((8, 8))], 1))
    layer = _with_values_of_one(layer)
    kept = _array(layer(x, training=True))
    by_head = kept.reshape(400, 15, 2, 4)
    np.testing.assert_allclose(
        by_head, by_head[..., :1] * np.ones(4), rtol=1e-5
    )  # one mask for all of a head's numbers
    assert abs(kept.mean() - 1) < 0.02  # values of 1 stay 1 in the mean
    assert kept.std() > 0.1
    np.testing.assert_allclose(_array(layer(x, training=False)), 1, rtol=1e-5)


def _with_values_of_one(layer):
    """The layer, all of whose values are 1: what comes out of a head is the sum of its weights."""
    project = layer.qkv

    def ones(x):
        query, key, value = ops.split(project(x), 3, axis=-1)
        return ops.concatenate([query, key, ops.ones_like(value)], axis=-1)

    layer.qkv = ones
    return layer


def test_linear_attention_costs_as_many_times_more_as_there_are_tokens():
    def products(name, side):
        spec = _spec(attention=name)
        return spec.variant("attention").macs(spec, Geometry((0, 0, 0), (side, side))).products

    assert products("linear", 20) == 4 * products("linear", 10)
    assert products("softmax", 20) == 16 * products("softmax", 10)


# ----------------------------------------------------------------------------------------------------------- head


def test_mlp_head_is_its_formula_and_starts_as_the_official_dense_layers():
    layer, x = MlpHead(4), _draw(5, 8)
    layer.build((None, 8))
    assert 0.005 < layer.hidden.kernel.numpy().std() < 0.04
    weights = _randomised(MlpHead(4, name="other"), 8)
    layer.set_weights(list(weights.values()))
    hidden = np.tanh(x @ weights["hidden/kernel"] + weights["hidden/bias"])
    np.testing.assert_allclose(
        _array(layer(x)), hidden @ weights["linear/kernel"] + weights["linear/bias"], rtol=1e-4, atol=1e-5
    )


def test_mlp_head_gives_float32_in_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build(_spec(head="mlp"), (8, 8, 1), 3)
    finally:
        keras.config.set_dtype_policy(before)
    assert model(tf.zeros((1, 8, 8, 1))).dtype == "float32"


def test_mlp_head_of_another_number_of_classes_keeps_its_last_layer_alone(tmp_path):
    few, many = (build(_spec(head="mlp"), (8, 8, 1), classes) for classes in (3, 5))
    save_weights(few, tmp_path / "few.safetensors")
    loaded = load_weights(many, tmp_path / "few.safetensors", warn=False)
    assert loaded.kept == ("classifier.fc.weight", "classifier.fc.bias") and "head/hidden/kernel" in loaded.loaded
    np.testing.assert_array_equal(
        _array(many.get_layer("head").hidden.kernel), _array(few.get_layer("head").hidden.kernel)
    )


def test_linear_attention_is_traced_with_weights_that_sum_to_one():
    seen = trace(build(_spec(attention="linear", layers=1), (8, 8, 1), 3), _draw(2, 8, 8, 1).astype("float32"))
    assert seen["block_0.attention"].shape == (2, 2, 4, 4)
    np.testing.assert_allclose(seen["block_0.attention"].sum(-1), 1, rtol=1e-5)
