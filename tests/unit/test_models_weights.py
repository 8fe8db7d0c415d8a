"""Weights from files and to files: what is whole and fits is read, all else is one clear error and changes nothing."""

import argparse
import json
import logging
import os
import pickle
import re
import sys
import types
import zipfile
from collections import OrderedDict
from importlib.resources import as_file
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import ops
from safetensors.numpy import load_file, save_file

from ablate import reference
from ablate.models import at_resolution, create_model, load_weights, save_weights, trace
from ablate.models.positional import resize, sine_table
from ablate.models.pth import read_pth
from ablate.models.weights import WeightsError, official_name, read_safetensors, to_official
from ablate.specs import SpecError

NAME = "cct_2_3x2_32_learnable"
TINY = {"dim": 8, "heads": 2, "layers": 1}


@pytest.fixture(scope="module")
def golden():
    with as_file(reference.golden(NAME, ".safetensors")) as path:
        yield path


@pytest.fixture(scope="module")
def model():
    return create_model("cct_2_3x2_32")


def _arrays(model):
    return [ops.convert_to_numpy(weight) for weight in model.weights]


def _fresh(name="cct_2_3x2", image_size=16, **keywords):
    return create_model(name, image_size=image_size, **{"num_classes": 3, **TINY, **keywords})


def _tiny(*arguments, **keywords):
    """A small model, none of whose trained weights is 0 or another's."""
    model = _fresh(*arguments, **keywords)
    draw = np.random.default_rng(0)
    for weight in model.trainable_variables:
        weight.assign(draw.normal(size=weight.shape))
    return model


def _state(model):
    """A model's weights under the official names, by way of the public functions."""
    return {official_name(w.path): to_official(ops.convert_to_numpy(w), w.path) for w in model.weights}


def _weight(model, path):
    return ops.convert_to_numpy(next(weight for weight in model.weights if weight.path == path))


def _images(*shape):
    return np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")


# The official names


def test_read_safetensors_gives_every_tensor(golden):
    ours, theirs = read_safetensors(golden), load_file(golden)
    assert sorted(ours) == sorted(theirs)
    assert all((ours[name] == theirs[name]).all() and ours[name].dtype == theirs[name].dtype for name in theirs)


def test_every_weight_has_an_official_name():
    for name in ("cct_2_3x2_32", "vit_2_4_32"):
        names = [official_name(weight.path) for weight in create_model(name, **TINY).weights]
        assert None not in names and len(set(names)) == len(names)
    assert official_name("encoder/block_11/norm_2/gamma") == "classifier.blocks.11.norm1.weight"
    assert official_name("somewhere/kernel") is None


def test_load_weights_lists_missing_extra_and_misshapen_and_changes_nothing(model, golden, tmp_path):
    tensors = load_file(golden)
    del tensors["classifier.norm.bias"]
    tensors["classifier.norm.scale"] = np.zeros(3, "float32")
    tensors["classifier.fc.weight"] = np.zeros((7, 128), "float32")
    tensors["classifier.blocks.0.linear1.bias"] = np.zeros(128, "int64")
    save_file(tensors, tmp_path / "other.safetensors")
    before = _arrays(model)
    with pytest.raises(WeightsError) as error:
        load_weights(model, tmp_path / "other.safetensors")
    assert "missing classifier.norm.bias" in str(error.value)
    assert "extra classifier.norm.scale" in str(error.value)
    assert "classifier.fc.weight has shape (7, 128), head/kernel is (128, 10)" in str(error.value)
    assert "classifier.blocks.0.linear1.bias has dtype int64" in str(error.value)
    assert all((a == b).all() for a, b in zip(before, _arrays(model), strict=True))


def test_load_weights_transposed_square_kernels_are_told_apart(model, golden):
    loaded = load_weights(model, golden)
    np.testing.assert_array_equal(
        _weight(model, "encoder/block_1/mlp/dense_2/kernel"), load_file(golden)["classifier.blocks.1.linear2.weight"].T
    )
    assert sorted(loaded.loaded) == sorted(load_file(golden))
    assert loaded.interpolated == loaded.kept == loaded.unused == ()


