"""MNIST and CIFAR from local files, whole, damaged and hostile; downloads by a stand-in."""

import gzip
import hashlib
import os
import pickle
import shutil
import struct
import tarfile
import tracemalloc
import zlib
from dataclasses import replace

import keras
import numpy as np
import pytest
from PIL import Image

from ablate.data import DataError, DataSpec, describe, load
from ablate.data.sources import cifar
from ablate.data.sources import cifar10 as source_10
from ablate.data.sources import cifar100 as source_100

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
        ("t10k-labels-idx1-ubyte", lambda data: _idx(np.arange(10) + 1), "must be from 0 to 9, got 10"),
        ("train-images-idx3-ubyte.gz", _cut, "could not be read"),
        ("train-labels-idx1-ubyte.gz", lambda data: b"no gzip", "could not be read"),
    ],
)
def test_idx_file_that_is_damaged_is_named(mnist, name, change, message):
    (mnist / name).write_bytes(change((mnist / name).read_bytes()))
    with pytest.raises(DataError, match=f"{name}.*{message}"):
        load(DataSpec(source="mnist", root=str(mnist)))


def _bomb(path, shape, zeros):
    """A gzipped IDX file whose zeros are packed a thousandfold, a piece at a time."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    with path.open("wb") as file:
        file.write(packer.compress(bytes((0, 0, 8, len(shape))) + struct.pack(f">{len(shape)}I", *shape)))
        for _ in range(zeros // 2**20):
            file.write(packer.compress(bytes(2**20)))
        file.write(packer.flush())


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((10, 28, 28), r"must hold 7840 bytes after its header, .*got more"),
        ((2**20, 28, 28), r"must expand to at most 100 times its \d+ bytes, got 822083584 bytes"),
        ((2**32 - 1,) * 3, r"must expand to at most 100 times"),
    ],
)
def test_idx_file_that_expands_without_end_is_refused_before_memory_goes(mnist, shape, message):
    _bomb(mnist / "train-images-idx3-ubyte.gz", shape, 2**26)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=rf"train-images-idx3-ubyte.gz {message}"):
            load(DataSpec(source="mnist", root=str(mnist)))
        assert tracemalloc.get_traced_memory()[1] < 2**22  # of the 64 MiB that are packed
    finally:
        tracemalloc.stop()


def test_idx_file_larger_than_the_free_memory_is_refused(mnist, monkeypatch):
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"available": 5000})())
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.gz must fit into the 5000 bytes .*got 31360 bytes"):
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


@pytest.mark.parametrize(
    "content",
    [b"", b"junk", pickle.dumps([1]), pickle.dumps({b"data": [1], b"labels": [0]}), pickle.dumps({}), b"\x80\x02}."],
)
def test_cifar10_batch_that_is_damaged_is_named(cifar10, content):
    (cifar10 / "cifar-10-batches-py/data_batch_3").write_bytes(content)
    with pytest.raises(DataError, match="data_batch_3 must be a batch of CIFAR"):
        load(DataSpec(source="cifar10", root=str(cifar10)))


def _python2(pixels, labels, key=b"labels"):
    """A batch as Python 2 and NumPy 1 pickled it, which is how the authors' files are written; assembled by hand."""
    rows, columns = pixels.shape
    shape = b"M" + struct.pack("<H", rows) + b"M" + struct.pack("<H", columns) + b"\x86"
    dtype = b"cnumpy\ndtype\nq\x08U\x02u1K\x00K\x01\x87Rq\x09(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    content = pixels.tobytes()
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87Rq\x07"
        b"(K\x01" + shape + dtype + b"\x89T" + struct.pack("<I", len(content)) + content + b"tb"
    )
    ints = b"]q\x0b(" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    names = b"]q\x0c(" + b"".join(b"U\x05a.png" for _ in labels) + b"e"
    return (
        b"\x80\x02}q\x01(U\x0bbatch_labelq\x02U\x04testU\x04data"
        + array + b"U" + bytes([len(key)]) + key + ints + b"U\x09filenames" + names + b"u."
    )  # fmt: skip


