"""Cross entropy, with the smoothing as a value: another smoothing is no other graph."""

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray


def targets(y: NDArray[Any], classes: int) -> NDArray[Any]:
    """What the loss compares with, one form for both kinds of labels, so that one graph serves them.

    Args:
        y: ``(batch,)`` integers, or ``(batch, classes)`` probabilities, as mixed images have.
        classes: Outputs of the model.

    Returns:
        ``(batch, classes)`` probabilities.
    """
    if y.ndim == 2:
        return y.astype(keras.config.floatx(), copy=False)
    rows = np.zeros((len(y), classes), keras.config.floatx())
    rows[np.arange(len(y)), y] = 1
    return rows


def cross_entropy(logits: Any, target: Any, smoothing: Any) -> Any:
    """Cross entropy against ``(1 - smoothing) * target + smoothing / classes``.

    Of mixed images, timm smooths both labels before it mixes them: the same target.

    Args:
        logits: ``(batch, classes)``.
        target: ``(batch, classes)`` probabilities, which sum to 1.
        smoothing: A number or scalar tensor, 0 to 1.

    Returns:
        ``(batch,)`` in nats.
    """
    log_probabilities = keras.activations.log_softmax(logits)
    true = ops.sum(ops.cast(target, log_probabilities.dtype) * log_probabilities, axis=-1)
    return -(1 - smoothing) * true - smoothing * ops.mean(log_probabilities, axis=-1)


def correct(logits: Any, target: Any) -> Any:
    """``(batch,)`` in Keras' ``floatx``: 1 where the largest logit is the most probable class, of equals the first.

    For a mixed image that is the class of its larger part. timm shows no training accuracy where it mixes.
    """
    return ops.cast(ops.equal(ops.argmax(logits, axis=-1), ops.argmax(target, axis=-1)), keras.config.floatx())