def test_load_weights_unrelated_state_dict_is_one_short_error(model, tmp_path):
    save_file({f"conv{i}": np.zeros(1, "float32") for i in range(500)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="holds none of the weights of model 'cct_2_3x2_32'") as error:
        load_weights(model, tmp_path / "other.safetensors")
    assert len(str(error.value)) < 400


# Positional embeddings


def test_load_weights_never_takes_a_learned_embedding_for_a_sine(golden):
    with pytest.raises(WeightsError, match=r"not the sine formula .*named _sine .*positional=learnable"):
        load_weights(create_model("cct_2_3x2_32_sine"), golden)


def test_load_weights_misfit_sine_is_listed_with_all_else(golden, tmp_path):
    tensors = load_file(golden)
    del tensors["classifier.norm.bias"]
    save_file(tensors, tmp_path / "two.safetensors")
    with pytest.raises(
        WeightsError, match=r"missing classifier\.norm\.bias; classifier\.positional_emb is not the sine"
    ):
        load_weights(create_model("cct_2_3x2_32_sine"), tmp_path / "two.safetensors")


def test_load_weights_sine_at_another_resolution_keeps_the_formula(tmp_path, caplog):
    save_weights(_tiny(positional="sine"), tmp_path / "x.safetensors")
    other = _tiny(positional="sine", image_size=24)
    loaded = load_weights(other, tmp_path / "x.safetensors")
    assert loaded.kept == ("classifier.positional_emb",) and loaded.interpolated == ()
    np.testing.assert_allclose(_weight(other, "positional/embedding")[0], sine_table(36, 8), atol=1e-6)


def test_resize_is_bilinear_with_half_pixel_centres_and_no_antialias():
    row = np.array([[[0.0], [4.0]]])
    np.testing.assert_allclose(resize(row, (1, 2), (1, 4)).ravel(), [0, 1, 3, 4])
    np.testing.assert_allclose(resize(row, (2, 1), (3, 1)).ravel(), [0, 2, 4])
    eight = np.arange(8.0).reshape(1, 8, 1) ** 2
    np.testing.assert_allclose(resize(eight, (1, 8), (1, 2)).ravel(), [(1 + 4) / 2, (25 + 36) / 2])


@pytest.mark.parametrize(("old", "new"), [((4, 4), (7, 7)), ((6, 3), (2, 5)), ((3, 5), (3, 8))])
def test_resize_agrees_with_keras_on_images(old, new):
    places = np.random.default_rng(0).normal(size=(1, 2 + old[0] * old[1], 3)).astype("float32")
    ours = resize(places, old, new)
    theirs = ops.image.resize(places[:, 2:].reshape(1, *old, 3), new, interpolation="bilinear", antialias=False)
    np.testing.assert_array_equal(ours[:, :2], places[:, :2])
    np.testing.assert_allclose(ours[:, 2:].reshape(1, *new, 3), ops.convert_to_numpy(theirs), atol=1e-5)


@pytest.mark.parametrize(("name", "extra"), [("cct_2_3x2", 0), ("vit_2_4", 1)])
def test_load_weights_interpolates_a_learned_embedding_and_says_so(tmp_path, caplog, name, extra):
    small, large = _tiny(name, 16), _fresh(name, (24, 32))
    save_file({n: np.ascontiguousarray(t) for n, t in _state(small).items()}, tmp_path / "small.safetensors")
    with caplog.at_level(logging.WARNING):
        loaded = load_weights(large, tmp_path / "small.safetensors")
    assert loaded.interpolated == ("classifier.positional_emb",)
    assert "interpolated classifier.positional_emb" in caplog.text
    expected = resize(_weight(small, "positional/embedding"), (4, 4), (6, 8))
    np.testing.assert_allclose(_weight(large, "positional/embedding"), expected, atol=1e-6)
    assert expected.shape[1] == 48 + extra
    assert len(loaded.loaded) == len(small.weights) - 1


def test_load_weights_knows_the_grid_of_images_that_were_not_square(tmp_path, caplog):
    wide, square = _tiny(image_size=(8, 32)), _fresh(image_size=16)
    for suffix in (".safetensors", ".weights.h5"):
        path = tmp_path / f"wide{suffix}"
        save_weights(wide, path)
        again = _fresh(image_size=(8, 32))
        assert load_weights(again, path).interpolated == ()
        np.testing.assert_array_equal(_weight(again, "positional/embedding"), _weight(wide, "positional/embedding"))
    assert load_weights(square, tmp_path / "wide.safetensors").interpolated == ("classifier.positional_emb",)
    expected = resize(_weight(wide, "positional/embedding"), (2, 8), (4, 4))
    np.testing.assert_allclose(_weight(square, "positional/embedding"), expected, atol=1e-6)


def test_load_weights_asks_for_a_grid_that_it_cannot_know(tmp_path, caplog):
    wide, other = _tiny(image_size=(8, 24)), _tiny(image_size=16)
    path = tmp_path / "wide.safetensors"
    save_file({n: np.ascontiguousarray(t) for n, t in _state(wide).items()}, path)
    with pytest.raises(WeightsError, match=r"12 image tokens, which are no square: say grid=\(rows, columns\)"):
        load_weights(other, path)
    with pytest.raises(WeightsError, match="12 image tokens, which are not the 3x3 of its grid"):
        load_weights(other, path, grid=(3, 3))
    assert load_weights(other, path, grid=(2, 6)).interpolated == ("classifier.positional_emb",)


@pytest.mark.parametrize("size", [(24, 32), (16, 8)])
@pytest.mark.parametrize("name", ["cct_2_3x2", "cct_2_3x2_sine", "cct_2_3x2_none", "vit_2_4", "cct_keras_2_3x2"])
def test_at_resolution_is_the_same_model_on_its_own_grid_of_tokens(name, size):
    model = _tiny(name)
    other = at_resolution(model, size)
    assert other(_images(*size, 3)).shape == (2, 3)
    for one, two in zip(model.weights, other.weights, strict=True):
        assert one.path == two.path and one.trainable == two.trainable
        if one.path != "positional/embedding":
            np.testing.assert_array_equal(ops.convert_to_numpy(one), ops.convert_to_numpy(two))
    grid = (size[0] // 4, size[1] // 4)
    if name.endswith("_sine"):
        np.testing.assert_allclose(
            _weight(other, "positional/embedding")[0], sine_table(grid[0] * grid[1], 8), atol=1e-6
        )
    elif not name.endswith("_none"):
        stored, extra = _weight(model, "positional/embedding"), int(name.startswith("vit"))
        places = ops.image.resize(
            stored[:, extra:].reshape(1, 4, 4, 8), grid, interpolation="bilinear", antialias=False
        )
        ours = _weight(other, "positional/embedding")
        np.testing.assert_array_equal(ours[:, :extra], stored[:, :extra])
        np.testing.assert_allclose(ours[:, extra:], ops.reshape(places, (1, -1, 8)), atol=1e-5)


def test_at_resolution_of_its_own_and_back_changes_no_logit():
    wide = _tiny(image_size=(8, 24))
    x = _images(8, 24, 3)
    for other in (at_resolution(wide, (8, 24)), at_resolution(at_resolution(wide, (16, 48)), (8, 24))):
        assert other.input_shape == wide.input_shape and other is not wide
    np.testing.assert_array_equal(at_resolution(wide, (8, 24))(x), wide(x))
    assert at_resolution(_fresh(head=False), 24).output_shape == (None, 8)
    frozen = _fresh()
    frozen.get_layer("encoder").trainable = False
    assert not at_resolution(frozen, 24).get_layer("encoder").trainable


@pytest.mark.parametrize(("size", "message"), [(18, "multiple of the patch on either side, got 18x18"), (0, "1 pixel")])
def test_at_resolution_images_that_cannot_be_cut_are_refused(size, message):
    with pytest.raises(SpecError, match=message):
        at_resolution(_fresh("vit_2_4"), size)


# Heads


@pytest.mark.parametrize("suffix", [".safetensors", ".keras"])
@pytest.mark.parametrize("name", ["vit_2_4", "cvt_2_4_sine", "cct_2_3x2_none", "cct_keras_2_3x2", "keras_io_cct"])
def test_model_without_head_gives_the_features_of_the_one_with_it(tmp_path, caplog, name, suffix):
    whole, features = _tiny(name, key_dim=4), _fresh(name, key_dim=4, head=False)
    save_weights(whole, tmp_path / f"whole{suffix}")
    loaded = load_weights(features, tmp_path / f"whole{suffix}")
    assert loaded.unused == ("classifier.fc.weight", "classifier.fc.bias") and loaded.head == "none"
    x = _images(16, 16, 3)
    np.testing.assert_allclose(features(x), trace(whole, x)["features"], atol=1e-6)
    save_weights(features, tmp_path / f"features{suffix}")
    again = _fresh(name, key_dim=4, head=False)
    load_weights(again, tmp_path / f"features{suffix}")
    np.testing.assert_array_equal(again(x), features(x))


def test_loaded_says_what_became_of_the_head(tmp_path, caplog):
    save_weights(_tiny(), tmp_path / "x.safetensors")
    same = load_weights(_fresh(), tmp_path / "x.safetensors")
    other = load_weights(_fresh(num_classes=4), tmp_path / "x.safetensors", warn=False)
    assert (same.head, other.head) == ("loaded", "drawn")
    assert "the head's among them" in str(same) and "the head's" not in str(other)
    assert caplog.text == ""


def test_load_weights_other_number_of_classes_keeps_the_head_and_says_so(model, golden, caplog):
    five = create_model("cct_2_3x2_32", num_classes=5)
    head = _weight(five, "head/kernel")
    with caplog.at_level(logging.WARNING):
        loaded = load_weights(five, golden)
    assert loaded.kept == ("classifier.fc.weight", "classifier.fc.bias")
    assert "classifier.fc.weight, classifier.fc.bias" in caplog.text
    np.testing.assert_array_equal(_weight(five, "head/kernel"), head)
    load_weights(model, golden)
    np.testing.assert_array_equal(_weight(five, "tokenizer/conv_0/kernel"), _weight(model, "tokenizer/conv_0/kernel"))


def test_load_weights_into_features_leaves_the_head_unused_and_says_so(golden, caplog):
    loaded = load_weights(create_model("cct_2_3x2_32", head=False), golden)
    assert sorted(loaded.unused) == ["classifier.fc.bias", "classifier.fc.weight"]
    assert "left unused classifier.fc" in str(loaded) and str(loaded) in caplog.text


# Out, and in again


@pytest.mark.parametrize("suffix", [".safetensors", ".weights.h5", ".keras"])
@pytest.mark.parametrize("name", ["cct_2_3x2_none", "vit_2_4", "cvt_2_4_sine"])
def test_save_weights_and_load_weights_give_the_same_logits(tmp_path, name, suffix):
    model, x = _tiny(name), _images(16, 16, 3)
    path = tmp_path / f"x{suffix}"
    save_weights(model, path)
    again = _fresh(name)
    loaded = load_weights(again, path)
    assert len(loaded.loaded) == len(model.weights)
    np.testing.assert_array_equal(ops.convert_to_numpy(again(x)), ops.convert_to_numpy(model(x)))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", reference.MODELS)
def test_save_weights_writes_the_official_file_again(tmp_path, name):
    with as_file(reference.golden(name, ".safetensors")) as path:
        model = create_model(name.replace("vit_lite", "vit").replace("_learnable", ""))
        load_weights(model, path)
        save_weights(model, tmp_path / "x.safetensors")
        theirs, ours = load_file(path), load_file(tmp_path / "x.safetensors")
    assert sorted(ours) == sorted(theirs)
    for tensor in theirs:
        assert ours[tensor].dtype == theirs[tensor].dtype
        np.testing.assert_array_equal(ours[tensor], theirs[tensor])


@pytest.mark.parametrize("suffix", [".safetensors", ".weights.h5"])
def test_save_weights_in_bfloat16_loses_nothing(tmp_path, suffix):
    model = _bfloat16()
    save_weights(model, tmp_path / f"x{suffix}")
    again = _bfloat16(_fresh)
    load_weights(again, tmp_path / f"x{suffix}")
    for one, other in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(*(ops.convert_to_numpy(ops.cast(w, "float32")) for w in (one, other)))


def _bfloat16(make=_tiny):
    policy = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("bfloat16")
        return make()
    finally:
        keras.config.set_dtype_policy(policy)


def test_save_weights_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    model, path = _tiny(), tmp_path / "x.weights.h5"
    save_weights(model, path)
    before = path.read_bytes()

    def full_disk(scratch):
        Path(scratch).write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(model, "save_weights", full_disk)
    with pytest.raises(OSError, match="no space"):
        save_weights(model, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_save_weights_other_suffix_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"\.safetensors, \.weights\.h5 or \.keras file, got 'x\.pth'"):
        save_weights(_tiny(), tmp_path / "x.pth")


# PyTorch's files


class _Storage:
    def __init__(self, array):
        self.array = array


class _Tensor:
    """Pickles as torch's tensors do."""

    def __init__(self, array, offset=0, shape=None, stride=None):
        self.array = array
        steps = [step // array.itemsize for step in np.empty(array.shape, array.dtype).strides]
        self.made = (offset, shape or array.shape, stride or tuple(steps), False, OrderedDict())

    def __reduce__(self):
        return sys.modules["torch._utils"]._rebuild_tensor_v2, (_Storage(self.array), *self.made)


@pytest.fixture
def save_pth(monkeypatch, tmp_path):
    """Writes what torch.save would, in whose absence its names are stood in for."""
    torch, inner = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for dtype in ("Float", "Half", "Double", "BFloat16", "Long"):
        kind = type(f"{dtype}Storage", (), {"__module__": "torch"})
        setattr(torch, kind.__name__, kind)

    def _rebuild_tensor_v2():
        pass

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    inner._rebuild_tensor_v2 = _rebuild_tensor_v2
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", inner)
    kinds = {"f4": "Float", "f2": "Half", "f8": "Double", "u2": "BFloat16", "i8": "Long"}

    def save(value, *, compression=zipfile.ZIP_STORED, without=(), more=()):
        storages = []

        class Pickler(pickle.Pickler):
            def persistent_id(self, thing):
                if not isinstance(thing, _Storage):
                    return None
                kind = getattr(torch, f"{kinds[thing.array.dtype.str[1:]]}Storage")
                storages.append(thing.array)
                return ("storage", kind, str(len(storages) - 1), "cpu", thing.array.size)

        path = tmp_path / "x.pth"
        with zipfile.ZipFile(path, "w", compression) as archive:
            with archive.open("x/data.pkl", "w") as file:
                Pickler(file, protocol=2).dump(value)
            files = {f"x/data/{number}": array.tobytes() for number, array in enumerate(storages)}
            for name, content in {**files, "x/byteorder": b"little", **dict(more)}.items():
                if name not in without:
                    archive.writestr(name, content)
        return path

    return save


def _tensors(arrays):
    return OrderedDict((name, _Tensor(np.ascontiguousarray(array))) for name, array in arrays.items())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3, "metric": 0.5, "args": argparse.Namespace(lr=[1e-3])},
        lambda state: {"model": state, "optimizer": {"state": {0: {"step": 3}}, "param_groups": [{"lr": 1e-3}]}},
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
    ],
)
def test_load_weights_reads_pth_as_the_official_code_and_timm_write_it(save_pth, wrap):
    model = _tiny("vit_2_4")
    state = _tensors(_state(model))
    state._metadata = {"": {"version": 1}}
    again = _fresh("vit_2_4")
    loaded = load_weights(again, save_pth(wrap(state)))
    assert len(loaded.loaded) == len(model.weights)
    assert all((a == b).all() for a, b in zip(_arrays(model), _arrays(again), strict=True))


