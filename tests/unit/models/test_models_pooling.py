"""A sequence to one vector: what each pooling's layers compute."""

import numpy as np
from keras import ops

from ablate.models.pooling import layers as pooling

SEQUENCE = (5, 8)


def _draw(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def _array(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


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


def test_class_token_comes_first_and_is_read_back():
    token = pooling.ClassToken()
    x = _draw(3, *SEQUENCE)
    assert not _array(token(x))[:, 0].any()
    token.set_weights([_draw(1, 1, 8)])
    y = token(x)
    np.testing.assert_array_equal(_array(y)[:, 1:], x)
    np.testing.assert_array_equal(_array(pooling.FirstToken()(y)), np.repeat(_draw(1, 8), 3, 0))
