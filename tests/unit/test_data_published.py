"""MNIST and CIFAR from local files, whole, damaged and hostile; downloads by a stand-in."""

import gzip
import pickle
import struct

import numpy as np
import pytest
from PIL import Image

from ablate.data import DataError, DataSpec, describe, load

RNG = np.random.default_rng(0)


def _idx(array):
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def mnist(tmp_path):
    """40 + 10 images as IDX files, one pair gzipped, one not."""
    for part, n, ending in (("train", 40, ".gz"), ("t10k", 10, "")):
        pack = gzip.compress if ending else bytes
        images, labels = RNG.integers(0, 256, (n, 28, 28)), np.arange(n) % 10
        (tmp_path / f"{part}-images-idx3-ubyte{ending}").write_bytes(pack(_idx(images)))
        (tmp_path / f"{part}-labels-idx1-ubyte{ending}").write_bytes(pack(_idx(labels)))
    return tmp_path


@pytest.mark.parametrize("source", ["mnist", "fashion_mnist"])
def test_idx_files_are_read_gzipped_or_not(mnist, source):
    splits = load(DataSpec(source=source, root=str(mnist), val_fraction=0.25))
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [30, 10, 10]
    plain = (mnist / "t10k-images-idx3-ubyte").read_bytes()
    assert splits.test.x.tobytes() == plain[16:]
    assert splits.test.y.tolist() == list(range(10))
    assert splits.classes[9] == {"mnist": "9", "fashion_mnist": "Ankle boot"}[source]


def _cut(data):
    return data[:-7]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("t10k-images-idx3-ubyte", _cut, "must hold 7840 bytes after its header.*got 7833"),
        ("t10k-images-idx3-ubyte", lambda data: data[:9], "must start as an IDX file"),
        ("t10k-images-idx3-ubyte", lambda data: b"\x89PNG" + data, "must start as an IDX file.*0x00000803.*0x89504e47"),
        ("t10k-labels-idx1-ubyte", lambda data: _idx(np.arange(9)), "one label for each of 10 images, got 9"),
        ("t10k-labels-idx1-ubyte", lambda data: _idx(np.arange(10) + 1), "must be below 10, got 10"),
        ("train-images-idx3-ubyte.gz", _cut, "could not be read"),
        ("train-labels-idx1-ubyte.gz", lambda data: b"no gzip", "could not be read"),
    ],
)
def test_idx_file_that_is_damaged_is_named(mnist, name, change, message):
    (mnist / name).write_bytes(change((mnist / name).read_bytes()))
    with pytest.raises(DataError, match=f"{name}.*{message}"):
        load(DataSpec(source="mnist", root=str(mnist)))


def test_idx_file_that_is_missing_is_named(mnist):
    (mnist / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match="must hold train-labels-idx1-ubyte or"):
        load(DataSpec(source="mnist", root=str(mnist)))
    with pytest.raises(DataError, match="must be a folder of IDX files"):
        load(DataSpec(source="mnist", root=str(mnist / "nowhere")))


