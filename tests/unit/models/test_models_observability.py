"""The observability matrix: its values and gradients by its definition, and where the definition gives out."""

import keras
import numpy as np
import pytest
from keras import ops

from ablate.models.tokenizer.observability import observability, pseudo_inverse


def _defined(token, order, blocks):
    """The features of one token as the definition says, index by index; float64."""
    steps = len(token) // order
    y = np.array([[token[(steps - 1 - j) * order + i] for j in range(steps)] for i in range(order)])
    y = y - y.mean(axis=1, keepdims=True)
    u = np.linalg.svd(y, full_matrices=False)[0]
    u = u * np.sign(u[np.abs(u).argmax(axis=0), np.arange(order)])
    z = u.T @ y
    z1, z2 = z[:, :-1], z[:, 1:]
    ua = u @ (z2 @ z1.T @ np.linalg.pinv(z1 @ z1.T))
    return np.concatenate([u, ua, *(ua**power for power in range(1, blocks - 1))], axis=1).reshape(-1)


@pytest.mark.parametrize(("order", "blocks", "dim"), [(4, 4, 24), (8, 3, 128), (3, 2, 12), (1, 2, 4)])
def test_observability_is_its_definition(order, blocks, dim):
    tokens = np.random.default_rng(1).normal(size=(2, 3, dim))
    got = ops.convert_to_numpy(observability(ops.convert_to_tensor(tokens, dtype="float64"), order, blocks))
    expected = [[_defined(token, order, blocks) for token in image] for image in tokens]
    np.testing.assert_allclose(got, np.array(expected), rtol=0, atol=1e-9)


def _gradient(tokens, weights, dtype="float64"):
    import tensorflow as tf

    x = tf.constant(tokens, dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(tf.cast(observability(x, 4, 4), "float64") * weights)
    return loss.numpy(), tape.gradient(loss, x).numpy()


def test_observability_gradient_is_the_slope():
    random = np.random.default_rng(2)
    tokens, weights, along = (
        random.normal(size=(1, 2, 24)),
        random.normal(size=(1, 2, 64)),
        random.normal(size=(1, 2, 24)),
    )
    gradient = _gradient(tokens, weights)[1]
    ahead, behind = (_gradient(tokens + step * along, weights)[0] for step in (1e-6, -1e-6))
    assert np.sum(gradient * along) == pytest.approx((ahead - behind) / 2e-6, rel=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_observability_gradient_is_finite_for_constant_and_repeating_tokens(dtype):
    random = np.random.default_rng(3)
    tokens = np.stack([np.zeros(24), np.full(24, 0.3), np.tile(random.normal(size=4), 6), np.tile([1.0, 2.0], 12)])
    loss, gradient = _gradient(tokens[None], random.normal(size=(1, 4, 64)), dtype)
    assert np.isfinite(loss) and np.isfinite(gradient.astype("float64")).all()


def test_pseudo_inverse_gradient_is_the_slope_where_rank_is_short():
    import tensorflow as tf

    random = np.random.default_rng(4)
    left, weights = random.normal(size=(5, 3)), random.normal(size=(5, 5))
    change = random.normal(size=(5, 3))

    def loss(factor):
        return tf.reduce_sum(pseudo_inverse(factor @ tf.transpose(factor)) * weights)

    x = tf.constant(left)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = loss(x)
    slope = (loss(left + 1e-6 * change) - loss(left - 1e-6 * change)) / 2e-6
    assert np.sum(tape.gradient(value, x).numpy() * change) == pytest.approx(float(slope), rel=1e-5)


@pytest.mark.parametrize(("order", "blocks", "dim"), [(4, 3, 16), (5, 3, 24), (4, 1, 24), (0, 3, 24)])
def test_observability_refuses_what_it_cannot_compute(order, blocks, dim):
    with pytest.raises(ValueError, match="must be"):
        observability(keras.ops.zeros((1, 2, dim)), order, blocks)
