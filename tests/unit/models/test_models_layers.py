"""Every layer passes through one suite, and each has a test of what it alone does."""

import dataclasses
import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from ablate.models import encoder, initializers, tokenwise
from ablate.models.attention import layers as attention
from ablate.models.attention.layers import Attention
from ablate.models.pooling import layers as pooling
from ablate.models.positional import layers as positional
from ablate.models.spec import EncoderSpec
from ablate.models.tokenizer import layers as tokenizers

IMAGE = (9, 6, 2)
SEQUENCE = (5, 8)

# Every option of the encoder's spec away from its default.
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
    return EncoderSpec(**{"layers": 2, "heads": 2, "mlp_width": 12, **fields})


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
    (lambda: pooling.SeqPool(), SEQUENCE, (8,), 2),
    (lambda: pooling.SeqPool(sums=True), SEQUENCE, (8,), 2),
    (lambda: pooling.ClassToken(), SEQUENCE, (6, 8), 1),
    (lambda: pooling.FirstToken(), SEQUENCE, (8,), 0),
    (lambda: Attention(_spec(heads=4, dropout=0.2, attention_dropout=0.3)), SEQUENCE, SEQUENCE, 3),
    (lambda: Attention(_spec(**AWAY)), SEQUENCE, SEQUENCE, 4),
    (lambda: encoder.Mlp(_spec(dropout=0.2)), SEQUENCE, SEQUENCE, 4),
    (lambda: encoder.Mlp(_spec(**AWAY)), SEQUENCE, SEQUENCE, 4),
    (lambda: tokenwise.DropPath(0.3, seed=7), SEQUENCE, SEQUENCE, 0),
    (lambda: encoder.Block(_spec(dropout=0.1, attention_dropout=0.2), drop_path=0.3), SEQUENCE, SEQUENCE, 11),
    (lambda: encoder.Block(_spec(**AWAY)), SEQUENCE, SEQUENCE, 12),
    (lambda: tokenwise.LayerNorm(epsilon=1e-2), SEQUENCE, SEQUENCE, 2),
    (
        lambda: encoder.Encoder(_spec(dropout=0.1, attention_dropout=0.2, stochastic_depth=0.3)),
        SEQUENCE,
        SEQUENCE,
        24,
    ),
    (lambda: encoder.Encoder(_spec(**AWAY)), SEQUENCE, SEQUENCE, 26),
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
    modules = (attention, encoder, pooling, positional, tokenizers, tokenwise)
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
    abstract = kind in (tokenwise.Tokenwise, tokenwise.SpecLayer)
    return ours and not abstract and not kind.__name__.startswith("_")


def _options(kind):
    """Those that a layer of ours has of its own, with their defaults, and the fields of the encoder's spec."""
    own = inspect.signature(kind.__init__).parameters if "__init__" in vars(kind) else {}
    options = [(name, each.default) for name, each in own.items() if name not in ("self", "spec", "kwargs")]
    of_spec = [(field.name, field.default) for field in dataclasses.fields(EncoderSpec)] if "spec" in own else []
    return options + of_spec


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


