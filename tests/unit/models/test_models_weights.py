"""Weights from files and to files: what is whole and fits is read, all else is one clear error and changes nothing."""

import argparse
import json
import logging
import os
import pickle
import re
import shutil
import struct
import sys
import time
import types
import zipfile
import zlib
from collections import Counter, OrderedDict, defaultdict, deque
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from importlib.resources import as_file
from pathlib import Path, PureWindowsPath

import h5py
import keras
import numpy as np
import pytest
from keras import ops
from omegaconf import OmegaConf
from safetensors.numpy import load_file, save_file

from ablate import identity
from ablate.models import create_model, load_weights, save_weights, trace
from ablate.models.positional.layers import resize, sine_table
from ablate.models.pth import open_pth, read_pth
from ablate.models.weight_files import Wanted
from ablate.models.weights import WeightsError, official_name, read_safetensors, to_official
from ablate.proof import reference

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


class _Runs:
    def __init__(self, called, *arguments):
        self.called, self.arguments = called, arguments

    def __reduce__(self):
        return self.called, self.arguments


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

    def save(value, *, compression=zipfile.ZIP_STORED, without=(), more=(), protocol=2, name="x.pth"):
        storages = []

        class Pickler(pickle.Pickler):
            def persistent_id(self, thing):
                if not isinstance(thing, _Storage):
                    return None
                kind = getattr(torch, f"{kinds[thing.array.dtype.str[1:]]}Storage")
                storages.append(thing.array)
                return ("storage", kind, str(len(storages) - 1), "cpu", thing.array.size)

        path = tmp_path / name
        with zipfile.ZipFile(path, "w", compression) as archive:
            with archive.open("x/data.pkl", "w") as file:
                Pickler(file, protocol=protocol).dump(value)
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


def _wrapped(prefix):
    return lambda state: OrderedDict((prefix + name, tensor) for name, tensor in state.items())


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    "prefix", ["_orig_mod.", "module.", "model.", "net.", "module._orig_mod.", "model.net.module."]
)
def test_load_weights_takes_the_prefixes_of_trainers_away(save_pth, tmp_path, prefix, suffix):
    model, again = _tiny("vit_2_4"), _fresh("vit_2_4")
    path, state = tmp_path / f"x{suffix}", _wrapped(prefix)(_state(model))
    if suffix == ".pth":
        save_pth(_tensors(state))
    else:
        save_file({name: np.ascontiguousarray(array) for name, array in state.items()}, path)
    loaded = load_weights(again, path)
    assert len(loaded.loaded) == len(model.weights) and loaded.key is None
    assert all((a == b).all() for a, b in zip(_arrays(model), _arrays(again), strict=True))


def test_load_weights_takes_torchs_averaged_model(save_pth):
    model, again = _tiny("vit_2_4"), _fresh("vit_2_4")
    averaged = _wrapped("module.")(_tensors(_state(model)))
    averaged["n_averaged"] = _Tensor(np.array(7))
    assert len(load_weights(again, save_pth({"model": averaged})).loaded) == len(model.weights)


@pytest.mark.parametrize(
    "name", ["X.PTH", "x.ckpt", "epoch=12-step=999.ckpt", "pytorch_model.bin", "x.Pt", "x.pth.tar"]
)
def test_load_weights_takes_the_suffixes_of_trainers_in_any_case(save_pth, tmp_path, name):
    model = _tiny("vit_2_4")
    path = save_pth({"state_dict": _tensors(_state(model))}).rename(tmp_path / name)
    assert len(load_weights(_fresh("vit_2_4"), path).loaded) == len(model.weights)


@pytest.mark.parametrize("name", ["X.SAFETENSORS", "x.KERAS", "x.Weights.H5"])
def test_load_weights_takes_other_suffixes_in_any_case(tmp_path, name):
    model = _tiny()
    save_weights(model, tmp_path / name.lower())
    (tmp_path / name.lower()).rename(tmp_path / name)
    assert len(load_weights(_fresh(), tmp_path / name).loaded) == len(model.weights)


# Raw and averaged weights


def _two(state):
    """Raw weights and averaged ones, which are half of them."""
    return _tensors(state), _tensors({name: array / 2 for name, array in state.items()})


@pytest.mark.parametrize(
    ("wrap", "key", "others", "halved"),
    [
        (lambda raw, ema: {"state_dict_ema": ema, "state_dict": raw}, None, ("state_dict_ema",), False),
        (lambda raw, ema: {"state_dict_ema": ema, "state_dict": raw}, "state_dict_ema", ("state_dict",), True),
        (lambda raw, ema: {"model": raw, "model_ema": ema, "optimizer": {0: ema}}, None, ("model_ema",), False),
        (lambda raw, ema: {"model": raw, "ema": {"module": _wrapped("module.")(ema)}}, "ema.module", ("model",), True),
        (lambda raw, ema: {"ema_state_dict": ema, "epoch": 3, "rng": _Tensor(np.array(7))}, None, (), True),
        (lambda raw, ema: _wrapped("model.")(raw) | _wrapped("ema_model.module.")(ema), "ema_model", (), True),
        (lambda raw, ema: {"state_dict": _wrapped("net.")(raw) | _wrapped("ema.")(ema)}, "ema", (), True),
    ],
)  # fmt: skip
def test_load_weights_says_which_of_several_it_took_and_takes_the_one_asked_for(
    save_pth, caplog, wrap, key, others, halved
):
    model, again = _tiny("vit_2_4"), _fresh("vit_2_4")
    loaded = load_weights(again, save_pth(wrap(*_two(_state(model)))), key=key)
    assert all((a / (1 + halved) == b).all() for a, b in zip(_arrays(model), _arrays(again), strict=True))
    assert loaded.others == others and (key is None or loaded.key in (key, f"state_dict.{key}"))
    assert (f"not those of {', '.join(others)} (model.weights_key=NAME takes them)" in str(loaded)) == bool(others)
    assert bool(others) == (str(loaded) in caplog.text)
    assert loaded.key is None or f"of {loaded.key}" in str(loaded)