def test_mnist_of_the_reference_is_the_published_one(shared):
    splits = load(DataSpec(source="mnist", root=str(shared / "data" / "mnist"), val_fraction=0))
    assert np.bincount(splits.train.y).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(splits.test.y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.fixture
def cifar10(tmp_path):
    """The published layout with 4 images a batch, pickled by protocol 2, keys as bytes."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for i, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        pixels = RNG.integers(0, 256, (4, 3072), dtype=np.uint8)
        batch = {b"data": pixels, b"labels": [(4 * i + j) % 10 for j in range(4)], b"batch_label": name.encode()}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    return tmp_path


@pytest.mark.parametrize("inner", ["", "cifar-10-batches-py"])
def test_cifar10_batches_are_read_channels_last(cifar10, inner):
    spec = DataSpec(source="cifar10", root=str(cifar10 / inner), val_fraction=0)
    assert describe(spec) == ((32, 32, 3), 10)
    splits = load(spec)
    assert len(splits.train) == 20 and splits.train.y.tolist() == [i % 10 for i in range(20)]
    with (cifar10 / "cifar-10-batches-py/test_batch").open("rb") as file:
        pixels = pickle.load(file)[b"data"]
    assert np.array_equal(splits.test.x[1, :, :, 2], pixels[1, 2048:].reshape(32, 32))
    assert splits.mean == (0.4914, 0.4822, 0.4465) and splits.classes[0] == "airplane"


def test_cifar100_fine_labels_are_read(tmp_path):
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for name in ("train", "test"):
        batch = {"data": RNG.integers(0, 256, (3, 3072), dtype=np.uint8), "fine_labels": [99, 0, 50]}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    splits = load(DataSpec(source="cifar100", root=str(tmp_path), val_fraction=0))
    assert splits.test.y.tolist() == [99, 0, 50] and splits.classes[99] == "worm" and splits.num_classes == 100


class _Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_cifar10_batch_that_asks_for_code_is_refused_and_not_run(cifar10, tmp_path):
    target = tmp_path / "harm"
    (cifar10 / "cifar-10-batches-py/data_batch_2").write_bytes(pickle.dumps({b"data": _Hostile(target)}))
    with pytest.raises(DataError, match=r"data_batch_2 must be a batch of CIFAR .*asks for .*open"):
        load(DataSpec(source="cifar10", root=str(cifar10)))
    assert not target.exists()


@pytest.mark.parametrize("content", [b"", b"junk", pickle.dumps([1]), pickle.dumps({b"data": [1], b"labels": [0]})])
def test_cifar10_batch_that_is_damaged_is_named(cifar10, content):
    (cifar10 / "cifar-10-batches-py/data_batch_3").write_bytes(content)
    with pytest.raises(DataError, match="data_batch_3 must be a batch of CIFAR"):
        load(DataSpec(source="cifar10", root=str(cifar10)))


def test_cifar10_batch_that_is_missing_is_named(cifar10):
    (cifar10 / "cifar-10-batches-py/data_batch_4").unlink()
    with pytest.raises(DataError, match="data_batch_4 is missing"):
        load(DataSpec(source="cifar10", root=str(cifar10)))


def test_cifar10_class_folders_are_read_instead_and_must_be_ten(tmp_path):
    for part in ("train", "test"):
        for label in range(10):
            folder = tmp_path / "images" / part / f"c{label}"
            folder.mkdir(parents=True)
            Image.new("RGB", (8, 8), (label, 0, 0)).save(folder / "0.png")
    spec = DataSpec(source="cifar10", root=str(tmp_path / "images"), val_fraction=0, cache=str(tmp_path / "c"))
    assert describe(spec) == ((8, 8, 3), 10)
    assert load(spec).test.x[:, 0, 0, 0].tolist() == list(range(10))
    with pytest.raises(DataError, match="must have 100 classes"):
        load(DataSpec(source="cifar100", root=spec.root, cache=spec.cache))
    with pytest.raises(
        DataError, match=r"no pickled batches \(cifar-10-batches-py/test_batch\), and .* must hold class"
    ):
        load(DataSpec(source="cifar10", root=str(tmp_path / "images" / "train" / "c0"), cache=spec.cache))


@pytest.mark.parametrize(
    ("source", "shape", "labels"),
    [("mnist", (20, 28, 28), (20,)), ("fashion_mnist", (20, 28, 28), (20,)), ("cifar10", (20, 32, 32, 3), (20, 1))],
)
def test_download_comes_through_keras(monkeypatch, source, shape, labels):
    pair = RNG.integers(0, 256, shape, dtype=np.uint8), (np.arange(20, dtype=np.uint8) % 10).reshape(labels)
    monkeypatch.setattr(f"keras.datasets.{source}.load_data", lambda: (pair, pair))
    splits = load(DataSpec(source=source, val_fraction=0.5))
    assert splits.test.x.tobytes() == pair[0].tobytes() and splits.test.y.tolist() == [*range(10), *range(10)]
    assert describe(DataSpec(source=source)) == (splits.input_shape, splits.num_classes)


def test_download_that_fails_says_where_files_may_lie(monkeypatch):
    def fail():
        raise Exception("URL fetch failure")

    monkeypatch.setattr("keras.datasets.cifar100.load_data", fail)
    with pytest.raises(DataError, match=r"cifar100 could not be downloaded .*URL fetch failure.*set data.root"):
        load(DataSpec(source="cifar100"))


def test_download_is_not_repeated_where_the_keras_folder_has_it(mnist, tmp_path, monkeypatch):
    """No network is there in a test: what comes, comes from the folder where keras.datasets keeps it."""
    folder = tmp_path / "keras" / "datasets" / "fashion-mnist"
    folder.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (found,) = mnist.glob(f"{name}-ubyte*")
        content = gzip.decompress(found.read_bytes()) if found.suffix == ".gz" else found.read_bytes()
        (folder / f"{name}-ubyte.gz").write_bytes(gzip.compress(content))
    # What KERAS_HOME sets, which Keras reads when it is imported.
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path / "keras"))
    local = load(DataSpec(source="fashion_mnist", root=str(mnist), val_fraction=0))
    assert load(DataSpec(source="fashion_mnist", val_fraction=0)).digest == local.digest
