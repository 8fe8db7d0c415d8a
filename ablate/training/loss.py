"""Cross entropy, with the smoothing as a value: another smoothing is no other graph."""

from typing import Any

import keras
from keras import ops


def cross_entropy(logits: Any, labels: Any, smoothing: Any) -> Any:
    """Cross entropy against ``(1 - smoothing) * onehot + smoothing / classes``.

    Args:
        logits: ``(batch, classes)``.
        labels: ``(batch,)`` integers.
        smoothing: A number or scalar tensor, 0 to 1.

    Returns:
        ``(batch,)`` in nats.
    """
    log_probabilities = keras.activations.log_softmax(logits)
    target = ops.one_hot(labels, logits.shape[-1], dtype=log_probabilities.dtype)
    true = ops.sum(target * log_probabilities, axis=-1)
    return -(1 - smoothing) * true - smoothing * ops.mean(log_probabilities, axis=-1)


def correct(logits: Any, labels: Any) -> Any:
    """``(batch,)`` float32: 1 where the largest logit is the true class."""
    return ops.cast(ops.equal(ops.argmax(logits, axis=-1), ops.cast(labels, "int32")), "float32")
