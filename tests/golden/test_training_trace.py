"""Ten steps of AdamW from the golden weights of CCT-2/3x2, against PyTorch's, in losses and final logits."""

import json
from dataclasses import replace
from importlib.resources import as_file

import keras
import numpy as np
import pytest

from ablate import reference
from ablate.models import zoo
from ablate.models.classifier import build
from ablate.models.weights import load_weights
from ablate.training.optimizer import AdamW
from ablate.training.step import compile_step

MODEL = "cct_2_3x2_32_learnable"
NO_CHANCE = {"dropout": 0.0, "attention_dropout": 0.0, "stochastic_depth": 0.0}


def _golden(name):
    return reference.golden(name, "")


@pytest.fixture(scope="module")
def trace():
    return json.loads(_golden("train_trace_cct_2_3x2.json").read_text())


@pytest.fixture(scope="module")
def batch():
    with as_file(_golden("train_batch_cct_2_3x2.npz")) as path, np.load(path) as stored:
        return stored["x"], stored["labels"]


def _trained(batch, trace, *, decay_1d):
    """Losses before each of 10 updates, and after them the loss and the logits in inference mode."""
    model = build(replace(zoo.parse("cct_2_3x2").spec, **NO_CHANCE), (32, 32, 3), 10)
    with as_file(reference.golden(MODEL, ".safetensors")) as path:
        load_weights(model, path)
    rule = trace["optimizer"]
    optimizer = AdamW(rule["lr"], rule["weight_decay"], decay_1d=decay_1d, epsilon=rule["eps"])
    step = compile_step(model, optimizer, dtype="float32")
    (x, y), as_it_is = batch, (np.ones(3, "float32"), np.zeros(3, "float32"))
    arguments = (x, y, np.ones(len(y), "float32"), *as_it_is, 0.1)
    losses = [float(step.train(*arguments)[0]) for _ in range(10)]
    logits = keras.ops.convert_to_numpy(step.predict(x, *as_it_is))
    return losses, float(step.train(*arguments)[0]), logits


def test_training_follows_pytorch_where_everything_decays(batch, trace):
    losses, final_loss, logits = _trained(batch, trace, decay_1d=True)
    # These losses are float64: PyTorch's float32 is within 3e-7, Keras' Adam, with its epsilon elsewhere, 2.6e-5 away.
    np.testing.assert_allclose(losses, trace["losses"], rtol=0, atol=1e-5)
    assert final_loss == pytest.approx(trace["final_loss"], abs=1e-5)
    np.testing.assert_allclose(logits, trace["final_logits"], rtol=0, atol=5e-5)


def test_training_follows_pytorch_where_biases_and_norms_do_not_decay(batch, trace):
    expected = trace["alt_timm_no_decay_1d"]
    losses, final_loss, logits = _trained(batch, trace, decay_1d=False)
    np.testing.assert_allclose(losses, expected["losses"], rtol=0, atol=1e-5)
    assert final_loss == pytest.approx(expected["final_loss"], abs=1e-5)
    np.testing.assert_allclose(logits, expected["final_logits"], rtol=0, atol=5e-5)
    assert np.abs(np.array(expected["losses"]) - trace["losses"]).max() > 1e-5, "the two rules must be told apart"
