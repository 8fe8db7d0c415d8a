"""Whole models, over every combination of variants: what a spec says is what is built, saved and trained."""

import itertools
from dataclasses import dataclass

import keras
import numpy as np
import pytest
from keras import ops

from ablate.models import build, create_model, registry, trace
from ablate.models.cost import Macs, Params
from ablate.models.slots import Geometry, Pooling, SpecError, Tokenizer, cost_of
from ablate.models.spec import ModelSpec

COMBINATIONS = list(
    itertools.product(("conv", "patch"), ("learnable", "sine", "none"), ("seqpool", "class_token", "mean"))
)
each_combination = pytest.mark.parametrize(("tokenizer", "positional", "pooling"), COMBINATIONS)
SHAPE = (8, 12, 2)
GEOMETRY = Geometry(SHAPE, (2, 3), 0, 5)
COSTS = ("params", "macs")
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _spec(tokenizer="conv", positional="learnable", pooling="seqpool", **leaves):
    small = {"kernel": 4 if tokenizer == "patch" else 3, "convs": 1, "dim": 8, "heads": 2, "mlp_ratio": 1.5}
    return ModelSpec(tokenizer, positional=positional, pooling=pooling, **(small | leaves))


def _draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def _array(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


def _randomise(model):
    """Draws every weight anew, so that none is 0 and no branch is negligible."""
    for index, weight in enumerate(model.weights):
        weight.assign(0.3 * _draw(*weight.shape, seed=index))


@pytest.fixture
def policy():
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


@each_combination
def test_build_gives_what_the_spec_says(tokenizer, positional, pooling):
    spec = _spec(tokenizer, positional, pooling)
    model = build(spec, SHAPE, 5)
    assert model.output_shape == (None, 5)
    assert model.count_params() == spec.params(SHAPE, 5)
    assert sum(np.prod(w.shape) for w in model.trainable_weights) == spec.trainable_params(SHAPE, 5)
    assert trace(model, _draw(2, *SHAPE))["tokens"].shape == (2, spec.tokens(SHAPE), 8)


@each_combination
def test_model_survives_saving_and_cloning(tokenizer, positional, pooling, tmp_path):
    model = build(_spec(tokenizer, positional, pooling), SHAPE, 5)
    _randomise(model)
    x = _draw(3, *SHAPE)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    for other in (loaded, clone):
        assert [w.path for w in other.weights] == [w.path for w in model.weights]
        np.testing.assert_array_equal(_array(other(x)), _array(model(x)))


@pytest.mark.parametrize("rates", [{"dropout": 0.1}, {"attention_dropout": 0.0, "stochastic_depth": 0.0}])
@pytest.mark.parametrize(("tokenizer", "positional", "pooling"), COMBINATIONS[::4])
def test_training_step_moves_every_trainable_weight(tokenizer, positional, pooling, rates):
    model = build(_spec(tokenizer, positional, pooling, **rates), SHAPE, 5)
    before = {weight.path: _array(weight) for weight in model.weights}
    model.compile(keras.optimizers.SGD(1.0), LOSS, jit_compile=False)
    model.train_on_batch(_draw(6, *SHAPE), np.arange(6) % 5)
    still = {weight.path for weight in model.weights if (before[weight.path] == _array(weight)).all()}
    # Softmax ignores what is added to all scores alike: the gradient of SeqPool's bias is 0, up to rounding.
    assert still <= {"pooling/attention/bias"} | {weight.path for weight in model.non_trainable_weights}


@pytest.mark.parametrize("name", ["mixed_bfloat16", "mixed_float16", "float64"])
@pytest.mark.parametrize(("tokenizer", "positional", "pooling"), [COMBINATIONS[0], COMBINATIONS[13]])
def test_precision_of_logits_is_never_below_float32(tokenizer, positional, pooling, name, policy):
    if name == "float64" and keras.backend.backend() == "jax":
        pytest.skip("JAX has float64 only where JAX_ENABLE_X64 is set")
    spec = _spec(tokenizer, positional, pooling)
    exact = build(spec, SHAPE, 5)
    _randomise(exact)
    policy(name)
    model = build(spec, SHAPE, 5)
    model.set_weights(exact.get_weights())
    x = _draw(3, *SHAPE)
    wide = "float64" if name == "float64" else "float32"
    assert {weight.dtype for weight in model.weights} == {wide}
    assert keras.backend.standardize_dtype(model(x).dtype) == wide
    assert keras.backend.standardize_dtype(model.get_layer("encoder").compute_dtype) == name.removeprefix("mixed_")
    assert abs(_array(model(x)) - _array(exact(x))).max() < (1e-5 if name == "float64" else 0.1)


# Half a unit in the last place over the number: what one rounding may add to a value's relative error.
ROUNDING = {"mixed_bfloat16": 2**-8, "mixed_float16": 2**-11}


@pytest.mark.parametrize(
    "name", ["vit_2_4_32", "cvt_2_4_32_sine", "cct_2_3x2_32", "cct_keras_2_3x2_32", "keras_io_cct"]
)
def test_mixed_precision_is_within_four_roundings_of_float32(name, policy):
    """Relative error, over all features and all logits, of the square root of the mean square; measured: at most 2.8.

    Errors of several roundings add up like a random walk, LayerNorm keeps the scale, and softmax, LayerNorm and the
    head are computed in float32. That one bound fits both types, whose roundings are 8 apart, says that rounding is
    all that differs; an overflow of float16, or a sum over tokens in 8 bits, would not keep it.
    """
    policy("float32")
    exact = create_model(name)
    for index, weight in enumerate(exact.weights):
        if weight.path.endswith("kernel"):  # so that no branch is small beside its residual
            weight.assign(_draw(*weight.shape, seed=index) / np.sqrt(np.prod(weight.shape[:-1])))
    x = _draw(8, 32, 32, 3)
    expected = trace(exact, x)
    for mixed, rounding in ROUNDING.items():
        policy(mixed)
        model = create_model(name)
        model.set_weights(exact.get_weights())
        seen = trace(model, x)
        for stage in ("features", "logits"):
            off = np.linalg.norm(seen[stage] - expected[stage]) / np.linalg.norm(expected[stage])
            assert rounding / 8 < off < 4 * rounding, (mixed, stage, off / rounding)


def test_mixed_precision_trains(policy):
    policy("mixed_bfloat16")
    model = build(_spec(), SHAPE, 5)
    model.compile(keras.optimizers.AdamW(1e-2), LOSS, jit_compile=False)
    x, y = _draw(10, *SHAPE), np.arange(10) % 5
    losses = [float(model.train_on_batch(x, y)) for _ in range(8)]
    assert losses[-1] < losses[0] - 0.1


@pytest.mark.parametrize(
    ("leaf", "value"),
    [
        ("kernel", 5),
        ("convs", 2),
        ("positional", "none"),
        ("pooling", "mean"),
        ("layers", 3),
        ("dim", 16),
        ("heads", 4),
        ("mlp_ratio", 2.0),
    ],
)
def test_every_leaf_of_the_architecture_changes_the_model(leaf, value):
    def output(**leaves):
        keras.utils.set_random_seed(0)
        model = build(_spec(**leaves), SHAPE, 5)
        _randomise(model)
        return [w.shape for w in model.weights], _array(model(_draw(2, *SHAPE)))

    (shapes, logits), (other_shapes, other_logits) = output(), output(**{leaf: value})
    assert shapes != other_shapes or np.abs(logits - other_logits).max() > 1e-4


def test_create_model_overrides_what_the_name_says():
    model = create_model(
        "cct_2_3x2_32",
        image_size=(28, 20),
        in_channels=1,
        num_classes=7,
        positional="none",
        pooling="class_token",
        dim=8,
        heads=4,
    )
    assert (model.input_shape, model.output_shape) == ((None, 28, 20, 1), (None, 7))
    assert model.get_layer("encoder").spec.heads == 4
    assert not {"positional", "seq_pool"} & {layer.name for layer in model.layers}
    assert model.name == "cct_2_3x2_32"


def test_create_model_without_head_ends_in_features():
    model = create_model("cvt_2_4_32", dim=8, head=False)
    assert model.output_shape == (None, 8)
    assert list(trace(model, _draw(1, 32, 32, 3)))[-1] == "features"


@pytest.mark.parametrize(
    ("leaves", "shape", "classes", "message"),
    [
        ({"heads": 3}, SHAPE, 5, "dim must be divisible by model.heads"),
        ({"tokenizer": "patch", "kernel": 5, "convs": 1}, SHAPE, 5, "must be a multiple of model.kernel"),
        ({"tokenizer": "pach"}, SHAPE, 5, "Did you mean patch"),
        ({"qkv_bias": "yes"}, SHAPE, 5, "model.qkv_bias must be true or false, got 'yes'"),
        ({"mlp_second_activation": None}, SHAPE, 5, "model.mlp_second_activation must be true or false, got None"),
        ({}, (8, 8), 5, "input_shape must be"),
        ({}, SHAPE, 0, "num_classes must be at least 1"),
    ],
)
def test_build_refuses_what_makes_no_model(leaves, shape, classes, message):
    with pytest.raises(SpecError, match=message):
        build(ModelSpec(**{"dim": 8} | leaves), shape, classes)


def test_trace_names_what_passes_through_and_changes_nothing():
    model = build(_spec(), SHAPE, 5)
    _randomise(model)
    x = _draw(2, *SHAPE)
    before = (model.get_config(), [_array(w) for w in model.weights])
    seen = trace(model, x)
    names = ["tokenizer", "tokens", "block_0.attention", "block_0", "block_1.attention", "block_1"]
    assert list(seen) == [*names, "pooling.weights", "features", "logits"]
    np.testing.assert_allclose(seen["block_1.attention"].sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(seen["pooling.weights"].sum(-1), 1, atol=1e-5)
    np.testing.assert_array_equal(seen["logits"], _array(model(x)))
    assert model.get_config() == before[0]
    assert all((a == _array(w)).all() for a, w in zip(before[1], model.weights, strict=True))


# --------------------------------------------------------------------------------------------------------- plugins


@dataclass
class Thirds(Pooling):
    """A plugin's: reads the first third of the tokens."""

    share: int = 3


class Lie(Tokenizer):
    """A plugin whose layer gives another number of tokens than its spec says."""

    def grid(self, model, height, width):
        return 1, 1


def _thirds(spec, geometry):
    count = geometry.tokens // spec.variant("pooling").share
    return None, keras.layers.Lambda(lambda x: ops.mean(x[:, :count], axis=1), name="pooling")


@pytest.fixture
def plugins(monkeypatch):
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    registry.register("pooling", "thirds", layer=_thirds)(Thirds)
    registry.register("tokenizer", "lie", layer="ablate.models.tokenizer.layers:conv")(dataclass(Lie))


def test_plugin_builds_like_ours_with_its_options(plugins):
    model = build(_spec(pooling="thirds", options={"pooling": {"share": 2}}), SHAPE, 5)
    seen = trace(model, _draw(2, *SHAPE))
    normed = _array(model.get_layer("encoder")(seen["tokens"]))
    np.testing.assert_allclose(seen["features"], normed[:, : normed.shape[1] // 2].mean(1), atol=1e-5)


def test_plugin_that_contradicts_its_spec_is_refused(plugins, monkeypatch):
    monkeypatch.setattr(Lie, "widths", lambda self, model: [model.width], raising=False)
    monkeypatch.setattr(Lie, "stride", lambda self, model: 1, raising=False)
    monkeypatch.setattr(Lie, "padding", lambda self, model: 1, raising=False)
    monkeypatch.setattr(Lie, "conv_padding", "symmetric", raising=False)
    monkeypatch.setattr(Lie, "pool_padding", "symmetric", raising=False)
    with pytest.raises(SpecError, match=r"must give the encoder 1 tokens of width 8.*\(24, 8\)"):
        build(_spec(tokenizer="lie"), SHAPE, 5)


def test_a_plugin_whose_costs_ask_for_what_they_once_did_goes_on(monkeypatch):
    class Ends(Pooling):
        def params(self, model):
            return Params(3)

        def macs(self, model, tokens):
            return Macs(linear=tokens)

    class Cuts(Tokenizer):
        def grid(self, model, height, width):
            return 2, 3

        def params(self, model, channels):
            return Params(channels)

        def macs(self, model, input_shape):
            return Macs(linear=1000 * input_shape[0])

    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    registry.register("pooling", "ends", layer=_thirds)(dataclass(Ends))
    registry.register("tokenizer", "cuts", layer=_thirds)(dataclass(Cuts))
    spec = _spec(tokenizer="cuts", positional="none", pooling="ends", layers=1)
    told = [cost_of(what, spec.variant(slot), spec, GEOMETRY) for slot in ("pooling", "tokenizer") for what in COSTS]
    assert told == [Params(3), Macs(linear=6), Params(2), Macs(linear=8000)]
    others = [spec.variant(slot) for slot in ("attention", "mlp", "head")]
    of_others = sum(variant.params(spec, GEOMETRY).trainable for variant in others)
    assert spec.params(SHAPE, 5) == of_others + 3 * 2 * 8 + 3 + 2


def test_a_plugin_whose_costs_ask_for_more_is_refused(monkeypatch):
    class Asks(Pooling):
        def params(self, model, geometry, channels):
            return Params()

    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    with pytest.raises(ValueError, match=r"params of pooling 'asks' must take \(self, model, geometry\), got \(self, "):
        registry.register("pooling", "asks", layer=_thirds)(dataclass(Asks))
    with pytest.raises(ValueError, match=r"the spec of pooling 'asks' must extend ablate.Pooling, got Lie"):
        registry.register("pooling", "asks", layer=_thirds)(dataclass(Lie))
