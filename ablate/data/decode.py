"""Image files to pixels, several at a time, in their order."""

import io
import os
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from PIL import Image
from rich.console import Console
from rich.progress import track

from ablate.data.cache import Example
from ablate.data.resize import fit
from ablate.data.spec import DataError, DataSpec

_GREY = ("1", "L", "LA")
_COLOUR = ("RGB", "RGBA", "P", "PA", "CMYK", "YCbCr")
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

    Raises:
        DataError: An image is damaged, or its size is not that of the first while ``data.image_size`` is null.
    """
    console = Console(file=sys.stderr)
    shown = track(files, description=f"Decoding {Path(where).name}", total=count, console=console, transient=True)
    first: tuple[str, tuple[int, int]] | None = None
    for file, picture in _in_threads(lambda file: (file, _picture(file, spec)), shown):
        size = picture[0].shape[:2]
        if first is None:
            first = file.name, (size[0], size[1])
        if size != first[1]:
            raise DataError(
                f"images of {where} must have one size while data.image_size is null, got "
                f"{first[1][0]}x{first[1][1]} ({first[0]}) and {size[0]}x{size[1]} ({file.name}); "
                "set data.image_size=[HEIGHT,WIDTH]."
            )
        yield picture


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
