"""Attention whose weights come of maps on manifolds, ``(batch, tokens, dim)`` to the same shape.

Maps, their norm and their mixing are computed in float32 or wider, whatever the policy.
"""

# mypy: allow-subclassing-any

from typing import Any

import keras
from keras import ops

from ablate.models.attention.layers import HeadsAttention, WeightsDropout
from ablate.models.attention.manifold import maps
from ablate.models.attention.manifold.spec import (
    GrassmannProjectionAttentionSpec,
    ManifoldAttentionSpec,
    SpdDistanceAttentionSpec,
)
from ablate.models.initializers import uniform_bias
from ablate.models.intermediates import tap
from ablate.models.numerics import layer_norm, softmax
from ablate.models.slots import Geometry
from ablate.models.spec import ModelSpec

MAP_NORM_EPSILON = 1e-5
"""PyTorch's, whatever the model's other norms add. It decides where maps are small: 1e-3 moves the logits of a model
with `grassmann_projection` by 3, measured on the fork's code (iliasprc/Compact-Transformers at 31975a0)."""


def manifold(spec: ModelSpec, geometry: Geometry, depth: int) -> "ManifoldAttention":
    """Several maps, normalised, mixed, and their softmax."""
    return ManifoldAttention(spec, geometry, depth)


def spd_distance(spec: ModelSpec, geometry: Geometry, depth: int) -> "SpdDistanceAttention":
    """The softmax of distances between covariances."""
    return SpdDistanceAttention(spec, geometry, depth)


def grassmann_projection(spec: ModelSpec, geometry: Geometry, depth: int) -> "GrassmannProjectionAttention":
    """Normalised similarities of orthonormal bases, without a softmax."""
    return GrassmannProjectionAttention(spec, geometry, depth)


class MapAttention(HeadsAttention):
    """What these variants share around weights of their own, which are computed in float32 or wider."""

    @property
    def wide(self) -> str:
        return "float64" if self.compute_dtype == "float64" else "float32"

    def add_dropout(self, rate: float) -> None:
        self.weights_dropout = WeightsDropout(rate, dtype=self.wide, name="weights_dropout")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build(input_shape)
        self.build_maps(int(input_shape[1] or 0))

    def build_maps(self, tokens: int) -> None:
        """Makes the weights of the maps, for a number of tokens."""
        raise NotImplementedError

    def weigh(self, query: Any, key: Any, training: bool) -> Any:
        """Weights of values, in float32 or wider, from queries and keys ``(batch, heads, tokens, head_dim)``."""
        raise NotImplementedError

    def call(self, x: Any, training: bool | None = None) -> Any:
        # In one piece, unlike softmax attention's: a training step of manifold CCT-7/3x2 is 2 % faster so (60d7b92).
        parts = ops.reshape(self.qkv(x), (-1, x.shape[1], 3, self.heads, self.head_dim))
        query, key, value = ops.unstack(ops.transpose(parts, (2, 0, 3, 1, 4)), 3, axis=0)
        if self.places is not None:
            query, key = self.places(query), self.places(key)
        weights = self.weigh(query, key, bool(training))
        tap(self, weights)
        weights, value = self.drop_weights(weights, value, bool(training))
        return self.joined(ops.matmul(ops.cast(weights, value.dtype), value), training)

    def drop_weights(self, weights: Any, value: Any, training: bool) -> tuple[Any, Any]:
        """Attention dropout: some weights are dropped, and the values, which are fewer, scaled up for it."""
        if not training or self.weights_dropout.rate == 0:
            return weights, value
        return self.weights_dropout(weights, training=True), value / (1 - self.weights_dropout.rate)

    def scores(self, x: Any, training: bool) -> Any:
        """Their softmax, after a positional variant that acts on scores."""
        return softmax(x if self.bias is None else self.bias(x), training=training)

    def add_scale(self, name: str) -> Any:
        """A trained number, at first that of softmax attention."""
        start = keras.initializers.Constant(self.head_dim**-0.5)
        return self.add_weight(shape=(), initializer=start, dtype=self.wide, autocast=False, name=name)


