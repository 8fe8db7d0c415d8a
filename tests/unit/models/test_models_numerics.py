"""Functions where precision or speed asked for more than the plain call give what the plain call gives."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import special

from ablate.models import numerics
from ablate.models.attention.layers import SoftmaxAttention
from ablate.models.slots import Geometry
from ablate.models.spec import ModelSpec

GAMMA = np.resize([0.5, 2.0], 40)  # scales without rounding
DRAWN = np.random.default_rng(0).normal(0.5, 3, (6, 5, 40))


def traced(function, *, images=None, dtype="bfloat16"):
    """As in a compiled model, whose graph leaves the number of images open."""
    signature = [tf.TensorSpec((images, *DRAWN.shape[1:]), dtype)]
    compiled = tf.function(function, input_signature=signature, autograph=False)
    return np.asarray(tf.cast(compiled(tf.cast(DRAWN, dtype)), tf.float64))


def seen(dtype="bfloat16"):
    """The draws, rounded to a type."""
    return np.asarray(tf.cast(tf.cast(DRAWN, dtype), tf.float64))


def layer_norm(x):
    return GAMMA * (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize(
    ("ours", "exact"),
    [
        (lambda x, **told: numerics.softmax(x, **told), lambda x: special.softmax(x, axis=-1)),
        (lambda x, **told: numerics.layer_norm(x, GAMMA.astype("f"), np.zeros(40, "f"), 1e-5, **told), layer_norm),
    ],
    ids=["softmax", "layer_norm"],
)
def test_narrow_types_are_rounded_once_at_the_end(ours, exact, dtype, training):
    found, expected = traced(lambda x: ours(x, training=training), dtype=dtype), exact(seen(dtype))
    bits = 8 if dtype == "bfloat16" else 11  # of the significand
    # Half a unit in the last place, and a little for how close float32 comes.
    np.testing.assert_allclose(found, expected, rtol=1.05 * 2**-bits, atol=1e-6 if dtype == "bfloat16" else 1e-4)


def test_gelu_while_training_in_bfloat16_is_rounded_once():
    x = seen()
    exact = x * special.ndtr(x)
    np.testing.assert_allclose(traced(numerics.gelu), exact, rtol=1.05 * 2**-8, atol=1e-6)


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.75])
@pytest.mark.parametrize("shape", [(7, 11, 13, 101), (4, 8, 50, 64)])
def test_keep_mask_drops_each_by_itself_at_the_rate(rate, shape):
    seeds = keras.random.SeedGenerator(3)
    first, second = (np.asarray(numerics.keep_mask(shape, rate, seeds)) for _ in range(2))
    assert first.shape == shape and first.dtype == bool
    spread = 5 * np.sqrt(rate * (1 - rate) / first.size)
    assert abs((~first).mean() - rate) < spread and abs((~second).mean() - rate) < spread
    both = (~first & ~second, (~first[..., 1:]) & (~first[..., :-1]))  # of two draws, of neighbours
    assert all(abs(each.mean() - rate**2) < 6 * rate / np.sqrt(each.size) for each in both)
    np.testing.assert_array_equal(numerics.keep_mask(shape, rate, keras.random.SeedGenerator(3)), first)


def test_attention_dropout_keeps_the_mean():
    layer = SoftmaxAttention(ModelSpec(dim=8, heads=2, attention_dropout=0.4), Geometry((6, 1, 1), (6, 1)))
    x = np.random.default_rng(1).normal(size=(1, 6, 8)).astype("float32")
    layer(x)
    layer.set_weights([20 * weight for weight in layer.get_weights()])
    still = np.asarray(layer(x, training=False))[0]
    drawn = np.asarray(layer(np.repeat(x, 20_000, 0), training=True))
    error = drawn.std(0) / np.sqrt(len(drawn))
    assert (drawn.std(0) > 1e-3).all()
    np.testing.assert_array_less(abs(drawn.mean(0) - still), 5 * error)


def test_order_of_computation_adds_nothing_on_tensorflow():
    x = tf.constant([1.0, 2.0])
    assert numerics.after(tf.constant([np.inf]), x) is x
