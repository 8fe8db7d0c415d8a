"""Positional embeddings: what is kept, what is trained, and the sine table; resizing to another grid."""

import numpy as np
import pytest
from keras import ops

from ablate.models.positional import layers as positional


def _array(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


def test_learnable_embedding_that_is_not_trained_is_kept_with_the_weights():
    layer = positional.LearnablePositional(trained=False, draw="uniform")
    layer.build((None, 40, 8))
    assert layer.trainable_weights == [] and len(layer.weights) == 1
    assert 0.045 < np.abs(_array(layer.embedding)).max() <= 0.05


def test_sine_is_never_trained():
    layer = positional.SinePositional()
    layer.build((None, 6, 4))
    assert layer.trainable_weights == [] and layer.count_params() == 24
    table = _array(layer.embedding)[0]
    np.testing.assert_allclose(table[3], [np.sin(3), np.cos(3), np.sin(0.03), np.cos(0.03)], atol=1e-6)


def test_resize_is_bilinear_with_half_pixel_centres_and_no_antialias():
    row = np.array([[[0.0], [4.0]]])
    np.testing.assert_allclose(positional.resize(row, (1, 2), (1, 4)).ravel(), [0, 1, 3, 4])
    np.testing.assert_allclose(positional.resize(row, (2, 1), (3, 1)).ravel(), [0, 2, 4])
    eight = np.arange(8.0).reshape(1, 8, 1) ** 2
    np.testing.assert_allclose(positional.resize(eight, (1, 8), (1, 2)).ravel(), [(1 + 4) / 2, (25 + 36) / 2])


@pytest.mark.parametrize(("old", "new"), [((4, 4), (7, 7)), ((6, 3), (2, 5)), ((3, 5), (3, 8))])
def test_resize_agrees_with_keras_on_images(old, new):
    places = np.random.default_rng(0).normal(size=(1, 2 + old[0] * old[1], 3)).astype("float32")
    ours = positional.resize(places, old, new)
    theirs = ops.image.resize(places[:, 2:].reshape(1, *old, 3), new, interpolation="bilinear", antialias=False)
    np.testing.assert_array_equal(ours[:, :2], places[:, :2])
    np.testing.assert_allclose(ours[:, 2:].reshape(1, *new, 3), ops.convert_to_numpy(theirs), atol=1e-5)
