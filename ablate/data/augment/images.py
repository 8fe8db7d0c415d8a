"""One image at a time: crops, flip, policies, colour; Pillow computes, one generator decides."""

import math

import numpy as np
from PIL import Image

from ablate.data.augment import operations
from ablate.data.augment.operations import Fill, Paint
from ablate.data.augment.policies import MIDDLE_GREY, apply, draw_auto, draw_rand
from ablate.data.augment.spec import AugmentInterpolation, AugmentSpec, Policy, ResizedCropSpec

_RESAMPLE = {
    AugmentInterpolation.bilinear: (Image.Resampling.BILINEAR,),
    AugmentInterpolation.bicubic: (Image.Resampling.BICUBIC,),
    AugmentInterpolation.random: (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC),
}
_JITTER = (operations.brightness, operations.contrast, operations.colour)
_ATTEMPTS = 10  # timm's and torchvision's: then the largest central part of an allowed shape


def augmented(
    image: Image.Image, size: tuple[int, int], spec: AugmentSpec, fill: Fill, generator: np.random.Generator
) -> Image.Image:
    """One image, changed as the spec says.

    Args:
        image: A grey or an RGB image.
        size: Width and height of the result: the image's own, unless a random part of it is resized.
        spec: Which augmentations are done.
        fill: What RandAugment shows where the image ends: the data's mean.
        generator: Source of chance for this image in this epoch.
    """
    image = _cropped(image, size, spec, generator)
    if spec.flip and generator.random() < spec.flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if spec.auto_augment != Policy.none:
        middle = _paints(spec, MIDDLE_GREY if image.mode == "L" else (MIDDLE_GREY,) * 3)
        image = apply(image, draw_auto(spec.auto_augment, generator), middle)
    if spec.rand_augment.ops:
        image = apply(image, draw_rand(spec.rand_augment, generator), _paints(spec, fill))
    if spec.colour_jitter:
        image = _jittered(image, spec.colour_jitter, generator)
    return image


def _paints(spec: AugmentSpec, fill: Fill) -> list[Paint]:
    return [Paint(resample, fill) for resample in _RESAMPLE[spec.interpolation]]


def _cropped(
    image: Image.Image, size: tuple[int, int], spec: AugmentSpec, generator: np.random.Generator
) -> Image.Image:
    if spec.random_resized_crop.scale is not None:
        box = resized_crop_box(spec.random_resized_crop, image.height, image.width, generator)
        choices = _RESAMPLE[spec.interpolation]
        # Cropped first: resizing with a box would look at pixels beyond the part.
        image = image.crop(box).resize(size, choices[int(generator.random() * len(choices))])
    if spec.crop_padding:
        left, top = generator.integers(-spec.crop_padding, spec.crop_padding + 1, 2).tolist()
        image = image.crop((left, top, left + size[0], top + size[1]))  # beyond the image, Pillow gives zeros
    return image


def resized_crop_box(
    spec: ResizedCropSpec, height: int, width: int, generator: np.random.Generator
) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a part whose share of the area and whose shape are drawn at random."""
    least, most = spec.scale or (1.0, 1.0)
    low, high = (math.log(value) for value in spec.ratio)
    for _ in range(_ATTEMPTS):
        area, ratio = generator.uniform(least, most) * height * width, math.exp(generator.uniform(low, high))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 1 <= w <= width and 1 <= h <= height:
            left, top = int(generator.integers(width - w + 1)), int(generator.integers(height - h + 1))
            return left, top, left + w, top + h
    ratio = min(max(width / height, spec.ratio[0]), spec.ratio[1])
    w, h = min(width, max(1, round(height * ratio))), min(height, max(1, round(width / ratio)))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def _jittered(image: Image.Image, jitter: float, generator: np.random.Generator) -> Image.Image:
    """The three in random order, as torchvision applies them."""
    factors = generator.uniform(1 - jitter, 1 + jitter, 3)
    for which in generator.permutation(3):
        image = _JITTER[which](image, float(factors[which]), Paint(Image.Resampling.BILINEAR, 0))
    return image
