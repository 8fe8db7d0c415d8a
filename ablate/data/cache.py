"""Decoded images on disk: written once, whole or not at all, whoever else is writing."""

import hashlib
import io
import math
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import PIL
import psutil
from numpy.typing import NDArray

from ablate.data.arrays import Arrays, image_sums, pixel_sums
from ablate.data.on_disk import Facts, Stored
from ablate.data.resize import Example
from ablate.data.spec import DataError, DataSpec

_FORMAT = "4"
_MEMORY_PART = 8
_SUM = 32
"""Bytes of a SHA-256 digest."""


@dataclass(frozen=True)
class Kept:
    """What the file holds.

    Attributes:
        images: The images and labels, in memory or in the file.
        unread_exif: ``(images,)``, whether each is upright only for want of an EXIF that can be read.
    """

    images: Arrays
    unread_exif: NDArray[np.bool_]


def memory_bytes(spec: DataSpec) -> int:
    """Images larger than this, all together, stay on disk: ``data.memory_limit``, or an eighth of the memory here."""
    if spec.memory_limit is None:
        return int(psutil.virtual_memory().total // _MEMORY_PART)
    return spec.memory_limit * 2**20


def decoded(
    spec: DataSpec,
    listing: Iterable[str],
    count: int,
    decode: Callable[[], Iterator[Example]],
    *,
    holds: Callable[[Arrays], bool] = lambda images: True,
) -> Kept:
    """Images that were decoded before, or are now: in memory, or in their file where they are too large.

    Grey images stay grey where all of them are, otherwise all become RGB.

    Args:
        spec: How images are cut and scaled, where they are kept, and how many may be in memory.
        listing: A line a file, which changes when the file does.
        count: Number of images.
        decode: Yields them, all of one height and width; called again where a grey start proves wrong.
        holds: Whether what was found, decoded by an earlier run, still holds; if not, all are decoded anew.

    Raises:
        DataError: An image cannot be decoded, or the cache cannot be written.
    """
    path = path_for(spec, listing)
    found = read(path, memory_bytes(spec))
    if found is None or not holds(found.images):
        write(path, count, decode)
        found = read(path, memory_bytes(spec))
    if found is None or len(found.images) != count:
        raise DataError(f"{path} must keep the images that were just written to it; set data.cache to another folder.")
    return found


def path_for(spec: DataSpec, listing: Iterable[str]) -> Path:
    """The file that holds the images of a listing at a size; its folder exists and can be written to.

    Raises:
        DataError: The folder cannot be made or written to.
    """
    folder = folder_for(spec)
    # Another version of Pillow may decode or resize to other pixels.
    fitting = (spec.size, spec.channels, spec.crop_pct, str(spec.interpolation), spec.background_rgb)
    sha = hashlib.sha256(f"{_FORMAT} {PIL.__version__} {fitting}".encode())
    for line in listing:
        sha.update(f"\n{line}".encode(errors="surrogateescape"))
    return folder / f"images-{sha.hexdigest()[:32]}.npy"


def folder_for(spec: DataSpec) -> Path:
    """Where decoded images are kept; the folder exists and can be written to.

    Raises:
        DataError: The folder cannot be made or written to.
    """
    try:
        folder = _user_folder() if spec.cache is None else Path(spec.cache).expanduser()
    except RuntimeError:
        raise DataError("decoded images need a folder, and this user has no home: set data.cache=PATH.") from None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DataError(
            f"{folder} must be a folder to keep decoded images in ({error}); set data.cache=PATH."
        ) from error
    return folder


def _user_folder() -> Path:
    if sys.platform == "win32":
        start = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        start = Path.home() / "Library" / "Caches"
    else:
        start = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return start / "ablate"


# A file is six arrays, one after the other, as numpy.save writes them: images, and of each its label and the facts.
# It ends in a sum over the shape of the images and all that is behind them; each image has its own among the facts.


def read(path: Path, limit: int) -> Kept | None:
    """The images, or None where they must be decoded (again, and with a warning, where the file is damaged).

    Args:
        path: The file of decoded images.
        limit: Bytes of images that may be in memory; more of them are left in the file.
    """
    try:
        with path.open("rb") as file:
            return _kept(path, file, limit)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError) as error:
        warnings.warn(f"{path} is damaged ({error}); decoding the images again.", stacklevel=2)
        return None


def _kept(path: Path, file: IO[bytes], limit: int) -> Kept:
    np.lib.format.read_magic(file)
    images, _, _ = np.lib.format.read_array_header_1_0(file)
    offset, size = file.tell(), math.prod(images)
    file.seek(offset + size)
    behind = file.read()
    if behind[-_SUM:] != _sum(images, memoryview(behind)[:-_SUM]):
        raise ValueError("its labels and facts have another sum than when they were written")
    noted = io.BytesIO(behind)
    y, unread_exif, *facts = (np.load(noted, allow_pickle=False) for _ in range(5))
    if size > limit:
        unchecked = np.zeros(len(y), np.bool_)
        return Kept(Arrays(Stored(path, offset, images, np.arange(len(y)), Facts(*facts), unchecked), y), unread_exif)
    file.seek(offset)
    x = np.fromfile(file, np.uint8, size).reshape(images)
    if not np.array_equal(image_sums(x), facts[0]):
        raise ValueError("its images have other sums than when they were written")
    return Kept(Arrays(x, y), unread_exif)


def _sum(images: tuple[int, ...], behind: memoryview) -> bytes:
    sha = hashlib.sha256(f"{images}".encode())
    sha.update(behind)
    return sha.digest()


def write(path: Path, count: int, decode: Callable[[], Iterator[Example]]) -> None:
    """Writes the images to a file that is whole or not there.

    Raises:
        DataError: The disk is full, or fails otherwise.
    """
    try:
        with replacing(path) as file:
            try:
                _write(file, count, decode(), channels=None)
            except _Coloured:
                file.seek(0)
                file.truncate()
                _write(file, count, decode(), channels=3)
    except OSError as error:
        raise DataError(f"{path} could not be written ({error}); free some space, or set data.cache=PATH.") from error


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file beside the target, renamed at the end: a reader sees all or nothing, and of two writers the last wins."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


class _Coloured(Exception):
    """A colour image came after grey ones: all must be written as RGB, from the first on."""


@dataclass
class _Noted:
    y: list[int]
    unread_exif: list[bool]
    sha256: list[NDArray[np.uint8]]
    sums: list[NDArray[np.int64]]
    squares: list[NDArray[np.int64]]


def _write(file: IO[bytes], count: int, examples: Iterator[Example], channels: int | None) -> None:
    noted = _Noted([], [], [], [], [])
    for image, label, unread_exif in examples:
        if channels is None:
            channels = image.shape[2]
        if image.shape[2] > channels:
            raise _Coloured
        if not noted.y:
            shape = (count, *image.shape[:2], channels)
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
        whole = np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], channels)))
        file.write(whole.data)
        sums, squares = pixel_sums(whole[np.newaxis])
        noted.y.append(label)
        noted.unread_exif.append(unread_exif)
        noted.sha256.append(image_sums(whole[np.newaxis])[0])
        noted.sums.append(sums[0])
        noted.squares.append(squares[0])
    behind = io.BytesIO()
    facts = (np.stack(noted.sha256), np.stack(noted.sums), np.stack(noted.squares))
    for array in (np.array(noted.y, np.int64), np.array(noted.unread_exif, np.bool_), *facts):
        np.save(behind, array, allow_pickle=False)
    file.write(behind.getbuffer())
    file.write(_sum(shape, behind.getbuffer()))
