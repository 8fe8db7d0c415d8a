"""Image files to pixels, several at a time, in their order."""

import io
import itertools
import os
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track

from ablate.data.arrays import Arrays
from ablate.data.cache import Example
from ablate.data.listing import LISTED, note, unreadable
from ablate.data.resize import fit
from ablate.data.spec import DataError, DataSpec

_GREY = ("1", "L", "LA")
_COLOUR = ("RGB", "RGBA", "P", "PA", "CMYK", "YCbCr")
DAMAGED = -1
"""The label of an image that could not be decoded."""

_AHEAD = 4
"""Images a thread that may be decoded and not yet asked for."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Encoded:
    """One image as it was found.

    Attributes:
        name: Where, for messages.
        content: Gives the bytes of the file; called once.
        label: Of its class.
    """

    name: str
    content: Callable[[], bytes]
    label: int


def decode_all(files: Iterable[Encoded], count: int, spec: DataSpec, where: str) -> Iterator[Example]:
    """Yields each image as the spec asks for it, ``(height, width, 1 or 3)``, with its label.

    Args:
        files: The images.
        count: How many, for the progress bar.
        spec: Size, channels and how to scale.
        where: What they are part of, for messages.

    Yields:
        In the place of a damaged image zeros with the label ``DAMAGED``, for ``readable`` to find: all are known when
        the last is through, and a later reader of the cache decodes none again.

    Raises:
        DataError: A file cannot be read at all, no image can, or the size of one is not that of the first while
            ``data.image_size`` is null.
    """
    console = Console(file=sys.stderr)
    shown = track(files, description=f"Decoding {Path(where).name}", total=count, console=console, transient=True)
    first: tuple[str, tuple[int, int]] | None = None
    failed: list[DataError] = []
    damaged = 0  # at the start, before any size is known
    for file, picture in _in_threads(lambda file: (file, _attempt(file, spec)), shown):
        if isinstance(picture, DataError):
            failed.append(picture)
            if first is None:
                damaged += 1
            else:
                yield np.zeros((*first[1], 1), np.uint8), DAMAGED
            continue
        size = picture[0].shape[:2]
        if first is None:
            first = file.name, (size[0], size[1])
            yield from itertools.repeat((np.zeros_like(picture[0]), DAMAGED), damaged)
        if size != first[1]:
            raise DataError(
                f"images of {where} must have one size while data.image_size is null, got "
                f"{first[1][0]}x{first[1][1]} ({first[0]}) and {size[0]}x{size[1]} ({file.name}); "
                "set data.image_size=[HEIGHT,WIDTH]."
            )
        yield picture
    # What the system refuses today it may grant tomorrow, so that is never kept as damage.
    passing = [error for error in failed if isinstance(cause := error.__cause__, OSError) and cause.errno is not None]
    if passing or first is None:
        raise unreadable(where, [_reason(error) for error in passing or failed], skippable=False)


def readable(
    images: Arrays, spec: DataSpec, where: str, why: Callable[[int], str]
) -> tuple[Arrays, NDArray[np.int64], tuple[str, ...]]:
    """Images without those that ``decode_all`` found damaged.

    Args:
        images: As they came from ``decode_all``, or from the cache.
        spec: Says whether damaged ones may be left out.
        where: What they are part of, for messages.
        why: What is wrong with one, by its number.

    Returns:
        The others, their numbers, and what is to be told of those left out.

    Raises:
        DataError: Some are damaged, and must not be.
    """
    damaged = np.flatnonzero(images.y == DAMAGED)
    rows = np.flatnonzero(images.y != DAMAGED)
    if not len(damaged):
        return images, rows, ()
    told = [why(i) for i in damaged[:LISTED].tolist()]
    if not spec.skip_unreadable:
        raise unreadable(where, told, len(damaged))
    return images.take(rows), rows, tuple(note("damaged images, by data.skip_unreadable=true", told, len(damaged)))


def why_damaged(file: Encoded) -> str:
    """What an image's decoding says of it."""
    try:
        decoded(file)
    except DataError as error:
        return _reason(error)
    return f"{file.name} could not be decoded"


def _attempt(file: Encoded, spec: DataSpec) -> Example | DataError:
    try:
        return _picture(file, spec)
    except DataError as error:
        return error


def _reason(error: DataError) -> str:
    """An error's sentence without its advice."""
    return str(error).rpartition("; ")[0]


def _in_threads(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """In the order of the items, never more than a few ahead: Pillow decodes and scales outside Python's lock."""
    threads = os.cpu_count() or 1
    ahead: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            ahead.append(pool.submit(work, item))
            if len(ahead) > threads * _AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _picture(file: Encoded, spec: DataSpec) -> Example:
    return fit(decoded(file), spec), file.label


def decoded(file: Encoded) -> Image.Image:
    """The image with its pixels, in its own size: mode L where it is grey, else RGB.

    Raises:
        DataError: It is damaged, no image, or not of 8 bits a channel.
    """
    image = open_image(file)
    try:
        return image.convert("L" if is_grey(image) else "RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise _damaged(file, error) from error


def open_image(file: Encoded) -> Image.Image:
    """The image with its header read, and no pixel yet.

    Raises:
        DataError: It is no image, or not of 8 bits a channel.
    """
    try:
        image = Image.open(io.BytesIO(file.content()))
    except Exception as error:  # Pillow and zipfile fail in many ways on damaged bytes.
        raise _damaged(file, error) from error
    if image.mode not in _GREY + _COLOUR:
        raise DataError(
            f"{file.name} must be grey or colour with 8 bits a channel, got Pillow mode {image.mode}; convert it."
        )
    return image


def is_grey(image: Image.Image) -> bool:
    return image.mode in _GREY


def _damaged(file: Encoded, error: Exception) -> DataError:
    said = re.sub(r"\s*<[\w.]+ object at \w+>", "", str(error))  # what Pillow reads from, and nobody's name for it
    return DataError(f"{file.name} could not be decoded ({type(error).__name__}: {said}); replace or remove the file.")