@pytest.mark.parametrize("name", reference.MODELS)
def test_read_pth_agrees_with_the_reference_of_torch_itself(shared, name):
    path = shared / "reference" / "golden" / f"{name}.pth"
    if not path.is_file():
        pytest.skip("this ../shared has no .pth file of the model")
    ours, theirs = read_pth(path), load_file(path.with_suffix(".safetensors"))
    assert sorted(ours) == sorted(theirs)
    assert all(ours[n].dtype == theirs[n].dtype and np.array_equal(ours[n], theirs[n]) for n in theirs)


def test_read_pth_strides_offsets_and_dtypes(save_pth):
    six = np.arange(6, dtype="f4")
    read = read_pth(
        save_pth(
            {
                "turned": _Tensor(six, offset=1, shape=(2, 2), stride=(1, 3)),
                "half": _Tensor(six.astype("f2")),
                "bfloat16": _Tensor((six.view("u4") >> 16).astype("u2")),
                "count": _Tensor(np.array(7)),
            }
        )
    )
    assert read["turned"].tolist() == [[1, 4], [2, 5]]
    assert read["half"].dtype == "float16" and read["half"].tolist() == six.tolist()
    assert read["bfloat16"].dtype == "float32" and read["bfloat16"].tolist() == six.tolist()
    assert read["count"].shape == () and read["count"] == 7


