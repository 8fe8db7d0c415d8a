"""Which augmentations, each independent of the others; pure data. The default is none."""

import math
from dataclasses import dataclass, field
from enum import StrEnum

from ablate.data.spec import DataError
from ablate.words import unknown

MOST_WORKERS = 1024
"""Most threads of one process that make batches."""

MOST_PADDING = 16_384
"""Most pixels that are added on a side: as many as the largest image has."""

MOST_ALPHA = 1e6
"""Largest alpha of a beta distribution: half and half is drawn long before; far beyond, the draw is NaN."""

MOST_OPS = 100


class AugmentInterpolation(StrEnum):
    """How pixels between pixels are computed; ``random`` draws bilinear or bicubic for each image, as timm does."""

    bilinear = "bilinear"
    bicubic = "bicubic"
    random = "random"


class Policy(StrEnum):
    """Policies that AutoAugment found."""

    none = "none"
    cifar10 = "cifar10"


@dataclass
class ResizedCropSpec:
    """A random part of the image, resized to the image's own size.

    Attributes:
        scale: ``[least, most]`` of the image's area; None leaves the image whole.
        ratio: ``[least, most]`` of the part's width over its height, drawn on a logarithmic scale.
    """

    scale: list[float] | None = None
    ratio: list[float] = field(default_factory=lambda: [3 / 4, 4 / 3])

    def check(self) -> None:
        """Raises DataError for a part that cannot be."""
        if self.scale is not None and not (len(self.scale) == 2 and 0 < self.scale[0] <= self.scale[1] <= 1):
            raise DataError(
                "augment.random_resized_crop.scale must be [least, most] of the area with 0 < least <= most <= 1, "
                f"got {list(self.scale)}; the paper takes [0.8,1.0] on CIFAR."
            )
        if not (len(self.ratio) == 2 and 0 < self.ratio[0] <= self.ratio[1] < math.inf):
            raise DataError(
                "augment.random_resized_crop.ratio must be [least, most], finite, with 0 < least <= most, "
                f"got {list(self.ratio)}; [0.75,1.3333] is usual."
            )


@dataclass
class RandAugmentSpec:
    """RandAugment in timm's form: ``rand-m9-mstd0.5-inc1`` is ``ops: 2`` and the other defaults below.

    Source: Cubuk et al. 2019, arXiv 1909.13719; timm for the noise, the probability and the increasing set.

    Attributes:
        ops: Operations drawn for an image, with replacement, from 15; 0 is none.
        magnitude: Strength, 0 to 10.
        std: Standard deviation of the normal noise on each operation's magnitude, which is then cut to 0 to 10.
        probability: Probability that a drawn operation is applied.
        increasing: Whether posterize, solarize and the four enhancements grow stronger with the magnitude; in the first
            definition some grow weaker.
    """

    ops: int = 0
    magnitude: float = 9.0
    std: float = 0.5
    probability: float = 0.5
    increasing: bool = True

    def check(self) -> None:
        """Raises DataError for what cannot be drawn."""
        if not 0 <= self.ops <= MOST_OPS:
            raise DataError(f"augment.rand_augment.ops must be at least 0 and at most {MOST_OPS}, got {self.ops:,}.")
        if not 0 <= self.magnitude <= 10:
            raise DataError(f"augment.rand_augment.magnitude must be between 0 and 10, got {self.magnitude}.")
        if not 0 <= self.std < math.inf:
            raise DataError(f"augment.rand_augment.std must be at least 0, got {self.std}.")
        _check_probability("rand_augment.probability", self.probability)


@dataclass
class AugmentSpec:
    """What is done to the training images, in this order; each leaf's default does nothing.

    Attributes:
        random_resized_crop: A random part, resized to the whole.
        crop_padding: Zero pixels added on every side before a crop of the old size is taken at random.
        flip: Probability of a horizontal flip.
        rand_augment: Operations drawn at random.
        auto_augment: A searched policy: ``cifar10``, or ``none``.
        colour_jitter: Brightness, contrast and saturation are each multiplied by a factor from 1 - x to 1 + x.
        interpolation: How pixels between pixels are found in crops, rotations, shears and translations.
        mixup: Alpha of MixUp's beta distribution; 0 is none.
        cutmix: Alpha of CutMix' beta distribution; 0 is none.
        mix_probability: Probability that a batch is mixed at all, if MixUp or CutMix is on.
        switch_probability: Probability that a mixed batch is mixed by CutMix, if MixUp and CutMix are on.
        mix_off_epoch: From this epoch on, counted from 0, nothing is mixed; 0 mixes to the end.
        erasing_probability: Probability that a random box of an image is replaced by normal noise (after
            normalisation).
        workers: Threads that make batches ahead of the training; results do not depend on it.
    """

    random_resized_crop: ResizedCropSpec = field(default_factory=ResizedCropSpec)
    crop_padding: int = 0
    flip: float = 0.0
    rand_augment: RandAugmentSpec = field(default_factory=RandAugmentSpec)
    auto_augment: Policy = Policy.none
    colour_jitter: float = 0.0
    interpolation: AugmentInterpolation = AugmentInterpolation.random
    mixup: float = 0.0
    cutmix: float = 0.0
    mix_probability: float = 1.0
    switch_probability: float = 0.5
    mix_off_epoch: int = 0
    erasing_probability: float = 0.0
    workers: int = 1

    def check(self) -> None:
        """Raises DataError for a leaf that makes no sense."""
        self.random_resized_crop.check()
        self.rand_augment.check()
        for name, most in (("crop_padding", MOST_PADDING), ("mixup", MOST_ALPHA), ("cutmix", MOST_ALPHA)):
            if not 0 <= getattr(self, name) <= most:
                raise DataError(f"augment.{name} must be at least 0 and at most {most:,}, got {getattr(self, name)}.")
        if self.mix_off_epoch < 0:
            raise DataError(f"augment.mix_off_epoch must be at least 0, got {self.mix_off_epoch}.")
        for name in ("flip", "mix_probability", "switch_probability", "erasing_probability"):
            _check_probability(name, getattr(self, name))
        if not 0 <= self.colour_jitter <= 1:
            raise DataError(f"augment.colour_jitter must be between 0 and 1, got {self.colour_jitter}.")
        if not 1 <= self.workers <= MOST_WORKERS:
            raise DataError(f"augment.workers must be at least 1 and at most {MOST_WORKERS}, got {self.workers:,}.")
        for name, kind in (("auto_augment", Policy), ("interpolation", AugmentInterpolation)):
            if getattr(self, name) not in list(kind):
                raise DataError(unknown(f"augment.{name}", getattr(self, name), kind))

    @property
    def per_image(self) -> bool:
        """Whether single images are changed before they are put together."""
        return bool(
            self.random_resized_crop.scale
            or self.crop_padding
            or self.flip
            or self.rand_augment.ops
            or self.auto_augment != Policy.none
            or self.colour_jitter
        )

    @property
    def mixes(self) -> bool:
        """Whether labels become probabilities over the classes."""
        return bool((self.mixup or self.cutmix) and self.mix_probability)

    @property
    def active(self) -> bool:
        """Whether anything is done at all."""
        return self.per_image or self.mixes or bool(self.erasing_probability)


def _check_probability(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise DataError(f"augment.{name} must be between 0 and 1, got {value}.")
