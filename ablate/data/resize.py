"""Every image to one size."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def resize(x: NDArray[np.uint8], size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """Bilinear, with antialiasing where the image shrinks.

    Args:
        x: ``(images, height, width, channels)`` with 1 or 3 channels.
        size: Height and width to make; None leaves the images alone.
    """
    if size is None or x.shape[1:3] == size:
        return x
    out = np.empty((len(x), *size, x.shape[3]), np.uint8)
    for i, image in enumerate(x):
        out[i] = pixels(fit(Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image), size))
    return out


def fit(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """One image to (height, width); the aspect ratio follows."""
    height, width = size
    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.BILINEAR)


def pixels(image: Image.Image) -> NDArray[np.uint8]:
    """``(height, width, channels)`` of a grey or RGB image."""
    array = np.asarray(image, dtype=np.uint8)
    return array if array.ndim == 3 else array[:, :, np.newaxis]
