"""Flowers-102 and ImageNet: class folders, what tensorflow-datasets has prepared, and what is said without either."""

import io
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from ablate.config.compose import compose, to_config
from ablate.data import DataError, DataSpec, describe, load
from ablate.data.listing import image_files
from ablate.data.sources import folder, prepared
from ablate.data.spec import module_of


def _png(i):
    """An RGB image of one of two sizes, its bytes by its number."""
    pixels = np.random.default_rng(i).integers(0, 256, (6 + i % 2, 5, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer := io.BytesIO(), "PNG")
    return buffer.getvalue()


def _class_folders(root, parts, classes):
    for part in parts:
        for label in range(classes):
            place = root / part / f"n{label:08d}"
            place.mkdir(parents=True)
            (place / "0.JPEG").write_bytes(_png(0 if part == "train" else label % 7))


def _spec(source, root, tmp_path, **leaves):
    sizes = {"image_size": [4, 4], "val_fraction": 0, "cache": str(tmp_path / "c")}
    return DataSpec(**{"source": source, "root": str(root)} | sizes | leaves)


@pytest.mark.parametrize(
    ("source", "classes", "test"), [("imagenet", 1000, "val"), ("imagenet", 1000, "test"), ("flowers102", 102, "test")]
)
def test_class_folders_are_read(tmp_path, source, classes, test):
    _class_folders(tmp_path / "images", ("train", test), classes)
    spec = _spec(source, tmp_path / "images", tmp_path)
    assert describe(spec) == ((4, 4, 3), classes)
    splits = load(spec)
    assert len(splits.test) == splits.num_classes == classes and splits.test.y.tolist() == list(range(classes))
    assert len(splits.mean) == 3 and splits.classes[3] == "n00000003"


def test_class_folders_are_listed_once_as_they_are_read(tmp_path, monkeypatch):
    _class_folders(tmp_path / "images", ("train", "test"), 102)
    listed = []
    monkeypatch.setattr(folder, "image_files", lambda *a, **k: listed.append(a) or image_files(*a, **k))
    load(_spec("flowers102", tmp_path / "images", tmp_path))
    assert len(listed) == 1


def test_class_folders_with_too_few_classes_are_refused(tmp_path):
    _class_folders(tmp_path / "images", ("train", "val"), 3)
    with pytest.raises(DataError, match=r"must have 1000 classes with data.source=imagenet, got 3; take data=folder"):
        load(_spec("imagenet", tmp_path / "images", tmp_path))
    with pytest.raises(DataError, match=r"none under test/"):
        load(_spec("flowers102", tmp_path / "images", tmp_path))


def test_root_with_neither_is_told_what_it_must_hold(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    with pytest.raises(DataError, match=r"train/ and test/, or oxford_flowers102/VERSION as tensorflow-datasets"):
        load(_spec("flowers102", tmp_path, tmp_path))
    with pytest.raises(DataError, match=r"data.root must name a folder or a zip that exists"):
        load(_spec("flowers102", tmp_path / "nowhere", tmp_path))


def test_library_that_lacks_a_part_is_not_blamed_on_the_network(tmp_path, monkeypatch):
    def builder(name):
        raise ModuleNotFoundError("No module named 'importlib_resources'")

    monkeypatch.setitem(sys.modules, "tensorflow_datasets", SimpleNamespace(builder=builder))
    with pytest.raises(
        DataError, match=r"No module named 'importlib_resources'.*pip install 'ablate-study\[tfds\]'"
    ) as told:
        load(DataSpec(source="flowers102", image_size=[4, 4], cache=str(tmp_path)))
    assert "network" not in str(told.value)


def test_absent_library_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(
        DataError, match=r"must be installed to read oxford_flowers102 .*pip install 'ablate-study\[tfds\]'"
    ):
        load(_spec("flowers102", tmp_path, tmp_path))


def test_image_size_is_a_must(tmp_path):
    with pytest.raises(DataError, match=r"data.image_size must be set with data.source=imagenet"):
        describe(_spec("imagenet", tmp_path, tmp_path, image_size=None))


@pytest.mark.parametrize(("source", "classes"), [("flowers102", 102), ("imagenet", 1000)])
def test_group_is_described_without_any_file(source, classes):
    spec = to_config(compose([f"data={source}"])).point().data
    assert describe(spec) == ((224, 224, 3), classes)


def test_published_moments_and_fit_are_the_official_ones(shared):
    lines = (shared / "reference" / "paper" / "recipes.csv").read_text("utf-8").splitlines()
    table = {cells[0]: cells[1:] for cells in (line.split(",") for line in lines)}
    for column, name in enumerate(table["dataset"][:4]):
        spec = to_config(compose([f"data={name}"])).point().data
        source = module_of(spec.source)
        published = {key: tuple(float(value) for value in table[key][column].split()) for key in ("mean", "std")}
        assert published == {"mean": source.MEAN, "std": source.STD}
        if spec.image_size is not None:
            assert spec.image_size == [int(table["img_size"][column])] * 2
            assert spec.crop_pct == float(table["crop_pct"][column])
            assert spec.interpolation == table["interpolation"][column]


@pytest.fixture(scope="module")
def flowers(tmp_path_factory):
    """A small data set of the official one's name and features, written by tensorflow-datasets itself."""
    tfds = pytest.importorskip("tensorflow_datasets")

    with tfds.core.registered.skip_registration():

        class OxfordFlowers102(tfds.core.GeneratorBasedBuilder):
            VERSION = tfds.core.Version("2.1.1")

            def _info(self):
                label = tfds.features.ClassLabel(names=[f"flower {i}" for i in range(102)])
                features = {"image": tfds.features.Image(), "label": label, "file_name": tfds.features.Text()}
                return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

            def _split_generators(self, manager):
                return {"train": self._some(0, 102), "validation": self._some(102, 102), "test": self._some(204, 204)}

            def _some(self, start, n):
                for i in range(start, start + n):
                    yield i, {"image": io.BytesIO(_png(i)), "label": i % 102, "file_name": str(i)}

            def _generate_examples(self):
                raise NotImplementedError

    folder = tmp_path_factory.mktemp("tfds")
    OxfordFlowers102(data_dir=str(folder)).download_and_prepare()
    return folder


@pytest.mark.full
@pytest.mark.parametrize("below", ["", "oxford_flowers102/2.1.1"])
def test_prepared_data_set_is_read_whole_and_in_one_order(flowers, tmp_path, below, monkeypatch):
    spec = _spec("flowers102", flowers / below, tmp_path, image_size=[6, 5])
    splits = load(spec)
    assert splits.input_shape == (6, 5, 3) and (len(splits.train), len(splits.test)) == (204, 204)
    assert np.bincount(splits.train.y).tolist() == [2] * 102 and splits.classes[101] == "flower 101"
    of = {image.tobytes(): int(label) for image, label in zip(splits.test.x, splits.test.y, strict=True)}
    for i in range(204, 408, 2):  # those of 6 rows are left as they are
        assert of[np.asarray(Image.open(io.BytesIO(_png(i)))).tobytes()] == i % 102
    monkeypatch.setattr("ablate.data.sources.prepared.decode_all", lambda *args: pytest.fail("decoded again"))
    assert load(spec).digest == splits.digest
    monkeypatch.undo()
    again = load(_spec("flowers102", flowers, tmp_path, image_size=[6, 5], memory_limit=0, cache=str(tmp_path / "d")))
    assert again.digest == splits.digest


@pytest.mark.full
def test_prepared_data_set_that_lost_its_end_is_named(flowers, tmp_path):
    shutil.copytree(flowers / "oxford_flowers102", tmp_path / "t" / "oxford_flowers102")
    (file,) = (tmp_path / "t").rglob("*test.tfrecord*")
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"split test in .*oxford_flowers102.*truncated record.*remove that folder"):
        load(_spec("flowers102", tmp_path / "t", tmp_path))


@pytest.mark.full
def test_prepared_image_that_is_damaged_is_named_or_left_out(flowers, tmp_path, monkeypatch):
    whole = prepared._examples

    def cut(builder, split):
        for i, example in enumerate(whole(builder, split)):
            yield example | {"image": example["image"][:30]} if (split, i) == ("validation", 3) else example

    monkeypatch.setattr("ablate.data.sources.prepared._examples", cut)
    with pytest.raises(DataError, match=r"but image 3 of oxford_flowers102/validation could not be decoded; replace"):
        load(_spec("flowers102", flowers, tmp_path))
    splits = load(_spec("flowers102", flowers, tmp_path, skip_unreadable=True))
    assert (len(splits.train), len(splits.test)) == (203, 204) and "/validation could not" in splits.notes[0]
