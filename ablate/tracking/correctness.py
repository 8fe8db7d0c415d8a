"""Per-example correctness as tags: a bit for each test image, so that an interval over images needs no artifact.

Ten thousand images are 1.7 kB. Tags travel where the record does: in any store, over a server, in an exported file.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ablate.tracking.names import RIGHT, TESTED, tag_column
from ablate.tracking.spec import TrackingError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PIECE = 5000
"""Characters of a tag that every version of MLflow keeps; ImageNet takes two."""


def packed(right: "NDArray[np.bool_]", label: "NDArray[np.int64]") -> dict[str, str]:
    """Tags that say which images were classified right, and which images they are.

    The images are named by a digest of their labels in order: the digest of a run's data also moves with the split and
    with the size of the images, and neither makes another test image.

    Args:
        right: ``(images,)``.
        label: ``(images,)``, the true classes in the order of the data.
    """
    import numpy as np

    named = hashlib.sha256(np.asarray(label, "<i8").tobytes()).hexdigest()[:16]
    bits = base64.b64encode(np.packbits(right).tobytes()).decode()
    pieces = [bits[start : start + _PIECE] for start in range(0, len(bits), _PIECE)]
    return {TESTED: f"{len(right)}:{named}"} | {_piece(number): text for number, text in enumerate(pieces, 1)}


def unpacked(row: Mapping[str, Any]) -> "tuple[str, NDArray[np.bool_]] | None":
    """What a run's row in ``read_runs`` says: which images, and which of them were right; None where it does not.

    Raises:
        TrackingError: Bits that are no bits, or not as many as there are images.
    """
    import numpy as np

    images = row.get(tag_column(TESTED))
    if not isinstance(images, str):
        return None
    text, number = "", 1
    while isinstance(piece := row.get(tag_column(_piece(number))), str):
        text, number = text + piece, number + 1
    try:
        count = int(images.partition(":")[0])
        bits = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
        if len(bits) != -(-count // 8):
            raise ValueError
    except (ValueError, binascii.Error):
        raise TrackingError(
            f"{RIGHT} of run {row.get('run_id')} must hold a bit for each of {images.partition(':')[0]} images in "
            f"base64, got {len(text)} characters; remove its tag {TESTED} to go without."
        ) from None
    return images, np.unpackbits(bits, count=count).astype(bool)


def _piece(number: int) -> str:
    return RIGHT if number == 1 else f"{RIGHT}.{number}"
