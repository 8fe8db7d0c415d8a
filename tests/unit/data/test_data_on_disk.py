"""Images that stay in their file: the same as in memory, a batch at a time, and a clear word when the file goes."""

import pickle

import numpy as np
import pytest
from PIL import Image

from ablate.data import Arrays, DataError, DataSpec, Stored, load
from ablate.data import cache as cache_module
from ablate.data.arrays import digest, moments

RNG = np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path):
    """Three classes of 6 + 2 grey images but one, which has colours and comes late."""
    for part, n in (("train", 6), ("test", 2)):
        for label in "abc":
            (tmp_path / "images" / part / label).mkdir(parents=True)
            for i in range(n):
                pixels = RNG.integers(0, 256, (9, 7, 3) if (part, label, i) == ("train", "b", 3) else (9, 7), np.uint8)
                Image.fromarray(pixels).save(tmp_path / "images" / part / label / f"{i}.png")
    return tmp_path / "images"


def _both(tmp_path, **leaves):
    """Splits in memory, and in the file: each from a cache of its own."""
    return [load(DataSpec(**leaves, memory_limit=limit, cache=str(tmp_path / f"c{limit}"))) for limit in (100, 0)]


@pytest.mark.parametrize(
    "leaves",
    [
        {},
        {"image_size": [5, 4]},
        {"image_size": [12, 16], "crop_pct": 0.8, "interpolation": "bicubic"},
        {"channels": 1, "fraction": 0.5},
        {"per_class": 2, "split_seed": 3},
    ],
)
def test_stored_folder_is_the_folder_in_memory(folder, tmp_path, leaves):
    memory, file = _both(tmp_path, source="folder", root=str(folder), val_fraction=1 / 3, **leaves)
    assert isinstance(file.train.x, Stored) and isinstance(memory.train.x, np.ndarray)
    for part in ("train", "val", "test"):
        one, other = getattr(memory, part), getattr(file, part)
        assert np.array_equal(one.x, other.x[:]) and np.array_equal(one.y, other.y)
        assert one.x.shape == other.x.shape
    assert (memory.digest, memory.mean, memory.std) == (file.digest, file.mean, file.std)
    assert (memory.input_shape, memory.classes) == (file.input_shape, file.classes)


def test_stored_digits_scaled_up_are_the_same_in_memory(tmp_path):
    leaves = {"source": "digits", "image_size": [11, 9], "channels": 3}
    memory, file = _both(tmp_path, **leaves)
    assert isinstance(file.train.x, Stored) and file.digest == memory.digest and file.mean == memory.mean
    part = load(DataSpec(**leaves, memory_limit=0, cache=str(tmp_path / "c0"), per_class=3))
    assert len(part.train) == 30
    assert len(list((tmp_path / "c0").iterdir())) == 1  # one file holds all, whatever part of them is used


def test_stored_images_are_indexed_like_an_array(folder, tmp_path):
    memory, file = _both(tmp_path, source="folder", root=str(folder))
    rows = np.array([3, 0, 3])
    for key in (rows, slice(2, 5), 1, [4, 1]):
        got = file.train.x[key]
        assert type(got) is np.ndarray and np.array_equal(got, memory.train.x[key])
    got[...] = 0  # a copy: nothing is written to the file
    assert np.array_equal(file.train.x[[4, 1]], memory.train.x[[4, 1]])
    again = pickle.loads(pickle.dumps(file.train.x))
    assert np.array_equal(again[rows], memory.train.x[rows])


def test_stored_images_are_decoded_once_and_measured_from_notes(folder, tmp_path, monkeypatch):
    leaves = {"source": "folder", "root": str(folder), "memory_limit": 0, "cache": str(tmp_path / "c")}
    first = load(DataSpec(**leaves))
    monkeypatch.setattr("ablate.data.sources.folder.decode_all", lambda *args: pytest.fail("decoded again"))
    monkeypatch.setattr(Stored, "__getitem__", lambda *args: pytest.fail("read to be named"))
    assert load(DataSpec(**leaves)).digest == first.digest
    assert load(DataSpec(**leaves, fraction=0.5)).mean != first.mean


