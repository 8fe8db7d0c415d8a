"""A sequence of tokens to one vector: SeqPool, a class token, the mean.

A factory returns two layers, or None for the first: one before the positional embedding, which may add tokens in
front, ``(batch, tokens, dim)`` to ``(batch, more tokens, dim)``; one after the encoder, ``(batch, tokens, dim)`` to
``(batch, dim)``.
"""

# mypy: allow-subclassing-any

from typing import Any

import keras
from keras import ops

from ablate.models.initializers import TruncatedNormal
from ablate.models.intermediates import tap
from ablate.models.numerics import softmax
from ablate.models.slots import Geometry
from ablate.models.spec import ModelSpec


def seqpool(spec: ModelSpec, geometry: Geometry) -> "tuple[None, SeqPool]":
    """CVT's and CCT's sequence pooling."""
    return None, SeqPool(sums=spec.variant("pooling").sums, name="pooling")


def class_token(spec: ModelSpec, geometry: Geometry) -> "tuple[ClassToken, FirstToken]":
    """ViT's class token, at both ends."""
    return ClassToken(name="class_token"), FirstToken(name="pooling")


def mean(spec: ModelSpec, geometry: Geometry) -> tuple[None, Any]:
    """The plain mean over tokens."""
    return None, keras.layers.GlobalAveragePooling1D(name="pooling")


@keras.saving.register_keras_serializable(package="ablate")
class SeqPool(keras.layers.Layer):
    """A learned weighted mean of the tokens; the weights are the softmax over tokens of a dense layer with one output.

    Args:
        sums: Whether the softmax is over the dense layer's one output instead: every weight is 1, and the tokens are
            summed. That is what CCT-keras computes.

    Source: Hassani et al. 2021, section 3.2.
    """

    def __init__(self, sums: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sums = sums
        self.attention = keras.layers.Dense(
            1, kernel_initializer=TruncatedNormal(), dtype=self.dtype_policy, name="attention"
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.attention.build(input_shape)

    def call(self, x: Any) -> Any:
        scores = ops.squeeze(self.attention(x), -1)
        # A softmax over one value: 1 whatever the score, and a gradient of 0 to the dense layer.
        weights = ops.exp(scores - scores) if self.sums else softmax(scores)
        tap(self, weights, "weights")
        return ops.squeeze(ops.matmul(ops.expand_dims(weights, 1), x), 1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape[0], input_shape[2]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "sums": self.sums}


@keras.saving.register_keras_serializable(package="ablate")
class ClassToken(keras.layers.Layer):
    """Puts one trained token, 0 at first, in front of the sequence."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        # Three dimensions, as in the official code: weight decay spares 1-D tensors only.
        self.token = self.add_weight(shape=(1, 1, input_shape[-1]), initializer="zeros", name="token")

    def call(self, x: Any) -> Any:
        token = ops.cast(self.token, x.dtype)
        return ops.concatenate([ops.broadcast_to(token, (ops.shape(x)[0], 1, x.shape[-1])), x], axis=1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape[0], None if input_shape[1] is None else input_shape[1] + 1, input_shape[2]


@keras.saving.register_keras_serializable(package="ablate")
class FirstToken(keras.layers.Layer):
    """Reads the token in front, which is the class token."""

    def call(self, x: Any) -> Any:
        return x[:, 0]
