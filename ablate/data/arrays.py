"""The arrays that every source ends in, and the digest that names what was really read."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablate.data.spec import DataError, InputShape


@dataclass(frozen=True)
class Arrays:
    """Images with labels.

    Attributes:
        x: ``(images, height, width, channels)`` uint8.
        y: ``(images,)`` int64, an index into the classes.
    """

    x: NDArray[np.uint8]
    y: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.x.ndim != 4 or self.x.dtype != np.uint8 or len(self.x) != len(self.y):
            raise DataError(
                "images must be (images, height, width, channels) uint8 with one label each, "
                f"got {self.x.shape} {self.x.dtype} and {len(self.y)} labels."
            )

    def __len__(self) -> int:
        return len(self.y)

    def take(self, indices: NDArray[np.int64]) -> "Arrays":
        return Arrays(self.x[indices], self.y[indices])


@dataclass(frozen=True)
class Raw:
    """What a source gives: the images it means for training, the test set apart."""

    train: Arrays
    test: Arrays
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Splits:
    """A data set, ready for training. Validation selects, test reports.

    Attributes:
        train: Images that are trained on.
        val: Held out of the training images; empty where ``data.val_fraction`` is 0.
        test: Never trained on, never selected on.
        classes: Names, by label.
        mean: Per channel, of pixels in 0..1.
        std: Likewise.
        digest: SHA-256 over pixels, labels, split and class names.
    """

    train: Arrays
    val: Arrays
    test: Arrays
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    digest: str

    @property
    def input_shape(self) -> InputShape:
        _, height, width, channels = self.train.x.shape
        return height, width, channels

    @property
    def num_classes(self) -> int:
        return len(self.classes)


def digest(classes: Sequence[str], parts: dict[str, Arrays]) -> str:
    """SHA-256 over the name, type, shape and bytes of every array, and over the class names in their order."""
    sha = hashlib.sha256("\0".join(classes).encode())
    for name, part in parts.items():
        arrays: tuple[NDArray[Any], ...] = (part.x, part.y)
        for array in arrays:
            sha.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
            sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


def moments(x: NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of pixels in 0..1, exact: from the counts of the 256 values."""
    values = np.arange(256) / 255
    mean, std = [], []
    for channel in range(x.shape[-1]):
        share = np.bincount(x[..., channel].ravel(), minlength=256) / x[..., channel].size
        mean.append(float(share @ values))
        std.append(float(np.sqrt(share @ (values - mean[-1]) ** 2)))
    return tuple(mean), tuple(std)
