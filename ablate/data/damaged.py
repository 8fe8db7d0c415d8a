"""Images that could not be decoded: left out and named, or refused."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ablate.data.arrays import Arrays
from ablate.data.decode import DAMAGED, Encoded, failure
from ablate.data.listing import LISTED, note, unreadable
from ablate.data.spec import Colour, DataSpec


def readable(
    images: Arrays, spec: DataSpec, where: str, why: Callable[[int], str]
) -> tuple[Arrays, NDArray[np.int64], tuple[str, ...]]:
    """Images without those that ``decode_all`` found damaged.

    Args:
        images: As they came from ``decode_all``, or from the cache.
        spec: Says whether damaged ones may be left out.
        where: What they are part of, for messages.
        why: What is wrong with one, by its number.

    Returns:
        The others, their numbers, and what is to be told of those left out.

    Raises:
        DataError: Some are damaged, and must not be.
    """
    damaged = np.flatnonzero(images.y == DAMAGED)
    rows = np.flatnonzero(images.y != DAMAGED)
    if not len(damaged):
        return images, rows, ()
    told = [why(i) for i in damaged[:LISTED].tolist()]
    if not spec.skip_unreadable:
        raise unreadable(where, told, len(damaged))
    return images.take(rows), rows, tuple(note("damaged images, by data.skip_unreadable=true", told, len(damaged)))


def still_damaged(images: Arrays, files: Sequence[Encoded], background: Colour) -> bool:
    """Whether the first of the images that were found damaged are so today; a memory that was full spoils none."""
    damaged = np.flatnonzero(images.y == DAMAGED)[:LISTED].tolist()
    return all(failure(files[i], background) is not None for i in damaged)
