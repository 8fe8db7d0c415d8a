"""The arrays that every source ends in, and the digest that names what was really read."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ablate.data.on_disk import Stored
from ablate.data.originals import Originals
from ablate.data.spec import DataError, ImageShape

Images = NDArray[np.uint8] | Stored
"""In memory, or rows of a file that are read as they are asked for; both index alike."""

_CHUNK = 2**20
"""Pixels widened at once where sums are taken: 4 MiB."""


@dataclass(frozen=True)
class Arrays:
    """Images with labels.

    Attributes:
        x: ``(images, height, width, channels)`` uint8.
        y: ``(images,)`` int64, an index into the classes.
        originals: The images before they were cut and scaled, where they were and their files are at hand.
    """

    x: Images
    y: NDArray[np.int64]
    originals: Originals | None = None

    def __post_init__(self) -> None:
        if self.x.ndim != 4 or self.x.dtype != np.uint8 or len(self.x) != len(self.y):
            raise DataError(
                "images must be (images, height, width, channels) uint8 with one label each, "
                f"got {self.x.shape} {self.x.dtype} and {len(self.y)} labels."
            )

    def __len__(self) -> int:
        return len(self.y)

    def take(self, indices: NDArray[np.int64] | slice) -> "Arrays":
        """Some of the images; those of a file stay there, and a slice of those in memory copies none."""
        x = self.x.take(indices) if isinstance(self.x, Stored) else self.x[indices]
        return Arrays(x, self.y[indices], None if self.originals is None else self.originals.take(indices))


@dataclass(frozen=True)
class Raw:
    """What a source gives: the images it means for training, the test set apart.

    Attributes:
        train: Training images of all classes; validation images are among them where there is no ``val``.
        test: Test images of all classes.
        classes: Names, by label.
        val: The source's own validation images; None where they are to be held out of those for training.
        fitted: Whether the images have the spec's size and channels already, because they were decoded to them.
        notes: For people: what of the source was not read.
    """

    train: Arrays
    test: Arrays
    classes: tuple[str, ...]
    val: Arrays | None = None
    fitted: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Splits:
    """A data set, ready for training. Validation selects, test reports.

    Attributes:
        train: Images that are trained on.
        val: Images held out of the training images, or the source's own; empty where ``data.val_fraction`` is 0.
        test: Images that are never trained on, and never selected on but under ``select=test``.
        classes: Names, by label.
        mean: Mean of each channel, pixels in 0..1.
        std: Standard deviation of each channel, pixels in 0..1.
        digest: SHA-256 over pixels, labels, split and class names.
        notes: For people: what was not read, and which classes have no validation image.
    """

    train: Arrays
    val: Arrays
    test: Arrays
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    digest: str
    notes: tuple[str, ...] = ()

    @property
    def input_shape(self) -> ImageShape:
        _, height, width, channels = self.train.x.shape
        return height, width, channels

    @property
    def num_classes(self) -> int:
        return len(self.classes)


def checked_labels(values: object, num_classes: int) -> NDArray[np.int64]:
    """Labels of a file, ``(images,)``, as they must be: nothing is rounded, cut or taken for a number.

    Raises:
        ValueError: They are no list or array of whole numbers, or one is none of the classes.
    """
    numbers = values.tolist() if isinstance(values, np.ndarray) and values.ndim == 1 else values
    if not isinstance(numbers, list) or not all(type(number) is int for number in numbers):
        raise ValueError("its labels must be a list of integers")
    if wrong := [number for number in numbers if not 0 <= number < num_classes]:
        raise ValueError(f"its labels must be from 0 to {num_classes - 1}, got {wrong[0]}")
    return np.array(numbers, np.int64)


def digest(classes: Sequence[str], parts: dict[str, Arrays]) -> str:
    """SHA-256 over shape, labels and every image's own SHA-256 in each part, and over the class names in their order.

    The images' own sums are kept beside images in a file, which is so named like the same images in memory, unread.
    """
    sha = hashlib.sha256("\0".join(classes).encode())
    for name, part in parts.items():
        sha.update(f"\n{name} {part.x.shape}\n".encode())
        sha.update(np.ascontiguousarray(part.y.astype("<i8")).data)
        sha.update(np.ascontiguousarray(image_sums(part.x)).data)
    return sha.hexdigest()


def image_sums(x: Images) -> NDArray[np.uint8]:
    """Each image's SHA-256, ``(images, 32)``."""
    if isinstance(x, Stored):
        return x.facts.sha256
    sums = np.empty((len(x), 32), np.uint8)
    for i, image in enumerate(x):
        sums[i] = np.frombuffer(hashlib.sha256(np.ascontiguousarray(image).data).digest(), np.uint8)
    return sums


def pixel_sums(x: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each image's sum of pixels and of their squares, both ``(images, channels)``."""
    flat = x.reshape(len(x), math.prod(x.shape[1:3]), x.shape[3])
    sums = np.empty((2, len(x), x.shape[3]), np.int64)
    step = max(1, _CHUNK // max(1, math.prod(x.shape[1:])))
    for start in range(0, len(x), step):
        wide = flat[start : start + step].astype(np.uint32)
        sums[0, start : start + step] = wide.sum(axis=1, dtype=np.int64)
        sums[1, start : start + step] = (wide * wide).sum(axis=1, dtype=np.int64)
    return sums[0], sums[1]


def moments(x: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of pixels in 0..1, exact: from sums of integers."""
    sums, squares = (x.facts.sums, x.facts.squares) if isinstance(x, Stored) else pixel_sums(x)
    # Python's integers: no sum is too large for them, and the difference of the two products loses no digit.
    totals, squared = sums.sum(axis=0).tolist(), squares.sum(axis=0).tolist()
    n = math.prod(x.shape[:3])
    mean = tuple(total / (n * 255) for total in totals)
    std = tuple(math.sqrt((n * s - t * t) / (n * 255) ** 2) for t, s in zip(totals, squared, strict=True))
    return mean, std
