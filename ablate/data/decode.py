"""Image files to pixels, several at a time, in their order: upright, and without transparency."""

import io
import itertools
import os
import re
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngImageFile
from rich.console import Console
from rich.markup import escape
from rich.progress import track

from ablate.data.listing import NAMED, listed, unreadable
from ablate.data.resize import Example, fit
from ablate.data.spec import Colour, DataError, DataSpec, ImageShape
from ablate.escaping import visible

_GREY = ("1", "L", "LA", "La")
_COLOUR = ("RGB", "RGBA", "RGBa", "P", "PA", "CMYK", "YCbCr")
DAMAGED = -1
"""The label of an image that could not be decoded."""

_AHEAD = 4
"""Images a thread that may be decoded and not yet asked for."""

_LARGE = Image.MAX_IMAGE_PIXELS or 2**26
"""Pixels from which on images are decoded one at a time, whatever the number of threads: 89 million take 0.36 GiB."""

# Pillow warns of these, in words that fit an attack, and refuses from twice as many on; here they wait for each other.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)
_one_large = threading.Lock()
# It tells of damaged EXIF by bytes and no name; here the images are counted and named.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF's orientations, and what turns each upright; ``ImageOps.exif_transpose`` also writes the EXIF anew, and fails
where that cannot be done."""

_EMPTY_EXIF = 20
"""Bytes of EXIF that says nothing: its mark, a header, and a directory of no entries."""

_KEY_STEPS = {"L;2": 85, "L;4": 17}
"""What a PNG's greys of 2 or 4 bits are multiplied by to be of 8; Pillow leaves the transparent one as it was."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Encoded:
    """One image as it was found.

    Attributes:
        name: Path or number by which messages name the image.
        content: Gives the bytes of the file.
        label: Number of the image's class, from 0.
    """

    name: str
    content: Callable[[], bytes]
    label: int


def decode_all(files: Iterable[Encoded], count: int, spec: DataSpec, where: str) -> Iterator[Example]:
    """Yields each image as the spec asks for it, ``(height, width, 1 or 3)``, with its label.

    Args:
        files: The images.
        count: Number of images, for the progress bar.
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
    told = f"Decoding {escape(visible(Path(where).name))}"
    shown = track(files, description=told, total=count, console=console, transient=True)
    first: tuple[str, tuple[int, int]] | None = None
    failed: list[DataError] = []
    damaged = 0  # at the start, before any size is known
    for file, picture in _in_threads(lambda file: (file, _attempt(file, spec)), shown):
        if isinstance(picture, DataError):
            failed.append(picture)
            if first is None:
                damaged += 1
            else:
                yield Example(np.zeros((*first[1], 1), np.uint8), DAMAGED)
            continue
        size = picture.pixels.shape[:2]
        if first is None:
            first = file.name, (size[0], size[1])
            yield from itertools.repeat(Example(np.zeros_like(picture.pixels), DAMAGED), damaged)
        if size != first[1]:
            raise DataError(
                f"images of {where} must have one size while data.image_size is null, got "
                f"{first[1][0]}x{first[1][1]} ({first[0]}) and {size[0]}x{size[1]} ({file.name}); "
                "set data.image_size=[HEIGHT,WIDTH]."
            )
        yield picture
    # What the system refuses today it may grant tomorrow, so that is never kept as damage.
    if passing := [error for error in failed if _passes(error.__cause__)]:
        reasons = [_reason(error) for error in passing]
        raise unreadable(where, reasons, remedy="start again once the system gives {it}, or replace or remove {it}")
    if first is None:
        raise unreadable(where, [_reason(error) for error in failed], remedy="replace or remove {it}")


def why_damaged(file: Encoded, background: Colour) -> str:
    """What an image's decoding says of it."""
    error = failure(file, background)
    return f"{file.name} could not be decoded" if error is None else _reason(error)


def failure(file: Encoded, background: Colour) -> DataError | None:
    """The error by which an image cannot be decoded; None where it can be."""
    try:
        decoded(file, background)
    except DataError as error:
        return error
    return None


def _passes(cause: BaseException | None) -> bool:
    """Whether an image failed by the system, and not by what its file holds."""
    if isinstance(cause, OSError):  # Pillow's own have no number, and tell of memory by a sentence
        return cause.errno is not None or str(cause).startswith("out of memory")
    return isinstance(cause, MemoryError)