def test_stored_file_that_vanishes_is_named(folder, tmp_path):
    splits = load(DataSpec(source="folder", root=str(folder), memory_limit=0, cache=str(tmp_path / "c")))
    (file,) = (tmp_path / "c").iterdir()
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(DataError, match=r"images-.*npy, which holds the decoded images, .*start again"):
        splits.train.x[:2]
    file.unlink()
    with pytest.raises(DataError, match=r"images-.*npy, which holds the decoded images, .*start again"):
        splits.train.x[:2]


def test_stored_file_cut_short_is_made_again_with_a_warning(folder, tmp_path):
    spec = DataSpec(source="folder", root=str(folder), memory_limit=0, cache=str(tmp_path / "c"))
    first = load(spec)
    (file,) = (tmp_path / "c").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="is damaged"):
        assert load(spec).digest == first.digest


def _flip(file, place):
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("limit", [0, 100])
def test_any_bit_behind_the_images_that_flips_is_seen(folder, tmp_path, limit):
    """Labels, facts and their sum; of the header, the shape."""
    spec = DataSpec(source="folder", root=str(folder), memory_limit=limit, cache=str(tmp_path / "c"))
    first = load(spec)
    (file,) = (tmp_path / "c").glob("*.npy")
    size, pixels = file.stat().st_size, 24 * 9 * 7 * 3
    for place in (*range(128 + pixels, size, 97), size - 1):
        _flip(file, place)
        with pytest.warns(UserWarning, match="is damaged .*decoding the images again"):
            again = load(spec)
        assert again.digest == first.digest and again.train.y.tolist() == first.train.y.tolist()


def test_pixels_in_their_file_that_flip_are_seen_as_they_are_first_read_and_decoded_anew(folder, tmp_path):
    spec = DataSpec(source="folder", root=str(folder), memory_limit=0, cache=str(tmp_path / "c"))
    first = load(spec).test.x
    whole = first[:]
    (file,) = (tmp_path / "c").glob("*.npy")
    _flip(file, 128 + 9 * 7 * 3 * int(first.rows[2]))
    damaged = load(spec).test.x
    assert np.array_equal(damaged[:2], whole[:2])
    with pytest.raises(DataError, match=r"images-.*npy, which holds .*another sum .*start again: it is made anew"):
        damaged[2]
    assert np.array_equal(load(spec).test.x[:], whole)


def test_corrupt_image_leaves_no_half_written_file(folder, tmp_path):
    (folder / "train/c/5.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"train/c/5.png could not be decoded"):
        load(DataSpec(source="folder", root=str(folder), memory_limit=0, cache=str(tmp_path / "c")))
    assert [file.suffix for file in (tmp_path / "c").iterdir()] == [".npy"]  # whole, and it says which one is damaged


def test_full_disk_while_decoding_says_what_to_do_and_leaves_nothing(folder, tmp_path, monkeypatch):
    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def write(self, data):
            raise OSError(28, "No space left on device")

    opened = cache_module.os.fdopen
    monkeypatch.setattr(cache_module.os, "fdopen", lambda *args: Full(opened(*args)))
    with pytest.raises(DataError, match=r"could not be written .*No space left.*free some space, or set data\.cache"):
        load(DataSpec(source="folder", root=str(folder), cache=str(tmp_path / "c")))
    assert not list((tmp_path / "c").iterdir())


def test_memory_limit_defaults_to_a_part_of_this_machines_memory(monkeypatch):
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"total": 800})())
    assert cache_module.memory_bytes(DataSpec()) == 100
    assert cache_module.memory_bytes(DataSpec(memory_limit=3)) == 3 * 2**20


def test_moments_are_exact_however_large_and_however_even():
    x = RNG.integers(0, 256, (40, 30, 20, 3), dtype=np.uint8)
    scaled = x.astype(np.float64) / 255
    mean, std = moments(x)
    assert mean == pytest.approx(scaled.mean(axis=(0, 1, 2)), rel=1e-13)
    assert std == pytest.approx(scaled.std(axis=(0, 1, 2)), rel=1e-12)
    assert moments(np.full((3, 5, 5, 1), 77, np.uint8)) == ((77 / 255,), (0.0,))


def test_digest_of_images_sees_their_order():
    x, y = RNG.integers(0, 256, (4, 3, 3, 1), dtype=np.uint8), np.zeros(4, np.int64)
    assert digest(["a"], {"train": Arrays(x, y)}) != digest(["a"], {"train": Arrays(x[::-1], y)})
