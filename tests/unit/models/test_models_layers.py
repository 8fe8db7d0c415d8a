"""Every layer passes through one suite; what each alone does stands in the file of its axis."""

import inspect

import keras
import numpy as np
import pytest
from keras import ops

from ablate.models import encoder, tokenwise
from ablate.models.attention import layers as attention
from ablate.models.attention.layers import LinearAttention, SoftmaxAttention
from ablate.models.head import layers as head
from ablate.models.mlp import layers as mlp
from ablate.models.norm import layers as norm
from ablate.models.pooling import layers as pooling
from ablate.models.positional import conditional, relative, rotary
from ablate.models.positional import layers as positional
from ablate.models.slots import Geometry
from ablate.models.spec import ModelSpec
from ablate.models.tokenizer import layers as tokenizers

IMAGE = (9, 6, 2)
SEQUENCE = (5, 8)

GEOMETRY = Geometry((5, 1, 1), (5, 1))

# Every leaf of the model that a layer of the encoder reads, away from its default.
AWAY = {
    "dropout": 0.05,
    "attention_dropout": 0.15,
    "stochastic_depth": 0.3,
    "drop_path_schedule": "constant",
    "token_dropout": 0.1,
    "projection_dropout": 0.2,
    "qkv_bias": True,
    "key_dim": 3,
    "residual": "plain",
    "mlp_second_activation": True,
    "norm_eps": 1e-3,
}


def _spec(**fields):
    rates = {"attention_dropout": 0.0, "stochastic_depth": 0.0}
    return ModelSpec(**{"layers": 2, "heads": 2, "dim": 8, "mlp_ratio": 1.5, **rates, **fields})


# layer with options that are not the defaults, shape of one input, of one output, numbers of weights
LAYERS = [
    (lambda: tokenizers.ConvTokenizer([4, 8], kernel=3, stride=1, padding=2), IMAGE, (12, 8), 2),
    (lambda: tokenizers.ConvTokenizer([8], kernel=3), IMAGE, (15, 8), 1),
    (lambda: tokenizers.ConvTokenizer([8], 3, conv_padding="after", pool_padding="same"), IMAGE, (15, 8), 1),
    (lambda: tokenizers.ConvTokenizer([4, 8], 4, 2, 2, conv_padding="same"), IMAGE, (1, 8), 2),
    (lambda: tokenizers.PatchTokenizer(8, kernel=3), IMAGE, (6, 8), 2),
    (lambda: positional.LearnablePositional(), SEQUENCE, SEQUENCE, 1),
    (lambda: positional.LearnablePositional(trained=False, draw="uniform"), SEQUENCE, SEQUENCE, 1),
    (lambda: positional.SinePositional(), SEQUENCE, SEQUENCE, 1),
    (lambda: positional.Sine2dPositional((2, 2), extra_tokens=1), SEQUENCE, SEQUENCE, 0),
    (lambda: rotary.RotaryPositional((2, 2), 1, axes=1, theta=10.0), (2, *SEQUENCE), (2, *SEQUENCE), 0),
    (lambda: relative.RelativePositional((2, 2), extra_tokens=1), (3, 5, 5), (3, 5, 5), 1),
    (lambda: conditional.ConditionalPositional((2, 2), 1, kernel=5), SEQUENCE, SEQUENCE, 2),
    (lambda: pooling.SeqPool(), SEQUENCE, (8,), 2),
    (lambda: pooling.SeqPool(sums=True), SEQUENCE, (8,), 2),
    (lambda: pooling.ClassToken(), SEQUENCE, (6, 8), 1),
    (lambda: pooling.FirstToken(), SEQUENCE, (8,), 0),
    (lambda: SoftmaxAttention(_spec(heads=4, dropout=0.2, attention_dropout=0.3), GEOMETRY, 1), SEQUENCE, SEQUENCE, 3),
    (lambda: SoftmaxAttention(_spec(**AWAY), GEOMETRY), SEQUENCE, SEQUENCE, 4),
    (lambda: SoftmaxAttention(_spec(positional="relative"), GEOMETRY), SEQUENCE, SEQUENCE, 4),
    (lambda: SoftmaxAttention(_spec(positional="rotary"), GEOMETRY), SEQUENCE, SEQUENCE, 3),
    (lambda: mlp.PlainMlp(_spec(dropout=0.2), GEOMETRY, 1), SEQUENCE, SEQUENCE, 4),
    (lambda: mlp.PlainMlp(_spec(**AWAY), GEOMETRY), SEQUENCE, SEQUENCE, 4),
    (
        lambda: LinearAttention(_spec(attention="linear", heads=4, dropout=0.2, attention_dropout=0.3), GEOMETRY, 1),
        SEQUENCE,
        SEQUENCE,
        3,
    ),
    (lambda: LinearAttention(_spec(attention="linear", **AWAY), GEOMETRY), SEQUENCE, SEQUENCE, 4),
    (lambda: mlp.GatedMlp(_spec(mlp="gated", dropout=0.2), GEOMETRY, 1), SEQUENCE, SEQUENCE, 4),
    (lambda: mlp.GatedMlp(_spec(mlp="gated", activation="relu", **AWAY), GEOMETRY), SEQUENCE, SEQUENCE, 4),
    (lambda: attention.WeightsDropout(0.3, seed=7), SEQUENCE, SEQUENCE, 0),
    (lambda: tokenwise.DropPath(0.3, seed=7), SEQUENCE, SEQUENCE, 0),
    (
        lambda: encoder.Block(_spec(dropout=0.1, attention_dropout=0.2), GEOMETRY, 1, drop_path=0.3),
        SEQUENCE,
        SEQUENCE,
        11,
    ),
    (lambda: encoder.Block(_spec(**AWAY), GEOMETRY), SEQUENCE, SEQUENCE, 12),
    (lambda: encoder.Block(_spec(positional="conditional"), GEOMETRY), SEQUENCE, SEQUENCE, 13),
    (lambda: norm.LayerNorm(epsilon=1e-2), SEQUENCE, SEQUENCE, 2),
    (lambda: norm.RmsNorm(epsilon=1e-2), SEQUENCE, SEQUENCE, 1),
    (lambda: head.MlpHead(7), (8,), (7,), 4),
    (
        lambda: encoder.Encoder(_spec(dropout=0.1, attention_dropout=0.2, stochastic_depth=0.3), GEOMETRY),
        SEQUENCE,
        SEQUENCE,
        24,
    ),
    (lambda: encoder.Encoder(_spec(**AWAY), GEOMETRY), SEQUENCE, SEQUENCE, 26),
]
each_layer = pytest.mark.parametrize(
    ("make", "shape", "out", "weights"),
    LAYERS,
    ids=[f"{type(case[0]()).__name__}-{i}" for i, case in enumerate(LAYERS)],
)


