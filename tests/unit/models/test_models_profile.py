"""The cost of a model: in closed form, in its own graph, and in the official code's numbers."""

import dataclasses

import keras
import pytest
from keras import ops

from ablate.models import build, create_model
from ablate.models.cost import Macs
from ablate.models.profile import ProfileError, measure, profile
from ablate.models.spec import ModelSpec
from ablate.proof import reference

COLUMNS = {
    "params": "total_params",
    "trainable_params": "trainable_params",
    "tokens": "seq_len",
    "macs": "macs_with_attention",
    "macs_modules": "macs_matmul_only",
    "macs_fvcore": "macs_fvcore_incl_layernorm",
}


def _spec(row):
    """What was built: by the column ``pe``, which is not always what a factory's name says."""
    return ModelSpec(
        tokenizer="conv" if row["family"] == "cct" else "patch",
        kernel=int(row["P"]),
        convs=int(row["C"]),
        positional=row["pe"],
        pooling="class_token" if row["family"] == "vit" else "seqpool",
        layers=int(row["L"]),
    )


def _shape(row):
    return int(row["img_size"]), int(row["img_size"]), int(row["in_channels"])


OFF_LIST = ("CVT-7/16@32", "CVT-8/4@32", "CCT-2/5x3@32", "CCT-7/7x2@64", "ViT-Lite-4/8@32", "CCT-4/3x2@28x28x1")
"""Built from the official code's classes, and not on `ablate.models.list_models`, all of which test_models_variants
builds; in closed form test_verify counts all rows."""


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, id=row["name"], marks=() if "28x28x1-c10-learnable" in row["name"] else pytest.mark.full)
        for row in reference.variant_rows()
        if row["name"].startswith(tuple(f"class:{name}-" for name in OFF_LIST))
    ],
)
def test_built_model_equals_the_official_code(row):
    model = build(_spec(row), _shape(row), int(row["num_classes"]))
    assert dataclasses.asdict(profile(model)) == {ours: int(row[theirs]) for ours, theirs in COLUMNS.items()}
    keras.backend.clear_session()


def test_profile_leaves_model_and_layers_as_they_were():
    model = create_model("cct_2_3x2_32", dim=8)
    config = model.get_config()
    profile(model)
    assert model.get_config() == config
    assert "__call__" not in vars(keras.layers.LayerNormalization)


def test_profile_of_features_has_no_head():
    spec = ModelSpec(dim=8)
    with_head, without = (measure(build(spec, (8, 8, 1), classes)) for classes in (5, None))
    assert with_head.linear - without.linear == 8 * 5


def test_profile_without_encoder_is_refused():
    images = keras.Input((4, 4, 1))
    with pytest.raises(ProfileError, match="must have a layer named encoder"):
        profile(keras.Model(images, keras.layers.Flatten()(images)))


# ------------------------------------------------------------------------ layers that are not ours are counted too


class Mixer(keras.layers.Layer):
    """A weight times another weight costs nothing per image; an einsum with a batch is counted by its indices."""

    def build(self, input_shape):
        self.a = self.add_weight(shape=(input_shape[-1], 7))
        self.b = self.add_weight(shape=(7, 2))

    def call(self, x):
        return ops.einsum("...i,ij->...j", x, ops.matmul(self.a, self.b))


class Gram(keras.layers.Layer):
    def call(self, x):
        return ops.matmul(ops.transpose(x, (0, 2, 1)), x)


@pytest.mark.parametrize(
    ("make", "shape", "expected"),
    [
        (Mixer, (5, 3), Macs(linear=5 * 3 * 2)),
        (Gram, (5, 3), Macs(products=3 * 5 * 3)),
        (lambda: keras.layers.Dense(7), (5, 3), Macs(linear=5 * 3 * 7)),
        (lambda: keras.layers.LayerNormalization(), (5, 3), Macs(norms=5 * 15)),
        (lambda: keras.layers.RMSNormalization(), (5, 3), Macs(norms=3 * 15)),
        (lambda: keras.layers.BatchNormalization(), (5, 3), Macs(norms=2 * 15)),
        (lambda: keras.layers.DepthwiseConv2D(3, depth_multiplier=2), (8, 8, 4), Macs(linear=36 * 9 * 8)),
        (lambda: keras.layers.SeparableConv2D(6, 3), (8, 8, 4), Macs(linear=36 * 9 * 4 + 36 * 4 * 6)),
        (lambda: keras.layers.Conv2D(6, 3, groups=2), (8, 8, 4), Macs(linear=36 * 9 * 2 * 6)),
        (lambda: keras.layers.Conv1D(6, 3), (8, 4), Macs(linear=6 * 3 * 4 * 6)),
    ],
)
def test_measure_counts_any_layer(make, shape, expected):
    images = keras.Input(shape)
    assert measure(keras.Model(images, make()(images))) == expected


def test_measure_counts_attention_of_keras_own_layer():
    tokens = keras.Input((5, 3))
    model = keras.Model(tokens, keras.layers.MultiHeadAttention(2, 4)(tokens, tokens))
    assert measure(model) == Macs(linear=4 * 5 * 3 * 8, products=2 * 2 * 5 * 5 * 4)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a tf.function inside a layer needs TensorFlow")
@pytest.mark.parametrize("compiled", [False, True])
def test_measure_sees_into_a_function_of_a_layer(compiled):
    import tensorflow as tf

    class Inside(Mixer):
        @tf.function(jit_compile=compiled)
        def call(self, x):
            return super().call(x)

    images = keras.Input((5, 3))
    assert measure(keras.Model(images, Inside()(images))) == Macs(linear=5 * 3 * 2)


def test_measure_refuses_a_loop_rather_than_guess():
    class Loop(keras.layers.Layer):
        def call(self, x):
            return ops.while_loop(lambda y: ops.sum(y) < 100.0, lambda y: (y + ops.matmul(y, y),), (x,))[0]

        def compute_output_shape(self, input_shape):
            return input_shape

    images = keras.Input((3, 3))
    with pytest.raises(ProfileError, match="cannot be counted"):
        measure(keras.Model(images, Loop()(images)))
