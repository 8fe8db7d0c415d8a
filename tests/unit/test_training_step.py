"""One step: both kinds of labels in one graph, batches cut into parts, clipped gradients, averaged weights."""

import keras
import numpy as np
import pytest
from keras import ops

from ablate.models.classifier import build
from ablate.specs import ModelSpec
from ablate.training import AdamW
from ablate.training.averages import Averages
from ablate.training.optimizer import clipped
from ablate.training.step import compile_step

MODEL = ModelSpec(convs=1, layers=1, dim=8, heads=2, attention_dropout=0.0, stochastic_depth=0.0)
SCALE, SHIFT = np.full(1, 1 / 255, "float32"), np.zeros(1, "float32")


def _made(spec=MODEL):
    keras.utils.set_random_seed(0)
    model = build(spec, (8, 8, 1), 10)
    return model, compile_step(model, AdamW(1e-2, 0.1))


def _batch(images=24, seed=1):
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (images, 8, 8, 1)).astype("uint8"), generator.integers(0, 10, images)


def _weights(model):
    return [ops.convert_to_numpy(weight).copy() for weight in model.weights]


def _train(step, x, y, clip=None):
    return step.train(x, y, np.ones(len(y), "float32"), SCALE, SHIFT, 0.1, clip)


def test_step_takes_probabilities_for_labels_in_the_same_graph():
    x, y = _batch()
    (one, first), (other, second) = _made(), _made()
    results = _train(first, x, y), _train(second, x, np.eye(10)[y])
    assert [float(value) for value in results[0]] == [float(value) for value in results[1]]
    assert all(np.array_equal(a, b) for a, b in zip(_weights(one), _weights(other), strict=True))


def _accumulate(step, x, y, parts, clip=None):
    cuts = np.array_split(np.arange(len(y)), parts)
    ones = np.ones(len(y), "float32")
    results = [step.accumulate(x[cut], y[cut], ones[cut], SCALE, SHIFT, 0.1, len(y)) for cut in cuts]
    step.update(clip)
    return sum(float(loss) for loss, _ in results), sum(float(right) for _, right in results)


@pytest.mark.parametrize(("parts", "clip"), [(4, None), (3, 0.05)])
def test_parts_of_a_batch_add_up_to_its_update(parts, clip):
    (whole, first), (cut, second) = _made(), _made()
    for seed in range(3):
        x, y = _batch(seed=seed)
        expected = [float(value) for value in _train(first, x, y, clip)]
        assert _accumulate(second, x, y, parts, clip) == pytest.approx(expected, abs=1e-6)
    for a, b in zip(whole.weights, cut.weights, strict=True):
        if "pooling/attention/bias" not in a.path:  # its gradient is rounding alone, which Adam makes large
            np.testing.assert_allclose(ops.convert_to_numpy(a), ops.convert_to_numpy(b), rtol=0, atol=1e-6)


def test_clipping_scales_all_gradients_to_one_global_norm():
    gradients = [np.array([[3.0, 0.0]], "float32"), np.array([4.0], "float32")]
    short = [ops.convert_to_numpy(g) for g in clipped([ops.convert_to_tensor(g) for g in gradients], 1.0)]
    np.testing.assert_allclose(short[0], [[0.6, 0.0]], rtol=1e-6)
    np.testing.assert_allclose(short[1], [0.8], rtol=1e-6)
    long = clipped([ops.convert_to_tensor(g) for g in gradients], 5.1)
    assert all(np.array_equal(a, ops.convert_to_numpy(b)) for a, b in zip(gradients, long, strict=True))


def test_clipping_reaches_the_step_and_no_limit_that_is_not_met_changes_a_bit():
    ends = {}
    for clip in (None, 1e6, 0.01):
        model, step = _made()
        for seed in range(2):
            _train(step, *_batch(seed=seed), clip)
        ends[clip] = _weights(model)
    assert all(np.array_equal(a, b) for a, b in zip(ends[None], ends[1e6], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(ends[None], ends[0.01], strict=True))


def test_averages_follow_the_weights_and_stand_in_for_them():
    model, step = _made()
    averages = Averages(model)
    averages.restart()
    expected = _weights(model)
    for seed, decay in enumerate((0.9, 0.5)):
        _train(step, *_batch(seed=seed))
        averages.update(decay)
        expected = [decay * old + (1 - decay) * new for old, new in zip(expected, _weights(model), strict=True)]
    trained = _weights(model)
    with averages.in_place():
        for weight, value in zip(_weights(model), expected, strict=True):
            np.testing.assert_allclose(weight, value, rtol=1e-5, atol=1e-7)
    assert all(np.array_equal(a, b) for a, b in zip(trained, _weights(model), strict=True))