class _Runs:
    def __init__(self, called, *arguments):
        self.called, self.arguments = called, arguments

    def __reduce__(self):
        return self.called, self.arguments


ONE = np.ones(4, "f4")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"a": _Tensor(ONE), "b": _Runs(os.system, "touch hostile")}, "system, which is no tensor; nothing of it was"),
        ({"a": _Runs(eval, "open('hostile', 'w')")}, r"asks for \S+\.eval, which is no tensor"),
        ({"a": _Tensor(ONE), "b": np.float64(1)}, "which is no tensor"),
        ({"a": _Tensor(ONE), "b": {1, 2}}, "which is no tensor"),
        ({"a": _Tensor(ONE), "b": [_Tensor(ONE)]}, "no dict of tensors, at its top or under state_dict or model"),
        ({"epoch": 3}, "its keys are epoch"),
        ({}, "its keys are none"),
        ([_Tensor(ONE)], "it holds a list"),
        ({"a": _Tensor(ONE, shape=(5,))}, "larger than its storage"),
        ({"a": _Tensor(ONE, offset=1)}, "larger than its storage"),
        ({"a": _Tensor(ONE, offset=-1)}, "no count"),
        ({"a": _Tensor(ONE, shape=(2**40,), stride=(0,))}, "larger than its storage"),
        ({"a": _Tensor(ONE, shape=(2, 2), stride=(1,))}, "strides that are not"),
        ({(1, 2): _Tensor(ONE)}, "under keys that are no names"),
        ({"a": OrderedDict([("b", 1)]), "c": argparse.Namespace()}, "no dict of tensors"),
    ],
)
def test_load_weights_hostile_or_other_pickle_is_one_clear_error_and_runs_nothing(
    model, save_pth, tmp_path, monkeypatch, value, reason
):
    monkeypatch.chdir(tmp_path)
    path = save_pth(value)
    with pytest.raises(WeightsError, match=rf"^x\.pth must be a state dict that torch\.save wrote, but .*{reason}"):
        load_weights(model, path)
    assert [file.name for file in tmp_path.iterdir()] == ["x.pth"]


