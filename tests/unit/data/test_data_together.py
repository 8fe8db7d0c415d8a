"""Which test images belong together: folders below a class's, and when they say nothing."""

import shutil

import numpy as np
import pytest
from PIL import Image

from ablate.data import DataSpec, load
from ablate.data.together import together


def _save(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(path)


def _data(root, tested):
    names = [f"train/{label}/{number}.png" for label in "ab" for number in range(4)]
    for seed, name in enumerate([*names, *(f"test/{name}" for name in tested)]):
        _save(root / name, seed)


def _groups(root, tmp_path, **leaves):
    spec = DataSpec(source="folder", root=str(root), val_fraction=0.25, cache=str(tmp_path / "c"), **leaves)
    found = together(spec, load(spec).test.y)
    return None if found is None else found.tolist()


NESTED = [
    "a/cup/1.png",
    "a/cup/2.png",
    "a/cup/side/3.png",
    "a/cup-2/1.png",
    "a/loose.png",
    "b/cup/1.png",
    "b/cup/2.png",
]


def test_images_of_a_folder_below_the_class_are_one_group(tmp_path):
    _data(tmp_path / "d", NESTED)
    # Sorted: a/cup-2/1, a/cup/1, a/cup/2, a/cup/side/3, a/loose, b/cup/1, b/cup/2.
    assert _groups(tmp_path / "d", tmp_path) == [0, 1, 1, 1, 2, 3, 3]


def test_images_of_a_wrapped_zip_are_grouped_alike(tmp_path):
    _data(tmp_path / "pack" / "test-2", NESTED)
    shutil.make_archive(str(tmp_path / "d"), "zip", tmp_path / "pack")
    assert _groups(tmp_path / "d.zip", tmp_path) == [0, 1, 1, 1, 2, 3, 3]


def test_with_groups_of_classes_the_folder_below_them_counts(tmp_path):
    for part in ("train", "test"):
        for number, name in enumerate(["x/a/1/0", "x/a/1/1", "x/a/2/0", "x/b/1/0", "x/b/1/1", "x/b/0"]):
            _save(tmp_path / "d" / part / f"{name}.png", number + 10 * (part == "test"))
    assert _groups(tmp_path / "d", tmp_path, class_level=2) == [0, 0, 1, 2, 3, 3]


@pytest.mark.parametrize(
    "tested",
    [
        ["a/1.png", "a/2.png", "b/1.png"],  # none
        ["a/images/1.png", "a/images/2.png", "b/images/1.png"],  # all of a class in one
        ["a/x/1.png", "a/y/1.png", "b/x/1.png"],  # one image each
    ],
)
def test_folders_that_group_nothing_say_nothing(tmp_path, tested):
    _data(tmp_path / "d", tested)
    assert _groups(tmp_path / "d", tmp_path) is None


def test_groups_leave_out_images_that_could_not_be_read(tmp_path):
    _data(tmp_path / "d", NESTED)
    (tmp_path / "d" / "test/a/cup/1.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    assert _groups(tmp_path / "d", tmp_path, skip_unreadable=True) == [0, 1, 1, 2, 3, 3]


def test_groups_of_other_data_than_was_read_are_none(tmp_path):
    _data(tmp_path / "d", NESTED)
    spec = DataSpec(source="folder", root=str(tmp_path / "d"))
    assert together(spec, np.array([0, 0, 0, 0, 0, 1])) is None
    assert together(spec, np.array([0, 0, 0, 1, 1, 1, 1])) is None
    assert together(DataSpec(source="digits"), np.zeros(3, np.int64)) is None
    shutil.rmtree(tmp_path / "d")
    assert together(spec, np.array([0, 0, 0, 0, 0, 1, 1])) is None
