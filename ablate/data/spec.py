"""Which images, how they are split, and what is done to them before the model; pure data, no reading here."""

import importlib
from dataclasses import dataclass
from enum import StrEnum
from types import ModuleType
from typing import Any

from ablate.paths import problem
from ablate.words import unknown

ImageShape = tuple[int, int, int]
"""Height, width and channels of an image."""

Colour = tuple[int, int, int]
"""Red, green, blue, each 0 to 255."""

BACKGROUNDS = {"white": (255, 255, 255), "black": (0, 0, 0)}
"""Names that ``data.background`` knows."""

SOURCES = {
    "mnist5k": "ablate.data.sources.mnist5k",
    "digits": "ablate.data.sources.digits",
    "folder": "ablate.data.sources.folder",
    "cifar10": "ablate.data.sources.cifar10",
    "cifar100": "ablate.data.sources.cifar100",
    "mnist": "ablate.data.sources.mnist",
    "fashion_mnist": "ablate.data.sources.fashion_mnist",
    "flowers102": "ablate.data.sources.flowers102",
    "imagenet": "ablate.data.sources.imagenet",
}
"""Where each source lives: a module with ``describe(spec)``, ``counts(spec)``, ``read(spec)``, and ``MEAN`` and ``STD``
(None: measured)."""


MOST_SIDE = 16_384
"""Most pixels on a side: a larger image of float32 alone fills a gibibyte a channel."""


class DataError(ValueError):
    """Data that cannot be used; the message names the file or the leaf, and says what to do."""


@dataclass(frozen=True)
class Counts:
    """How many training images a source has, as far as can be told without decoding one.

    Attributes:
        train: Training images of each class, by label.
        own_validation: Whether the source has validation images of its own, so that none are held out of these.
    """

    train: tuple[int, ...]
    own_validation: bool = False


class Interpolation(StrEnum):
    """How pixels between pixels are found; all but ``nearest`` average where an image shrinks."""

    nearest = "nearest"
    bilinear = "bilinear"
    bicubic = "bicubic"
    lanczos = "lanczos"