@pytest.mark.parametrize(
    ("keywords", "reason"),
    [
        ({"compression": zipfile.ZIP_DEFLATED}, "is compressed"),
        ({"without": ["x/data/0"]}, "data/0 is missing"),
        ({"more": {"x/data/0": b"1234"}.items()}, "storage 0 has 1 numbers, not 4"),
        ({"more": {"x/byteorder": b"big"}.items()}, "not little-endian"),
        ({"more": {"y/data.pkl": b"."}.items()}, "2 files FOLDER/data.pkl"),
    ],
)
def test_load_weights_pth_with_wrong_files_inside_is_one_clear_error(model, save_pth, keywords, reason):
    with pytest.raises(WeightsError, match=reason):
        load_weights(model, save_pth({"a": _Tensor(ONE)}, **keywords))


@pytest.mark.parametrize(
    "program",
    [b"", b"\x80\x02", b"\x80\x04.", b".", b"\x80\x02}u.", b"\x80\x02h\x00.", b"cos\nsystem\nX", b"I01\n.", b"\xff"],
)
def test_load_weights_broken_pickle_is_one_clear_error(model, tmp_path, program):
    path = tmp_path / "x.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", program)
    with pytest.raises(WeightsError, match=r"^x\.pth must be a state dict that torch\.save wrote, but .+\.$"):
        load_weights(model, path)


