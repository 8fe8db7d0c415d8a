"""Images to tokens: what each tokenizer's layer computes."""

import numpy as np
import pytest
from keras import ops

from ablate.models.tokenizer import layers as tokenizers


def _draw(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def _array(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


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
