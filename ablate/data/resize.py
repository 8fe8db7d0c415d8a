"""Every image to one size and one number of channels."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ablate.data.spec import DataSpec, Interpolation

_RESAMPLING = {
    Interpolation.nearest: Image.Resampling.NEAREST,
    Interpolation.bilinear: Image.Resampling.BILINEAR,
    Interpolation.bicubic: Image.Resampling.BICUBIC,
    Interpolation.lanczos: Image.Resampling.LANCZOS,
}


class Example(NamedTuple):
    """One image on its way into the file.

    Attributes:
        pixels: ``(height, width, 1 or 3)``.
        label: Number of the image's class, from 0.
        unread_exif: Whether it is upright only for want of an EXIF that can be read.
    """

    pixels: NDArray[np.uint8]
    label: int
    unread_exif: bool = False


def fit_all(x: NDArray[np.uint8], spec: DataSpec) -> NDArray[np.uint8]:
    """``(images, height, width, 1 or 3)`` as the spec asks for them."""
    if spec.size is not None and (x.shape[1:3] != spec.size or spec.crop_pct is not None):
        out = np.empty((len(x), *spec.size, x.shape[3]), np.uint8)
        for i, image in enumerate(x):
            out[i] = pixels(scaled(picture(image), spec))
        x = out
    if spec.channels is None or spec.channels == x.shape[3]:
        return x
    return np.repeat(x, 3, axis=3) if spec.channels == 3 else np.stack([fit(picture(image), spec) for image in x])


def fit(image: Image.Image, spec: DataSpec) -> NDArray[np.uint8]:
    """One grey or RGB image as the spec asks for it: ``(height, width, channels)``.

    Grey of a colour image is its luma, 0.299 R + 0.587 G + 0.114 B; a grey image as RGB repeats its one channel.
    """
    image = scaled(image, spec)
    if spec.channels is not None:
        image = image.convert("L" if spec.channels == 1 else "RGB")
    return pixels(image)


def scaled(image: Image.Image, spec: DataSpec) -> Image.Image:
    """One image at ``data.image_size``; antialiased where it shrinks, except by nearest neighbours.

    With ``data.crop_pct`` it keeps its proportions: scaled until it just covers ``image_size / crop_pct``, and the
    middle is cut out. Without, height and width are scaled each to its own.

    Source: timm's and torchvision's evaluation transform (``Resize`` of the shorter side, then ``CenterCrop``).
    """
    if spec.size is None:
        return image
    height, width = spec.size
    resampling = _RESAMPLING[spec.interpolation]
    if spec.crop_pct is None:
        return image if image.size == (width, height) else image.resize((width, height), resampling)
    least = math.floor(height / spec.crop_pct), math.floor(width / spec.crop_pct)
    if image.height * least[1] <= image.width * least[0]:
        whole = least[0], int(image.width * least[0] / image.height)
    else:
        whole = int(image.height * least[1] / image.width), least[1]
    if (image.height, image.width) != whole:
        image = image.resize((whole[1], whole[0]), resampling)
    top, left = round((whole[0] - height) / 2), round((whole[1] - width) / 2)
    return image.crop((left, top, left + width, top + height))


def picture(x: NDArray[np.uint8]) -> Image.Image:
    """The Pillow image of ``(height, width, 1 or 3)`` pixels."""
    return Image.fromarray(x[:, :, 0] if x.shape[2] == 1 else x)


def pixels(image: Image.Image) -> NDArray[np.uint8]:
    """``(height, width, channels)`` of a grey or RGB image."""
    array = np.asarray(image, dtype=np.uint8)
    return array if array.ndim == 3 else array[:, :, np.newaxis]
