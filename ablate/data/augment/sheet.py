"""A contact sheet: what augmentation makes of a few training images, to be looked at before hours are spent on it."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ablate.data.arrays import Splits
from ablate.data.augment.augmenter import Augmenter
from ablate.data.augment.spec import AugmentSpec

_SHOWN = 96  # pixels that an image's longer side is brought to
_GAP, _WIDE_GAP = 2, 10


def contact_sheet(splits: Splits, spec: AugmentSpec, seed: int, *, images: int = 8, epochs: int = 8) -> bytes:
    """Rows of training images: on the left as it is, then as it comes in one epoch after another.

    The rows are one batch, so that MixUp and CutMix mix the first with the last, the second with the last but one.

    Args:
        splits: The data whose training images are shown.
        spec: Which augmentations are done.
        seed: Seed of the augmentation's draws.
        images: Rows, taken evenly from the training set.
        epochs: Columns beside the first.

    Returns:
        A PNG file.

    Raises:
        DataError: The spec makes no sense, or not for these images.
    """
    augment = Augmenter(spec, seed, splits.num_classes, splits.mean, splits.std)
    chosen = np.unique(np.linspace(0, len(splits.train) - 1, images).astype(np.int64))
    x, y = splits.train.x[chosen], splits.train.y[chosen]
    columns = [x, *(augment(x, y, chosen, epoch, 0, originals=splits.train.originals)[0] for epoch in range(epochs))]
    content = io.BytesIO()
    _pasted(columns).save(content, "PNG")
    return content.getvalue()


def _pasted(columns: list[NDArray[Any]]) -> Image.Image:
    height, width = columns[0].shape[1:3]
    zoom = _SHOWN / max(height, width)
    size = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    step = (size[0] + _GAP, size[1] + _GAP)
    sheet = Image.new("RGB", (len(columns) * step[0] + _WIDE_GAP, len(columns[0]) * step[1] + _GAP), "white")
    for c, column in enumerate(columns):
        for r, pixels in enumerate(column):
            tile = _picture(pixels).resize(size, Image.Resampling.NEAREST if zoom > 1 else Image.Resampling.LANCZOS)
            sheet.paste(tile, (c * step[0] + (_WIDE_GAP if c else _GAP), r * step[1] + _GAP))
    return sheet


def _picture(pixels: NDArray[Any]) -> Image.Image:
    """Erasing's noise reaches beyond what a screen can show: it is cut there."""
    shown = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    return Image.fromarray(shown[..., 0] if shown.shape[-1] == 1 else shown)
