"""Operations on one image, as Pillow computes them; an argument is in the operation's own unit, never a magnitude."""

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageEnhance, ImageOps

Fill = int | tuple[int, ...]


@dataclass(frozen=True)
class Paint:
    """What geometry needs beside its argument.

    Attributes:
        resample: How pixels between pixels are computed.
        fill: What is seen where the image ends: an integer for a grey image, else one a channel.
    """

    resample: Image.Resampling
    fill: Fill


def rotate(image: Image.Image, degrees: float, paint: Paint) -> Image.Image:
    """Turns about the centre, counter-clockwise."""
    return image.rotate(degrees, resample=paint.resample, fillcolor=paint.fill)


def shear_x(image: Image.Image, slope: float, paint: Paint) -> Image.Image:
    """Pixel (x, y) shows what was at (x + slope * y, y)."""
    return _affine(image, (1, slope, 0, 0, 1, 0), paint)


def shear_y(image: Image.Image, slope: float, paint: Paint) -> Image.Image:
    """Pixel (x, y) shows what was at (x, y + slope * x)."""
    return _affine(image, (1, 0, 0, slope, 1, 0), paint)


def translate_x(image: Image.Image, share: float, paint: Paint) -> Image.Image:
    """Moves the image to the left by a share of its width."""
    return _affine(image, (1, 0, share * image.width, 0, 1, 0), paint)


def translate_y(image: Image.Image, share: float, paint: Paint) -> Image.Image:
    """Moves the image up by a share of its height."""
    return _affine(image, (1, 0, 0, 0, 1, share * image.height), paint)


def _affine(image: Image.Image, matrix: tuple[float, ...], paint: Paint) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, matrix, resample=paint.resample, fillcolor=paint.fill)


def autocontrast(image: Image.Image, _: float, paint: Paint) -> Image.Image:
    """Stretches each channel over all values."""
    return ImageOps.autocontrast(image)


def equalize(image: Image.Image, _: float, paint: Paint) -> Image.Image:
    """Makes each channel's histogram flat."""
    return ImageOps.equalize(image)


def invert(image: Image.Image, _: float, paint: Paint) -> Image.Image:
    """Makes each value 255 less itself."""
    return ImageOps.invert(image)


def posterize(image: Image.Image, bits: float, paint: Paint) -> Image.Image:
    """Keeps the upper bits of each value; with 0 of them nothing is left."""
    mask = ~(2 ** (8 - int(bits)) - 1)
    return image.point([value & mask for value in range(256)] * len(image.getbands()))


def solarize(image: Image.Image, threshold: float, paint: Paint) -> Image.Image:
    """Inverts what is at or above the threshold, 0 to 256."""
    return ImageOps.solarize(image, int(threshold))


def solarize_add(image: Image.Image, amount: float, paint: Paint) -> Image.Image:
    """Adds to what is below 128, up to 255."""
    table = [min(255, value + int(amount)) if value < 128 else value for value in range(256)]
    return image.point(table * len(image.getbands()))


def colour(image: Image.Image, factor: float, paint: Paint) -> Image.Image:
    """0 is grey, 1 the image, more is more saturated; a grey image stays as it is."""
    return ImageEnhance.Color(image).enhance(factor)


def contrast(image: Image.Image, factor: float, paint: Paint) -> Image.Image:
    """0 is the mean grey, 1 the image."""
    return ImageEnhance.Contrast(image).enhance(factor)


def brightness(image: Image.Image, factor: float, paint: Paint) -> Image.Image:
    """0 is black, 1 the image."""
    return ImageEnhance.Brightness(image).enhance(factor)


def sharpness(image: Image.Image, factor: float, paint: Paint) -> Image.Image:
    """0 is blurred, 1 the image, 2 sharpened."""
    return ImageEnhance.Sharpness(image).enhance(factor)


Operation = Callable[[Image.Image, float, Paint], Image.Image]
OPERATIONS: dict[str, Operation] = {
    "autocontrast": autocontrast,
    "equalize": equalize,
    "invert": invert,
    "rotate": rotate,
    "posterize": posterize,
    "solarize": solarize,
    "solarize_add": solarize_add,
    "colour": colour,
    "contrast": contrast,
    "brightness": brightness,
    "sharpness": sharpness,
    "shear_x": shear_x,
    "shear_y": shear_y,
    "translate_x": translate_x,
    "translate_y": translate_y,
}
"""The fifteen that RandAugment draws from; AutoAugment's policy uses all but ``solarize_add``."""
