"""One step: both kinds of labels in one graph, batches cut into parts, clipped gradients, averaged weights."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import ops

from ablate.models.classifier import build
from ablate.specs import ModelSpec
from ablate.training import AdamW
from ablate.training.step import compile_step

MODEL = ModelSpec(convs=1, layers=1, dim=8, heads=2, attention_dropout=0.0, stochastic_depth=0.0)
SCALE, SHIFT = np.full(1, 1 / 255, "float32"), np.zeros(1, "float32")


def _made(spec=MODEL):
    keras.utils.set_random_seed(0)
    model = build(spec, (8, 8, 1), 10)
    return model, compile_step(model, AdamW(1e-2, 0.1))


def _batch(images=24):
    generator = np.random.default_rng(1)
    return generator.integers(0, 256, (images, 8, 8, 1)).astype("uint8"), generator.integers(0, 10, images)


def _weights(model):
    return [ops.convert_to_numpy(weight) for weight in model.weights]


def _moved(start, model):
    return np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(start, _weights(model), strict=True)))


def _train(step, x, y, clip=None):
    return step.train(x, y, np.ones(len(y), "float32"), SCALE, SHIFT, 0.1, clip)


def test_step_takes_probabilities_for_labels_in_the_same_graph():
    x, y = _batch()
    (one, first), (other, second) = _made(), _made()
    results = _train(first, x, y), _train(second, x, np.eye(10)[y])
    assert [float(value) for value in results[0]] == [float(value) for value in results[1]]
    assert all(np.array_equal(a, b) for a, b in zip(_weights(one), _weights(other), strict=True))
    traces = first._plain.experimental_get_tracing_count() if keras.backend.backend() == "tensorflow" else 1
    _train(first, x, np.full((len(y), 10), 0.1))
    assert traces == 1 and (
        keras.backend.backend() != "tensorflow" or first._plain.experimental_get_tracing_count() == 1
    )
