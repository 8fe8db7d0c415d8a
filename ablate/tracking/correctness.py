"""Per-example correctness as tags: a bit for each test image, so that an interval over images needs no artifact.

Ten thousand images are 1.7 kB, and as much again where folders say which of them belong together. Tags travel where the
record does: in any store, over a server, in an exported file.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ablate.tracking.names import CLUSTERS, RIGHT, TESTED, tag_column
from ablate.tracking.spec import TrackingError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PIECE = 5000
"""Characters of a tag that every version of MLflow keeps; ImageNet takes two."""


def packed(
    right: "NDArray[np.bool_]", label: "NDArray[np.int64]", clusters: "NDArray[np.int64] | None" = None
) -> dict[str, str]:
    """Tags that say which images were classified right, and which images they are.

    The images are named by a digest of their labels in order: the digest of a run's data also moves with the split and
    with the size of the images, and neither makes another test image.

    Args:
        right: ``(images,)``.
        label: ``(images,)``, the true classes in the order of the data.
        clusters: ``(images,)``, number of the group that an image belongs to, the images of a group one after the
            other; None where each stands alone, which no tag says.
    """
    import numpy as np

    named = hashlib.sha256(np.asarray(label, "<i8").tobytes()).hexdigest()[:16]
    tags = {TESTED: f"{len(right)}:{named}"} | _pieces(RIGHT, right)
    if clusters is None:
        return tags
    return tags | _pieces(CLUSTERS, np.diff(clusters, prepend=clusters[:1] - 1) != 0)


def unpacked(row: Mapping[str, Any]) -> "tuple[str, NDArray[np.bool_]] | None":
    """What a run's row in ``read_runs`` says: which images, and which of them were right; None where it does not.

    Raises:
        TrackingError: Bits that are no bits, or not as many as there are images.
    """
    images = row.get(tag_column(TESTED))
    return (images, _bits(row, RIGHT, images)) if isinstance(images, str) else None


def unpacked_clusters(row: Mapping[str, Any]) -> "NDArray[np.int64] | None":
    """Number of the group that each test image belongs to, ``(images,)``; None where the run's row names none.

    Raises:
        TrackingError: As ``unpacked``.
    """
    import numpy as np

    images = row.get(tag_column(TESTED))
    if not isinstance(images, str) or not isinstance(row.get(tag_column(CLUSTERS)), str):
        return None
    return np.cumsum(_bits(row, CLUSTERS, images))


def _pieces(tag: str, bits: "NDArray[np.bool_]") -> dict[str, str]:
    import numpy as np

    text = base64.b64encode(np.packbits(bits).tobytes()).decode()
    pieces = [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)]
    return {_piece(tag, number): piece for number, piece in enumerate(pieces, 1)}


def _bits(row: Mapping[str, Any], tag: str, images: str) -> "NDArray[np.bool_]":
    import numpy as np

    text, number = "", 1
    while isinstance(piece := row.get(tag_column(_piece(tag, number))), str):
        text, number = text + piece, number + 1
    try:
        count = int(images.partition(":")[0])
        bits = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
        if len(bits) != -(-count // 8):
            raise ValueError
    except (ValueError, binascii.Error):
        raise TrackingError(
            f"{tag} of run {row.get('run_id')} must hold a bit for each of {images.partition(':')[0]} images in "
            f"base64, got {len(text)} characters; remove its tag {TESTED if tag == RIGHT else tag} to go without."
        ) from None
    return np.unpackbits(bits, count=count).astype(bool)


def _piece(tag: str, number: int) -> str:
    return tag if number == 1 else f"{tag}.{number}"
