"""What no data set can satisfy is refused before any is read."""

import math
import typing
from dataclasses import fields, is_dataclass

import pytest
from PIL import Image

from ablate.config.compose import compose, to_config
from ablate.data import DataError, DataSpec, describe, load
from ablate.tasks.classify.spec import RunSpec


def _float_leaves(spec, path=()):
    """Paths of all leaves that hold a number or a list of them."""
    hints = typing.get_type_hints(type(spec))
    for field in fields(spec):
        value, hint = getattr(spec, field.name), hints[field.name]
        if is_dataclass(value):
            yield from _float_leaves(value, (*path, field.name))
        elif list[float] in (hint, *typing.get_args(hint)):
            yield (*path, field.name), True
        elif float in (hint, *typing.get_args(hint)):
            yield (*path, field.name), False


LEAVES = list(_float_leaves(RunSpec()))


def test_float_leaves_of_a_run_are_found():
    names = {".".join(path) for path, _ in LEAVES}
    assert {"data.mean", "data.crop_pct", "augment.random_resized_crop.ratio", "train.lr", "model.dropout"} <= names


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("path", "many"), LEAVES, ids=[".".join(path) for path, _ in LEAVES])
def test_float_leaf_that_is_no_finite_number_is_refused(path, many, bad):
    spec = RunSpec()
    spec.data.image_size = [8, 8]  # data.crop_pct needs one
    part, *inner, leaf = path
    owner = getattr(spec, part)
    for name in inner:
        owner = getattr(owner, name)
    setattr(owner, leaf, [bad, bad] if many else bad)
    with pytest.raises(ValueError, match=leaf):
        getattr(spec, part).check()


@pytest.mark.parametrize(
    ("leaf", "values", "message"),
    [
        ("mean", [127.0], r"from 0 to 1 .*got \[127.0\]; if it is of pixels 0..255, set data.mean=\[0.498\]"),
        ("mean", [-0.1, 0.5, 0.5], r"from 0 to 1 .*got \[-0.1, 0.5, 0.5\]\.$"),
        ("std", [60.0], r"above 0 and at most 1 .*set data.std=\[0.2353\]"),
        ("std", [0.0], r"above 0 and at most 1 .*got \[0.0\]\.$"),
        ("std", [], r"above 0 and at most 1 .*got \[\]\.$"),
    ],
)
def test_moments_of_other_pixels_are_refused_with_the_right_ones(leaf, values, message):
    with pytest.raises(DataError, match=rf"data\.{leaf} must be {message}"):
        DataSpec(**{leaf: values}).check()


@pytest.mark.parametrize("leaf", ["mean", "std"])
@pytest.mark.parametrize(
    "leaves",
    [
        {"source": "digits", "channels": 3},
        {"source": "cifar10"},
        {"source": "cifar10", "channels": 1},
        {"source": "mnist", "root": "/nowhere"},
    ],
)
def test_moments_of_another_number_of_channels_are_refused_before_any_image_is_read(leaves, leaf):
    right = 1 if leaves.get("channels") == 1 or leaves["source"] == "mnist" else 3
    describe(DataSpec(**leaves, **{leaf: [0.5] * right}))
    with pytest.raises(DataError, match=rf"data\.{leaf} must have {right} values, one a channel, got {4 - right}\."):
        describe(DataSpec(**leaves, **{leaf: [0.5] * (4 - right)}))


def test_moments_of_a_folder_that_starts_grey_are_judged_once_it_is_read(tmp_path):
    for name, mode in (("train/a/0", "L"), ("train/a/1", "RGB"), ("test/a/0", "L")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, (4, 4)).save(tmp_path / f"{name}.png")
    leaves = {"source": "folder", "root": str(tmp_path), "cache": str(tmp_path / "c"), "val_fraction": 0}
    for values in ([0.5], [0.5] * 3):
        spec = DataSpec(**leaves, mean=values, std=values)
        assert describe(spec)[0] == (4, 4, 1)
    assert load(spec).std == (0.5,) * 3
    with pytest.raises(DataError, match=r"data\.mean must have 3 values, one a channel, got 1"):
        load(DataSpec(**leaves, mean=[0.5], std=[0.5]))


def test_moments_that_leave_pixels_alone_are_taken():
    DataSpec(mean=[0.0], std=[1.0]).check()


@pytest.mark.parametrize("value", ["grey", [0, 0], [0, 0, 256], [0.5, 0, 0], [True, 0, 0], 7, None, [[1], 2, 3]])
def test_background_that_is_no_colour_is_refused(value):
    with pytest.raises(DataError, match=r"data\.background must be white, black or \[red, green, blue\]"):
        DataSpec(background=value).check()


def test_background_is_one_leaf_however_it_is_written():
    written = ["data.background=white", "data.background=[255,255,255]", "data.background=[1,2,3]"]
    specs = [to_config(compose([word])).point() for word in written]
    assert [spec.leaves()["data.background"] for spec in specs] == ["white", "white", [1, 2, 3]]
    assert [spec.data.background_rgb for spec in specs] == [(255,) * 3, (255,) * 3, (1, 2, 3)]
