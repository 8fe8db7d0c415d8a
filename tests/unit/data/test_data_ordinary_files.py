"""Files that never end, never answer or unpack without end: one sentence, and no memory for it."""

import os
import socket
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from PIL import Image

from ablate.data import DataError, DataSpec, describe, load
from ablate.data.ordinary_files import LARGEST
from ablate.data.spec import SOURCES

NEED_FILES = [source for source in SOURCES if source not in ("mnist5k", "digits")]


def _spec(source, root, tmp_path, **leaves):
    return DataSpec(source=source, root=str(root), image_size=[4, 4], cache=str(tmp_path / "c"), **leaves)


def _pipe(path):
    os.mkfifo(path)


def _socket(path):
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(os.path.relpath(path))  # a path of more than 107 letters is none for a socket


def _link_to_zeros(path):
    path.symlink_to("/dev/zero")


KINDS = {"a named pipe": _pipe, "a socket": _socket, "a device": _link_to_zeros}
pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes and devices are files of Unix")


@pytest.fixture
def photos(tmp_path):
    for part in ("train", "test"):
        for label in range(10):
            (tmp_path / "photos" / part / str(label)).mkdir(parents=True)
            image = Image.fromarray(np.full((4, 4), label, np.uint8))
            for i in range(2):
                image.save(tmp_path / "photos" / part / str(label) / f"{i}.png")
    return tmp_path / "photos"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", NEED_FILES)
def test_root_that_is_no_file_and_no_folder_is_refused(tmp_path, source, kind):
    KINDS[kind](tmp_path / "root")
    spec = _spec(source, tmp_path / "root", tmp_path)
    with pytest.raises(
        DataError, match=r"data\.root must (name a folder or a zip|be a folder of IDX files), got .*root"
    ):
        load(spec)
    if source not in ("mnist", "fashion_mnist"):  # whose shapes are known without any file
        with pytest.raises(DataError, match=r"data\.root must name a folder or a zip"):
            describe(spec)


@pytest.mark.parametrize("kind", KINDS)
def test_cifar_batch_that_is_no_file_is_named(tmp_path, kind):
    for name in ("data_batch_1", "test_batch"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "data_batch_1").unlink()
    KINDS[kind](tmp_path / "data_batch_1")
    with pytest.raises(DataError, match=rf"data_batch_1 must be an ordinary file, got {kind}; put"):
        load(_spec("cifar10", tmp_path, tmp_path))


def test_files_of_zeros_without_end_are_refused_or_left_out_unread(photos, tmp_path):
    for name in ("3/0.png", "5/1.png", "3/film.mp4"):
        with (photos / "train" / name).open("wb") as file:
            file.truncate(2**40)  # takes no room on the disk, and would in memory
    tracemalloc.start()
    try:
        for read in (describe, load):
            with pytest.raises(
                DataError,
                match=rf"but 2 are not: train.3.0\.png \({2**40} bytes, more than the {LARGEST} that are read\), "
                r"train.5.1\.png \(",
            ):
                read(_spec("folder", photos, tmp_path))
        splits = load(_spec("folder", photos, tmp_path, skip_unreadable=True, val_fraction=0))
        assert len(splits.train) == 18 and "3/0.png (1099511627776 bytes" in splits.notes[0]
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def _zip(photos, path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(photos.rglob("*.png")):
            archive.write(file, file.relative_to(photos))


def _claim(path, name, size):
    """Says of a file in a zip, in its directory, that it unpacks to so many bytes."""
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\1\2")
    entry = content.rindex(b"PK\1\2", directory, content.index(name.encode(), directory))
    content[entry + 24 : entry + 28] = struct.pack("<I", size)
    path.write_bytes(content)


def test_zip_that_unpacks_without_end_is_refused_before_memory_goes(photos, tmp_path):
    path = tmp_path / "photos.zip"
    _zip(photos, path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("train/3/9.png", "w") as bomb:
        for _ in range(300):
            bomb.write(bytes(2**20))
    tracemalloc.start()
    try:
        for read in (describe, load):
            with pytest.raises(
                DataError, match=r"photos\.zip must expand to at most 100 times its \d+ bytes, got 3145\d+"
            ):
                read(_spec("folder", path, tmp_path))
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_zip_of_one_content_under_many_names_is_refused(photos, tmp_path):
    """Entries that overlap: each says little, all together say too much."""
    path = tmp_path / "photos.zip"
    _zip(photos, path)
    for i in range(10):
        for part in ("train", "test"):
            _claim(path, f"{part}/{i}/0.png", 2**24)
    with pytest.raises(DataError, match=r"photos\.zip must expand to at most 100 times"):
        load(_spec("folder", path, tmp_path))


def test_zip_whose_file_holds_less_or_more_than_it_says_is_named(photos, tmp_path):
    path = tmp_path / "photos.zip"
    _zip(photos, path)
    _claim(path, "train/4/1.png", 20)
    with pytest.raises(DataError, match=r"train.4.1\.png could not be decoded \(BadZipFile"):
        load(_spec("folder", path, tmp_path))