def test_cifar10_batch_of_python_2_is_read(cifar10):
    pixels, labels = RNG.integers(0, 256, (3, 3072), dtype=np.uint8), [3, 0, 9]
    content = _python2(pixels, labels)
    assert np.array_equal(pickle.loads(content, encoding="bytes")[b"data"], pixels)  # a pickle indeed
    (cifar10 / "cifar-10-batches-py/test_batch").write_bytes(content)
    test = load(DataSpec(source="cifar10", root=str(cifar10), val_fraction=0)).test
    assert test.y.tolist() == labels
    assert np.array_equal(test.x, pixels.reshape(3, 3, 32, 32).transpose(0, 2, 3, 1))


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("labels", [[1, 2], np.array([1, 2]), np.array([1, 2], ">i2")])
def test_cifar10_batch_is_read_whoever_pickled_it(cifar10, protocol, order, labels):
    pixels = np.asarray(RNG.integers(0, 256, (2, 3072), dtype=np.uint8), order=order)
    batch = pickle.dumps({"data": pixels, "labels": labels, "filenames": ["a.png", "ü.png"]}, protocol=protocol)
    (cifar10 / "cifar-10-batches-py/test_batch").write_bytes(batch)
    test = load(DataSpec(source="cifar10", root=str(cifar10), val_fraction=0)).test
    assert np.array_equal(test.x, pixels.reshape(2, 3, 32, 32).transpose(0, 2, 3, 1)) and test.y.tolist() == [1, 2]


FOUR = np.zeros((4, 3072), np.uint8)


@pytest.mark.parametrize(
    ("data", "labels", "message"),
    [
        (FOUR.astype(np.int64) + 300, [0] * 4, r"uint8, got \(4, 3072\) int64"),
        (np.full((4, 3072), np.nan), [0] * 4, r"uint8, got \(4, 3072\) float64"),
        (FOUR.astype(bool), [0] * 4, r"uint8, got \(4, 3072\) bool"),
        (FOUR.astype(np.int8) - 1, [0] * 4, r"uint8, got \(4, 3072\) int8"),
        (FOUR[:, :3071], [0] * 4, r"uint8, got \(4, 3071\) uint8"),
        (FOUR.reshape(-1), [0] * 4, r"uint8, got \(12288,\) uint8"),
        (FOUR, [1.9] * 4, "labels must be a list of integers"),
        (FOUR, [True] * 4, "labels must be a list of integers"),
        (FOUR, [None] * 4, "labels must be a list of integers"),
        (FOUR, np.array([1.9] * 4), "labels must be a list of integers"),
        (FOUR, np.array([True] * 4), "labels must be a list of integers"),
        (FOUR, np.zeros((4, 1), np.int64), "labels must be a list of integers"),
        (FOUR, [0, 1, 2, 10], "labels must be from 0 to 9, got 10"),
        (FOUR, [0, 1, 2, -1], "labels must be from 0 to 9, got -1"),
        (FOUR, [0, 1, 2, 2**70], "labels must be from 0 to 9, got 1180591620717411303424"),
        (FOUR, [0, 1, 2], "hold one label an image, got 3 for 4 images"),
        (np.array([{}] * 4), [0] * 4, "an array of something other than numbers"),
        (np.zeros(4, [("a", "u1")]), [0] * 4, "an array of something other than numbers"),
        (np.zeros(4, "M8[s]"), [0] * 4, "an array of something other than numbers"),
    ],
)
def test_cifar10_batch_of_other_pixels_or_labels_is_refused(cifar10, data, labels, message):
    batch = pickle.dumps({b"data": data, b"labels": labels}, protocol=2)
    (cifar10 / "cifar-10-batches-py/data_batch_1").write_bytes(batch)
    with pytest.raises(DataError, match=f"data_batch_1 must .*{message}"):
        load(DataSpec(source="cifar10", root=str(cifar10)))


def _dtype(code, state=b""):
    """Instructions that make a type, remembered as number 9, and set its state."""
    made = b"cnumpy\ndtype\nU" + bytes([len(code)]) + code + b"K\x00K\x01\x87Rq\x09"
    return made + (state or _NUMBERS)


def _program(dtype, after=b"", content=bytes(range(8))):
    """A batch whose data are one row of 8 bytes of a type, and further items of its dict."""
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87Rq\x07"
    state = b"(K\x01K\x01\x85" + dtype + b"\x89U" + bytes([len(content)]) + content + b"tb"
    return b"\x80\x02}(U\x04data" + array + state + after + b"u."


