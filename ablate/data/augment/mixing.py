"""Whole batches: MixUp, CutMix and random erasing, as timm's loader does them."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablate.data.augment.spec import AugmentSpec

Box = tuple[int, int, int, int]
"""Rows and columns of a box in pixels: top, bottom, left, right; bottom and right are not in it."""

ERASED_AREA = (0.02, 1 / 3)
"""Least and most of an image that is erased. Source: timm's RandomErasing."""

ERASED_RATIO = (0.3, 1 / 0.3)
"""Least and most height over width of what is erased. Source: timm's RandomErasing."""

_ATTEMPTS = 10


@dataclass(frozen=True)
class Mix:
    """How a batch is mixed with itself in reversed order.

    Attributes:
        share: What stays of each image, and of its label.
        box: Where CutMix puts the other image; None is MixUp.
    """

    share: float
    box: Box | None


def draw_mix(spec: AugmentSpec, height: int, width: int, generator: np.random.Generator) -> Mix | None:
    """Draws the way one batch is mixed; None where it is not.

    Source: Zhang et al. 2017, arXiv 1710.09412 (MixUp); Yun et al. 2019, arXiv 1905.04899 (CutMix).
    """
    applied, switch = generator.random(2)
    if not spec.mixes or applied >= spec.mix_probability:
        return None
    if spec.cutmix and (not spec.mixup or switch < spec.switch_probability):
        box = cutmix_box(generator.beta(spec.cutmix, spec.cutmix), height, width, generator)
        # The box may reach beyond the image: the label follows what is really seen.
        return Mix(1 - (box[1] - box[0]) * (box[3] - box[2]) / (height * width), box)
    return Mix(float(generator.beta(spec.mixup, spec.mixup)), None)


def cutmix_box(share: float, height: int, width: int, generator: np.random.Generator) -> Box:
    """A box of ``1 - share`` of the area and of the image's shape, centred anywhere, cut at the edges."""
    side = math.sqrt(1 - share)
    half_height, half_width = int(height * side) // 2, int(width * side) // 2
    y, x = int(generator.integers(height)), int(generator.integers(width))
    top, bottom = max(0, y - half_height), min(height, y + half_height)
    left, right = max(0, x - half_width), min(width, x + half_width)
    return top, bottom, left, right


def mixed(x: NDArray[np.uint8], mix: Mix) -> NDArray[np.uint8]:
    """The images with their partners, rounded back to bytes as timm's loader does before normalisation."""
    partner = x[::-1]
    if mix.box is None:
        blend = x.astype(np.float32) * np.float32(mix.share) + partner.astype(np.float32) * np.float32(1 - mix.share)
        return np.rint(blend).astype(np.uint8)
    top, bottom, left, right = mix.box
    result = x.copy()
    result[:, top:bottom, left:right] = partner[:, top:bottom, left:right]
    return result


def soft_labels(y: NDArray[np.int64], num_classes: int, mix: Mix | None) -> NDArray[np.float32]:
    """``(batch, classes)`` probabilities: the share goes to the own class, the rest to the partner's."""
    share = 1.0 if mix is None else mix.share
    labels = np.zeros((len(y), num_classes), np.float32)
    rows = np.arange(len(y))
    labels[rows, y] = share
    labels[rows, y[::-1]] += 1 - share
    return labels


def erasing_box(height: int, width: int, generator: np.random.Generator) -> Box | None:
    """A box smaller than the image on both sides; None where ten draws gave none.

    Source: Zhong et al. 2017, arXiv 1708.04896, with timm's area and ratio.
    """
    low, high = (math.log(value) for value in ERASED_RATIO)
    for _ in range(_ATTEMPTS):
        area, ratio = generator.uniform(*ERASED_AREA) * height * width, math.exp(generator.uniform(low, high))
        h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 1 <= h < height and 1 <= w < width:
            top, left = int(generator.integers(height - h + 1)), int(generator.integers(width - w + 1))
            return top, top + h, left, left + w
    return None


def erase(x: NDArray[np.float32], mean: NDArray[Any], std: NDArray[Any], generator: np.random.Generator) -> None:
    """Replaces a box of one image ``(height, width, channels)`` by what is standard normal noise once normalised.

    The values are in pixels, 0 to 255, and go beyond that where the noise does.
    """
    height, width, channels = x.shape
    box = erasing_box(height, width, generator)
    if box is not None:
        top, bottom, left, right = box
        noise = generator.standard_normal((bottom - top, right - left, channels), np.float32)
        x[top:bottom, left:right] = 255 * (mean + std * noise)
