"""Weights from files: a whole and fitting one is read, any other is one clear error and changes nothing."""

import json
from importlib.resources import as_file

import numpy as np
import pytest
from keras import ops
from safetensors.numpy import load_file, save_file

from ablate import reference
from ablate.models import create_model, load_weights
from ablate.models.weights import WeightsError, official_name, read_safetensors

NAME = "cct_2_3x2_32_learnable"


@pytest.fixture(scope="module")
def golden():
    with as_file(reference.golden(NAME, ".safetensors")) as path:
        yield path


@pytest.fixture(scope="module")
def model():
    return create_model("cct_2_3x2_32")


def _arrays(model):
    return [ops.convert_to_numpy(weight) for weight in model.weights]


def test_read_safetensors_agrees_with_the_format_own_library(golden):
    ours, theirs = read_safetensors(golden), load_file(golden)
    assert list(sorted(ours)) == sorted(theirs)
    assert all((ours[name] == theirs[name]).all() and ours[name].dtype == theirs[name].dtype for name in theirs)


def test_every_weight_has_an_official_name(model):
    for name in ("cct_2_3x2_32", "vit_2_4_32"):
        names = [official_name(weight.path) for weight in create_model(name, dim=8).weights]
        assert None not in names and len(set(names)) == len(names)
    assert official_name("encoder/block_11/norm_2/gamma") == "classifier.blocks.11.norm1.weight"
    assert official_name("somewhere/kernel") is None


def test_load_weights_lists_missing_extra_and_misshapen_and_changes_nothing(model, golden, tmp_path):
    tensors = load_file(golden)
    del tensors["classifier.norm.bias"]
    tensors["classifier.norm.scale"] = np.zeros(3, "float32")
    tensors["classifier.fc.weight"] = np.zeros((7, 128), "float32")
    save_file(tensors, tmp_path / "other.safetensors")
    before = _arrays(model)
    with pytest.raises(WeightsError) as error:
        load_weights(model, tmp_path / "other.safetensors")
    assert "missing classifier.norm.bias" in str(error.value)
    assert "extra classifier.norm.scale" in str(error.value)
    assert "classifier.fc.weight has shape (7, 128), head/kernel is (128, 10)" in str(error.value)
    assert all((a == b).all() for a, b in zip(before, _arrays(model), strict=True))


def test_load_weights_transposed_square_kernels_are_told_apart(model, golden):
    load_weights(model, golden)
    kernel = next(w for w in model.weights if w.path == "encoder/block_1/mlp/dense_2/kernel")
    np.testing.assert_array_equal(
        ops.convert_to_numpy(kernel), load_file(golden)["classifier.blocks.1.linear2.weight"].T
    )


def test_load_weights_never_takes_a_learned_embedding_for_a_sine(golden):
    with pytest.raises(WeightsError, match="not the sine formula"):
        load_weights(create_model("cct_2_3x2_32_sine"), golden)


def _header(content, length=None):
    text = json.dumps(content).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 a zip file",
        _header({}, length=2**63),
        _header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}) + b"1234",
        _header({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}) + b"12345678",
        _header({"a": {"dtype": "F32", "shape": [-1, -2], "data_offsets": [0, 8]}}) + b"12345678",
        _header({"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 8]}}) + b"12345678",
        _header({"a": {"dtype": "object", "shape": [1], "data_offsets": [0, 8]}}) + b"12345678",
        _header({"a": {"dtype": "F32", "shape": [2]}}) + b"12345678",
        _header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]}}) + b"12345678",
        _header([1, 2]),
        _header("x")[:8] + b"\xff\xfe\xfd",
    ],
)
def test_load_weights_hostile_or_truncated_file_is_one_clear_error(model, tmp_path, content):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"^bad\.safetensors must be a whole safetensors file, but .+\.$"):
        load_weights(model, path)


def test_load_weights_truncated_golden_file_is_refused(model, golden, tmp_path):
    path = tmp_path / "cut.safetensors"
    path.write_bytes(golden.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="outside of the file"):
        load_weights(model, path)


def test_load_weights_other_suffix_and_absent_file_are_refused(model, tmp_path):
    with pytest.raises(WeightsError, match=r"must be a \.safetensors file, got 'x\.npy'"):
        load_weights(model, tmp_path / "x.npy")
    with pytest.raises(FileNotFoundError):
        load_weights(model, tmp_path / "x.safetensors")
