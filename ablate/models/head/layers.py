"""From features ``(batch, dim)`` to logits ``(batch, classes)``, in float32 or wider: under mixed precision the loss
stays exact."""

# mypy: allow-subclassing-any

from typing import Any

import keras
from keras import ops

from ablate.models.initializers import TruncatedNormal
from ablate.models.slots import Geometry
from ablate.models.spec import ModelSpec
from ablate.models.tokenwise import dense


def linear(spec: ModelSpec, geometry: Geometry) -> keras.layers.Layer:
    """One dense layer."""
    return keras.layers.Dense(
        geometry.num_classes, kernel_initializer=TruncatedNormal(), dtype=_wide_policy(), name="head"
    )


def mlp(spec: ModelSpec, geometry: Geometry) -> "MlpHead":
    """A dense layer, tanh, and a dense layer to the classes, all in float32 or wider."""
    return MlpHead(geometry.num_classes or 0, dtype=_wide_policy(), name="head")


@keras.saving.register_keras_serializable(package="ablate")
class MlpHead(keras.layers.Layer):
    """``linear(tanh(hidden(x)))``, ``(batch, dim)`` to ``(batch, classes)``; ``hidden`` is as wide as its input.

    Args:
        classes: Number of outputs.

    Source: Dosovitskiy et al. 2021, arXiv 2010.11929, section 3.1.
    """

    def __init__(self, classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.classes = classes

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.hidden = dense(self, int(input_shape[-1] or 0), "hidden")
        self.linear = dense(self, self.classes, "linear")
        self.hidden.build(input_shape)
        self.linear.build(input_shape)

    def call(self, x: Any) -> Any:
        return self.linear(ops.tanh(self.hidden(x)))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape[0], self.classes

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "classes": self.classes}


def _wide_policy() -> str:
    return "float64" if keras.config.dtype_policy().compute_dtype == "float64" else "float32"