def test_load_weights_without_a_first_choice_asks_which(save_pth):
    path = save_pth(dict(zip(("student", "teacher"), _two(_state(_tiny("vit_2_4"))), strict=True)))
    with pytest.raises(WeightsError, match=r"several: say model\.weights_key=NAME, one of student, teacher\.$"):
        load_weights(_fresh("vit_2_4"), path)
    assert load_weights(_fresh("vit_2_4"), path, key="teacher").key == "teacher"


def test_load_weights_names_the_keys_there_are(save_pth, tmp_path):
    model, (raw, ema) = _tiny("vit_2_4"), _two(_state(_tiny("vit_2_4")))
    with pytest.raises(WeightsError, match=r"no tensors under model\.weights_key=em; .* are: state_dict, ema"):
        load_weights(model, save_pth({"state_dict": raw, "ema": ema}), key="em")
    both = {f"{key}.{name}": array for key in ("raw", "ema") for name, array in _state(model).items()}
    save_file({name: np.ascontiguousarray(array) for name, array in both.items()}, tmp_path / "x.safetensors")
    with pytest.raises(WeightsError, match=r"no tensors under model\.weights_key=em; .* are: ema, raw\.$"):
        load_weights(model, tmp_path / "x.safetensors", key="em")
    with pytest.raises(WeightsError, match=r"NAME takes those below one of ema, raw\."):
        load_weights(model, tmp_path / "x.safetensors")
    save_weights(_tiny(), tmp_path / "x.keras")
    with pytest.raises(WeightsError, match=r"model\.weights_key must be null for x\.keras, which holds one set"):
        load_weights(model, tmp_path / "x.keras", key="ema")


def _lightning(raw, ema):
    """A Lightning checkpoint: the module's own weights, a loss with weights, and a callback's average."""
    state = _wrapped("model.")(raw) | {"criterion.weight": ONES}
    return {"state_dict": state, "callbacks": {"EMA{x}": {"state": _wrapped("model.")(ema)}}}


@pytest.mark.parametrize(
    ("wrap", "key", "full", "others", "halved"),
    [
        (_lightning, "model", "state_dict.model", ("callbacks.EMA{x}.state",), False),
        (_lightning, "state_dict.model", "state_dict.model", ("callbacks.EMA{x}.state",), False),
        (_lightning, "callbacks.EMA{x}.state.model", "callbacks.EMA{x}.state.model", ("state_dict",), True),
        (lambda raw, ema: {"state_dict": raw, "far": _wrapped("ema.")(ema)}, "ema", "far.ema", ("state_dict",), True),
        (lambda raw, ema: {"state_dict": _wrapped("a.")(raw), "a": ema}, "a", "a", ("state_dict",), True),
        (lambda raw, ema: {"state_dict": _wrapped("a.")(raw), "a": ema}, "state_dict.a", "state_dict.a", ("a",), False),
        (
            lambda raw, ema: {"model": _wrapped("module.net.")(raw) | _wrapped("module.ema.")(ema)},
            "model.ema",
            "model.ema",
            (),
            True,
        ),
    ],
)
def test_load_weights_key_takes_the_weights_as_trained_first_and_tells_the_full_place(
    save_pth, wrap, key, full, others, halved
):
    model, again = _tiny("vit_2_4"), _fresh("vit_2_4")
    loaded = load_weights(again, save_pth(wrap(*_two(_state(model)))), key=key)
    assert all((a / (1 + halved) == b).all() for a, b in zip(_arrays(model), _arrays(again), strict=True))
    assert loaded.key == full and loaded.others == others and f"weights of {full}," in str(loaded)


def test_load_weights_key_that_several_have_and_none_by_default_is_refused_with_the_full_ones(save_pth):
    raw, ema = _two(_state(_tiny("vit_2_4")))
    both = {"one": _wrapped("net.")(raw), "two": _wrapped("net.")(ema)}
    with pytest.raises(WeightsError, match=r"weights_key=net is in it more than once: say one of one\.net, two\.net\."):
        load_weights(_fresh("vit_2_4"), save_pth(both), key="net")
    assert load_weights(_fresh("vit_2_4"), save_pth(both), key="two.net").key == "two.net"
    same = {"a": {"b": raw}, "a.b": ema}
    with pytest.raises(WeightsError, match=r"it holds two dicts of tensors under one key, a\.b\."):
        load_weights(_fresh("vit_2_4"), save_pth(same), key="a.b")
    odd = {"state_dict": {"net.a": _Runs(_Config, ONES)}, "two": _wrapped("net.")(ema)}
    with pytest.raises(WeightsError, match=r"net\.a in it is made by \S+_Config, which is not read"):
        load_weights(_fresh("vit_2_4"), save_pth(odd), key="net")


# Names beside the weights


def _save_safetensors(path, tensors):
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, path)
    return path


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("wrapper", ["module.", "model.net."])
def test_load_weights_names_the_wrapper_and_the_odd_names_where_nearly_all_are_wrapped(
    save_pth, tmp_path, wrapper, suffix
):
    model, again = _tiny("vit_2_4"), _fresh("vit_2_4")
    tensors = _wrapped(wrapper)(_state(model)) | {"total_ops": ONE, "total_params": ONE}
    pth = suffix == ".pth"
    path = save_pth({"model": _tensors(tensors)}) if pth else _save_safetensors(tmp_path / "x.safetensors", tensors)
    key = ("model." if pth else "") + wrapper.partition(".")[0]
    advice = f"; model.weights_key={key} takes those below it, without total_ops, total_params."
    with pytest.raises(WeightsError, match=rf"holds none of the weights .*{re.escape(advice)}$"):
        load_weights(again, path)
    assert len(load_weights(again, path, key=key).loaded) == len(model.weights)
    assert all((a == b).all() for a, b in zip(_arrays(model), _arrays(again), strict=True))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("prefix", ["ema.", "ema.module."])
