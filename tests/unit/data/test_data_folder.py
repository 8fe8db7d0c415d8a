"""Class folders of images: layout, decoding, cache, and what is said when something is wrong."""

import multiprocessing
import os
import zipfile

import numpy as np
import pytest
from PIL import Image

from ablate.data import DataError, DataSpec, cache, describe, load
from ablate.data.augment.augmenter import Augmenter
from ablate.data.augment.spec import AugmentSpec, ResizedCropSpec
from ablate.data.batches import Batches
from ablate.data.resize import Example

CLASSES = ("cat", "dog")


def _image(seed, size=(6, 5), mode="RGB"):
    shape = (*size, 3) if mode == "RGB" else size
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


@pytest.fixture
def images(tmp_path):
    """Two classes of 4 + 2 lossless images, 6 rows of 5 pixels."""
    for part, n in (("train", 4), ("test", 2)):
        for label, name in enumerate(CLASSES):
            folder = tmp_path / "images" / part / name
            folder.mkdir(parents=True)
            for i in range(n):
                _image(100 * label + 10 * (part == "test") + i).save(folder / f"{i}.png")
    return tmp_path / "images"


def _spec(root, tmp_path, **leaves):
    return DataSpec(
        **{"source": "folder", "root": str(root), "val_fraction": 0.25, "cache": str(tmp_path / "c")} | leaves
    )


def _zip(folder, path, prefix=""):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, f"{prefix}{file.relative_to(folder)}")
    return path


def test_folder_is_read_as_it_is(images, tmp_path):
    spec = _spec(images, tmp_path)
    assert describe(spec) == ((6, 5, 3), 2)
    splits = load(spec)
    assert splits.classes == CLASSES
    assert np.array_equal(splits.test.x, np.stack([_image(seed) for seed in (10, 11, 110, 111)]))
    assert splits.test.y.tolist() == [0, 0, 1, 1]
    assert (len(splits.train), len(splits.val)) == (6, 2)


@pytest.mark.parametrize("prefix", ["", "wrapped/"])
def test_zip_gives_what_the_folder_gives(images, tmp_path, prefix):
    archive = _zip(images, tmp_path / "images.zip", prefix)
    assert describe(_spec(archive, tmp_path)) == ((6, 5, 3), 2)
    assert load(_spec(archive, tmp_path)).digest == load(_spec(images, tmp_path)).digest


def test_folder_of_grey_images_stays_grey_and_one_colour_image_makes_all_rgb(images, tmp_path):
    for i, file in enumerate(sorted(images.rglob("*.png"))):
        _image(i, mode="L").save(file)
    grey = load(_spec(images, tmp_path))
    assert grey.input_shape == (6, 5, 1) and len(grey.mean) == 1
    _image(0).save(images / "train/cat/0.png")
    colour = load(_spec(images, tmp_path))
    assert colour.input_shape == (6, 5, 3)
    assert np.array_equal(colour.test.x, np.repeat(grey.test.x, 3, axis=3))


def test_images_of_different_sizes_need_image_size(images, tmp_path):
    _image(0, (9, 9)).save(images / "train/dog/3.png")
    with pytest.raises(DataError, match=r"6x5 .*cat/0.png.* and 9x9 .*dog/3.png.*set data.image_size"):
        load(_spec(images, tmp_path))
    assert load(_spec(images, tmp_path, image_size=[4, 7])).input_shape == (4, 7, 3)


def test_folder_is_decoded_once(images, tmp_path, monkeypatch, capfd):
    first = load(_spec(images, tmp_path))
    monkeypatch.setattr("ablate.data.sources.folder.decode_all", lambda *args: pytest.fail("decoded again"))
    assert load(_spec(images, tmp_path)).digest == first.digest
    assert capfd.readouterr().out == ""


def test_folder_is_decoded_again_when_a_file_or_the_size_changes(images, tmp_path):
    first = load(_spec(images, tmp_path))
    assert load(_spec(images, tmp_path, image_size=[3, 3])).input_shape == (3, 3, 3)
    assert len(list((tmp_path / "c").iterdir())) == 2
    file = images / "test/cat/0.png"
    _image(77).save(file)
    os.utime(file, ns=(1, 1))
    assert load(_spec(images, tmp_path)).digest != first.digest


def test_cache_that_is_damaged_is_made_again_with_a_warning(images, tmp_path):
    first = load(_spec(images, tmp_path))
    (stored,) = (tmp_path / "c").iterdir()
    stored.write_bytes(stored.read_bytes()[:-50])
    with pytest.warns(UserWarning, match="is damaged"):
        assert load(_spec(images, tmp_path)).digest == first.digest


def test_cache_that_cannot_be_written_says_what_to_set(images, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"set data\.cache=PATH"):
        load(_spec(images, tmp_path, cache=str(tmp_path / "file" / "c")))


