"""How tokens look at each other: multi-head self-attention, ``(batch, tokens, dim)`` to the same shape."""

# mypy: allow-subclassing-any

from typing import Any

import keras
from keras import ops

from ablate.models.intermediates import is_traced, tap
from ablate.models.numerics import keep_mask, softmax, widened
from ablate.models.slots import Geometry, Place
from ablate.models.spec import ModelSpec
from ablate.models.tokenwise import BlockLayer, dense, in_policy, positional_layer


def softmax_attention(spec: ModelSpec, geometry: Geometry, depth: int) -> "SoftmaxAttention":
    """The softmax of scaled products of queries and keys weighs values."""
    return SoftmaxAttention(spec, geometry, depth)


@keras.saving.register_keras_serializable(package="ablate")
class WeightsDropout(keras.layers.Dropout):
    """Drops attention weights while training; the scale is left to the values, which are fewer."""

    def call(self, weights: Any, training: bool = False) -> Any:
        if not training or self.rate == 0:
            return weights
        mask = keep_mask(ops.shape(weights), self.rate, self.seed_generator)
        return ops.where(mask, weights, ops.zeros_like(weights))


class HeadsAttention(BlockLayer):
    """What attention of several heads shares: one projection to queries, keys and values, and one back, with bias.

    The first projection's outputs are laid out [q | k | v], each head by head, as in the official checkpoints.

    Args:
        spec: The model's; a layer reads ``heads``, ``key_dim``, ``qkv_bias``, ``attention_dropout``,
            ``projection_dropout``, and a positional variant that acts on queries and keys or on scores.
        geometry: Shapes around the encoder.
        depth: Which block, from 0.
    """

    def __init__(self, spec: ModelSpec, geometry: Geometry | None, depth: int = 0, **kwargs: Any) -> None:
        super().__init__(spec, geometry, depth, **kwargs)
        self.heads, self.head_dim = spec.attention_heads, spec.key_width
        self.add_dropout(spec.attention_dropout)
        after = spec.dropout if spec.projection_dropout is None else spec.projection_dropout
        self.dropout = keras.layers.Dropout(after, dtype=self.dtype_policy, name="dropout")
        with in_policy(self.dtype_policy):
            self.places = positional_layer(spec, geometry, depth, Place.queries_keys)
            self.bias = positional_layer(spec, geometry, depth, Place.scores)

    def add_dropout(self, rate: float) -> None:
        """Makes the layer that drops attention weights with probability ``rate``."""
        self.weights_dropout = WeightsDropout(rate, dtype=self.dtype_policy, name="weights_dropout")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        inner, tokens = self.heads * self.head_dim, input_shape[1]
        self.qkv = dense(self, 3 * inner, "qkv", use_bias=self.spec.qkv_bias)
        self.projection = dense(self, int(input_shape[-1] or 0), "projection")
        self.qkv.build(input_shape)
        self.projection.build((*input_shape[:-1], inner))
        if self.places is not None:
            self.places.build((None, self.heads, tokens, self.head_dim))
        if self.bias is not None:
            self.bias.build((None, self.heads, tokens, tokens))

    def split_heads(self, x: Any, order: tuple[int, int, int, int] = (0, 2, 1, 3)) -> Any:
        """``(batch, tokens, heads * head_dim)`` to ``(batch, heads, tokens, head_dim)``, or in another order."""
        return ops.transpose(ops.reshape(x, (-1, x.shape[1], self.heads, self.head_dim)), order)

    def joined(self, mixed: Any, training: bool | None) -> Any:
        """Mixed values ``(batch, heads, tokens, head_dim)``, projected to ``(batch, tokens, dim)``."""
        tokens = mixed.shape[2]
        mixed = ops.reshape(ops.transpose(mixed, (0, 2, 1, 3)), (-1, tokens, self.heads * self.head_dim))
        return self.dropout(self.projection(mixed), training=training)


@keras.saving.register_keras_serializable(package="ablate")
class SoftmaxAttention(HeadsAttention):
    """Multi-head self-attention with the softmax of scaled products of queries and keys."""

    def call(self, x: Any, training: bool | None = None) -> Any:
        # Split before reshaping: the gradient of a slice of one (tokens, 3, heads, head_dim) tensor is four times
        # slower on a CPU (10.5 ms against 38 to 41 ms for batch 128, 64 tokens, 2 heads, forward and backward).
        query, key, value = ops.split(self.qkv(x), 3, axis=-1)
        query = self.split_heads(query * self.head_dim**-0.5)
        if self.places is None:
            key = self.split_heads(key, (0, 2, 3, 1))
        else:
            query, key = self.places(query), self.places(self.split_heads(key))
            key = ops.transpose(key, (0, 1, 3, 2))
        scores = ops.matmul(query, key)
        scores = scores if self.bias is None else self.bias(scores)
        weights = softmax(scores, training=bool(training))
        tap(self, weights)
        if training and self.weights_dropout.rate > 0:
            weights, value = self.weights_dropout(weights, training=True), value / (1 - self.weights_dropout.rate)
        return self.joined(ops.matmul(weights, self.split_heads(value)), training)


def linear_attention(spec: ModelSpec, geometry: Geometry, depth: int) -> "LinearAttention":
    """Products of ``elu + 1`` of queries and keys weigh values."""
    return LinearAttention(spec, geometry, depth)


@keras.saving.register_keras_serializable(package="ablate")
class LinearAttention(HeadsAttention):
    """Multi-head attention with weights ``f(q) f(k) / sum of f(q) f(k) over keys``, f(x) = elu(x) + 1.

    No weight is computed, but for `ablate.models.trace`: keys are multiplied with values first, which takes ``tokens *
    head_dim**2`` products a head. Feature maps and sums are in float32 or wider. Three things are decided here:

    - A positional variant of queries and keys acts on their feature maps, and not in the sum that divides, which stays
      above 0 so (Su et al. 2021, arXiv 2104.09864, equation 19).
    - ``attention_dropout`` drops a weight together with those that other queries of the image give to the same key in
      that head. As in softmax attention, the remaining weights are scaled up, and no longer sum to 1.
    - 1e-6 is added to the sum that divides, as in the authors' code.

    Source: Katharopoulos et al. 2020, arXiv 2006.16236; github.com/idiap/fast-transformers.
    """

    def add_dropout(self, rate: float) -> None:
        noise = (None, None, None, 1)
        self.keys_dropout = keras.layers.Dropout(rate, noise, dtype=self.dtype_policy, name="keys_dropout")

    def call(self, x: Any, training: bool | None = None) -> Any:
        query, key, value = (self.split_heads(each) for each in ops.split(self.qkv(x), 3, axis=-1))
        value = self.keys_dropout(value, training=training)
        query, key, value = widened(query), widened(key), widened(value)
        query, key = ops.elu(query) + 1, ops.elu(key) + 1
        totals = ops.matmul(query, ops.expand_dims(ops.sum(key, axis=2), -1)) + 1e-6
        if self.places is not None:
            query, key = (widened(self.places(each)) for each in (query, key))
        turned = ops.transpose(key, (0, 1, 3, 2))
        if is_traced():
            tap(self, ops.matmul(query, turned) / totals)
        mixed = ops.matmul(query, ops.matmul(turned, value)) / totals
        return self.joined(ops.cast(mixed, self.compute_dtype), training)