@dataclass
class DataSpec:
    """One data set as a run sees it.

    Attributes:
        source: ``mnist5k``, ``digits``, ``folder``, ``cifar10``, ``cifar100``, ``mnist``, ``fashion_mnist``,
            ``flowers102`` or ``imagenet``.
        root: Folder or zip that holds the files; None lets the source find or download its own.
        class_level: Which folders below ``train/`` and ``test/`` name a class: 1 takes the first, so that nested ones
            are one class together; 2 takes ``first/second``, each pair a class of its own.
        skip_unreadable: Whether images that cannot be read (damaged ones, links that lead nowhere, formats that are not
            read here) are left out and named; False refuses the data.
        fraction: Part of the training images that is trained on, after validation was held out; each class gives its
            share, at least one image, and what a smaller fraction takes is among what a larger one takes.
        per_class: Number of training images of each class, instead of a part of them; None takes ``fraction``.
        image_size: ``[height, width]`` to resize to, or one side of a square; None keeps the source's own size.
        crop_pct: None scales height and width each to ``image_size``; a part, above 0 and at most 1, keeps proportions:
            scaled to cover ``image_size / crop_pct``, and cut from the middle.
        interpolation: How pixels between pixels are found as images are resized.
        channels: 1 (grey) or 3 (RGB) to convert to; None keeps the source's own.
        background: What shows where an image file is transparent: ``white``, ``black``, or ``[red, green, blue]``, each
            0 to 255. Grey images stay grey where it is a grey.
        val_fraction: Part of the training images held out for validation, stratified by class: of each class its share
            rounded down or up, and at least one image where the class keeps another. 0 holds out none. A folder
            ``val/`` beside ``train/`` and ``test/`` is taken instead, wherever this is above 0.
        split_seed: Seed of the split into training and validation images; the same for every seed of a sweep, so that
            runs differ in training alone.
        mean: Mean of each channel, pixels in 0..1, which is subtracted; None takes the source's published or measured
            value.
        std: Standard deviation of each channel, pixels in 0..1, which is divided by; None takes the source's.
        cache: Folder for decoded images; None is ``ablate`` under the user's cache folder.
        memory_limit: MiB of images that may be in memory; more of them are read from the cache batch by batch. None is
            an eighth of this machine's memory.
    """

    source: str = "mnist5k"
    root: str | None = None
    class_level: int = 1
    skip_unreadable: bool = False
    fraction: float = 1.0
    per_class: int | None = None
    image_size: Any = None
    crop_pct: float | None = None
    interpolation: Interpolation = Interpolation.bilinear
    channels: int | None = None
    background: Any = "white"
    val_fraction: float = 0.1
    split_seed: int = 0
    mean: list[float] | None = None
    std: list[float] | None = None
    cache: str | None = None
    memory_limit: int | None = None

    def __post_init__(self) -> None:
        if type(self.image_size) is int:
            self.image_size = [self.image_size, self.image_size]
        for name, colour in BACKGROUNDS.items():
            if self.background == list(colour):  # one colour is one run, however it is written
                self.background = name

    def check(self) -> None:
        """Raises DataError for a spec that no data set can satisfy."""
        module_of(self.source)
        for key, path in (("data.root", self.root), ("data.cache", self.cache)):
            if wrong := problem(key, path):
                raise DataError(wrong)
        if self.root is not None and self.source in ("mnist5k", "digits"):
            raise DataError(
                f"data.root must be null with data.source={self.source}, which ships with a package, got {self.root}; "
                "leave it out, or take data=folder."
            )
        if self.root is None and self.source == "folder":
            raise DataError(
                "data.root must name a folder or a zip with data.source=folder, got null; set data.root=PATH."
            )
        self._check_parts()
        self._check_shape()
        if self.memory_limit is not None and self.memory_limit < 0:
            raise DataError(f"data.memory_limit must be at least 0 (MiB), got {self.memory_limit}.")
        self._check_moments()

    def _check_moments(self) -> None:
        """Pixels are 0..1 where they are normalised: other tools' values for 0..255 train to chance."""
        if self.mean is not None and not (self.mean and all(0 <= value <= 1 for value in self.mean)):
            raise DataError(f"data.mean must be from 0 to 1 in every channel, got {_of_255('mean', self.mean)}.")
        if self.std is not None and not (self.std and all(0 < value <= 1 for value in self.std)):
            raise DataError(f"data.std must be above 0 and at most 1 in every channel, got {_of_255('std', self.std)}.")

    def _check_parts(self) -> None:
        if not 0 <= self.val_fraction < 1:
            raise DataError(f"data.val_fraction must be at least 0 and below 1, got {self.val_fraction}.")
        if self.split_seed < 0:
            raise DataError(f"data.split_seed must be at least 0, got {self.split_seed}.")
        if self.class_level < 1:
            raise DataError(f"data.class_level must be at least 1, got {self.class_level}.")
        if not 0 < self.fraction <= 1:
            raise DataError(f"data.fraction must be above 0 and at most 1, got {self.fraction}.")
        if self.per_class is not None and self.per_class < 1:
            raise DataError(f"data.per_class must be at least 1, got {self.per_class}.")
        if self.per_class is not None and self.fraction != 1:
            raise DataError(
                f"data.per_class and data.fraction must not both be set, got {self.per_class} and {self.fraction}; "
                "leave one out."
            )

    def _check_shape(self) -> None:
        sides = self.image_size
        valid = isinstance(sides, list) and len(sides) == 2 and all(type(side) is int and side > 0 for side in sides)
        if sides is not None and not valid:
            raise DataError(f"data.image_size must be a side or [height, width], integers of at least 1, got {sides}.")
        if sides is not None and max(sides) > MOST_SIDE:
            raise DataError(f"data.image_size must have sides of at most {MOST_SIDE:,} pixels, got {sides}.")
        if self.channels not in (None, 1, 3):
            raise DataError(f"data.channels must be 1 (grey), 3 (RGB) or null, got {self.channels}.")
        if not _is_colour(self.background):
            raise DataError(
                "data.background must be white, black or [red, green, blue], integers from 0 to 255, got "
                f"{self.background}."
            )
        if self.crop_pct is not None and not 0 < self.crop_pct <= 1:
            raise DataError(f"data.crop_pct must be above 0 and at most 1, or null, got {self.crop_pct}.")
        if self.crop_pct is not None and self.image_size is None:
            raise DataError(
                "data.crop_pct must come with data.image_size, got null; set data.image_size=[HEIGHT,WIDTH]."
            )

    @property
    def size(self) -> tuple[int, int] | None:
        """``image_size`` as a pair."""
        return None if self.image_size is None else (self.image_size[0], self.image_size[1])

    @property
    def background_rgb(self) -> Colour:
        """``background`` as a colour."""
        if isinstance(self.background, str):
            return BACKGROUNDS[self.background]
        red, green, blue = self.background
        return red, green, blue


def _of_255(name: str, values: list[float]) -> str:
    """What was given, and what it is where it was meant for pixels of 0..255."""
    if not values or not all(0 < value <= 255 for value in values):
        return str(list(values))
    return f"{list(values)}; if it is of pixels 0..255, set data.{name}={[round(value / 255, 4) for value in values]}"


def _is_colour(value: object) -> bool:
    if isinstance(value, list):
        return len(value) == 3 and all(type(part) is int and 0 <= part <= 255 for part in value)
    return isinstance(value, str) and value in BACKGROUNDS


def module_of(source: str) -> ModuleType:
    """The module that reads a source.

    Raises:
        DataError: There is no such source.
    """
    if source not in SOURCES:
        raise DataError(unknown("data.source", source, SOURCES))
    return importlib.import_module(SOURCES[source])


def check_moments(spec: DataSpec, channels: int) -> None:
    """Raises DataError where ``data.mean`` or ``data.std`` is not one value for each channel."""
    for name, values in (("mean", spec.mean), ("std", spec.std)):
        if values is not None and len(values) != channels:
            raise DataError(f"data.{name} must have {channels} values, one a channel, got {len(values)}.")


def check_batch(batch_size: int, images: int) -> None:
    """Raises DataError where an epoch has fewer images than one batch takes."""
    if not 1 <= batch_size <= images:
        raise DataError(
            f"train.batch_size must be between 1 and the number of training images, got {batch_size} for "
            f"{images} images; lower train.batch_size."
        )
