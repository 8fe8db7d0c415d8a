"""Files that an older version saved are read as it wrote them."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from ablate.models import load_model

OLD = Path(__file__).parents[2] / "assets" / "f6fe46a-models"
"""Written by commit f6fe46a, each with its logits: a default model, one with each leaf of the encoder away from its
default, and layers of the encoder that stand alone in a model of Keras."""


@pytest.mark.parametrize("name", ["defaults", "every_leaf", "layers_alone"])
def test_saved_model_of_an_older_version_gives_its_logits(name):
    model = load_model(OLD / f"{name}.keras")
    x = np.random.default_rng(0).normal(size=(4, *model.input_shape[1:])).astype("float32")
    logits = ops.convert_to_numpy(model(x, training=False))
    # Bit for bit on the machine that wrote them; another processor sums in another order.
    np.testing.assert_allclose(logits, np.load(OLD / f"{name}.npy"), rtol=1e-5, atol=1e-5)


def test_saved_model_of_an_older_version_keeps_every_rate_and_option():
    encoder = load_model(OLD / "every_leaf.keras").get_layer("encoder")
    spec, block = encoder.spec, encoder.blocks[1]
    assert (spec.layers, spec.heads, spec.mlp_width, spec.key_dim, spec.norm_eps) == (2, 2, 24, 5, 1e-3)
    assert (spec.qkv_bias, spec.mlp_second_activation, block.residual) == (True, True, "plain")
    rates = (encoder.dropout, block.attention.weights_dropout, block.attention.dropout, block.mlp.dropout_1)
    assert [dropout.rate for dropout in rates] == [0.05, 0.2, 0.15, 0.1]
    assert [each.drop_path.rate for each in encoder.blocks] == [0.3, 0.3]


def test_saved_again_an_older_model_stays_the_same(tmp_path):
    old = load_model(OLD / "every_leaf.keras")
    old.save(tmp_path / "again.keras")
    again = load_model(tmp_path / "again.keras")
    assert again.get_config() == old.get_config()
    assert isinstance(again.get_layer("head"), keras.layers.Dense)
    for ours, theirs in zip(again.weights, old.weights, strict=True):
        assert ours.path == theirs.path
        np.testing.assert_array_equal(ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs))