def test_load_weights_truncated_pth_is_one_clear_error(model, save_pth):
    path = save_pth({"a": _Tensor(np.ones(1000, "f4"))})
    content = path.read_bytes()
    for length in (0, 10, 500, len(content) - 30):
        path.write_bytes(content[:length])
        with pytest.raises(WeightsError, match="no whole zip archive"):
            load_weights(model, path)


# Keras' files


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_load_weights_keras_file_of_another_model_lists_every_name(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    save_weights(_tiny("cct_2_3x2_none", layers=2), path)
    with pytest.raises(WeightsError) as error:
        load_weights(_tiny("cct_2_3x2"), path)
    assert "missing classifier.positional_emb" in str(error.value)
    assert "extra encoder/blocks/block_1/attention/qkv/0" in str(error.value)
    assert "seed" not in str(error.value)


def test_load_weights_keras_file_interpolates_and_keeps_the_head(tmp_path, caplog):
    small, large = _tiny(), _fresh(image_size=24, num_classes=5)
    save_weights(small, tmp_path / "x.keras")
    loaded = load_weights(large, tmp_path / "x.keras")
    assert loaded.interpolated == ("classifier.positional_emb",) and len(loaded.kept) == 2
    expected = resize(_weight(small, "positional/embedding"), (4, 4), (6, 6))
    np.testing.assert_allclose(_weight(large, "positional/embedding"), expected, atol=1e-6)


def test_load_weights_keras_file_is_read_by_its_groups_alone(tmp_path):
    # HDF5 crashes, or hangs, over the names in a file whose bytes are broken: they may not be looked at.
    model, path = _tiny(), tmp_path / "x.weights.h5"
    save_weights(model, path)
    with h5py.File(path, "a") as file:
        file["layers/dense/vars"].attrs["name"] = "nobody"
        del file["layers/encoder/vars"].attrs["name"]
    again = _fresh()
    load_weights(again, path)
    assert all((a == b).all() for a, b in zip(_arrays(model), _arrays(again), strict=True))


def test_load_weights_keras_file_for_features_and_for_a_sine_says_what_is_wrong(tmp_path, caplog):
    save_weights(_tiny(), tmp_path / "x.weights.h5")
    assert len(load_weights(_fresh(head=False), tmp_path / "x.weights.h5").unused) == 2
    with pytest.raises(WeightsError, match=r"positional_emb is not the sine formula"):
        load_weights(_fresh(positional="sine"), tmp_path / "x.weights.h5")


def test_load_weights_truncated_and_unrelated_keras_files_are_one_clear_error(model, tmp_path):
    save_weights(_tiny(), tmp_path / "whole.keras")
    whole = (tmp_path / "whole.keras").read_bytes()
    with zipfile.ZipFile(tmp_path / "whole.keras") as archive:
        weights = archive.read("model.weights.h5")
    with h5py.File(tmp_path / "empty.weights.h5", "w"):
        pass
    for name, content in {
        "x.keras": whole[:-100],
        "y.keras": b"",
        "x.weights.h5": weights[: len(weights) // 2],
        "y.weights.h5": b"text",
        "z.weights.h5": (tmp_path / "empty.weights.h5").read_bytes(),
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(
            WeightsError, match=rf"^{re.escape(name)} must be a whole file that Keras saved, but: .+\.$"
        ):
            load_weights(model, tmp_path / name)


def test_load_weights_keras_file_reads_no_other_file_and_grows_no_further(model, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"\0" * 32)
    for number, options in enumerate(({"external": [(str(secret), 0, 32)]}, {"chunks": (1,)})):
        path = tmp_path / f"{number}.weights.h5"
        with h5py.File(path, "w") as file:
            group = file.create_group("layers/dense/vars")
            group.attrs["name"] = "head"
            group.create_dataset("0", shape=(8,), dtype="f4", **options)
        with pytest.raises(WeightsError, match="as Keras stores an array"):
            load_weights(model, path)


# Safetensors


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
        _header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}) + b"12345678",
        _header({"a": {"dtype": "F32", "shape": [-1, -2], "data_offsets": [0, 8]}}) + b"12345678",
        _header({"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 8]}}) + b"12345678",
        _header({"a": {"dtype": "object", "shape": [1], "data_offsets": [0, 8]}}) + b"12345678",
        _header({"a": {"dtype": "BOOL", "shape": [1], "data_offsets": [0, 1]}}) + b"1",
        _header({"a": {"dtype": "F32", "shape": [2]}}) + b"12345678",
        _header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]}}) + b"12345678",
        _header({"__metadata__": {"grid": "wide"}}),
        _header([1, 2]),
        _header("x")[:8] + b"\xff\xfe\xfd",
    ],
)
def test_load_weights_hostile_or_truncated_file_is_one_clear_error(model, tmp_path, content):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"^bad\.safetensors must be a whole safetensors file, but: .+\.$"):
        load_weights(model, path)


