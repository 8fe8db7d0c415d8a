"""The paper's figure: tokens, their places, an encoder, one vector, a class.

A variant of an axis brings a factory, ours and a plugin's alike, that takes the model's spec and the shapes around it:

    tokenizer(spec, geometry)  -> layer, (batch, height, width, channels) to (batch, rows * columns, dim)
    positional(spec, geometry) -> layer that keeps the shape, or None
    pooling(spec, geometry)    -> (layer that puts extra tokens in front, or None; layer from (batch, tokens, dim) to
                                  (batch, dim))
"""

from typing import Any

import keras

from ablate.models import registry
from ablate.models.cost import InputShape
from ablate.models.encoder import Encoder
from ablate.models.initializers import TruncatedNormal
from ablate.models.spec import Geometry, ModelSpec, SpecError
from ablate.models.weights import load_weights


def build(
    spec: ModelSpec, input_shape: InputShape, num_classes: int | None, *, name: str = "classifier"
) -> keras.Model:
    """Builds the model of a spec, with the weights of the file that it names, if any.

    Args:
        spec: The architecture.
        input_shape: Height, width, channels.
        num_classes: Outputs of the head; None ends the model in its features.
        name: What the Keras model is called.

    Returns:
        A model from float images ``(batch, height, width, channels)`` to logits ``(batch, num_classes)`` in float32
        (float64 under that policy), or to features ``(batch, dim)``.

    Raises:
        SpecError: The spec makes no model on such images.
        WeightsError: The file that it names does not fit the model.
    """
    model = drawn(spec, input_shape, num_classes, name=name)
    if spec.weights is not None:
        load_weights(model, spec.weights, key=spec.weights_key)
    return model


def drawn(
    spec: ModelSpec, input_shape: InputShape, num_classes: int | None, *, name: str = "classifier"
) -> keras.Model:
    """Like `build`, with all weights drawn, whatever file the spec names."""
    geometry = _geometry(spec, input_shape, num_classes)
    tokenizer, positional, (before, after) = (_layers(axis, spec, geometry) for axis in registry.AXES)

    images = keras.Input(input_shape, name="images")
    x = tokenizer(images)
    x = before(x) if before is not None else x
    x = positional(x) if positional is not None else x
    x = _checked(x, spec, geometry)
    x = Encoder(spec.encoder, name="encoder")(x)
    x = after(x)
    x = keras.layers.Dropout(spec.head_dropout, name="head_dropout")(x) if _drops(spec, num_classes) else x
    x = head(num_classes)(x) if num_classes is not None else x
    return keras.Model(images, x, name=name)


def head(num_classes: int) -> keras.layers.Layer:
    """The linear head. Its logits are never narrower than float32: under mixed precision the loss stays exact."""
    wide = keras.config.dtype_policy().compute_dtype == "float64"
    return keras.layers.Dense(
        num_classes, kernel_initializer=TruncatedNormal(), dtype="float64" if wide else "float32", name="head"
    )


def _drops(spec: ModelSpec, num_classes: int | None) -> bool:
    return num_classes is not None and spec.head_dropout > 0


def _geometry(spec: ModelSpec, input_shape: InputShape, num_classes: int | None) -> Geometry:
    spec.check()
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise SpecError(f"input_shape must be (height, width, channels), each at least 1, got {tuple(input_shape)}.")
    if num_classes is not None and num_classes < 1:
        raise SpecError(f"num_classes must be at least 1, or None for a model without a head, got {num_classes}.")
    return spec.geometry(input_shape, num_classes)


def _layers(axis: str, spec: ModelSpec, geometry: Geometry) -> Any:
    return registry.get(axis, getattr(spec, axis)).load_layer()(spec, geometry)


def _checked(x: Any, spec: ModelSpec, geometry: Geometry) -> Any:
    """A plugin's layer that contradicts its own spec would be costed wrongly: it is refused."""
    if tuple(x.shape[1:]) != (geometry.tokens, spec.width):
        raise SpecError(
            f"tokenizer={spec.tokenizer}, positional={spec.positional}, pooling={spec.pooling} must give the encoder "
            f"{geometry.tokens} tokens of width {spec.width}, as their specs say, but their layers give "
            f"{tuple(x.shape[1:])}."
        )
    return x
