"""The paper's figure: tokens, their places, an encoder, one vector, a class.

A variant of a slot brings a factory, ours and a plugin's alike, that takes the model's spec and the shapes around it;
``spec.variant("positional")`` is the variant with its options. In each block it takes the block's number as well, and
what it returns maps ``(batch, tokens, dim)`` to the same:

    tokenizer(spec, geometry)         -> layer, (batch, height, width, channels) to (batch, rows * columns, dim)
    positional(spec, geometry)        -> layer that keeps the shape, or None; where the variant acts within blocks
                                         (`ablate.models.slots.Place`), positional(spec, geometry, depth)
    pooling(spec, geometry)           -> (layer that puts extra tokens in front, or None; layer from (batch, tokens,
                                         dim) to (batch, dim))
    attention(spec, geometry, depth)  -> layer
    norm(spec, geometry, depth)       -> layer; depth is the number of blocks for the one after the last
    mlp(spec, geometry, depth)        -> layer
    activation(spec, geometry, depth) -> function (x, training) -> x of the MLP's hidden numbers, or a layer
    head(spec, geometry)              -> layer named head, (batch, dim) to (batch, classes)
"""

from collections.abc import Callable
from typing import Any

import keras

from ablate.models import registry
from ablate.models.cost import InputShape
from ablate.models.encoder import Encoder
from ablate.models.fusion import LateFusion
from ablate.models.slots import Geometry, Place, SpecError
from ablate.models.spec import ModelSpec
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
    tokenizer = _layers("tokenizer", spec, geometry)
    encoded = _late_fusion if spec.branches else _encoder(spec, geometry)

    images = keras.Input(input_shape, name="images")
    x = encoded(tokenizer(images), spec, geometry)
    x = keras.layers.Dropout(spec.head_dropout, name="head_dropout")(x) if _drops(spec, num_classes) else x
    x = _layers("head", spec, geometry)(x) if num_classes is not None else x
    return keras.Model(images, x, name=name)


def _encoder(spec: ModelSpec, geometry: Geometry) -> Callable[[Any, ModelSpec, Geometry], Any]:
    """From tokens to features by one encoder; its layers are made as this is called, in an order that draws follow."""
    embeds = Place(spec.variant("positional").acts_on) is Place.tokens
    positional = _layers("positional", spec, geometry) if embeds else None
    before, after = _layers("pooling", spec, geometry)

    def encoded(x: Any, spec: ModelSpec, geometry: Geometry) -> Any:
        x = before(x) if before is not None else x
        x = positional(x) if positional is not None else x
        x = _checked(x, spec, geometry)
        return after(Encoder(spec, geometry, name="encoder")(x))

    return encoded


def _late_fusion(x: Any, spec: ModelSpec, geometry: Geometry) -> Any:
    return LateFusion(spec, geometry, name="encoder")(x)


def _drops(spec: ModelSpec, num_classes: int | None) -> bool:
    return num_classes is not None and spec.head_dropout > 0


def _geometry(spec: ModelSpec, input_shape: InputShape, num_classes: int | None) -> Geometry:
    spec.check()
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise SpecError(f"input_shape must be (height, width, channels), each at least 1, got {tuple(input_shape)}.")
    if num_classes is not None and num_classes < 1:
        raise SpecError(f"num_classes must be at least 1, or None for a model without a head, got {num_classes}.")
    return spec.geometry(input_shape, num_classes)


def _layers(slot: str, spec: ModelSpec, geometry: Geometry) -> Any:
    return registry.get(slot, getattr(spec, slot)).load_layer()(spec, geometry)


def _checked(x: Any, spec: ModelSpec, geometry: Geometry) -> Any:
    """A plugin's layer that contradicts its own spec would be costed wrongly: it is refused."""
    if tuple(x.shape[1:]) != (geometry.tokens, spec.width):
        raise SpecError(
            f"tokenizer={spec.tokenizer}, positional={spec.positional}, pooling={spec.pooling} must give the encoder "
            f"{geometry.tokens} tokens of width {spec.width}, as their specs say, but their layers give "
            f"{tuple(x.shape[1:])}."
        )
    return x
