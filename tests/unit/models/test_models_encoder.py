"""Drop path, dropout and the inference path of the encoder's layers."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from ablate.models import encoder, tokenwise
from ablate.models.mlp.layers import PlainMlp
from ablate.models.norm.layers import LayerNorm
from ablate.models.slots import Geometry
from ablate.models.spec import ModelSpec

SEQUENCE = (5, 8)
GEOMETRY = Geometry((5, 1, 1), (5, 1))


def _spec(**fields):
    rates = {"attention_dropout": 0.0, "stochastic_depth": 0.0}
    return ModelSpec(**{"layers": 2, "heads": 2, "dim": 8, "mlp_ratio": 1.5, **rates, **fields})


def _draw(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def _array(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


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
    rates = [block.drop_path.rate for block in encoder.Encoder(_spec(layers=5, stochastic_depth=0.2), GEOMETRY).blocks]
    np.testing.assert_allclose(rates, [0, 0.05, 0.1, 0.15, 0.2])


def test_encoder_drop_path_can_be_constant():
    blocks = encoder.Encoder(_spec(layers=3, stochastic_depth=0.2, drop_path_schedule="constant"), GEOMETRY).blocks
    assert [block.drop_path.rate for block in blocks] == [0.2] * 3


def test_encoder_one_rate_stands_for_all_dropouts_unless_each_has_its_own():
    def rates(**leaves):
        layer = encoder.Encoder(_spec(layers=1, dropout=0.1, **leaves), GEOMETRY)
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
    layer = encoder.Encoder(_spec(**rates), GEOMETRY)
    x = _draw(64, *SEQUENCE)  # each image drops its paths by itself: of four, all do twice alike once in 256 times
    still = _array(layer(x, training=False))
    layer.set_weights([20 * weight for weight in layer.get_weights()])  # so that no branch is negligible
    assert (_array(layer(x, training=True)) != _array(layer(x, training=True))).any()
    np.testing.assert_array_equal(_array(layer(x, training=False)), _array(layer(x, training=False)))
    assert np.isfinite(still).all()


def test_encoder_without_rates_holds_no_generator():
    states = encoder.Encoder(_spec(), GEOMETRY).non_trainable_variables
    assert states == []
    states = encoder.Encoder(_spec(attention_dropout=0.1), GEOMETRY).non_trainable_variables
    assert [variable.name for variable in states] == ["seed_generator_state"] * 2


@pytest.mark.parametrize("make", [lambda: LayerNorm(), lambda: PlainMlp(_spec(mlp_second_activation=True), GEOMETRY)])
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
