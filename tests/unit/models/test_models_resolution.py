"""The same model on images of another size: its weights, its embedding on the new grid of tokens."""

import keras
import numpy as np
import pytest
from keras import ops

from ablate.models import at_resolution, create_model
from ablate.models.positional.layers import sine_table
from ablate.models.slots import SpecError

TINY = {"dim": 8, "heads": 2, "layers": 1}


def _fresh(name="cct_2_3x2", image_size=16, **keywords):
    return create_model(name, image_size=image_size, **{"num_classes": 3, **TINY, **keywords})


def _tiny(*arguments, **keywords):
    """A small model, none of whose trained weights is 0 or another's."""
    model = _fresh(*arguments, **keywords)
    draw = np.random.default_rng(0)
    for weight in model.trainable_variables:
        weight.assign(draw.normal(size=weight.shape))
    return model


def _weight(model, path):
    return ops.convert_to_numpy(next(weight for weight in model.weights if weight.path == path))


def _images(*shape):
    return np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")


@pytest.mark.parametrize("size", [(24, 32), (16, 8)])
@pytest.mark.parametrize("name", ["cct_2_3x2", "cct_2_3x2_sine", "cct_2_3x2_none", "vit_2_4", "cct_keras_2_3x2"])
def test_at_resolution_is_the_same_model_on_its_own_grid_of_tokens(name, size):
    model = _tiny(name)
    other = at_resolution(model, size)
    assert other(_images(*size, 3)).shape == (2, 3)
    for one, two in zip(model.weights, other.weights, strict=True):
        assert one.path == two.path and one.trainable == two.trainable
        if one.path != "positional/embedding":
            np.testing.assert_array_equal(ops.convert_to_numpy(one), ops.convert_to_numpy(two))
    grid = (size[0] // 4, size[1] // 4)
    if name.endswith("_sine"):
        np.testing.assert_allclose(
            _weight(other, "positional/embedding")[0], sine_table(grid[0] * grid[1], 8), atol=1e-6
        )
    elif not name.endswith("_none"):
        stored, extra = _weight(model, "positional/embedding"), int(name.startswith("vit"))
        places = ops.image.resize(
            stored[:, extra:].reshape(1, 4, 4, 8), grid, interpolation="bilinear", antialias=False
        )
        ours = _weight(other, "positional/embedding")
        np.testing.assert_array_equal(ours[:, :extra], stored[:, :extra])
        np.testing.assert_allclose(ours[:, extra:], ops.reshape(places, (1, -1, 8)), atol=1e-5)


def test_at_resolution_of_its_own_and_back_changes_no_logit():
    wide = _tiny(image_size=(8, 24))
    x = _images(8, 24, 3)
    for other in (at_resolution(wide, (8, 24)), at_resolution(at_resolution(wide, (16, 48)), (8, 24))):
        assert other.input_shape == wide.input_shape and other is not wide
    np.testing.assert_array_equal(at_resolution(wide, (8, 24))(x), wide(x))
    assert at_resolution(_fresh(head=False), 24).output_shape == (None, 8)
    frozen = _fresh()
    frozen.get_layer("encoder").trainable = False
    assert not at_resolution(frozen, 24).get_layer("encoder").trainable


def test_at_resolution_keeps_the_precision_of_each_layer():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = _fresh()
    finally:
        keras.config.set_dtype_policy("float32")
    other = at_resolution(model, 24)
    of = [[layer.dtype_policy.name for layer in each._flatten_layers(include_self=False)] for each in (model, other)]
    assert of[0] == of[1] and of[0].count("float32") == 1  # the head
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize(("size", "message"), [(18, "multiple of the patch on either side, got 18x18"), (0, "1 pixel")])
def test_at_resolution_images_that_cannot_be_cut_are_refused(size, message):
    with pytest.raises(SpecError, match=message):
        at_resolution(_fresh("vit_2_4"), size)