def test_load_weights_takes_those_at_the_top_and_says_the_average_beside_them(save_pth, tmp_path, prefix, suffix):
    model, again = _tiny("vit_2_4"), _fresh("vit_2_4")
    state = _state(model)
    tensors = state | _wrapped(prefix)({name: array / 2 for name, array in state.items()})
    tensors |= {"ema.n_averaged": np.array(7)} if "module" in prefix else {}
    pth = suffix == ".pth"
    path = save_pth({"model": _tensors(tensors)}) if pth else _save_safetensors(tmp_path / "x.safetensors", tensors)
    key = "model.ema" if pth else "ema"
    loaded = load_weights(again, path)
    assert loaded.others == (key,) and f"not those of {key} (model.weights_key=NAME takes them)" in str(loaded)
    assert all((a == b).all() for a, b in zip(_arrays(model), _arrays(again), strict=True))
    assert load_weights(again, path, key=key).key == key
    assert all((a == b * 2).all() for a, b in zip(_arrays(model), _arrays(again), strict=True))


def test_load_weights_extra_below_a_prefix_that_is_no_second_set_stays_an_extra(tmp_path):
    state, path = _state(_tiny("vit_2_4")), tmp_path / "x.safetensors"
    some = {f"aux.{name}": state[name] for name in list(state)[:2]}
    _save_safetensors(path, state | some)
    with pytest.raises(WeightsError, match=r": extra 2 below aux; model\.weights_key=aux takes those below it\.$"):
        load_weights(_fresh("vit_2_4"), path)
    _save_safetensors(path, state | _wrapped("ema.")(state) | {"ema.scale": ONE})
    with pytest.raises(
        WeightsError, match=r": extra ema\.scale; extra \d+ below ema; .*_key=ema takes those below it\.$"
    ):
        load_weights(_fresh("vit_2_4"), path)


def test_load_weights_wrapped_but_for_one_of_the_models_own_lists_no_extra_for_each(tmp_path):
    state, path = _state(_tiny("vit_2_4")), tmp_path / "x.safetensors"
    _save_safetensors(path, _wrapped("module.")(state) | {"classifier.norm.bias": state["classifier.norm.bias"]})
    with pytest.raises(WeightsError, match=r"; model\.weights_key=module takes those below it\.$") as error:
        load_weights(_fresh("vit_2_4"), path)
    assert "extra" not in str(error.value) and "missing classifier.norm.weight" in str(error.value)


def test_load_weights_of_another_network_are_advised_no_key(tmp_path):
    path = _save_safetensors(tmp_path / "x.safetensors", {f"layer{i}.{'a.' * 9999}weight": ONE for i in range(99)})
    with pytest.raises(WeightsError, match=r"holds none of the weights of model .*, the model's \S+, \S+, \S+, …\.$"):
        load_weights(_fresh("vit_2_4"), path)


# What trainers keep beside the tensors


ONE = np.ones(4, "f4")
ONES = _Tensor(ONE)


class _Config:
    """Of a trainer's own: nothing that can be imported here."""

    def __init__(self):
        self.lr, self.root = 1e-3, Path("/data")


META = [
    *(np.float64(1.5), np.int64(3), np.bool_(True), np.arange(3.0), np.dtype("f4"), np.array([None, 1], dtype=object)),
    *(
        Path("/a/b"),
        PureWindowsPath("c:/x"),
        datetime(2026, 1, 2, tzinfo=UTC),
        timedelta(1),
        Decimal("1.5"),
        2**100,
        1j,
    ),
    *(argparse.Namespace(root=Path("x")), OrderedDict(a=1), defaultdict(list, a=[1]), Counter("aab"), deque([1, 2])),
    *({1, 2}, frozenset("a"), b"abc", bytearray(b"x"), {(0.9, 0.99): 1, None: 2, 1.5: 3}, range(3), ..., _Config()),
    OmegaConf.create({"model": {"dims": [1, 2]}, "same": "${model.dims}"}),
]


@pytest.mark.parametrize("meta", META, ids=lambda meta: type(meta).__name__)
def test_load_weights_leaves_metadata_beside_the_tensors_unread(save_pth, monkeypatch, meta):
    model, again = _tiny("vit_2_4"), _fresh("vit_2_4")
    state = _tensors(_state(model))
    for value in ({"state_dict": state, "meta": meta, "more": [meta, {"of": (meta,)}]}, {**state, "meta": meta}):
        path = save_pth(value)
        monkeypatch.setattr(pickle, "_Unpickler", None)
        assert len(load_weights(again, path).loaded) == len(model.weights)
    assert all((a == b).all() for a, b in zip(_arrays(model), _arrays(again), strict=True))


class _Exact:
    """Made by a call with names, as protocol 4 and later pickle it."""

    def __new__(cls, *, value):
        made = super().__new__(cls)
        made.value = value
        return made

    def __getnewargs_ex__(self):
        return (), {"value": self.value}


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_load_weights_reads_pth_of_every_protocol_with_all_of_this_beside_it(save_pth, monkeypatch, protocol):
    model, again = _tiny("vit_2_4"), _fresh("vit_2_4")
    state = _tensors(_state(model))
    state._metadata = {"": {"version": 1}}
    exact = [_Exact(value={1, 2})] if protocol > 3 else []
    meta = [*META, *exact, {frozenset("a"): bytes(300)}, "é" * 300]
    path = save_pth({"state_dict": state, "meta": meta, "again": meta}, protocol=protocol)
    monkeypatch.setattr(pickle, "_Unpickler", None)
    assert len(load_weights(again, path).loaded) == len(model.weights)
    assert all((a == b).all() for a, b in zip(_arrays(model), _arrays(again), strict=True))


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (_Runs(os.system, "touch hostile"), "system, which is no tensor; nothing of it was"),
        (_Runs(eval, "open('hostile', 'w')"), r"asks for builtins\.eval, which is no tensor"),
        ({ONES}, r"b in it is made by builtins\.set, which is not read"),
        (frozenset([ONES]), r"b in it is made by builtins\.frozenset, which is not read"),
    ],
)
def test_load_weights_refuses_the_same_in_every_protocol(
    model, save_pth, tmp_path, monkeypatch, protocol, value, reason
):
    monkeypatch.chdir(tmp_path)
    path = save_pth({"a": ONES, "b": value}, protocol=protocol)
    with pytest.raises(WeightsError, match=rf"^x\.pth must be a state dict that torch\.save wrote, but .*{reason}"):
        load_weights(model, path)
    assert [file.name for file in tmp_path.iterdir()] == ["x.pth"]