@keras.saving.register_keras_serializable(package="ablate")
class ManifoldAttention(MapAttention):
    """Maps, each times its scale, stacked; a norm; a 1 x 1 convolution to one map a head; softmax."""

    def __init__(self, spec: ModelSpec, geometry: Geometry | None, depth: int = 0, **kwargs: Any) -> None:
        super().__init__(spec, geometry, depth, **kwargs)
        self.variant: ManifoldAttentionSpec = spec.variant("attention")
        rate = spec.attention_dropout if self.variant.spd_dropout else 0.0
        self.map_dropout = WeightsDropout(rate, dtype=self.wide, name="map_dropout")

    def build_maps(self, tokens: int) -> None:
        stacked = len(self.variant.maps) * self.heads
        self.scales = {name: self.add_scale(f"{name}_scale") for name in self.variant.maps}
        if self.variant.unused_table:
            self.unused_table = self.add_weight(shape=(tokens, tokens), initializer="zeros", name="unused_table")
        self.map_norm = _map_norm(self.variant.map_norm, self.wide)
        # PyTorch numbers a norm and a convolution in one chain: a file's names depend on whether there is a norm.
        self.fusion = MapFusion(self.heads, dtype=self.wide, name="fusion_alone" if self.map_norm is None else "fusion")
        if self.map_norm is not None:
            self.map_norm.build((None, stacked, tokens, tokens))
        self.fusion.build((None, stacked, tokens, tokens))

    def weigh(self, query: Any, key: Any, training: bool) -> Any:
        found = [self._map(name, query, key, training) for name in self.variant.maps]
        for name, each in zip(self.variant.maps, found, strict=True):
            tap(self, each, name)
        x = ops.concatenate(found, axis=1) if len(found) > 1 else found[0]
        x = x if self.map_norm is None else self.map_norm(x, training=training)
        x = self.fusion(x)
        tap(self, x, "fused")
        return self.scores(x, training)

    def _map(self, name: str, query: Any, key: Any, training: bool) -> Any:
        scale = _tensor(self.scales[name])
        if name == "euclid":
            return maps.euclid(query, key, scale)
        if name == "grassmann":
            return maps.grassmann(query, key, scale, training=training)
        if not training or self.map_dropout.rate == 0:
            return maps.spd(query, key, scale)
        return self.map_dropout(maps.spd(query, key, scale / (1 - self.map_dropout.rate)), training=True)


@keras.saving.register_keras_serializable(package="ablate")
class SpdDistanceAttention(MapAttention):
    """The softmax over keys of how far apart covariances are."""

    def build_maps(self, tokens: int) -> None:
        variant: SpdDistanceAttentionSpec = self.spec.variant("attention")
        if variant.unused_scale:
            self.scale = self.add_scale("scale")
        self.norm = None
        if variant.map_norm == "rows":
            self.norm = MapNorm(axis=-1, epsilon=MAP_NORM_EPSILON, dtype=self.wide, name="norm")
            self.norm.build((None, self.heads, tokens, tokens))

    def weigh(self, query: Any, key: Any, training: bool) -> Any:
        distances = maps.spd_distance(query, key)
        return self.scores(distances if self.norm is None else self.norm(distances, training=training), training)