_OBJECTS = b"(K\x03U\x01|NU\x01a\x85}U\x01acnumpy\ndtype\nU\x01OK\x00K\x01\x87RK\x00\x86sK\x08K\x01K?tb"
_NUMBERS = b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
_LATIN1 = b"\x80\x02}(c_codecs\nencode\nX\xff\x00\x00\x00%bq\x02X\x06\x00\x00\x00latin1q\x03\x86R" % bytes(255)
_PAIRS = b"\x80\x04)q\x00" + b"h\x00h\x00\x86q\x00" * 60 + b"h\x00h\x00\x93."
"""A tuple of the same tuple twice, 60 times over, as a name: it may not be written out."""
_VOID = b"(K\x03U\x01|NNNK\x08K\x01K\x00tb"


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (_program(_dtype(b"V8", _VOID), b"U\x01xh\x09" + _OBJECTS), "something other than numbers"),
        (_program(_dtype(b"O8")), "something other than numbers"),
        (_program(_dtype(b"u8", _OBJECTS)), "something other than numbers"),
        (_program(_dtype(b"u8"), b"U\x01xh\x09" + _NUMBERS), "attributes of something that has none, or has them"),
        (_program(_dtype(b"u8"), b"U\x01xh\x07(K\x01K\xff\x85h\x09\x89U\x00tb"), "has none, or has them"),
        (_program(_dtype(b"u8"), content=bytes(16)), "an array in it has 2 numbers, not those of its shape"),
        (_program(_dtype(b"u8").replace(b"dtype", b"memmap")), "asks for numpy.memmap"),
        (_program(_dtype(b"u8")).replace(b"cnumpy\nndarray", b"cnumpy\ndtype"), "makes no array and no bytes"),
        (_PAIRS, "asks for something by what is no name"),
        (_LATIN1 + b"c_codecs\nencode\nh\x02h\x03\x86R" * 200 + b"u.", "repeats its bytes"),
    ],
)
def test_cifar10_batch_that_forges_arrays_is_refused(cifar10, program, message):
    (cifar10 / "cifar-10-batches-py/data_batch_2").write_bytes(program)
    with pytest.raises(DataError, match=f"data_batch_2 must be a batch of CIFAR .*({message})"):
        load(DataSpec(source="cifar10", root=str(cifar10)))


@pytest.mark.filterwarnings("ignore:invalid escape sequence")  # pickletools, of a text's backslash
def test_cifar10_batch_with_any_byte_changed_is_read_or_refused(cifar10):
    """500 of the bytes that are instructions; a change among the pixels would only be other pixels."""
    whole = _python2(np.zeros((1, 3072), np.uint8), [7])
    places = np.array([i for i, byte in enumerate(whole) if byte])
    file, refused = cifar10 / "cifar-10-batches-py/test_batch", 0
    for _ in range(500):
        content = bytearray(whole)
        place = RNG.choice(places)
        content[place] ^= RNG.integers(1, 256)
        try:
            cifar._batch(file, bytes(content), source_10._PUBLISHED, "download it again")
        except DataError as error:
            assert "test_batch must" in str(error)
            refused += 1
    assert refused > 100


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
    [("mnist", (20, 28, 28), (20,)), ("fashion_mnist", (20, 28, 28), (20,))],
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

    monkeypatch.setattr("keras.datasets.mnist.load_data", fail)
    with pytest.raises(DataError, match=r"mnist could not be downloaded .*URL fetch failure.*set data.root"):
        load(DataSpec(source="mnist"))


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


# CIFAR in Keras' cache


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Keras' cache, which is empty, and no network: nobody listens where the archives are said to be published."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    for module in (source_10, source_100):
        monkeypatch.setattr(module, "_PUBLISHED", replace(module._PUBLISHED, origin="http://127.0.0.1:1/x.tar.gz"))
    folder = tmp_path / "keras" / "datasets"
    folder.mkdir(parents=True)
    return folder


def _write_cifar100(folder, images=4):
    """The batches of CIFAR-100 as its authors pickled them, in a folder."""
    folder.mkdir(parents=True)
    for name in ("train", "test"):
        pixels = RNG.integers(0, 256, (images, 3072), dtype=np.uint8)
        (folder / name).write_bytes(_python2(pixels, [99, 0, 50, 7][:images], b"fine_labels"))