@pytest.mark.parametrize("protocol", [4, 5])
def test_load_weights_refuses_tensors_in_an_object_that_is_made_by_names(model, save_pth, protocol):
    with pytest.raises(WeightsError, match=r"b in it is made by \S+_Exact, which is not read"):
        load_weights(model, save_pth({"a": ONES, "b": _Exact(value=ONES)}, protocol=protocol))


def _with_program(path, program):
    """The same files in an archive beside another pickle, whose checksum is right."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**files, "x/data.pkl": program}.items():
            archive.writestr(name, content)


@pytest.mark.filterwarnings("ignore:invalid escape sequence")  # pickletools, of a text's backslash
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_read_pth_with_any_byte_of_its_pickle_changed_is_read_or_refused(save_pth, protocol):
    path = save_pth({"state_dict": _tensors({"a": np.ones(3, "f4")}), "meta": META[:-1]}, protocol=protocol)
    with zipfile.ZipFile(path) as archive:
        whole = archive.read("x/data.pkl")
    draw, refused = np.random.default_rng(0), 0
    for _ in range(300):
        program = bytearray(whole)
        for place in draw.integers(len(whole), size=draw.integers(1, 4)):
            program[place] = draw.integers(256)
        _with_program(path, bytes(program))
        try:
            read_pth(path)
        except WeightsError as error:
            assert "\n" not in str(error) and str(error).startswith("x.pth must") and str(error).endswith(".")
            refused += 1
    assert refused > 50


def test_load_weights_reads_what_torch_itself_wrote_with_all_of_this_beside_it():
    # tests/assets/torch_pth.py wrote it.
    path = Path(__file__).parents[2] / "assets" / "torch.pth"
    raw, ema = read_pth(path), open_pth(path, "state_dict_ema").tensors
    assert raw["weight"].tolist() == [[0, 1, 2], [3, 4, 5]] and raw["bias"].tolist() == [6, 7]
    assert all((raw[name] / 2 == ema[name]).all() for name in raw) and sorted(ema) == ["bias", "weight"]
    with pytest.raises(WeightsError, match=r"half in it is made by torch\._utils\._rebuild_qtensor, which is not"):
        open_pth(path, "odd")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"a": _Runs(_Config, ONES), "b": ONES}, r"a in it is made by \S+_Config, which is not read"),
        ({"model": _Runs(_Config, {"weight": [ONES]})}, r"model in it is made by \S+_Config, which is not read"),
        (_Runs(_Config, 1), r"it holds a whole \S+_Config: save its state_dict\(\) instead"),
    ],
)  # fmt: skip
def test_load_weights_refuses_tensors_that_hang_on_what_is_not_read(model, save_pth, value, reason):
    with pytest.raises(WeightsError, match=reason):
        load_weights(model, save_pth(value))


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


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"a": _Tensor(ONE), "b": _Runs(os.system, "touch hostile")}, "system, which is no tensor; nothing of it was"),
        ({"a": _Runs(eval, "open('hostile', 'w')")}, r"asks for \S+\.eval, which is no tensor"),
        ({"a": _Runs(getattr, 1, "x")}, r"asks for \S+\.getattr, which is no tensor"),
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
    [
        *(b"", b"\x80\x02", b"\x80\x04.", b"\x80\x01}.", b"\x80\x06}.", b"\x80\x04]]\x93.", b"\x80\x05}\x97.", b"."),
        *(b"\x80\x02}u.", b"\x80\x02h\x00.", b"cos\nsystem\nX", b"I01\n.", b"\xff"),
    ],
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


def _legacy(path, model, prefix="", ending=""):
    """What Keras 2 wrote for a model: each variable under its name, in the group of its layer."""
    with h5py.File(path, "w") as file:
        for weight in model.weights:
            layer = weight.path.partition("/")[0]
            file[f"{prefix}{layer}/{weight.path}{ending}"] = ops.convert_to_numpy(weight)


@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".H5"])
@pytest.mark.parametrize("name", ["cct_2_3x2", "vit_2_4", "cct_2_3x2_sine"])
def test_load_weights_reads_a_whole_model_that_keras_saved_as_hdf5(tmp_path, name, suffix):
    model, again = _tiny(name), _fresh(name)
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "x.h5")
    assert len(load_weights(again, (tmp_path / "x.h5").rename(tmp_path / f"y{suffix}")).loaded) == len(model.weights)
    assert all((a == b).all() for a, b in zip(_arrays(model), _arrays(again), strict=True))


@pytest.mark.parametrize(("prefix", "ending"), [("", ":0"), ("", ""), ("model_weights/", ":0")])
def test_load_weights_reads_the_layouts_of_keras_2(tmp_path, prefix, ending):
    model, again = _tiny(), _fresh()
    _legacy(tmp_path / "x.h5", model, prefix, ending)
    assert len(load_weights(again, tmp_path / "x.h5").loaded) == len(model.weights)
    assert all((a == b).all() for a, b in zip(_arrays(model), _arrays(again), strict=True))


def test_load_weights_reads_weights_of_keras_3_that_are_called_h5(tmp_path):
    model, again = _tiny(), _fresh()
    save_weights(model, tmp_path / "x.weights.h5")
    load_weights(again, (tmp_path / "x.weights.h5").rename(tmp_path / "x.h5"))
    assert all((a == b).all() for a, b in zip(_arrays(model), _arrays(again), strict=True))


def test_load_weights_h5_of_another_network_is_one_short_error(tmp_path):
    inputs = keras.Input((4,))
    keras.Model(inputs, keras.layers.Dense(2, name="dense")(inputs)).save(tmp_path / "x.h5")
    with pytest.raises(
        WeightsError, match=r"^x\.h5 holds none of the weights of model .*its names are dense/bias, dense/k"
    ):
        load_weights(_fresh(), tmp_path / "x.h5")


def test_load_weights_h5_that_lacks_some_lists_them_and_what_it_has_too_much(tmp_path):
    _legacy(tmp_path / "x.h5", _tiny())
    with h5py.File(tmp_path / "x.h5", "a") as file:
        del file["head/head/bias"]
        file["other/other/kernel"] = np.ones(3, "f4")
    with pytest.raises(WeightsError, match=r"missing classifier\.fc\.bias; extra other/kernel\.$"):
        load_weights(_fresh(), tmp_path / "x.h5")


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda file: None, "it holds no variables of layers"),
        (lambda file: file.create_dataset("x", data=[1.0]), "it holds no variables of layers"),
        (lambda file: file.create_group("model_weights/head"), "it holds no variables of layers"),
        (lambda file: [file.create_dataset(f"{n}/head/bias", data=[1.0]) for n in "ab"], "two arrays of head/bias"),
        (lambda file: file.create_dataset("a/b", data="text"), "as Keras stores an array|holds no numbers"),
        (lambda file: file.create_dataset("a/b", shape=(8,), chunks=(1,)), "/a/b does not lie in it as Keras stores"),
    ],
    ids=range(6),
)  # fmt: skip
def test_load_weights_h5_that_is_no_model_is_one_clear_error(tmp_path, write, reason):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        write(file)
    with pytest.raises(WeightsError, match=rf"^x\.h5 must be a whole file that Keras saved, but: .*({reason}).*\.$"):
        load_weights(_fresh(), tmp_path / "x.h5")


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
    for name in ("x.safetensors", "x.pth", "x.pth.tar", "x.keras", "x.weights.h5", "x.h5", "x.bin.index.json"):
        with pytest.raises(FileNotFoundError):
            load_weights(model, tmp_path / name)


# Several files


@pytest.mark.parametrize("dtype", ["BOOL", "U16", "U32", "U64", "F8_E4M3"])
def test_load_weights_reads_past_tensors_of_any_dtype_that_are_not_chosen(tmp_path, dtype):
    model, again, path = _tiny(), _fresh(), tmp_path / "x.safetensors"
    tensors, width = _state(model), {"U16": 2, "U32": 4, "U64": 8}.get(dtype, 1)
    told, content = {}, b""
    for name, array in {**_wrapped("net.")(tensors), "mask": np.zeros(width, "u1")}.items():
        end = len(content) + array.nbytes
        kind, shape = ("F32", array.shape) if name != "mask" else (dtype, (1,))
        told[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(content), end]}
        content += np.ascontiguousarray(array).tobytes()
    path.write_bytes(_header(told) + content)
    assert len(load_weights(again, path, key="net").loaded) == len(model.weights)
    assert all((a == b).all() for a, b in zip(_arrays(model), _arrays(again), strict=True))


def test_load_weights_of_a_dtype_that_no_weight_has_is_refused_by_name(tmp_path):
    path, tensors, name = tmp_path / "x.safetensors", _state(_tiny()), "classifier.fc.bias"
    save_file({n: np.ascontiguousarray(a) for n, a in tensors.items()} | {name: np.ones(3, "?")}, path)
    with pytest.raises(WeightsError, match=r"classifier\.fc\.bias has dtype bool, head/bias is float32"):
        load_weights(_fresh(), path)
    path.write_bytes(_header({name: {"dtype": "F8_E4M3", "shape": [3], "data_offsets": [0, 3]}}) + b"123")
    with pytest.raises(
        WeightsError, match=r"classifier\.fc\.bias in it has dtype F8_E4M3, which is none of F64, .*BF16"
    ):
        load_weights(_fresh(), path)


def _shards(index, state, shard, save):
    """Saves a state dict in two files beside their index: by the name of each tensor, its file."""
    places = {name: shard.format(1 + number % 2) for number, name in enumerate(state)}
    for file in set(places.values()):
        save({name: state[name] for name, place in places.items() if place == file}, index.parent / file)
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    return places


@pytest.fixture
def sharded(tmp_path):
    """A model's weights in two files, and their index."""
    model, index = _tiny(), tmp_path / "model.safetensors.index.json"
    state = {name: np.ascontiguousarray(array) for name, array in _state(model).items()}
    return model, index, _shards(index, state, "model-{}-of-2.safetensors", save_file)