def taken_as_upright(unread_exif: NDArray[np.bool_], name: Callable[[int], str]) -> tuple[str, ...]:
    """What is to be told of images whose EXIF could not be read.

    Args:
        unread_exif: ``(images,)``, as it came from the cache.
        name: Gives an image's name by its place, from 0.
    """
    if not (count := int(unread_exif.sum())):
        return ()
    names = [name(i) for i in np.flatnonzero(unread_exif)[:NAMED].tolist()]
    return (f"taken as upright, since their EXIF cannot be read ({count}): {listed(names, count)}.",)


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
    image, unread_exif = _decoded(file, spec.background_rgb)
    return Example(fit(image, spec), file.label, unread_exif)


def decoded(file: Encoded, background: Colour) -> Image.Image:
    """The image with its pixels, in its own size: mode L where it is grey, else RGB.

    It is upright, as its EXIF says, and what is transparent shows the background.

    Args:
        file: The image.
        background: Red, green, blue.

    Raises:
        DataError: It is damaged, no image, or not of 8 bits a channel.
    """
    return _decoded(file, background)[0]


def _decoded(file: Encoded, background: Colour) -> tuple[Image.Image, bool]:
    """The image, and whether its EXIF could not be read."""
    image = open_image(file)
    try:
        with _one_large if image.width * image.height > _LARGE else nullcontext():
            image.load()  # turns a TIFF, whose tag is then gone
            orientation = _orientation(image)
            upright = image.transpose(_TURNS[orientation]) if orientation in _TURNS else image
            return _on_background(upright, background), orientation is None
    except Exception as error:  # Pillow fails in many ways on damaged bytes.
        raise _damaged(file, error) from error


def shape(file: Encoded, background: Colour) -> ImageShape:
    """Height, width and channels that the image will have; its pixels are read only where it is to be turned."""
    image = open_image(file)
    channels = 1 if is_grey(image, background) else 3
    if _orientation(image) in _TURNS:
        image = decoded(file, background)
    return image.height, image.width, channels


def open_image(file: Encoded) -> Image.Image:
    """The image with its header read, and no pixel yet.

    Raises:
        DataError: It is no image, or not of 8 bits a channel.
    """
    try:
        image = Image.open(io.BytesIO(file.content()))
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise DataError(
            f"{file.name} must have at most {most} pixels, got more; scale it down, or remove it."
        ) from error
    except Exception as error:  # Pillow and zipfile fail in many ways on damaged bytes.
        raise _damaged(file, error) from error
    if image.format == "EPS":
        raise DataError(f"{file.name} must hold pixels, got a PostScript program, which is not run; convert it.")
    if image.mode not in _GREY + _COLOUR:
        raise DataError(
            f"{file.name} must be grey or colour with 8 bits a channel, got Pillow mode {image.mode}; convert it."
        )
    _set_key(image, file)
    return image


def _set_key(image: Image.Image, file: Encoded) -> None:
    """Makes the transparent colour of a PNG one of the pixels' 8 bits."""
    if not isinstance(image, PngImageFile) or "transparency" not in image.info or not image.tile:
        return
    layout = image.tile[0][3]
    if layout in _KEY_STEPS:
        image.info["transparency"] *= _KEY_STEPS[layout]
    elif layout == "RGB;16B":
        raise DataError(f"{file.name} must have 8 bits a channel where a colour is transparent, got 16; convert it.")


def is_grey(image: Image.Image, background: Colour) -> bool:
    """Whether it stays grey: a grey image that shows a colour through its transparency does not."""
    return image.mode in _GREY and (len(set(background)) == 1 or not image.has_transparency_data)


def _orientation(image: Image.Image) -> int | None:
    """What EXIF (or XMP) says; 1, upright, where it says nothing, and None where it cannot be read."""
    try:
        exif = image.getexif()
        said = int(exif.get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged in any way, beside pixels that may be whole
        return None
    unreadable = not exif and len(image.info.get("exif", b"")) > _EMPTY_EXIF
    return None if unreadable else said


def _on_background(image: Image.Image, background: Colour) -> Image.Image:
    mode = "L" if is_grey(image, background) else "RGB"
    if not image.has_transparency_data:
        return image.convert(mode)
    if image.mode == "La":  # multiplied by alpha; Pillow takes it to RGBA only through LA
        image = image.convert("LA")
    whole = image.convert(f"{mode}A")
    colours, alpha = whole.convert(mode), whole.getchannel("A")
    if image.format in ("BMP", "TGA") and alpha.getextrema() == (0, 0):
        return colours  # four bytes a pixel, of which the fourth is often left at 0 and means nothing
    behind = Image.new(mode, image.size, background[0] if mode == "L" else background)
    return Image.composite(colours, behind, alpha)


def _damaged(file: Encoded, error: Exception) -> DataError:
    said = re.sub(r"\s*<[\w.]+ object at \w+>", "", str(error))  # what Pillow reads from, and nobody's name for it
    return DataError(f"{file.name} could not be decoded ({type(error).__name__}: {said}); replace or remove the file.")
