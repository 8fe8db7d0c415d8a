"""One step: both kinds of labels in one graph, batches in parts, clipped gradients, scaled losses, averaged weights."""

import keras
import numpy as np
import pytest
from keras import ops

from ablate.models.classifier import build
from ablate.models.spec import ModelSpec
from ablate.training import AdamW
from ablate.training.averages import Averages
from ablate.training.optimizer import ScaledAdamW, clipped
from ablate.training.steps.compiled import compile_step

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


class _Unseen(keras.layers.Layer):
    """Has a weight that its outputs do not depend on."""

    def build(self, shape):
        self.weight = self.add_weight(shape=(3, 2), initializer="ones")

    def call(self, x):
        return x


def test_a_weight_that_the_loss_does_not_see_decays_and_stops_nothing():
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), _Unseen(), keras.layers.Dense(10)])
    optimizer = AdamW(weight_decay=0.1)
    optimizer.learning_rate = 0.5
    x, y = _batch()
    _train(compile_step(model, optimizer), x, y)
    np.testing.assert_allclose(_weights(model)[0], np.full((3, 2), 1 - 0.5 * 0.1), rtol=1e-6)


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


def _faint(policy, optimizer):
    """Logits so small that in float16 the gradient of the first layer is 0."""
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 1))
    x = keras.layers.Dense(16, "gelu", dtype=policy)(keras.layers.Flatten()(images))
    logits = keras.layers.Rescaling(1e-6, dtype="float32")(keras.layers.Dense(10, dtype="float32")(x))
    model = keras.Model(images, logits)
    return model, compile_step(model, optimizer)


def _moves(policy, optimizer, parts=1, clip=None):
    """How far a step moved the kernel of the first layer."""
    model, step = _faint(policy, optimizer)
    before = _weights(model)[0]
    _accumulate(step, *_batch(), parts, clip) if parts > 1 else _train(step, *_batch(), clip)
    return _weights(model)[0] - before


@pytest.mark.parametrize(("parts", "clip"), [(1, None), (1, 1e-7), (3, 1e-7)])
def test_scaled_step_in_float16_moves_weights_as_float32_does_where_an_unscaled_one_moves_none(parts, clip):
    rate = 1e-2
    exact = _moves("float32", AdamW(rate), parts, clip)
    assert np.abs(exact).max() > 0.1 * rate and np.mean(exact != 0) > 0.5
    assert not _moves("mixed_float16", AdamW(rate), parts, clip).any(), "every gradient is 0"
    scaled = _moves("mixed_float16", ScaledAdamW(AdamW(rate)), parts, clip)
    np.testing.assert_allclose(scaled, exact, rtol=0, atol=0.01 * rate)


@pytest.mark.parametrize("parts", [1, 3])
def test_scaled_step_whose_gradients_are_not_finite_moves_nothing_and_halves_the_scale(parts):
    optimizer = ScaledAdamW(AdamW(1e-2, 0.1))
    model, step = _faint("mixed_float16", optimizer)
    optimizer.dynamic_scale.assign(2.0**60)
    before, (x, y) = _weights(model), _batch()
    loss, _ = _accumulate(step, x, y, parts, 1.0) if parts > 1 else _train(step, x, y, 1.0)
    assert float(loss) == pytest.approx(np.log(10), rel=1e-3), "the loss itself is told unscaled"
    assert all(np.array_equal(a, b) for a, b in zip(before, _weights(model), strict=True))
    assert (float(optimizer.dynamic_scale), int(optimizer.iterations)) == (2.0**59, 0)
    optimizer.dynamic_scale.assign(2.0**15)
    _accumulate(step, x, y, parts, 1.0) if parts > 1 else _train(step, x, y, 1.0)
    assert all(np.isfinite(weight).all() for weight in _weights(model)), "no sum of the skipped step is left"
    assert not np.array_equal(before[0], _weights(model)[0])
    optimizer.reset()
    assert (float(optimizer.dynamic_scale), int(optimizer.step_counter), int(optimizer.iterations)) == (2.0**15, 0, 0)


def test_scale_doubles_after_as_many_good_steps_as_asked():
    optimizer = ScaledAdamW()
    optimizer.dynamic_growth_steps = 2
    _, step = _faint("mixed_float16", optimizer)
    scales = []
    for _ in range(4):
        _train(step, *_batch())
        scales.append(float(optimizer.dynamic_scale))
    assert scales == [2.0**15, 2.0**16, 2.0**16, 2.0**17]


def test_scaled_optimizer_can_be_kept_in_a_file_of_a_model():
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(ScaledAdamW(AdamW(0.5, 0.1))))
    assert type(again) is ScaledAdamW and type(again.inner_optimizer) is AdamW
    assert float(again.learning_rate) == 0.5
