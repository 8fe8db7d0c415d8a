"""Images as they were found, opened one at a time: what a random part is cut from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ablate.data.decode import Encoded, decoded
from ablate.data.spec import Colour


@dataclass(frozen=True)
class Originals:
    """Files of images that may differ in size, in the order of the fitted ones.

    Attributes:
        files: The images.
        channels: Channels of the fitted images, 1 or 3.
        background: What shows where they are transparent.
    """

    files: Sequence[Encoded]
    channels: int
    background: Colour

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Image.Image:
        """One image in its own size, of mode L or RGB as the fitted ones are.

        Raises:
            DataError: The file is gone or damaged.
        """
        return decoded(self.files[index], self.background).convert("L" if self.channels == 1 else "RGB")

    def take(self, indices: NDArray[np.int64] | slice) -> "Originals":
        """Some of them, none of them opened."""
        chosen = self.files[indices] if isinstance(indices, slice) else [self.files[i] for i in indices.tolist()]
        return replace(self, files=chosen)