def _draw(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def _array(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


@each_layer
def test_layer_shapes_and_weights(make, shape, out, weights):
    layer = make()
    assert _array(layer(_draw(3, *shape))).shape == (3, *out)
    assert len(layer.weights) == weights
    assert tuple(layer.compute_output_spec(keras.KerasTensor((None, *shape))).shape) == (None, *out)


@each_layer
def test_layer_survives_saving_and_cloning(make, shape, out, weights, tmp_path):
    images = keras.Input(shape)
    model = keras.Model(images, make()(images))
    x = _draw(3, *shape)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    for other in (loaded, clone):
        assert other.layers[1].get_config() == model.layers[1].get_config()
        assert [w.path for w in other.weights] == [w.path for w in model.weights]
        np.testing.assert_array_equal(_array(other(x)), _array(model(x)))


def test_layers_of_this_suite_are_all_and_have_each_option_away_from_its_default():
    """An option that ``get_config`` forgets is restored as its default, which only another value brings to light."""
    own = (attention, encoder, head, mlp, norm, pooling, tokenizers, tokenwise)
    modules = (*own, conditional, positional, relative, rotary)
    layers = {kind for module in modules for kind in vars(module).values() if _is_layer(kind, module)}
    configs = [(type(layer), layer.get_config()) for layer in (make() for make, *_ in LAYERS)]
    assert layers == {kind for kind, _ in configs}
    for kind in layers:
        for option, default in _options(kind):
            assert any(config.get(option, default) != default for of, config in configs if of is kind), (
                f"{kind.__name__}: {option}"
            )


def _is_layer(kind, module):
    ours = isinstance(kind, type) and issubclass(kind, keras.layers.Layer) and kind.__module__ == module.__name__
    abstract = kind in (
        tokenwise.Tokenwise,
        tokenwise.SpecLayer,
        tokenwise.BlockLayer,
        attention.HeadsAttention,
        mlp.TwoLayerMlp,
    )
    return ours and not abstract and not kind.__name__.startswith("_")


def _options(kind):
    """Those that a layer of ours has of its own, with their defaults."""
    own = inspect.signature(kind.__init__).parameters if "__init__" in vars(kind) else {}
    return [(name, each.default) for name, each in own.items() if name not in ("self", "spec", "geometry", "kwargs")]


@each_layer
def test_layer_config_restores_every_argument(make, shape, out, weights):
    layer = make()
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    inner = [sublayer.get_config() for sublayer in layer._flatten_layers(include_self=False)]
    for ours, theirs in zip(inner, again._flatten_layers(include_self=False), strict=True):
        config = theirs.get_config()
        for value in (ours, config):
            value.pop("kernel_initializer", None)  # holds its own drawn seed
        assert config == ours


@each_layer
def test_layer_computes_in_its_own_policy(make, shape, out, weights):
    config = make().get_config()
    layer = type(make()).from_config({**config, "dtype": "mixed_bfloat16"})
    y = layer(_draw(3, *shape))
    assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
    assert {weight.dtype for weight in layer.weights} <= {"float32"}
    for sublayer in layer._flatten_layers():
        assert sublayer.dtype_policy.name == "mixed_bfloat16"
