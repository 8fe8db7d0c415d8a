"""The two Keras ports, under their own weights, give what they gave when they were run.

Their files list weights in the order of creation, which is ours but for queries, keys and values: three dense layers
there, one here. Tolerance: 5e-5 in float32, on logits of up to 2.6 and on probabilities.
"""

import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from keras import ops

from ablate.models import build, create_model, load_weights, zoo
from ablate.models.profile import profile
from ablate.models.spec import ModelSpec
from ablate.proof import reference

SHARED = Path(__file__).parents[3] / "shared" / "reference" / "ports"
SMALL_CCT_KERAS = {"dim": 64, "heads": 2, "mlp_ratio": 2.0, "image_size": 32, "num_classes": 10}
CONVENTIONS = ("macs", "macs_modules", "macs_fvcore")


def _port(name):
    """A file of a port's arrays, or a skip where it is not to be had."""
    packaged = Path(str(files(reference))) / "ports" / f"{name}.npz"
    path = packaged if packaged.is_file() else SHARED / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"{name}.npz is not in the package, and ../shared/reference is not here")
    return dict(np.load(path))


def _assign(model, arrays, embedding=None):
    """Sets a port's weights, and the embedding, which the port keeps among its constants."""
    theirs = [arrays[name] for name in sorted(arrays) if name.startswith("w/")]
    for weight in model.weights:
        if weight.path == "positional/embedding":
            weight.assign(embedding[None])
        elif "/qkv/" in weight.path:
            bias = weight.path.endswith("bias")
            parts = [theirs[place] for place in (1, 3, 5)] if bias else [theirs[place] for place in (0, 2, 4)]
            width = weight.shape[-1] // 3
            weight.assign(np.concatenate([part.reshape(*weight.shape[:-1], width) for part in parts], -1))
            theirs = theirs[6:] if bias else theirs
        else:
            weight.assign(theirs.pop(0).reshape(weight.shape))
    assert theirs == []


def _softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def _keras_io(**leaves):
    arrays = _port("keras_io_cct")
    model = create_model("keras_io_cct", **leaves)
    _assign(model, arrays, arrays["pe"])
    # The published model divides by 255 itself; here that is the data's.
    return ops.convert_to_numpy(model(arrays["x"] / 255)), arrays["logits"]


def _cct_keras(**leaves):
    arrays = _port("cct_keras_2_3x2_dim64")
    model = create_model("cct_keras_2_3x2_none", **SMALL_CCT_KERAS, **leaves)
    _assign(model, arrays)
    return _softmax(ops.convert_to_numpy(model(arrays["x"]))), arrays["probabilities"]


def test_keras_io_forward():
    ours, theirs = _keras_io()
    assert np.abs(ours - theirs).max() < 5e-5


def test_cct_keras_forward():
    ours, theirs = _cct_keras()
    assert np.abs(ours - theirs).max() < 5e-5


TOKENIZER = {"conv_padding": "after", "pool_padding": "same"}
OFF_KERAS_IO = {
    "residual": {"residual": "normalised"},
    "second_activation": {"mlp_second_activation": False},
    "norm_eps": {"norm_eps": 1e-3},
    "conv_padding": {"options": {"tokenizer": TOKENIZER | {"conv_padding": "symmetric"}}},
    "pool_padding": {"options": {"tokenizer": TOKENIZER | {"pool_padding": "symmetric"}}},
    "pooling": {"options": {"tokenizer": TOKENIZER, "pooling": {"sums": True}}},
}


@pytest.mark.parametrize("option", OFF_KERAS_IO)
def test_keras_io_parity_sees_each_option_without_weights(option):
    ours, theirs = _keras_io(**OFF_KERAS_IO[option])
    assert np.abs(ours - theirs).max() > 5e-4


def test_cct_keras_parity_sees_softmax_over_tokens_and_the_official_pool():
    small = {"conv_widths": "doubling", "conv_padding": "same", "pool_padding": "same"}
    for options in (
        {"tokenizer": small},
        {"tokenizer": small | {"pool_padding": "symmetric"}, "pooling": {"sums": True}},
    ):
        ours, theirs = _cct_keras(options=options)
        assert np.abs(ours - theirs).max() > 5e-4


