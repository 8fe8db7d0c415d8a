"""Every variant on the list through one suite: what its name says is what the official code counts, and what is built.

The small ones are built in every run, the others in the full tier; none is left out of the closed form.
"""

import dataclasses
import json
import re

import keras
import numpy as np
import pytest
from keras import ops

from ablate.models import create_model, list_models, load_weights, manifold_names, save_weights, zoo
from ablate.models.profile import profile
from ablate.models.spec import ModelSpec
from ablate.models.weights import official_name
from ablate.proof import reference

NAMES = [name for name in list_models() if name not in manifold_names.listed()]
PORTS = ("cct_keras_14_7x2_224", "keras_io_cct")
COLUMNS = {
    "params": "total_params",
    "trainable_params": "trainable_params",
    "tokens": "seq_len",
    "macs": "macs_with_attention",
    "macs_modules": "macs_matmul_only",
    "macs_fvcore": "macs_fvcore_incl_layernorm",
}
SAVED = ("vit_2_4_32", "vit_2_4_32_none", "cvt_2_4_32_sine", "cct_2_3x2_32", "cct_4_3x2_32_sine", "keras_io_cct")
"""Built, written and read again: each family, each positional embedding, a port."""


def _named(name):
    spec, size, classes = zoo.parse(name)
    return spec, (*size, 3), classes


def _closed(name):
    spec, shape, classes = _named(name)
    macs = {way: spec.macs(shape, classes, convention=way) for way in ("macs", "macs_modules", "macs_fvcore")}
    trainable = spec.trainable_params(shape, classes)
    return {
        "params": spec.params(shape, classes), "trainable_params": trainable, "tokens": spec.tokens(shape), **macs
    }  # fmt: skip


def _tier(name):
    spec, shape, classes = _named(name)
    small = spec.params(shape, classes) < 500_000
    return pytest.param(name, marks=() if small else pytest.mark.full)


def _measured():
    """By what was built, which the official factories' names do not always say: their sine ones learn."""
    rows = {}
    for row in reference.variant_rows():
        numbers = [int(row[column]) for column in ("L", "P", "C", "img_size", "in_channels", "num_classes")]
        rows[(row["family"], *numbers, row["pe"])] = row
    return rows


def _key(name):
    spec, (side, _, channels), classes = _named(name)
    family = "cct" if spec.tokenizer == "conv" else "vit" if spec.pooling == "class_token" else "cvt"
    return family, spec.layers, spec.kernel, spec.convs, side, channels, classes, spec.positional


@pytest.mark.parametrize("name", [name for name in NAMES if name not in PORTS])
def test_variant_counts_in_closed_form_what_the_official_code_measured(name):
    row = _measured()[_key(name)]
    assert _closed(name) == {ours: int(row[theirs]) for ours, theirs in COLUMNS.items()}


@pytest.mark.parametrize("name", [_tier(name) for name in NAMES])
def test_variant_is_built_as_its_name_says(name):
    spec, shape, classes = _named(name)
    model = create_model(name)
    assert (model.input_shape, model.output_shape) == ((None, *shape), (None, classes))
    assert dataclasses.asdict(profile(model)) == _closed(name)
    paths = [weight.path for weight in model.weights]
    assert paths == _paths(spec)
    assert None not in map(official_name, paths)
    logits = ops.convert_to_numpy(model(_images(2, shape)))
    assert np.isfinite(logits).all() and np.abs(logits[0] - logits[1]).max() > 0
    keras.backend.clear_session()


@pytest.mark.parametrize("name", SAVED)
def test_variant_is_the_same_after_it_was_written_and_read(name, tmp_path):
    model = create_model(name)
    x = _images(2, model.input_shape[1:])
    expected = ops.convert_to_numpy(model(x))
    model.save(tmp_path / "model.keras")
    save_weights(model, tmp_path / "x.safetensors")
    loaded, other = keras.models.load_model(tmp_path / "model.keras"), create_model(name)
    load_weights(other, tmp_path / "x.safetensors")
    assert _json(loaded) == _json(model)
    for again in (loaded, other):
        assert [weight.path for weight in again.weights] == _paths(_named(name)[0])
        np.testing.assert_array_equal(ops.convert_to_numpy(again(x)), expected)
    keras.backend.clear_session()


@pytest.mark.parametrize("name", ["cct_2_3x2_32", "vit_2_4_32_sine", "cct_keras_2_3x2_32"])
def test_summary_shows_layers_and_blocks_with_the_counts_of_the_spec(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")  # a narrower screen cuts or breaks lines
    spec, shape, classes = _named(name)
    model, lines = create_model(name), []
    model.summary(line_length=100, expand_nested=True, print_fn=lines.append)
    text = "\n".join(lines)
    rows = re.findall(r"(\w+) \((\w+)\)\W+?(\(None, [\d, ]+\))\W+([\d,]+) ", text)
    blocks = [(layer, output) for layer, kind, output, _ in rows if kind == "Block"]
    assert blocks == [(f"block_{i}", f"(None, {spec.tokens(shape)}, 128)") for i in range(spec.layers)]
    counts = [int(count.replace(",", "")) for _, kind, _, count in rows if kind != "Block"]
    totals = [int(total.replace(",", "")) for total in re.findall(r"params: ([\d,]+)", text)]
    assert [layer for layer, kind, *_ in rows if kind != "Block"] == [layer.name for layer in model.layers]
    # The ports' fixed embedding is a weight here, and a constant of their graph there.
    constant = spec.tokens(shape) * spec.width if name.startswith("cct_keras") else 0
    trainable = spec.trainable_params(shape, classes)
    assert sum(counts) == totals[0] == spec.params(shape, classes) + constant
    assert totals[1:] == [trainable, totals[0] - trainable]


def _json(model):
    """Its configuration, in which reading makes lists of tuples."""
    return json.loads(json.dumps(model.get_config()))


def _images(count, shape):
    return np.random.default_rng(0).normal(size=(count, *shape)).astype("float32")


def _paths(spec: ModelSpec):
    """Every weight's path, in order, as docs/weights.md lists them."""
    patches = spec.tokenizer == "patch"
    paths = [f"tokenizer/conv_{i}/kernel" for i in range(spec.convs)] + ["tokenizer/conv_0/bias"] * patches
    paths += ["class_token/token"] * (spec.pooling == "class_token")
    paths += ["positional/embedding"] * (spec.positional != "none")
    for block in range(spec.layers):
        paths += [f"encoder/block_{block}/{leaf}" for leaf in _block(spec)]
    paths += ["encoder/norm/gamma", "encoder/norm/beta"]
    paths += ["pooling/attention/kernel", "pooling/attention/bias"] * (spec.pooling == "seqpool")
    return [*paths, "head/kernel", "head/bias"]


def _block(spec: ModelSpec):
    qkv = ["attention/qkv/kernel"] + ["attention/qkv/bias"] * spec.qkv_bias
    projection = ["attention/projection/kernel", "attention/projection/bias"]
    mlp = [f"mlp/dense_{i}/{leaf}" for i in (1, 2) for leaf in ("kernel", "bias")]
    return ["norm_1/gamma", "norm_1/beta", *qkv, *projection, "norm_2/gamma", "norm_2/beta", *mlp]