# ------------------------------------------------------------------------------------------------------ tokenizers


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 9), (1, 2), (5, 6)])
def test_max_pool_pads_every_side_with_minus_infinity(height, width):
    x = _draw(2, height, width, 3)
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=-np.inf)
    rows, columns = (height - 1) // 2 + 1, (width - 1) // 2 + 1
    expected = [
        [padded[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max((1, 2)) for j in range(columns)] for i in range(rows)
    ]
    np.testing.assert_array_equal(_array(tokenizers.max_pool(x)), np.transpose(expected, (2, 0, 1, 3)))


def test_patch_tokenizer_is_one_dense_layer_over_each_patch_row_by_row():
    layer = tokenizers.PatchTokenizer(8, kernel=3)
    x = _draw(2, 6, 9, 2)
    tokens = _array(layer(x))
    kernel, bias = (_array(weight) for weight in layer.weights)
    patch = x[:, 3:6, 3:6].reshape(2, -1)
    np.testing.assert_allclose(tokens[:, 4], patch @ kernel.reshape(-1, 8) + bias, atol=1e-5)
    assert np.abs(bias).max() <= 1 / np.sqrt(3 * 3 * 2) and np.abs(bias).min() > 0


# -------------------------------------------------------------------------------------------------------- encoder


def test_drop_path_drops_whole_samples_while_training_only():
    layer = tokenwise.DropPath(0.25, seed=1)
    x = np.ones((4000, 3, 2), "float32")
    first, second = (_array(layer(x, training=True)) for _ in range(2))
    assert {*np.unique(first)} == {np.float32(0), np.float32(1 / 0.75)}
    assert (first == first[:, :1, :1]).all()
    assert abs((first[:, 0, 0] == 0).mean() - 0.25) < 0.03
    assert (first != second).any()
    np.testing.assert_array_equal(_array(layer(x, training=False)), x)


def test_encoder_drop_path_grows_linearly():
    rates = [block.drop_path.rate for block in encoder.Encoder(_spec(layers=5, stochastic_depth=0.2)).blocks]
    np.testing.assert_allclose(rates, [0, 0.05, 0.1, 0.15, 0.2])


def test_encoder_drop_path_can_be_constant():
    blocks = encoder.Encoder(_spec(layers=3, stochastic_depth=0.2, drop_path_schedule="constant")).blocks
    assert [block.drop_path.rate for block in blocks] == [0.2] * 3


def test_encoder_one_rate_stands_for_all_dropouts_unless_each_has_its_own():
    def rates(**leaves):
        layer = encoder.Encoder(_spec(layers=1, dropout=0.1, **leaves))
        block = layer.blocks[0]
        return layer.dropout.rate, block.attention.dropout.rate, block.mlp.dropout_1.rate, block.mlp.dropout_2.rate

    assert rates() == (0.1, 0.1, 0.1, 0.1)
    assert rates(token_dropout=0.0, projection_dropout=0.2) == (0.0, 0.2, 0.1, 0.1)


@pytest.mark.parametrize(
    "rates",
    [
        *({"dropout": 0.5}, {"attention_dropout": 0.5}, {"stochastic_depth": 0.5}),
        *({"token_dropout": 0.5}, {"projection_dropout": 0.5}),
    ],
)
def test_encoder_each_rate_acts_while_training_only(rates):
    layer = encoder.Encoder(_spec(**rates))
    x = _draw(64, *SEQUENCE)  # each image drops its paths by itself: of four, all do twice alike once in 256 times
    still = _array(layer(x, training=False))
    layer.set_weights([20 * weight for weight in layer.get_weights()])  # so that no branch is negligible
    assert (_array(layer(x, training=True)) != _array(layer(x, training=True))).any()
    np.testing.assert_array_equal(_array(layer(x, training=False)), _array(layer(x, training=False)))
    assert np.isfinite(still).all()


def test_encoder_without_rates_holds_no_generator():
    states = encoder.Encoder(_spec()).non_trainable_variables
    assert states == []
    states = encoder.Encoder(_spec(attention_dropout=0.1)).non_trainable_variables
    assert [variable.name for variable in states] == ["seed_generator_state"] * 2


# ------------------------------------------------------------------------------------------- pooling, positional


def test_seqpool_is_a_weighted_mean():
    layer = pooling.SeqPool()
    x = _draw(3, *SEQUENCE)
    layer(x)
    layer.set_weights([_draw(8, 1), _draw(1)])
    scores = np.exp(x @ _array(layer.weights[0]) + _array(layer.weights[1]))
    np.testing.assert_allclose(_array(layer(x)), (scores / scores.sum(1, keepdims=True) * x).sum(1), atol=1e-5)


def test_seqpool_that_sums_weighs_each_token_with_one():
    layer = pooling.SeqPool(sums=True)
    x = _draw(3, *SEQUENCE)
    np.testing.assert_allclose(_array(layer(x)), x.sum(1), atol=1e-5)


def test_learnable_embedding_that_is_not_trained_is_kept_with_the_weights():
    layer = positional.LearnablePositional(trained=False, draw="uniform")
    layer.build((None, 40, 8))
    assert layer.trainable_weights == [] and len(layer.weights) == 1
    assert 0.045 < np.abs(_array(layer.embedding)).max() <= 0.05


def test_class_token_comes_first_and_is_read_back():
    token = pooling.ClassToken()
    x = _draw(3, *SEQUENCE)
    assert not _array(token(x))[:, 0].any()
    token.set_weights([_draw(1, 1, 8)])
    y = token(x)
    np.testing.assert_array_equal(_array(y)[:, 1:], x)
    np.testing.assert_array_equal(_array(pooling.FirstToken()(y)), np.repeat(_draw(1, 8), 3, 0))


def test_sine_is_never_trained():
    layer = positional.SinePositional()
    layer.build((None, 6, 4))
    assert layer.trainable_weights == [] and layer.count_params() == 24
    table = _array(layer.embedding)[0]
    np.testing.assert_allclose(table[3], [np.sin(3), np.cos(3), np.sin(0.03), np.cos(0.03)], atol=1e-6)


# --------------------------------------------------------------------------------------------------- initial draws


def test_truncated_normal_is_cut_at_its_absolute_limit():
    wide = _array(initializers.TruncatedNormal(0.02, seed=1)((200, 500)))
    assert abs(wide.std() - 0.02) < 1e-4 and abs(wide.mean()) < 2e-4
    assert 4 < np.abs(wide).max() / 0.02 < 5.5  # Keras' own would end at 2
    narrow = _array(initializers.TruncatedNormal(1.0, limit=0.5, seed=1)((200, 500)))
    assert np.abs(narrow).max() <= 0.5
    assert abs(narrow.std() - 0.2843) < 2e-3  # of a standard normal within ±0.5, from its closed form


def test_initial_draws_follow_the_official_code():
    keras.utils.set_random_seed(3)
    conv = tokenizers.ConvTokenizer([64, 64], kernel=3)
    conv.build((None, 16, 16, 3))
    assert abs(_array(conv.weights[1]).std() - np.sqrt(2 / (9 * 64))) < 1e-3
    block = encoder.Block(_spec(mlp_width=128))
    block.build((None, 4, 128))
    by_path = {weight.path.removeprefix(f"{block.name}/"): _array(weight) for weight in block.weights}
    assert all(abs(by_path[f"{name}/kernel"].std() - 0.02) < 1e-3 for name in ("attention/qkv", "mlp/dense_2"))
    assert not any(by_path[name].any() for name in by_path if name.endswith(("bias", "beta")))
    embedding = positional.LearnablePositional()
    embedding.build((None, 64, 128))
    assert abs(_array(embedding.embedding).std() - 0.2) < 0.01


def test_initial_draws_follow_the_seed():
    def draw(seed):
        keras.utils.set_random_seed(seed)
        block = encoder.Block(_spec(mlp_width=8))
        block.build((None, 4, 8))
        return np.concatenate([weight.ravel() for weight in block.get_weights()])

    np.testing.assert_array_equal(draw(1), draw(1))
    assert (draw(1) != draw(2)).any()


@pytest.mark.parametrize(
    "make", [lambda: tokenwise.LayerNorm(), lambda: encoder.Mlp(_spec(mlp_second_activation=True))]
)
def test_without_training_a_layer_takes_another_way_to_the_same_outputs_and_gradients(make):
    layer = make()
    layer.build((None, *SEQUENCE))
    generator = np.random.default_rng(0)
    for weight in layer.trainable_weights:
        weight.assign(generator.normal(1, 0.5, weight.shape))
    x, weights = (generator.normal(2, 3, (7, *SEQUENCE)).astype("float32") for _ in range(2))

    @tf.function(input_signature=[tf.TensorSpec((None, *SEQUENCE))], autograph=False)
    def both(x):
        found = []
        for training in (True, False):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x, training=training)
                loss = tf.reduce_sum(y * weights)
            found.append((y, *tape.gradient(loss, [x, *(weight.value for weight in layer.trainable_weights)])))
        return found

    @tf.function(input_signature=[tf.TensorSpec((None, *SEQUENCE))], autograph=False)
    def alone(x):
        return layer(x, training=False)

    trained, other = both(x)
    for expected, found in zip([*trained, trained[0]], [*other, alone(x)], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5)
