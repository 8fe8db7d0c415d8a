"""Layers that bring tokens to one scale, ``(batch, tokens, dim)`` to the same."""

# mypy: allow-subclassing-any

from typing import Any

import keras
from keras import ops

from ablate.models.numerics import layer_norm, rms_norm
from ablate.models.slots import Geometry
from ablate.models.spec import ModelSpec


def layer(spec: ModelSpec, geometry: Geometry, depth: int) -> "LayerNorm":
    """LayerNorm over a token's numbers."""
    return LayerNorm(epsilon=spec.norm_eps)


@keras.saving.register_keras_serializable(package="ablate")
class LayerNorm(keras.layers.LayerNormalization):
    """Keras' LayerNormalization over the last axis, faster on a CPU; computed in float32 or wider."""

    def call(self, x: Any, training: bool | None = None) -> Any:
        x = ops.cast(x, self.compute_dtype)  # Keras' layer takes any type
        return layer_norm(x, self.gamma, self.beta, self.epsilon, training=bool(training))


def rms(spec: ModelSpec, geometry: Geometry, depth: int) -> "RmsNorm":
    """RMSNorm over a token's numbers."""
    return RmsNorm(epsilon=spec.norm_eps)


@keras.saving.register_keras_serializable(package="ablate")
class RmsNorm(keras.layers.RMSNormalization):
    """Keras' RMSNormalization over the last axis, computed in float32 or wider; its scale has LayerNorm's name, gamma.

    Source: Zhang and Sennrich 2019, arXiv 1910.07467.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="gamma")
        self.built = True

    def call(self, x: Any) -> Any:
        return rms_norm(ops.cast(x, self.compute_dtype), self.scale, self.epsilon)
