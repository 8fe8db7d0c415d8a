"""From features ``(batch, dim)`` to logits ``(batch, classes)``."""

import keras

from ablate.models.initializers import TruncatedNormal
from ablate.models.slots import Geometry
from ablate.models.spec import ModelSpec


def linear(spec: ModelSpec, geometry: Geometry) -> keras.layers.Layer:
    """One dense layer. Its logits are never narrower than float32: under mixed precision the loss stays exact."""
    wide = keras.config.dtype_policy().compute_dtype == "float64"
    return keras.layers.Dense(
        geometry.num_classes,
        kernel_initializer=TruncatedNormal(),
        dtype="float64" if wide else "float32",
        name="head",
    )
