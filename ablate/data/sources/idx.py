"""IDX files, the format of MNIST and its relatives: a big-endian header, then bytes; gzipped or not."""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ablate.data import ordinary_files
from ablate.data.arrays import Arrays, Raw, checked_labels
from ablate.data.spec import DataError

_UNSIGNED_BYTE = 0x08


def read_folder(root: str, classes: tuple[str, ...]) -> Raw:
    """Reads ``train-`` and ``t10k-``, ``images-idx3-ubyte`` and ``labels-idx1-ubyte``, each with ``.gz`` or without.

    Raises:
        DataError: A file is missing, damaged, or of another kind.
    """
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise DataError(f"data.root must be a folder of IDX files, got {root}, which is none; correct data.root.")
    return Raw(_pair(folder, "train", len(classes)), _pair(folder, "t10k", len(classes)), classes)


def _pair(folder: Path, part: str, num_classes: int) -> Arrays:
    images = read(_find(folder, f"{part}-images", 3), dimensions=3)
    path = _find(folder, f"{part}-labels", 1)
    labels = read(path, dimensions=1)
    if len(images) != len(labels):
        raise DataError(
            f"{path} must hold one label for each of {len(images)} images, got {len(labels)}; "
            "take both files from the same data set."
        )
    try:
        return Arrays(images[..., np.newaxis], checked_labels(labels, num_classes))
    except ValueError as error:
        raise DataError(f"{path}: {error}; it belongs to other data.") from None


def _find(folder: Path, stem: str, dimensions: int) -> Path:
    names = [f"{stem}{dot}idx{dimensions}-ubyte{gz}" for dot in "-." for gz in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder} must hold {names[0]} or {names[1]}, got neither; copy it there or correct data.root.")


def read(path: Path, *, dimensions: int) -> NDArray[np.uint8]:
    """One IDX file of unsigned bytes; no more of it is read than its header says.

    Raises:
        DataError: The file is damaged, or no IDX file of that many dimensions.
    """
    try:
        packed = ordinary_files.ordinary(path).st_size
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            shape = _shape(path, file, dimensions)
            size = math.prod(shape)
            ordinary_files.check_expansion(str(path), packed, size)
            ordinary_files.check_memory(str(path), size)
            content = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} could not be read ({error}); it is damaged: download it again.") from error
    if len(content) != size:
        got = len(content) if len(content) < size else "more"
        raise DataError(
            f"{path} must hold {size} bytes after its header, as its shape {shape} says, got {got}; "
            "it is damaged: download it again."
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def _shape(path: Path, file: IO[bytes] | gzip.GzipFile, dimensions: int) -> tuple[int, ...]:
    """The counts of a header, which is read here."""
    magic, expected = file.read(4), bytes((0, 0, _UNSIGNED_BYTE, dimensions))
    counts = file.read(4 * dimensions)
    if magic != expected or len(counts) < 4 * dimensions:
        raise DataError(
            f"{path} must start as an IDX file of {dimensions} dimensions does, 0x{expected.hex()}, got "
            f"0x{magic.hex()}; it is another kind of file: replace it."
        )
    return struct.unpack(f">{dimensions}I", counts)
