"""Class folders of images under train/ and test/, in a directory or a zip: cifar2png's, or one's own photos."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track

from ablate.data import cache
from ablate.data.arrays import Arrays, Raw
from ablate.data.listing import PARTS, File, LayoutError, Root, image_files, open_root
from ablate.data.resize import fit, pixels
from ablate.data.spec import DataError, DataSpec, InputShape

__all__ = ["MEAN", "STD", "LayoutError", "describe", "read"]

MEAN = STD = None

_GREY = ("1", "L", "LA")
_COLOUR = ("RGB", "RGBA", "P", "PA", "CMYK", "YCbCr")


def describe(spec: DataSpec) -> tuple[InputShape, int]:
    """From the listing and the first image's header."""
    root = open_root(str(spec.root))
    files = image_files(root)
    image = _open(root, files[0])
    return (image.height, image.width, 1 if image.mode in _GREY else 3), len({file.label for file in files})


def read(spec: DataSpec) -> Raw:
    """Decodes every image once; later reads take the cache.

    Grey images stay grey where all of them are, otherwise all become RGB. Classes are numbered by sorted name.

    Raises:
        DataError: The layout, an image, or the sizes make no data set; or the cache cannot be written.
    """
    root = open_root(str(spec.root))
    files = image_files(root)
    path = cache.path_for(spec, [f"{file.path} {file.stamp}" for file in files])
    arrays = cache.read(path)
    if arrays is None:
        arrays = _decode_all(root, files, spec.size)
        cache.write(path, arrays)
    labels = tuple(sorted({file.label for file in files}))
    train, test = (_arrays(arrays[part], part, files, labels) for part in PARTS)
    return Raw(train, test, labels)


def _arrays(x: NDArray[np.uint8], part: str, files: list[File], labels: tuple[str, ...]) -> Arrays:
    number = {label: i for i, label in enumerate(labels)}
    return Arrays(x, np.array([number[file.label] for file in files if file.part == part], np.int64))


def _decode_all(root: Root, files: list[File], size: tuple[int, int] | None) -> dict[str, NDArray[np.uint8]]:
    images = list(_decoded(root, files, size))
    channels = max(image.shape[2] for image in images)
    whole = {
        part: np.stack(
            [np.broadcast_to(x, (*x.shape[:2], channels)) for x, f in zip(images, files, strict=True) if f.part == part]
        )
        for part in PARTS
    }
    return whole


def _decoded(root: Root, files: list[File], size: tuple[int, int] | None) -> Iterator[NDArray[np.uint8]]:
    """Yields ``(height, width, 1 or 3)``, all of one height and width."""
    console = Console(file=sys.stderr)
    first: File | None = None
    for file in track(files, description=f"Decoding {root.path.name}", console=console, transient=True):
        image = _open(root, file)
        try:
            image = image.convert("L" if image.mode in _GREY else "RGB")
        except (OSError, ValueError, SyntaxError) as error:
            raise _damaged(root, file, error) from error
        if size is None:
            first, size = file, (image.height, image.width)
        if first is not None and (image.height, image.width) != size:
            raise DataError(
                f"images of {root.path} must have one size while data.image_size is null, got {size[0]}x{size[1]} "
                f"({first.path}) and {image.height}x{image.width} ({file.path}); set data.image_size=[HEIGHT,WIDTH]."
            )
        yield pixels(fit(image, size))


def _open(root: Root, file: File) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(root.read(file.path)))
    except Exception as error:  # Pillow and zipfile fail in many ways on damaged bytes.
        raise _damaged(root, file, error) from error
    if image.mode not in _GREY + _COLOUR:
        raise DataError(
            f"{Path(root.path, file.path)} must be grey or colour with 8 bits a channel, "
            f"got Pillow mode {image.mode}; convert it."
        )
    return image


def _damaged(root: Root, file: File, error: Exception) -> DataError:
    return DataError(
        f"{Path(root.path, file.path)} could not be decoded ({type(error).__name__}: {error}); "
        "replace or remove the file."
    )