@pytest.mark.parametrize(
    ("name", "params", "embedding", "macs", "modules"),
    [
        ("keras_io_cct", 408_139, 8_192, 41_189_376, 36_986_880),
        # Both MACs of CCT-keras are our own closed form: nobody measured them on the port.
        ("cct_keras_14_7x2_224", 24_735_401, 75_264, 7_646_152_704, 7_233_028_608),
    ],
)
def test_ports_cost_what_they_cost_where_they_come_from(name, params, embedding, macs, modules):
    spec, size, classes = zoo.parse(name)
    shape = (*size, 3)
    assert spec.params(shape, classes) == spec.trainable_params(shape, classes) == params
    assert spec.macs(shape, classes) == macs
    assert spec.macs(shape, classes, convention="macs_modules") == modules
    assert spec.tokens(shape) * spec.width == embedding


def _costs_its_closed_form(spec, shape, classes):
    model = build(spec, shape, classes)
    counted = profile(model)
    assert counted.params == spec.params(shape, classes)
    assert counted.trainable_params == spec.trainable_params(shape, classes)
    assert counted.tokens == spec.tokens(shape)
    for convention in CONVENTIONS:
        assert getattr(counted, convention) == spec.macs(shape, classes, convention=convention)
    embedding = model.get_layer("positional").embedding
    # Kept with the weights, never trained, and no parameter, as in the ports.
    assert model.count_params() - counted.params == (0 if embedding.trainable else np.prod(embedding.shape))


BASE = {"kernel": 4, "layers": 2, "dim": 6, "heads": 2}


@pytest.mark.parametrize(
    "leaves",
    [
        {"qkv_bias": True},
        {"key_dim": 5},
        {"key_dim": 5, "heads": 4, "qkv_bias": True},  # 6 is not divisible by 4, and need not be
        {"options": {"tokenizer": {"conv_widths": "doubling"}}},
        {"options": {"tokenizer": {"conv_padding": "same"}}, "kernel": 7},
        {"options": {"tokenizer": {"conv_padding": "after"}}},
        {"options": {"tokenizer": {"pool_padding": "same"}}},
        {"options": {"pooling": {"sums": True}}},
        {"options": {"positional": {"trained": False, "draw": "uniform"}}},
    ],
    ids=str,
)
def test_options_cost_their_closed_form(leaves):
    _costs_its_closed_form(ModelSpec(**(BASE | leaves)), (17, 20, 2), 3)


# What the ports do instead of the official code, and by how much it moved the official logits.
WRONG_DESIGNS = {
    "layernorm_eps_0.001": {"norm_eps": 1e-3},
    "standard_prenorm_residual": {"residual": "plain"},
    "maxpool_tf_same_padding": {"options": {"tokenizer": {"pool_padding": "same"}}},
}


@pytest.mark.parametrize("design", WRONG_DESIGNS)
def test_option_moves_logits_as_the_same_change_moved_the_official_ones(design):
    golden = {
        suffix: reference.golden("cct_2_3x2_32_learnable", suffix) for suffix in (".json", ".npz", ".safetensors")
    }
    expected = json.loads(golden[".json"].read_text("utf-8"))["wrong_design_logit_delta"][design]
    arrays = np.load(str(golden[".npz"]))
    model = create_model("cct_2_3x2_32", **WRONG_DESIGNS[design])
    load_weights(model, Path(str(golden[".safetensors"])))
    off = np.abs(ops.convert_to_numpy(model(arrays["x"])) - arrays["logits_f64"]).max()
    assert off == pytest.approx(expected, rel=0.02)


def test_image_too_small_for_padding_after_is_refused():
    spec = ModelSpec(options={"tokenizer": {"conv_padding": "after"}})
    with pytest.raises(ValueError, match="leaves no token"):
        spec.grid((2, 32, 1))