def test_load_weights_truncated_golden_file_is_refused(model, golden, tmp_path):
    path = tmp_path / "cut.safetensors"
    path.write_bytes(golden.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="must be a whole safetensors file"):
        load_weights(model, path)


def test_read_safetensors_bfloat16_comes_as_float32(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(_header({"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}) + b"\x80\x3f\x40\xc0")
    assert read_safetensors(path)["a"].tolist() == [1.0, -3.0]


def test_load_weights_other_suffix_and_absent_file_are_refused(model, tmp_path):
    with pytest.raises(WeightsError, match=r"\.safetensors, \.pth, \.weights\.h5 or \.keras file, got 'x\.npy'"):
        load_weights(model, tmp_path / "x.npy")
    for name in ("x.safetensors", "x.pth", "x.pth.tar", "x.keras", "x.weights.h5"):
        with pytest.raises(FileNotFoundError):
            load_weights(model, tmp_path / name)


# What is documented


DOCS = Path(__file__).parents[2] / "docs" / "weights.md"


def test_docs_list_index_path_dtype_and_shape_of_every_weight(model):
    rows = "\n".join(_rows(model))
    assert f"\n{rows}\n\n" in DOCS.read_text("utf-8"), f"docs/weights.md must hold these rows:\n{rows}"


def test_docs_have_a_row_for_each_weight_of_every_family_and_port_and_no_other(model):
    names = ("vit_2_4_32", "cvt_2_4_32", "cvt_2_4_32_sine", "cct_2_3x2_32_none", "cct_keras_2_3x2_32", "keras_io_cct")
    rows = {name: _rows(create_model(name)) for name in names} | {"cct_2_3x2_32": _rows(model)}
    listed = {line for line in DOCS.read_text("utf-8").splitlines() if re.match(r"\| \d+ \| `", line)}
    assert listed <= {row for of_model in rows.values() for row in of_model}
    kinds = set(map(_kind, listed))
    assert {name: [row for row in of_model if _kind(row) not in kinds] for name, of_model in rows.items()} == {
        name: [] for name in rows
    }


def test_docs_example_runs_and_says_what_it_promises(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in DOCS.read_text(encoding="utf-8").split("```python")[1:]:
        exec(block.split("```")[0], names)
    assert names["loaded"].interpolated == ("classifier.positional_emb",)
    assert names["loaded"].kept == ("classifier.fc.weight", "classifier.fc.bias")
    assert (names["logits"].shape, names["vectors"].shape) == ((1, 10), (1, 128))


def _rows(model):
    return [f"| {index} {_row(weight)}" for index, weight in enumerate(model.weights)]


def _row(weight):
    theirs = to_official(np.empty(weight.shape), weight.path).shape
    return f"| `{weight.path}` | {weight.dtype} | {tuple(weight.shape)} | `{official_name(weight.path)}` | {theirs} |"


def _kind(row):
    """A row without its place among the weights and its block: one block stands for all."""
    return re.sub(r"(blocks?[_.])\d+", r"\1I", row.split("|", 2)[2])
