"""A model at another resolution than it was built for."""

import keras

from ablate.models.classifier import drawn
from ablate.models.encoder import Encoder
from ablate.models.fusion import LateFusion
from ablate.models.slots import SpecError
from ablate.models.tokenizer.layers import PatchTokenizer
from ablate.models.tokenwise import in_policy
from ablate.models.weights import WeightsError, assign, gridded, state_dict, token_grid


def at_resolution(model: keras.Model, image_size: int | tuple[int, int]) -> keras.Model:
    """The same model for images of another size, e.g. ``at_resolution(model, 48)(images)``.

    It is built anew from its spec, so that every layer knows the new grid of tokens. All weights are the model's; a
    learned positional embedding is interpolated onto the new grid (bilinear, the class token's row kept), as is what a
    layer turns by its ``from_grid``, and a sine table is that of the new grid.

    Args:
        model: One that `ablate.models` built or loaded; it is not changed.
        image_size: Side of the images in pixels, or ``(height, width)``.

    Returns:
        A model of its own, from ``(batch, height, width, channels)`` to what ``model`` gives.

    Raises:
        SpecError: Such images cannot be cut into the model's tokens.
        WeightsError: A weight that depends on the number of tokens, such as a bias for each pair, does not fit the new
            grid.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    _check(model, height, width)
    other = _rebuilt(model, (height, width, model.input_shape[-1]))
    _check_weights(model, other, height, width)
    assign(other, state_dict(model), source=f"model {model.name!r}", grid=token_grid(model))
    return other


def _rebuilt(model: keras.Model, input_shape: tuple[int, int, int]) -> keras.Model:
    encoder = model.get_layer("encoder")
    if isinstance(encoder, Encoder | LateFusion) and encoder.geometry is not None:
        classes = encoder.geometry.num_classes if any(layer.name == "head" for layer in model.layers) else None
        with in_policy(encoder.dtype_policy):
            other = drawn(encoder.spec, input_shape, classes, name=model.name)
        for layer in model.layers:
            other.get_layer(layer.name).trainable = layer.trainable
        return other
    # A file of an older version, which says nothing of the model but its layers; of these, none kept its grid.
    images = keras.Input(input_shape, dtype=model.inputs[0].dtype, name="images")
    return keras.models.clone_model(model, input_tensors=images)


def _check_weights(model: keras.Model, other: keras.Model, height: int, width: int) -> None:
    """Raises WeightsError for a weight that no rule takes to another number of tokens."""
    shapes = {weight.path: tuple(weight.shape) for weight in model.weights}
    turned = gridded(other)
    moved = [w for w in other.weights if not w.path.endswith("positional/embedding") and w.path not in turned]
    odd = [w.path for w in moved if tuple(w.shape) != shapes.get(w.path, tuple(w.shape))]
    if odd:
        more = f" and {len(odd) - 1} more weights have" if len(odd) > 1 else " has"
        raise WeightsError(
            f"image_size must be {'x'.join(map(str, model.input_shape[1:3]))}, which this model was built for, got "
            f"{height}x{width}: {odd[0]}{more} numbers for each token or pair of "
            "tokens, which does not fit another size; build a model of that size."
        )


def _check(model: keras.Model, height: int, width: int) -> None:
    if min(height, width) < 1:
        raise SpecError(f"image_size must be at least 1 pixel on either side, got {height}x{width}.")
    tokenizer = model.get_layer("tokenizer")
    if isinstance(tokenizer, PatchTokenizer) and (height % tokenizer.kernel or width % tokenizer.kernel):
        raise SpecError(
            f"image_size must be a multiple of the patch on either side, got {height}x{width} with patches of "
            f"{tokenizer.kernel}, which cuts off the rest; change image_size."
        )