def test_cache_defaults_to_the_users_cache_folder(images, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    load(_spec(images, tmp_path, cache=None))
    assert len(list((tmp_path / "xdg" / "ablate").iterdir())) == 1


def _write_often(path, value, times):
    for _ in range(times):
        cache.write(path, 200, lambda: iter([Example(np.full((8, 8, 3), value, np.uint8), value)] * 200))


@pytest.mark.filterwarnings("error:.*is damaged")
def test_cache_is_whole_whatever_two_writers_do(tmp_path):
    path = tmp_path / "images-x.npy"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_often, args=(path, value, 60)) for value in (1, 2)]
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        stored = cache.read(path, 2**20)  # a torn file would warn, which is an error here
        if stored is not None:
            values = np.unique(stored.images.x)
            assert len(values) == 1
            seen.add(int(values[0]))
    assert seen <= {1, 2} and all(writer.exitcode == 0 for writer in writers)
    assert [file.name for file in tmp_path.iterdir()] == ["images-x.npy"]


def test_corrupt_image_is_named(images, tmp_path):
    file = images / "train/dog/2.png"
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(DataError, match=r"dog/2.png could not be decoded .*replace or remove"):
        load(_spec(images, tmp_path))


def test_file_that_is_no_image_is_named(images, tmp_path):
    (images / "train/cat/1.png").write_text("not an image")
    with pytest.raises(DataError, match=r"cat/1.png could not be decoded \(\w+: cannot identify image file\); rep"):
        load(_spec(_zip(images, tmp_path / "i.zip"), tmp_path))


def test_image_of_16_bits_is_named(images, tmp_path):
    Image.fromarray(np.full((6, 5), 40000, np.uint16)).save(images / "train/cat/1.png")
    with pytest.raises(DataError, match=r"cat/1.png must be grey or colour with 8 bits.*I;16"):
        load(_spec(images, tmp_path))


@pytest.mark.parametrize("make", [lambda folder, tmp: folder, lambda folder, tmp: _zip(folder, tmp / "i.zip")])
def test_empty_class_is_named(images, tmp_path, make):
    for part in ("train", "test"):
        (images / part / "owl").mkdir()
    _image(0).save(images / "test/owl/0.png")
    (images / "train/owl/notes.txt").write_text("no image")
    (images / "train/owl/.hidden.png").write_text("")
    with pytest.raises(DataError, match="class folder train/owl must hold images"):
        load(_spec(make(images, tmp_path), tmp_path))


def test_classes_that_differ_between_parts_are_named(images, tmp_path):
    (images / "test/dog").rename(images / "test/wolf")
    with pytest.raises(DataError, match="only under train/: dog; only under test/: wolf"):
        load(_spec(images, tmp_path))


def test_folder_without_test_says_how_to_arrange_it(images, tmp_path):
    (images / "test").rename(images / "validation")
    with pytest.raises(DataError, match=r"got none under test/; arrange it as test/CLASS/IMAGE\.png"):
        load(_spec(images, tmp_path))


@pytest.mark.parametrize("name", ["nowhere", "file.zip"])
def test_root_that_is_no_folder_and_no_zip_is_named(tmp_path, name):
    (tmp_path / "file.zip").write_text("not a zip")
    with pytest.raises(DataError, match=name):
        describe(_spec(tmp_path / name, tmp_path))


def test_zip_of_photos_of_all_sizes_is_read(shared, tmp_path):
    archive = shared / "data" / "flowers17-160.zip"
    if not archive.exists():
        pytest.skip("../shared/data has no flowers17-160.zip")
    spec = _spec(archive, tmp_path, image_size=[16, 16])
    assert describe(spec) == ((16, 16, 3), 17)
    splits = load(spec)
    assert (len(splits.train) + len(splits.val), len(splits.test)) == (1088, 272)
    assert np.all(np.bincount(splits.test.y) == 16)


WHOLE = AugmentSpec(random_resized_crop=ResizedCropSpec(scale=[1.0, 1.0], ratio=[1.0, 1.0]), interpolation="bilinear")
"""Takes the largest square from the middle: what is cut is known."""


def _photos(folder, sizes, mode="RGB"):
    """A class of photos of these heights and widths, and another of squares."""
    for part in ("train", "test"):
        for name in CLASSES:
            (folder / part / name).mkdir(parents=True)
            for i, size in enumerate(sizes if (part, name) == ("train", "cat") else [(8, 8)] * len(sizes)):
                _image(i, size, mode).save(folder / part / name / f"{i}.png")
    return folder


@pytest.mark.parametrize("limit", [None, 0])
@pytest.mark.parametrize("packed", [False, True])
def test_random_resized_crop_of_photos_is_cut_from_the_original(tmp_path, packed, limit):
    sizes = [(8, 20), (30, 10), (24, 24)]
    root = _photos(tmp_path / "photos", sizes)
    root = _zip(root, tmp_path / "photos.zip") if packed else root
    splits = load(_spec(root, tmp_path, val_fraction=0, image_size=[6, 6], memory_limit=limit))
    augment = Augmenter(WHOLE, 0, 2, splits.mean, splits.std)
    (batch, _), *_ = Batches(splits.train, 6, 0, augment).epoch(0)
    cuts = dict(zip(Batches(splits.train, 6, 0).order(0).tolist(), batch, strict=True))
    for index, (height, width) in enumerate(sizes):
        side, photo = min(height, width), _image(index, (height, width))
        left, top = (width - side) // 2, (height - side) // 2
        middle = photo.crop((left, top, left + side, top + side)).resize((6, 6), Image.Resampling.BILINEAR)
        assert np.array_equal(cuts[index], np.asarray(middle))
        assert height == width or not np.array_equal(cuts[index], np.asarray(splits.train.x[index]))


