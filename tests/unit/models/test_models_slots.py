"""Every variant of every slot: its cost is the graph's, it survives its file, and it trains in bfloat16."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ablate.models import build, load_model, registry
from ablate.models.profile import profile
from ablate.models.spec import ModelSpec

SHAPE, CLASSES = (8, 8, 1), 3
EACH = sorted(
    (slot, name)
    for slot in registry.slots()
    for name in registry.names(slot)
    if registry.get(slot, name).spec.__module__.startswith("ablate.")
)
each_variant = pytest.mark.parametrize(("slot", "name"), EACH, ids=[f"{slot}-{name}" for slot, name in EACH])


def _spec(slot, name):
    return ModelSpec(**({"convs": 1, "dim": 16, "heads": 2, "layers": 2, "kernel": 2} | {slot: name}))


def _images(count):
    return np.random.default_rng(0).normal(size=(count, *SHAPE)).astype("float32")


@pytest.fixture
def bfloat16():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy(before)


@each_variant
def test_variant_costs_what_its_closed_form_says(slot, name):
    spec = _spec(slot, name)
    measured = profile(build(spec, SHAPE, CLASSES))
    assert measured.params == spec.params(SHAPE, CLASSES)
    assert measured.trainable_params == spec.trainable_params(SHAPE, CLASSES)
    for convention in ("macs", "macs_modules", "macs_fvcore"):
        assert getattr(measured, convention) == spec.macs(SHAPE, CLASSES, convention=convention), convention


@each_variant
def test_variant_is_the_same_from_its_file(slot, name, tmp_path):
    model = build(_spec(slot, name), SHAPE, CLASSES)
    model.save(tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(_images(2)).numpy(), model(_images(2)).numpy())
    assert again.get_layer("encoder").get_config() == model.get_layer("encoder").get_config()


@each_variant
def test_variant_trains_in_bfloat16(slot, name, bfloat16):
    """Every weight gets a gradient that is finite, and the logits are those of float32 up to bfloat16's 8 bits."""
    model = build(_spec(slot, name), SHAPE, CLASSES)
    x, labels = _images(16), np.arange(16) % CLASSES
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with tf.GradientTape() as tape:
        value = loss(labels, model(x, training=True))
    gradients = tape.gradient(value, [weight.value for weight in model.trainable_weights])
    for weight, gradient in zip(model.trainable_weights, gradients, strict=True):
        assert gradient is not None and np.isfinite(gradient).all(), weight.path
        assert np.abs(gradient).max() > 0, weight.path
    narrow = model(x).numpy()
    keras.config.set_dtype_policy("float32")
    wide = build(_spec(slot, name), SHAPE, CLASSES)
    wide.set_weights(model.get_weights())
    exact = wide(x).numpy()
    assert narrow.dtype == "float32"
    np.testing.assert_allclose(narrow, exact, atol=0.05 * np.abs(exact).max())
