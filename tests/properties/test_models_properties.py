"""What holds for every model, tried on random small ones."""

import json
from dataclasses import replace
from tempfile import TemporaryDirectory

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import ops

from ablate.models import build, trace
from ablate.models.pooling.layers import SeqPool
from ablate.models.profile import profile
from ablate.models.slots import SpecError
from ablate.models.spec import ModelSpec

# Keras warns of a softmax over one token, which is what a model of one token has.
pytestmark = pytest.mark.filterwarnings("ignore:You are using a softmax over axis")
few = settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@st.composite
def models(draw, **fixed):
    """A spec, an input shape that it accepts, and a number of classes."""
    tokenizer = fixed.get("tokenizer") or draw(st.sampled_from(["conv", "patch"]))
    heads = draw(st.integers(1, 3))
    kernel = draw(st.integers(1, 7))
    leaves = {
        "tokenizer": tokenizer,
        "kernel": kernel,
        "convs": draw(st.integers(1, 3)) if tokenizer == "conv" else 1,
        "positional": draw(st.sampled_from(["learnable", "sine", "none"])),
        "pooling": draw(st.sampled_from(["seqpool", "class_token", "mean"])),
        "layers": draw(st.integers(1, 3)),
        "dim": heads * draw(st.integers(1, 5)),
        "heads": heads,
        "mlp_ratio": draw(st.sampled_from([1.0, 1.5, 2.0])),
        "qkv_bias": draw(st.booleans()),
        "key_dim": draw(st.sampled_from([None, 1, 3])),
        "residual": draw(st.sampled_from(["normalised", "plain"])),
        "mlp_second_activation": draw(st.booleans()),
    }
    if tokenizer == "conv":
        leaves["options"] = {
            "tokenizer": {
                "conv_widths": draw(st.sampled_from(["fixed", "doubling"])),
                "conv_padding": draw(st.sampled_from(["symmetric", "same", "after"])),
                "pool_padding": draw(st.sampled_from(["symmetric", "same"])),
            }
        }
    spec = ModelSpec(**(leaves | fixed))
    step = spec.kernel if tokenizer == "patch" else 1
    height, width = (step * draw(st.integers(1, 12 // step + 1)) for _ in range(2))
    return spec, (height, width, draw(st.integers(1, 4))), draw(st.integers(1, 5))


def _draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def _randomised(spec, shape, classes):
    model = build(spec, shape, classes)
    for index, weight in enumerate(model.weights):
        weight.assign(0.5 * _draw(*weight.shape, seed=index))
    return model


@few
@given(models())
def test_closed_form_equals_the_built_model(case):
    spec, shape, classes = case
    try:
        spec.grid(shape)
    except SpecError:
        return
    measured = profile(build(spec, shape, classes))
    assert measured.tokens == spec.tokens(shape)
    assert measured.params == spec.params(shape, classes)
    assert measured.trainable_params == spec.trainable_params(shape, classes)
    for convention in ("macs", "macs_modules", "macs_fvcore"):
        assert getattr(measured, convention) == spec.macs(shape, classes, convention=convention)


@few
@given(models(), st.data())
def test_saved_model_is_the_same_model(case, data):
    spec, shape, classes = case
    spec = replace(
        spec, options=spec.options | _ports(spec, data.draw), norm_eps=data.draw(st.sampled_from([1e-6, 1e-3]))
    )
    try:
        spec.grid(shape)
    except SpecError:
        return
    model = _randomised(spec, shape, classes if data.draw(st.booleans()) else None)
    with TemporaryDirectory() as folder:
        model.save(f"{folder}/model.keras")
        loaded = keras.models.load_model(f"{folder}/model.keras")
    assert json.loads(json.dumps(loaded.get_config())) == json.loads(json.dumps(model.get_config()))
    assert [(w.path, w.trainable) for w in loaded.weights] == [(w.path, w.trainable) for w in model.weights]
    x = _draw(2, *shape)
    np.testing.assert_array_equal(ops.convert_to_numpy(loaded(x)), ops.convert_to_numpy(model(x)))


def _ports(spec, draw):
    """Options of the Keras ports on the axes that have them."""
    options = {}
    if spec.positional == "learnable":
        options["positional"] = {"trained": draw(st.booleans()), "draw": draw(st.sampled_from(["normal", "uniform"]))}
    if spec.pooling == "seqpool":
        options["pooling"] = {"sums": draw(st.booleans())}
    return options


@few
@given(models())
def test_sequence_and_attention_have_the_length_of_the_closed_form(case):
    spec, shape, classes = case
    seen = trace(build(spec, shape, classes), _draw(2, *shape))
    tokens = spec.tokens(shape)
    assert seen["tokens"].shape == (2, tokens, spec.width)
    assert seen["block_0.attention"].shape == (2, spec.attention_heads, tokens, tokens)


@few
@given(st.integers(1, 9), st.integers(1, 6), st.floats(0.01, 30))
def test_seqpool_weights_sum_to_one(tokens, dim, scale):
    x = keras.Input((tokens, dim))
    pool = SeqPool(name="pooling")
    keras.Model(x, pool(x))
    pool.set_weights([scale * _draw(dim, 1), _draw(1)])
    ones = np.ones((3, tokens, dim), "float32") * _draw(3, 1, 1)
    # Equal tokens come out as they are, whatever the weights, exactly when those sum to 1.
    np.testing.assert_allclose(ops.convert_to_numpy(pool(ones)), ones[:, 0], rtol=1e-5)
    spread = ops.convert_to_numpy(pool(_draw(3, tokens, dim)))
    assert (np.abs(spread) <= np.abs(_draw(3, tokens, dim)).max(1) + 1e-5).all()


def _shuffled(x, kernel, order):
    """The same patches in another order."""
    batch, height, width, channels = x.shape
    rows, columns = height // kernel, width // kernel
    patches = x.reshape(batch, rows, kernel, columns, kernel, channels).swapaxes(2, 3)
    patches = patches.reshape(batch, rows * columns, kernel, kernel, channels)[:, order]
    patches = patches.reshape(batch, rows, columns, kernel, kernel, channels).swapaxes(2, 3)
    return patches.reshape(x.shape)


@few
@given(models(tokenizer="patch", positional="none", pooling="seqpool"), st.randoms(use_true_random=False))
def test_patches_without_places_ignore_their_order(case, random):
    spec, shape, classes = case
    model = _randomised(spec, shape, classes)
    x, order = _draw(2, *shape), list(range(spec.tokens(shape)))
    random.shuffle(order)
    logits, others = (ops.convert_to_numpy(model(y)) for y in (x, _shuffled(x, spec.kernel, order)))
    np.testing.assert_allclose(logits, others, atol=1e-4 * max(1, np.abs(logits).max()))


def test_patches_with_places_do_not_ignore_their_order():
    for positional in ("learnable", "sine"):
        spec = ModelSpec("patch", 2, 1, positional, "seqpool", layers=1, dim=8, heads=2)
        model = _randomised(spec, (4, 4, 1), 3)
        x = _draw(2, 4, 4, 1)
        logits, others = (ops.convert_to_numpy(model(y)) for y in (x, _shuffled(x, 2, [3, 1, 0, 2])))
        assert np.abs(logits - others).max() > 1e-3
