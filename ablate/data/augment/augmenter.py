"""From a gathered batch to the one that is trained on; chance is a pure function of seed, epoch and image."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ablate.data.augment.images import augmented
from ablate.data.augment.mixing import draw_mix, erase, mixed, soft_labels
from ablate.data.augment.operations import Fill
from ablate.data.augment.spec import AugmentSpec
from ablate.data.resize import picture, pixels
from ablate.data.spec import DataError

if TYPE_CHECKING:
    from ablate.data.originals import Originals

_IMAGE, _MIX, _ERASE = range(3)  # what a stream of random numbers is for


class Augmenter:
    """Augments batches.

    Every image has a generator of its own, counted (Philox) from seed, epoch and its index in the training set: what is
    done to it depends neither on the order of the images, nor on who makes the batch, nor on what came before.

    Args:
        spec: Which augmentations are done.
        seed: Seed of all draws, with epoch and image.
        num_classes: Length of a mixed label.
        mean: Mean of each channel, pixels in 0..1: what RandAugment fills with, and where erasing's noise is centred.
        std: Standard deviation of each channel, pixels in 0..1: that of erasing's noise.

    Raises:
        DataError: The spec makes no sense, or not for these channels.
    """

    def __init__(
        self, spec: AugmentSpec, seed: int, num_classes: int, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        spec.check()
        if spec.per_image and len(mean) not in (1, 3):
            raise DataError(f"augmentation of single images needs grey or colour images, got {len(mean)} channels.")
        self.spec = spec
        self._seed, self._num_classes = seed, num_classes
        self._mean, self._std = np.array(mean, np.float32), np.array(std, np.float32)
        fill = tuple(min(255, round(255 * value)) for value in mean)
        self._fill: Fill = fill[0] if len(fill) == 1 else fill

    def __call__(
        self,
        x: NDArray[np.uint8],
        y: NDArray[np.int64],
        indices: NDArray[np.int64],
        epoch: int,
        batch: int,
        *,
        originals: "Originals | None" = None,
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """One batch.

        Args:
            x: Images in pixels, ``(batch, height, width, channels)`` uint8.
            y: Labels, ``(batch,)`` integers.
            indices: ``(batch,)``, places of the images in the training set, from 0.
            epoch: Number of the epoch, from 0.
            batch: Number of the batch in its epoch, from 0.
            originals: The training set before it was cut and scaled: what random resized crops are cut from.

        Returns:
            Images in pixels, uint8, or float32 where boxes are erased; labels ``(batch,)``, or ``(batch, classes)``
            probabilities where the spec mixes (in every epoch, so that one graph serves all).
        """
        if self.spec.per_image:
            x = self.images(x, indices, epoch, originals)
        labels: NDArray[Any] = y
        if self.spec.mixes:
            mix = None
            if not self.spec.mix_off_epoch or epoch < self.spec.mix_off_epoch:
                mix = draw_mix(self.spec, x.shape[1], x.shape[2], self._generator(_MIX, epoch, batch))
            x, labels = x if mix is None else mixed(x, mix), soft_labels(y, self._num_classes, mix)
        return (self._erased(x, indices, epoch) if self.spec.erasing_probability else x), labels

    def images(
        self,
        x: NDArray[np.uint8],
        indices: NDArray[np.int64],
        epoch: int,
        originals: "Originals | None" = None,
    ) -> NDArray[np.uint8]:
        """What is done to single images, without mixing and erasing."""
        whole = originals if self.spec.random_resized_crop.scale is not None else None
        size, result = (x.shape[2], x.shape[1]), np.empty_like(x)
        for i, index in enumerate(indices.tolist()):
            image = picture(x[i]) if whole is None else whole[index]
            result[i] = pixels(augmented(image, size, self.spec, self._fill, self._generator(_IMAGE, epoch, index)))
        return result

    def _erased(self, x: NDArray[np.uint8], indices: NDArray[np.int64], epoch: int) -> NDArray[np.float32]:
        result = x.astype(np.float32)
        for image, index in zip(result, indices.tolist(), strict=True):
            generator = self._generator(_ERASE, epoch, index)
            if generator.random() < self.spec.erasing_probability:
                erase(image, self._mean, self._std, generator)
        return result

    def _generator(self, purpose: int, epoch: int, number: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=[self._seed, epoch], counter=[0, 0, purpose, number]))