@pytest.fixture
def sharded_bin(save_pth, tmp_path):
    """A model's weights in two files of torch.save, and their index, as Hugging Face names them."""
    model, index = _tiny(), tmp_path / "pytorch_model.bin.index.json"

    def save(tensors, path):
        save_pth(OrderedDict(tensors), name=path.name)

    return model, index, _shards(index, _tensors(_state(model)), "pytorch_model-0000{}-of-00002.bin", save)


@pytest.mark.parametrize("files", ["sharded", "sharded_bin"])
def test_load_weights_puts_the_files_of_an_index_together(request, files):
    (model, index, _), again = request.getfixturevalue(files), _fresh()
    assert len(load_weights(again, index).loaded) == len(model.weights)
    assert all((a == b).all() for a, b in zip(_arrays(model), _arrays(again), strict=True))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda places: dict.fromkeys(places, "gone.safetensors"), r"gone\.safetensors, which it names, is missing"),
        (
            lambda places: dict.fromkeys(places, "../x.safetensors"),
            r"\.\./x\.safetensors is no name of a \.safetensors",
        ),
        (lambda places: dict.fromkeys(places, "/x.safetensors"), r"is no name of a \.safetensors file beside it"),
        (lambda places: dict.fromkeys(places, "x.pth"), r"is no name of a \.safetensors file beside it"),
        (lambda places: dict.fromkeys(places, "a/b/x.safetensors"), r"is no name of a \.safetensors file beside it"),
        (lambda places: dict.fromkeys(places, 3), r"its weight_map gives tokenizer\S+ 3, not the name of a file"),
        (lambda places: {"a": ["x"]}, r"its weight_map gives a a list, not the name of a file"),
        (lambda places: {"a": {"b": "x.safetensors"}}, r"its weight_map gives a an object, not the name of a file"),
        (lambda places: {"a": None}, r"its weight_map gives a null, not the name of a file"),
        (lambda places: {"a": "x" * 5000 + ".safetensors"}, r"x…, which it names, is missing beside it"),
        (lambda places: {"a": "\0\ud800.safetensors"}, r"\.safetensors, which it names, is missing beside it"),
        (lambda places: {**places, "more": next(iter(places.values()))}, r"holds other tensors than it says"),
        *((lambda places, none=none: none, r"it has no \{\"weight_map\": ") for none in ([], {}, "x", None, 3)),
    ],
)
def test_load_weights_index_that_misleads_is_one_clear_error(sharded, change, reason):
    _, index, places = sharded
    index.write_text(json.dumps({"weight_map": change(places)}))
    with pytest.raises(WeightsError, match=rf"^model.safetensors.index.json must be the index .*{reason}.*\.$"):
        load_weights(_fresh(), index)