@keras.saving.register_keras_serializable(package="ablate")
class GrassmannProjectionAttention(MapAttention):
    """A LayerNorm, over heads and pairs of tokens, of how alike orthonormal bases are; no softmax.

    Attention dropout falls on what enters the LayerNorm.
    """

    def build_maps(self, tokens: int) -> None:
        variant: GrassmannProjectionAttentionSpec = self.spec.variant("attention")
        self.squared = variant.form == "squared"
        if variant.has_scale:
            self.scale = self.add_scale("scale")
        self.norm = MapNorm(axis=(1, 2, 3), epsilon=MAP_NORM_EPSILON, dtype=self.wide, name="norm")
        self.norm.build((None, self.heads, tokens, tokens))

    def weigh(self, query: Any, key: Any, training: bool) -> Any:
        if self.squared:
            alike = maps.grassmann(query, key, _tensor(self.scale), training=training)
        else:
            alike = maps.grassmann_projection(query, key, training=training)
        if training and self.weights_dropout.rate > 0:
            alike = self.weights_dropout(alike / (1 - self.weights_dropout.rate), training=True)
        return self.norm(alike, training=training)

    def drop_weights(self, weights: Any, value: Any, training: bool) -> tuple[Any, Any]:
        return weights, value


def _tensor(weight: Any) -> Any:
    """The value of a weight, which TensorFlow wants where a gradient is written out: it takes no variable there."""
    return weight * ops.ones((), dtype=weight.dtype)


@ops.custom_gradient  # type: ignore[untyped-decorator]
def _biased(x: Any, bias: Any) -> tuple[Any, Any]:
    """``x`` ``(batch, heads, pairs)`` plus a number a head. Its gradient, a sum over the first and the last axis, is a
    product here: for 128 images TensorFlow's own sum on a CPU takes 2 % of a training step."""
    heads, pairs = int(x.shape[1]), int(x.shape[2])

    def gradient(*arguments: Any, upstream: Any = None) -> Any:
        upstream = arguments[0] if upstream is None else upstream
        sums = ops.matmul(ops.reshape(upstream, (-1, pairs)), ops.ones((pairs, 1), dtype=x.dtype))
        return upstream, ops.sum(ops.reshape(sums, (-1, heads)), axis=0)

    return x + bias[:, None], gradient


def _map_norm(kind: str, dtype: str) -> Any:
    if kind == "layernorm":
        return MapNorm(axis=(1, 2, 3), epsilon=MAP_NORM_EPSILON, dtype=dtype, name="map_norm")
    if kind == "batchnorm":  # PyTorch's momentum of 0.1 is what Keras calls 0.9
        return keras.layers.BatchNormalization(
            axis=1, momentum=0.9, epsilon=MAP_NORM_EPSILON, dtype=dtype, name="map_norm"
        )
    return None


@keras.saving.register_keras_serializable(package="ablate")
class MapNorm(keras.layers.LayerNormalization):
    """LayerNorm over the last axis, or jointly over all axes but the batch's; faster on a CPU than Keras' own."""

    def call(self, x: Any, training: bool | None = None) -> Any:
        size = self.gamma.shape
        flat = ops.reshape(x, (-1, *x.shape[1 : -len(size)], ops.size(self.gamma)))
        gamma, beta = (ops.reshape(each, (-1,)) for each in (self.gamma, self.beta))
        return ops.reshape(layer_norm(flat, gamma, beta, self.epsilon, training=bool(training)), ops.shape(x))


@keras.saving.register_keras_serializable(package="ablate")
class MapFusion(keras.layers.Layer):
    """A 1 x 1 convolution with bias over maps ``(batch, channels, tokens, tokens)``.

    Args:
        heads: Maps that come out.
    """

    def __init__(self, heads: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heads = heads

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = int(input_shape[1] or 0)
        draw = uniform_bias(channels)
        self.kernel = self.add_weight(shape=(1, 1, channels, self.heads), initializer=draw, name="kernel")
        self.bias = self.add_weight(shape=(self.heads,), initializer=uniform_bias(channels), name="bias")

    def call(self, x: Any) -> Any:
        channels, tokens = x.shape[1], x.shape[2]
        kernel = ops.transpose(ops.reshape(self.kernel, (channels, self.heads)))
        mixed = ops.matmul(kernel, ops.reshape(x, (-1, channels, tokens**2)))
        return ops.reshape(_biased(mixed, _tensor(self.bias)), (-1, self.heads, tokens, tokens))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], self.heads, *input_shape[2:])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "heads": self.heads}
