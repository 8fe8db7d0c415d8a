"""IDX files, the format of MNIST and its relatives: a big-endian header, then bytes; gzipped or not."""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ablate.data.arrays import Arrays, Raw
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
    if len(labels) and labels.max() >= num_classes:
        raise DataError(f"labels in {path} must be below {num_classes}, got {labels.max()}; it belongs to other data.")
    return Arrays(images[..., np.newaxis], labels.astype(np.int64))


def _find(folder: Path, stem: str, dimensions: int) -> Path:
    names = [f"{stem}{dot}idx{dimensions}-ubyte{gz}" for dot in "-." for gz in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder} must hold {names[0]} or {names[1]}, got neither; copy it there or correct data.root.")


def read(path: Path, *, dimensions: int) -> NDArray[np.uint8]:
    """One IDX file of unsigned bytes.

    Raises:
        DataError: The file is damaged, or no IDX file of that many dimensions.
    """
    content = _content(path)
    magic, expected = content[:4], bytes((0, 0, _UNSIGNED_BYTE, dimensions))
    header = 4 + 4 * dimensions
    if magic != expected or len(content) < header:
        raise DataError(
            f"{path} must start as an IDX file of {dimensions} dimensions does, 0x{expected.hex()}, got "
            f"0x{magic.hex()}; it is another kind of file: replace it."
        )
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    size = int(np.prod(shape, dtype=object))
    if len(content) != header + size:
        raise DataError(
            f"{path} must hold {size} bytes after its header, as its shape {shape} says, got {len(content) - header}; "
            "it is damaged: download it again."
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _content(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} could not be read ({error}); it is damaged: download it again.") from error
