"""What each token passes alone, ``(batch, tokens, dim)`` to the same; a factory may return None for nothing."""

# mypy: allow-subclassing-any

from typing import Any

import keras
from keras import ops

from ablate.models.numerics import fusible_dense
from ablate.models.slots import Geometry
from ablate.models.spec import ModelSpec
from ablate.models.tokenwise import BlockLayer, dense, variant_layer


class TwoLayerMlp(BlockLayer):
    """What two dense layers share, whatever stands between them.

    Args:
        spec: The model's; a layer reads ``mlp_width``, ``activation``, ``mlp_second_activation`` and ``dropout``, the
            rate between the layers and after the second one.
        geometry: Shapes around the encoder.
        depth: Which block, from 0.
    """

    def __init__(self, spec: ModelSpec, geometry: Geometry | None, depth: int = 0, **kwargs: Any) -> None:
        super().__init__(spec, geometry, depth, **kwargs)
        self.dropout_1 = keras.layers.Dropout(spec.dropout, dtype=self.dtype_policy, name="dropout_1")
        self.dropout_2 = keras.layers.Dropout(spec.dropout, dtype=self.dtype_policy, name="dropout_2")
        self.activation = variant_layer("activation", spec, geometry, depth, "activation")

    def widths(self) -> tuple[int, int]:
        """Numbers that the first layer gives, and that the second takes."""
        return self.spec.mlp_width, self.spec.mlp_width

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        given, taken = self.widths()
        self.dense_1 = dense(self, given, "dense_1")
        self.dense_2 = dense(self, int(input_shape[-1] or 0), "dense_2")
        self.dense_1.build(input_shape)
        self.dense_2.build((*input_shape[:-1], taken))
        if isinstance(self.activation, keras.layers.Layer):
            self.activation.build((*input_shape[:-1], taken))

    def second(self, x: Any, training: bool | None) -> Any:
        """The second layer, and what follows it."""
        x = self.dense_2(x)
        x = self.activation(x, training=training) if self.spec.mlp_second_activation else x
        return self.dropout_2(x, training=training)


def plain(spec: ModelSpec, geometry: Geometry, depth: int) -> "PlainMlp":
    """Two dense layers."""
    return PlainMlp(spec, geometry, depth)


@keras.saving.register_keras_serializable(package="ablate")
class PlainMlp(TwoLayerMlp):
    """Two dense layers with the activation between them."""

    def call(self, x: Any, training: bool | None = None) -> Any:
        if not training and not isinstance(self.activation, keras.layers.Layer):
            rows = ops.reshape(x, (-1, x.shape[-1]))  # as matrices, products are fused with what follows them
            hidden = self.activation(fusible_dense(self.dense_1, rows), training=False)
            rows = fusible_dense(self.dense_2, hidden)
            rows = self.activation(rows, training=False) if self.spec.mlp_second_activation else rows
            return ops.reshape(rows, ops.shape(x))
        x = self.dropout_1(self.activation(self.dense_1(x), training=training), training=training)
        return self.second(x, training)


def gated(spec: ModelSpec, geometry: Geometry, depth: int) -> "GatedMlp":
    """Values that an activated gate multiplies."""
    return GatedMlp(spec, geometry, depth)


def none(spec: ModelSpec, geometry: Geometry, depth: int) -> None:
    """Nothing."""


@keras.saving.register_keras_serializable(package="ablate")
class GatedMlp(TwoLayerMlp):
    """Two dense layers with a gate between them: ``dense_2(activation(gate) * value)``.

    ``dense_1`` gives [gate | value], in one product of matrices; their width is the gated variant's own.

    Source: Shazeer 2020, arXiv 2002.05202.
    """

    def widths(self) -> tuple[int, int]:
        units = self.spec.variant_at("mlp", self.depth).hidden(self.spec)
        return 2 * units, units

    def call(self, x: Any, training: bool | None = None) -> Any:
        gate, value = ops.split(self.dense_1(x), 2, axis=-1)
        x = self.dropout_1(self.activation(gate, training=training) * value, training=training)
        return self.second(x, training)