def test_random_resized_crop_keeps_the_channels_that_were_asked_for(tmp_path):
    root = _photos(tmp_path / "photos", [(8, 20), (30, 10)])
    splits = load(_spec(root, tmp_path, val_fraction=0, image_size=[6, 6], channels=1))
    (batch, _), *_ = Batches(splits.train, 4, 0, Augmenter(WHOLE, 0, 2, splits.mean, splits.std)).epoch(0)
    assert batch.shape == (4, 6, 6, 1)


def test_photo_that_vanishes_in_training_is_named(tmp_path):
    root = _photos(tmp_path / "photos", [(8, 20), (30, 10)])
    splits = load(_spec(root, tmp_path, val_fraction=0, image_size=[6, 6]))
    (root / "train" / "cat" / "1.png").unlink()
    batches = Batches(splits.train, 4, 0, Augmenter(WHOLE, 0, 2, splits.mean, splits.std))
    with pytest.raises(DataError, match=r"cat.1\.png could not be decoded \(FileNotFoundError"):
        list(batches.epoch(0))


@pytest.fixture
def nested(tmp_path):
    """cifar2png's layout of superclasses: 2 groups of 2 classes, and one class name that stands in both groups."""
    for part, n in (("train", 2), ("test", 1)):
        for label, name in enumerate(("fish/ray", "fish/shark", "trees/oak", "trees/ray")):
            folder = tmp_path / "nested" / part / name
            folder.mkdir(parents=True)
            for i in range(n):
                _image(100 * label + 10 * (part == "test") + i).save(folder / f"{i}.png")
    return tmp_path / "nested"


@pytest.mark.parametrize("make", [lambda folder, tmp: folder, lambda folder, tmp: _zip(folder, tmp / "n.zip", "top/")])
def test_nested_folders_are_classes_of_the_level_asked_for(nested, tmp_path, make):
    root = make(nested, tmp_path)
    groups, leaves = (load(_spec(root, tmp_path, val_fraction=0, class_level=level)) for level in (1, 2))
    assert groups.classes == ("fish", "trees")
    assert leaves.classes == ("fish/ray", "fish/shark", "trees/oak", "trees/ray")
    assert groups.test.y.tolist() == [0, 0, 1, 1] and leaves.test.y.tolist() == [0, 1, 2, 3]
    assert np.array_equal(groups.train.x, leaves.train.x) and groups.digest != leaves.digest
    assert [describe(_spec(root, tmp_path, class_level=level))[1] for level in (1, 2)] == [2, 4]


def test_nested_image_above_its_class_is_named(nested, tmp_path):
    _image(0).save(nested / "train/fish/stray.png")
    with pytest.raises(DataError, match=r"train/fish/stray.png must lie 2 folders deep .*lower data.class_level"):
        load(_spec(nested, tmp_path, class_level=2))
    assert len(load(_spec(nested, tmp_path, val_fraction=0)).train) == 9


def test_nested_folders_too_shallow_for_the_level_are_told_how_to_be(nested, images, tmp_path):
    with pytest.raises(DataError, match=r"got none under train/; arrange it as train/GROUP/CLASS/IMAGE.png"):
        load(_spec(images, tmp_path, class_level=2))
    (nested / "test/birds").mkdir()
    with pytest.raises(DataError, match=r"test/birds must hold class folders with data.class_level=2, got none"):
        load(_spec(nested, tmp_path, class_level=2))


def test_nested_class_that_is_empty_corrupt_or_on_one_side_is_named(nested, tmp_path):
    (nested / "train/fish/eel").mkdir()
    with pytest.raises(DataError, match="only under train/: fish/eel"):
        load(_spec(nested, tmp_path, class_level=2))
    (nested / "test/fish/eel").mkdir()
    with pytest.raises(DataError, match="class folder train/fish/eel must hold images"):
        load(_spec(nested, tmp_path, class_level=2))
    for part in ("train", "test"):
        (nested / part / "fish/eel").rmdir()
    (nested / "test/trees/oak/0.png").write_text("no image")
    with pytest.raises(DataError, match=r"test/trees/oak/0\.png could not be decoded"):
        load(_spec(nested, tmp_path, class_level=2))


def test_channels_convert_grey_and_colour(images, tmp_path):
    grey = load(_spec(images, tmp_path, channels=1))
    assert describe(_spec(images, tmp_path, channels=1)) == ((6, 5, 1), 2) and grey.input_shape == (6, 5, 1)
    assert np.array_equal(grey.test.x[0, :, :, 0], _image(10).convert("L"))
    for i, file in enumerate(sorted(images.rglob("*.png"))):
        _image(i, mode="L").save(file)
    colour = load(_spec(images, tmp_path, channels=3))
    assert np.array_equal(colour.train.x[..., 0], colour.train.x[..., 2]) and len(colour.mean) == 3
