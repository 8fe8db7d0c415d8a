"""What a training step is on any backend, and the arithmetic that all backends share.

``keras.Model.fit`` would bake the smoothing into the graph, trace anew for a last, smaller batch, and weigh a padded
one wrongly in its metrics. Here a graph is traced once, and everything else enters as a value. A graph waits for its
first use: who never clips, accumulates or averages never pays for it.
"""

from typing import Any, Protocol

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from ablate.training.loss import correct, cross_entropy


class Step(Protocol):
    """A compiled model.

    Images are ``(batch, height, width, channels)`` as they lie in memory; the model sees ``x * scale + shift``. Labels
    are ``(batch,)`` integers or ``(batch, classes)`` probabilities, and an image of weight 0 counts for nothing.
    Results may still be on their way: convert them when needed.
    """

    fixed_batch: bool
    """Whether another batch size is compiled anew, so that a smaller batch is better padded."""

    def train(
        self,
        x: NDArray[Any],
        y: NDArray[Any],
        weight: NDArray[Any],
        scale: Any,
        shift: Any,
        smoothing: float,
        clip: float | None = None,
    ) -> tuple[Any, Any]:
        """Moves the weights once. Returns the mean loss under the old ones, and how many images they got right.

        ``clip`` is the largest global norm that the gradient may have.
        """

    def accumulate(
        self,
        x: NDArray[Any],
        y: NDArray[Any],
        weight: NDArray[Any],
        scale: Any,
        shift: Any,
        smoothing: float,
        images: int,
    ) -> tuple[Any, Any]:
        """Adds the gradient of one part of a batch of ``images``. Returns its share of the mean loss, and its right."""

    def update(self, clip: float | None = None) -> None:
        """Moves the weights by what was accumulated."""

    def predict(self, x: NDArray[Any], scale: Any, shift: Any) -> Any:
        """Logits ``(batch, classes)`` in inference mode."""


def score(logits: Any, y: Any, weight: Any, smoothing: Any, images: Any) -> tuple[Any, Any]:
    """Loss and hits of a batch, or of a part of one.

    Args:
        logits: ``(batch, classes)``.
        y: Probabilities ``(batch, classes)``.
        weight: ``(batch,)``; 0 for an image that counts for nothing.
        smoothing: Label smoothing, from 0 to below 1.
        images: What the sum over images is divided by: the size of the whole batch.

    Returns:
        Its share of the mean loss over ``images``, and how many of its images are classified rightly.
    """
    loss = ops.sum(cross_entropy(logits, y, smoothing) * weight) / images
    return loss, ops.sum(correct(logits, y) * weight)


def normalise(x: Any, scale: Any, shift: Any) -> Any:
    """Images as the model sees them, in Keras' float type: ``x * scale + shift``, a number of each for a channel."""
    return ops.cast(x, keras.config.floatx()) * scale + shift


def averaged(average: Any, live: Any, decay: Any) -> Any:
    """``decay * average + (1 - decay) * live``; where that is no floating-point number, such as a count, ``live``."""
    if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(average.dtype)):
        return live
    decay = ops.cast(decay, average.dtype)
    return average * decay + live * (1 - decay)


def pad(array: NDArray[Any], size: int) -> NDArray[Any]:
    """Fills the first axis with zeros up to ``size``."""
    return np.pad(array, [(0, size - len(array))] + [(0, 0)] * (array.ndim - 1))