def test_load_weights_takes_a_key_and_the_prefixes_of_trainers_in_a_bin_index(save_pth, tmp_path):
    model, again = _tiny(), _fresh()
    raw, ema = _two(_state(model))
    shards = {"1.bin": _wrapped("model.")(raw), "2.bin": _wrapped("ema.module.")(ema)}
    for name, tensors in shards.items():
        save_pth(tensors, name=name)
    index = tmp_path / "x.bin.index.json"
    index.write_text(json.dumps({"weight_map": {name: file for file, names in shards.items() for name in names}}))
    assert load_weights(again, index, key="ema").key == "ema"
    assert all((a / 2 == b).all() for a, b in zip(_arrays(model), _arrays(again), strict=True))
    load_weights(again, index, key="model")
    assert all((a == b).all() for a, b in zip(_arrays(model), _arrays(again), strict=True))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda places: dict.fromkeys(places, "gone.bin"), r"gone\.bin, which it names, is missing beside it"),
        (lambda places: dict.fromkeys(places, "../x.bin"), r"\.\./x\.bin is no name of a \.bin file beside it"),
        (lambda places: dict.fromkeys(places, "x.safetensors"), r"x\.safetensors is no name of a \.bin file"),
        (lambda places: {**places, "more": next(iter(places.values()))}, r"00001-of-00002\.bin holds other tensors"),
        (lambda places: {"a": "cut.bin"}, r"cut\.bin must be a state dict that torch\.save wrote, but it is no whole"),
        (lambda places: [], r"it has no \{\"weight_map\": "),
    ],
)  # fmt: skip
def test_load_weights_bin_index_that_misleads_is_one_clear_error(sharded_bin, change, reason):
    _, index, places = sharded_bin
    (index.parent / "cut.bin").write_bytes((index.parent / next(iter(places.values()))).read_bytes()[:200])
    index.write_text(json.dumps({"weight_map": change(places)}))
    with pytest.raises(WeightsError, match=rf"^pytorch_model.bin.index.json must be the index .*{reason}.*\.$"):
        load_weights(_fresh(), index)


def test_load_weights_bin_index_whose_file_asks_for_code_runs_nothing(sharded_bin, save_pth, tmp_path, monkeypatch):
    _, index, places = sharded_bin
    monkeypatch.chdir(tmp_path)
    save_pth({"a": ONES, "b": _Runs(os.system, "touch hostile")}, name=next(iter(places.values())))
    with pytest.raises(WeightsError, match=r"00001-of-00002\.bin .*asks for \S+system, which is no tensor; nothing of"):
        load_weights(_fresh(), index)
    assert not (tmp_path / "hostile").exists()


def test_open_pth_takes_no_more_of_all_files_of_an_index_than_there_is_room(sharded_bin):
    _, index, places = sharded_bin
    sizes = [sum(array.nbytes for array in read_pth(index.parent / shard).values()) for shard in set(places.values())]
    assert len(open_pth(index, None, Wanted(room=sum(sizes))).tensors) == len(places)
    with pytest.raises(WeightsError, match="bytes of it would be read, far more than the model needs"):
        open_pth(index, None, Wanted(room=sum(sizes) - 1))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        *(
            (content, r'it has no {"weight_map": {…}} that names a file for each tensor')
            for content in ("[]", "{}", "3")
        ),
        *((content, "it is no JSON text") for content in ("", "{", "[" * 100_000, b"\xff\xfe")),
        (" " * (2**23 + 1), "it has 8,388,609 bytes, far more than an index needs"),
    ],
    ids=range(8),
)
def test_load_weights_index_without_a_map_is_one_clear_error(tmp_path, content, reason):
    path = tmp_path / "x.safetensors.index.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(WeightsError) as error:
        load_weights(_fresh(), path)
    assert str(error.value) == f"{path.name} must be the index of safetensors files, but: {reason}."


@pytest.mark.parametrize(
    ("content", "reason"),
    [({}, "it holds no tensors"), ({"__metadata__": {"grid": "wide"}}, "its grid is wide, not ROWSxCOLUMNS")],
)
def test_load_weights_safetensors_without_tensors_or_with_no_grid_is_one_clear_error(tmp_path, content, reason):
    (tmp_path / "x.safetensors").write_bytes(_header(content))
    with pytest.raises(WeightsError, match=rf"^x\.safetensors must be a whole safetensors file, but: {reason}\.$"):
        load_weights(_fresh(), tmp_path / "x.safetensors")


