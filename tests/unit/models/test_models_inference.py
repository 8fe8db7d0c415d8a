"""The compiled logits of a model: the model's own, for any number of images, whether or not XLA knows the model."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ablate.models.classifier import build
from ablate.models.inference import AT_ONCE, Predictor
from ablate.models.serving import Served
from ablate.models.spec import ModelSpec

MODEL = ModelSpec(convs=1, layers=1, dim=8, heads=2)
SCALE, SHIFT = np.full(1, 1 / 127.5), np.full(1, -1.0)


class _Foreign(keras.layers.Layer):
    """Calls Python, as XLA cannot."""

    def call(self, x):
        return tf.ensure_shape(tf.numpy_function(lambda value: value, [x], tf.float32), x.shape)


@pytest.mark.parametrize("images", [0, 1, 2, AT_ONCE, AT_ONCE + 1])
@pytest.mark.parametrize("layers", [[], [_Foreign]])
def test_logits_are_the_models_for_any_number_of_images(layers, images):
    model = keras.Sequential([keras.Input((8, 8, 1)), *(layer() for layer in layers), build(MODEL, (8, 8, 1), 10)])
    x = np.random.default_rng(0).integers(0, 256, (images, 8, 8, 1), dtype="uint8")
    predictor = Predictor(model, SCALE, SHIFT, dtype="uint8")
    expected = np.asarray(model((x / 127.5 - 1).astype("float32"), training=False))
    assert predictor(x).shape == (images, 10)
    for _ in range(2):  # what XLA refused goes another way from then on
        np.testing.assert_allclose(predictor(x), expected, atol=1e-6)


def test_served_are_probabilities_of_pixels_by_each_channels_moments():
    model, mean, std = build(MODEL, (8, 12, 3), 10), [0.1, 0.5, 0.9], [0.2, 0.3, 0.4]
    x = np.random.default_rng(0).integers(0, 256, (3, 8, 12, 3))
    logits = model(((x / 255 - mean) / std).astype("float32"), training=False)
    np.testing.assert_allclose(Served(model, mean, std).predict(x), keras.ops.softmax(logits), atol=1e-6)


def test_images_of_another_shape_are_refused_and_the_next_are_answered():
    predictor = Predictor(build(MODEL, (8, 8, 1), 10), SCALE, SHIFT)
    with pytest.raises(ValueError, match=r"must be \(images, 8, 8, 1\), got \(1, 9, 8, 1\)"):
        predictor(np.zeros((1, 9, 8, 1)))
    assert predictor(np.zeros((1, 8, 8, 1))).shape == (1, 10)
