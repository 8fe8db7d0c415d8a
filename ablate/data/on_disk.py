"""Images that stay in a file: a batch is read when it is asked for, and memory holds no more than that batch."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablate.data.spec import DataError


@dataclass(frozen=True)
class Facts:
    """What was noted of each image as it was written, so that no start reads all of a large file again.

    Attributes:
        sha256: ``(images, 32)``, SHA-256 of each image's pixels.
        sums: ``(images, channels)``, sums of the pixels.
        squares: ``(images, channels)``, sums of the pixels' squares.
    """

    sha256: NDArray[np.uint8]
    sums: NDArray[np.int64]
    squares: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64] | slice) -> "Facts":
        return Facts(self.sha256[rows], self.sums[rows], self.squares[rows])


@dataclass(frozen=True)
class Stored:
    """Rows of a file of images, in any order; indexed like an array of them.

    The file is mapped for one gather at a time: a mapping that stayed would count every page it ever touched as this
    process's memory. The pages themselves are the system's to keep or drop, and shared by the workers of a machine.

    Attributes:
        path: The file.
        offset: Bytes before its first image.
        images: Shape of all images in the file.
        rows: ``(images,)``, which of them these are.
        facts: What was noted of these images, in the order of ``rows``.
        checked: ``(images of the file,)``, which have been compared with their sum; each is as it is first read.
    """

    path: Path
    offset: int
    images: tuple[int, ...]
    rows: NDArray[np.int64]
    facts: Facts
    checked: NDArray[np.bool_]

    ndim = 4
    dtype = np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.rows), *self.images[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: int | slice | Sequence[int] | NDArray[Any]) -> NDArray[np.uint8]:
        """Reads images into memory.

        Raises:
            DataError: The file is gone, cut short, or holds other pixels than were written; then it is removed.
        """
        try:
            whole = np.memmap(self.path, np.uint8, "r", self.offset, self.images)
            images = np.take(np.asarray(whole), self.rows[key], axis=0)
            self._check(images.reshape(-1, *self.images[1:]), np.atleast_1d(np.arange(len(self))[key]))
            return images
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self.path}, which holds the decoded images, must stay as it is while they are used ({error}); "
                "start again: it is made anew."
            ) from error

    def _check(self, images: NDArray[np.uint8], places: NDArray[np.int64]) -> None:
        for image, place in zip(images, places.tolist(), strict=True):
            row = self.rows[place]
            if self.checked[row]:
                continue
            if hashlib.sha256(image.data).digest() != self.facts.sha256[place].tobytes():
                self.path.unlink(missing_ok=True)  # no start reads all of it, so the next one would take it again
                raise ValueError(f"image {row} has another sum than when it was written")
            self.checked[row] = True

    def take(self, indices: NDArray[np.int64] | slice) -> "Stored":
        """Some of the rows, none of them read."""
        return Stored(self.path, self.offset, self.images, self.rows[indices], self.facts.take(indices), self.checked)