def test_identity_of_an_index_is_that_of_its_files_content(sharded, tmp_path):
    _, index, places = sharded
    first = identity.content(str(index))
    copy = shutil.copytree(tmp_path, tmp_path / "copy") / index.name
    assert identity.content(str(copy)) == first
    shard = copy.parent / next(iter(places.values()))
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    assert identity.content(str(copy)) != first
    for malformed in ([], {"weight_map": {"a": "x" * 5000}}):
        index.write_text(json.dumps(malformed))
        assert identity.content(str(index)) != first


# Numbers that are none, and damage


@pytest.mark.parametrize("suffix", [".safetensors", ".keras", ".weights.h5"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_load_weights_with_a_number_that_is_none_names_file_and_tensor(tmp_path, suffix, value):
    model, again = _tiny(), _tiny()
    array = _weight(model, "encoder/norm/gamma").copy()
    array[3] = value
    next(weight for weight in model.weights if weight.path == "encoder/norm/gamma").assign(array)
    path = tmp_path / f"x{suffix}"
    save_weights(model, path)
    before = _arrays(again)
    with pytest.raises(
        WeightsError, match=rf"^x\{suffix} must hold finite .* but 1 of 8 in classifier\.norm\.weight are"
    ):
        load_weights(again, path)
    assert all((a == b).all() for a, b in zip(before, _arrays(again), strict=True))


def test_load_weights_with_numbers_beyond_the_models_type_are_refused(tmp_path):
    state = {name: np.ascontiguousarray(array, "float64") for name, array in _state(_tiny()).items()}
    state["classifier.norm.bias"][2] = 1e300
    save_file(state, tmp_path / "x.safetensors")
    with pytest.raises(WeightsError, match=r"classifier\.norm\.bias has numbers beyond 3\.4e\+38, the largest of"):
        load_weights(_fresh(), tmp_path / "x.safetensors")


def _damaged(content, draw, count):
    """Copies with one flipped bit, and every fourth with an end too early."""
    for number in range(count):
        if number % 4 == 3:
            yield content[: draw.integers(len(content))]
        else:
            flipped, bit = bytearray(content), draw.integers(8 * len(content))
            flipped[bit // 8] ^= 1 << bit % 8
            yield bytes(flipped)


def _try_damaged(save_pth, folder, suffix, count):
    """Loads damaged files. Returns how many were refused, and how many weights the others have that are not the
    file's."""
    model, again = _tiny("vit_2_4"), _fresh("vit_2_4")
    if suffix == ".pth":
        raw, ema = _two(_state(model))
        path = save_pth({"state_dict": raw, "state_dict_ema": ema, "args": argparse.Namespace(lr=1.0), "epoch": 3})
    else:
        path = folder / f"x{suffix}"
        (model.save if suffix == ".h5" else partial(save_weights, model))(path)
    refused, wrong, before = 0, [], _arrays(model)
    for content in _damaged(path.read_bytes(), np.random.default_rng(0), count):
        path.write_bytes(content)
        try:
            load_weights(again, path, warn=False)
        except WeightsError as error:
            assert "\n" not in str(error) and str(error).endswith(".") and "x." in str(error)
            refused += 1
        else:
            wrong.append(sum(int((a != b).sum()) for a, b in zip(before, _arrays(again), strict=True)))
    return refused, wrong


@pytest.mark.parametrize(
    ("suffix", "count"), [(".pth", 150), (".keras", 100), (".safetensors", 100), (".weights.h5", 40), (".h5", 100)]
)
def test_load_weights_of_a_damaged_file_is_refused_or_right(save_pth, tmp_path, suffix, count):
    refused, wrong = _try_damaged(save_pth, tmp_path, suffix, count)
    assert refused > count / 4
    # safetensors and HDF5 have no checksum: the one number whose bit was flipped is another.
    assert max(wrong, default=0) <= (0 if suffix in (".pth", ".keras") else 1)


@pytest.mark.full
@pytest.mark.parametrize("suffix", [".pth", ".keras", ".safetensors", ".weights.h5", ".h5"])
def test_load_weights_of_thousands_of_damaged_files_is_refused_or_right(save_pth, tmp_path, suffix):
    _, wrong = _try_damaged(save_pth, tmp_path, suffix, 3000)
    if not suffix.endswith(".h5"):  # where a flipped address can lead elsewhere in the file (docs/weights.md)
        assert max(wrong, default=0) <= (suffix == ".safetensors")


# Files that would take all memory or time


@contextmanager
def _soon(seconds=20.0):  # 2 s on an idle machine
    started = time.process_time()
    yield
    assert time.process_time() - started < seconds


def _nested_zip(files, payload):
    """Files of an archive each of which holds all that come after it: together they are far larger than it is."""
    names = [f"x/data/{number:03d}" for number in range(files)]  # 40 bytes of header each
    sizes = [40 * (files - 1 - number) + payload for number in range(files)]
    header = struct.Struct("<4s5H3L2H")
    bodies = [b"\0" * payload]
    for name, size in zip(names[::-1], sizes[::-1], strict=True):
        body = bodies[-1]
        head = header.pack(b"PK\3\4", 20, 0, 0, 0, 0, zlib.crc32(body), size, size, len(name), 0)
        bodies.append(head + name.encode() + body)
    return names, sizes, bodies


def test_load_weights_pth_whose_files_overlap_is_refused_before_they_are_read(save_pth, tmp_path):
    storages = [np.zeros(40 * (59 - number) // 4 + 25_000, "f4") for number in range(60)]
    whole = save_pth({f"{number}": _Tensor(array) for number, array in enumerate(storages)})
    with zipfile.ZipFile(whole) as archive:
        program = archive.read("x/data.pkl")
    names, sizes, bodies = _nested_zip(60, 100_000)
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("x/data.pkl", program)
    plain, (start, length) = whole.read_bytes(), _directory(whole)
    content, entries = plain[:start], plain[start : start + length]
    for number, (name, size) in enumerate(zip(names, sizes, strict=True)):
        crc, place = zlib.crc32(bodies[59 - number]), start + 40 * number
        fields = (20, 20, 0, 0, 0, 0, crc, size, size, len(name), 0, 0, 0, 0, 0, place)
        entries += struct.pack("<4s6H3L5H2L", b"PK\1\2", *fields) + name.encode()
    content += bodies[-1]
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 61, 61, len(entries), len(content), 0)
    whole.write_bytes(content + entries + end)
    with zipfile.ZipFile(whole) as archive:
        assert len(archive.read("x/data/000")) == sizes[0], "Python itself reads it"
    with _soon(), pytest.raises(WeightsError, match="overlap: together they are larger than it is"):
        load_weights(_fresh(), whole)


def _directory(path):
    """Where a zip archive's list of its files lies, and its length."""
    length, start = struct.unpack("<2L", path.read_bytes()[-10:-2])
    return start, length


def test_load_weights_zip_with_an_endless_list_of_files_is_refused(tmp_path):
    path = tmp_path / "x.pth"
    with path.open("wb") as file:
        file.truncate(2**31)
        file.seek(2**31)
        file.write(b"PK\5\6" + bytes(8) + (2**31).to_bytes(4, "little") + bytes(6))
    with _soon(), pytest.raises(WeightsError, match="list of files is far longer"):
        load_weights(_fresh(), path)


def test_load_weights_pickle_without_end_is_refused(tmp_path):
    path = tmp_path / "x.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", b"\x80\x02" + b"N" * 600_000)
    with _soon(), pytest.raises(WeightsError, match="more than 500,000 instructions"):
        load_weights(_fresh(), path)


@pytest.mark.parametrize("length", [2**20, 1_001])
def test_read_pth_long_name_that_is_asked_for_again_and_again_is_refused(tmp_path, length):
    path = tmp_path / "x.pth"
    name = b"X" + struct.pack("<I", length) + b"a" * length + b"\x94"  # remembered
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", b"\x80\x04]" + name + b"(" + b"h\x00h\x00\x93" * 100_000 + b"e.")
    with _soon(), pytest.raises(WeightsError, match="its pickle asks for something by what is no name"):
        read_pth(path)


def test_load_weights_pickle_of_objects_that_all_hold_each_other_is_refused(save_pth):
    shared = [1] * 20_000
    path = save_pth({str(number): {"a": ONES, "b": [ONES], "c": shared} for number in range(2000)})
    with _soon(), pytest.raises(WeightsError, match="hold each other in more ways"):
        load_weights(_fresh(), path)


def test_load_weights_keras_file_of_groups_within_groups_is_refused(tmp_path):
    deep, wide = tmp_path / "deep.weights.h5", tmp_path / "wide.weights.h5"
    with h5py.File(deep, "w") as file:
        group = file.create_group("layers")
        for _ in range(3000):
            group = group.create_group("g")
        group.create_dataset("vars/0", data=np.ones(3, "f4"))
    with h5py.File(wide, "w", libver="latest") as file:
        group = file.create_group("layers/dense/vars")
        for number in range(21_000):
            group[str(number)] = h5py.SoftLink("/layers") if number < 10 else group.create_group(f"g{number}")
    for path in (deep, wide):
        with _soon(), pytest.raises(WeightsError, match=rf"^{path.name} must be .* 32 deep, or more than 20,000"):
            load_weights(_fresh(), path)


def test_load_weights_keras_file_whose_arrays_share_bytes_is_refused(tmp_path):
    path = tmp_path / "x.weights.h5"
    save_weights(_tiny(), path)
    with h5py.File(path, "r") as file:
        places = [file[f"layers/dense/vars/{number}"].id.get_offset().to_bytes(8, "little") for number in (0, 1)]
    content = path.read_bytes()
    assert content.count(places[1]) == 1
    path.write_bytes(content.replace(places[1], places[0]))
    with pytest.raises(WeightsError, match="arrays in it overlap"):
        load_weights(_fresh(), path)


@pytest.mark.parametrize("suffix", [".pth", ".keras", ".weights.h5", ".safetensors"])
def test_load_weights_huge_file_of_zeros_is_refused_unread(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    with path.open("wb") as file:
        file.truncate(2**38)
    with _soon(), pytest.raises(WeightsError, match=rf"^x\{suffix} must be "):
        load_weights(_fresh(), path)


@pytest.mark.parametrize(
    ("name", "shape", "reason"),
    [
        ("classifier.positional_emb", [1, 2**33, 8], "bytes of it would be read, far more than the model needs"),
        ("classifier.norm.weight", [2**36], r"classifier\.norm\.weight has shape \(68719476736,\)"),
        ("other", [2**36], "holds none of the weights"),
    ],
)
def test_load_weights_huge_tensors_are_refused_unread(tmp_path, name, shape, reason):
    path = tmp_path / "x.safetensors"
    size = 4 * int(np.prod(shape))
    with path.open("wb") as file:
        header = _header({name: {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}})
        file.write(header)
        file.truncate(len(header) + size)
    with _soon(), pytest.raises(WeightsError, match=reason):
        load_weights(_fresh(), path)


@pytest.mark.parametrize("suffix", [".pth", ".keras", ".weights.h5", ".safetensors", ".safetensors.index.json"])
def test_load_weights_folder_pipe_and_device_are_refused_at_once(tmp_path, suffix):
    for kind, make in (
        ("folder", os.mkdir),
        ("pipe", os.mkfifo),
        ("device", lambda path: os.symlink("/dev/zero", path)),
    ):
        path = tmp_path / f"{kind}{suffix}"
        make(path)
        with pytest.raises(WeightsError, match=rf"plain file, but {re.escape(path.name)} is a folder, a pipe or"):
            load_weights(_fresh(), path)


# What is documented


DOCS = Path(__file__).parents[3] / "docs" / "weights.md"


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