def _archive_of(folder, path, monkeypatch):
    """The archive of a folder of CIFAR-100, which is the published one from here on."""
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, "cifar-100-python")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(source_100, "_PUBLISHED", replace(source_100._PUBLISHED, sha256=sha256))


def _cifar100(**leaves):
    return load(DataSpec(source="cifar100", val_fraction=0, **leaves))


CACHED = ["cifar-100-python-target/cifar-100-python", "cifar-100-python/cifar-100-python", "cifar-100-python"]
"""Where versions of Keras unpack the archive."""


@pytest.mark.parametrize("place", CACHED)
def test_cifar_that_any_keras_has_unpacked_is_read_without_a_download(kept, place):
    _write_cifar100(kept / place)
    assert _cifar100().digest == _cifar100(root=str(kept / place)).digest


def test_cifar100_in_the_cache_has_the_pixels_and_labels_that_keras_gives(kept, tmp_path, monkeypatch):
    _write_cifar100(tmp_path / "cifar-100-python")
    _archive_of(tmp_path / "cifar-100-python", kept / "cifar-100-python-target_archive", monkeypatch)
    splits = _cifar100()
    monkeypatch.setattr("keras.src.datasets.cifar100.get_file", lambda **_: str(tmp_path))
    (train_x, train_y), (test_x, test_y) = keras.datasets.cifar100.load_data()
    for part, x, y in ((splits.train, train_x, train_y), (splits.test, test_x, test_y)):
        assert part.x.dtype == x.dtype and np.array_equal(part.x, x)
        assert part.y.tolist() == y.reshape(-1).tolist()
    assert [file.name for file in kept.iterdir()] == ["cifar-100-python-target_archive"]  # nothing is unpacked


def test_cifar10_in_the_cache_is_that_under_data_root(kept, cifar10):
    shutil.copytree(cifar10 / "cifar-10-batches-py", kept / "cifar-10-batches-py-target/cifar-10-batches-py")
    local = load(DataSpec(source="cifar10", root=str(cifar10)))
    assert load(DataSpec(source="cifar10")).digest == local.digest


@pytest.mark.parametrize("place", CACHED)
def test_cifar_pickle_in_the_cache_that_asks_for_code_is_refused_and_not_run(kept, tmp_path, place):
    _write_cifar100(kept / place)
    (kept / place / "train").write_bytes(pickle.dumps({b"data": _Hostile(tmp_path / "harm")}))
    with pytest.raises(DataError, match=rf"{place}/train must be a batch .*asks for .*; remove .*{place}, and it"):
        _cifar100()
    assert not (tmp_path / "harm").exists()


def test_cifar_archive_goes_before_what_lies_unpacked_beside_it(kept, tmp_path, monkeypatch):
    _write_cifar100(tmp_path / "cifar-100-python")
    _archive_of(tmp_path / "cifar-100-python", kept / "cifar-100-python-target_archive", monkeypatch)
    _write_cifar100(kept / CACHED[0], images=1)
    (kept / CACHED[0] / "test").write_bytes(b"junk")
    assert len(_cifar100().train) == 4


def test_cifar_archive_of_another_digest_is_not_read(kept, tmp_path, monkeypatch):
    _write_cifar100(tmp_path / "cifar-100-python")
    archive = kept / "cifar-100-python-target_archive"
    _archive_of(tmp_path / "cifar-100-python", archive, monkeypatch)
    archive.write_bytes(archive.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"cifar100 could not be downloaded .*refused.*set data.root"):
        _cifar100()


def test_cifar_archive_that_is_a_pipe_is_refused_at_once(kept):
    os.mkfifo(kept / "cifar-100-python-target_archive")
    with pytest.raises(DataError, match="archive must be an ordinary file, got a named pipe"):
        _cifar100()


@pytest.mark.parametrize("without", ["train", "test"])
def test_cifar_that_lies_unpacked_in_part_is_downloaded(kept, without):
    _write_cifar100(kept / CACHED[0])
    (kept / CACHED[0] / without).unlink()
    with pytest.raises(DataError, match=r"cifar100 could not be downloaded .*refused.*set data.root"):
        _cifar100()
