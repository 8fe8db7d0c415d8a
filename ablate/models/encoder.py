"""The transformer encoder: attention, MLP and drop path in blocks, then a final LayerNorm.

Every layer maps ``(batch, tokens, dim)`` to the same shape.
"""

# mypy: allow-subclassing-any

from typing import Any

import keras
import numpy as np
from keras import ops

from ablate.models.initializers import TruncatedNormal
from ablate.models.intermediates import tap
from ablate.models.numerics import biased, gelu, kept, layer_norm, softmax
from ablate.models.spec import DropPathSchedule, ModelSpec, Residual

NORM_EPS = 1e-5  # PyTorch's default, hence the official code's; Keras' is 1e-3


def encoder(spec: ModelSpec) -> "Encoder":
    """The encoder of a spec."""
    return Encoder(
        layers=spec.layers,
        heads=spec.attention_heads,
        mlp_width=spec.mlp_width,
        dropout=spec.dropout,
        attention_dropout=spec.attention_dropout,
        stochastic_depth=spec.stochastic_depth,
        drop_path_schedule=str(spec.drop_path_schedule),
        token_dropout=spec.token_dropout,
        projection_dropout=spec.projection_dropout,
        qkv_bias=spec.qkv_bias,
        key_dim=spec.key_dim,
        residual=str(spec.residual),
        second_activation=spec.mlp_second_activation,
        norm_eps=spec.norm_eps,
        name="encoder",
    )


class _Tokenwise(keras.layers.Layer):
    """Keeps the shape of its input, which Keras would otherwise find by tracing the call."""

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape


class _WeightsDropout(keras.layers.Dropout):
    """Drops attention weights while training; the scale is left to the values, which are fewer."""

    def call(self, weights: Any, training: bool = False) -> Any:
        if not training or self.rate == 0:
            return weights
        return ops.where(kept(ops.shape(weights), self.rate, self.seed_generator), weights, ops.zeros_like(weights))


@keras.saving.register_keras_serializable(package="ablate")
class Attention(_Tokenwise):
    """Multi-head self-attention: one projection to queries, keys and values; one back, with bias.

    The projection's outputs are laid out [q | k | v], each head by head, as in the official checkpoints.

    Args:
        heads: Attention heads, which divide the width of a token where there is no ``key_dim``.
        dropout: Rate on what the layer returns.
        attention_dropout: Rate on attention weights.
        qkv_bias: Whether the projection to queries, keys and values has a bias, as in the Keras ports.
        key_dim: Width of a head; None shares the width of a token among the heads.
    """

    def __init__(
        self,
        heads: int,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        qkv_bias: bool = False,
        key_dim: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.heads = heads
        self.qkv_bias = qkv_bias
        self.key_dim = key_dim
        self.rate = dropout
        self.attention_rate = attention_dropout
        self.weights_dropout = _WeightsDropout(attention_dropout, dtype=self.dtype_policy, name="weights_dropout")
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy, name="dropout")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        dim = int(input_shape[-1] or 0)
        self.head_dim = dim // self.heads if self.key_dim is None else self.key_dim
        inner = self.heads * self.head_dim
        self.qkv = _dense(self, 3 * inner, "qkv", use_bias=self.qkv_bias)
        self.projection = _dense(self, dim, "projection")
        self.qkv.build(input_shape)
        self.projection.build((*input_shape[:-1], inner))

    def call(self, x: Any, training: bool | None = None) -> Any:
        # Split before reshaping: the gradient of a slice of one (tokens, 3, heads, head_dim) tensor is four times
        # slower on a CPU (10.5 ms against 38 to 41 ms for batch 128, 64 tokens, 2 heads, forward and backward).
        query, key, value = ops.split(self.qkv(x), 3, axis=-1)
        query = self._heads(query * self.head_dim**-0.5, (0, 2, 1, 3))
        weights = softmax(ops.matmul(query, self._heads(key, (0, 2, 3, 1))), training=bool(training))
        tap(self, weights)
        if training and self.attention_rate > 0:
            weights, value = self.weights_dropout(weights, training=True), value / (1 - self.attention_rate)
        mixed = ops.matmul(weights, self._heads(value, (0, 2, 1, 3)))
        mixed = ops.reshape(ops.transpose(mixed, (0, 2, 1, 3)), (-1, x.shape[1], self.heads * self.head_dim))
        return self.dropout(self.projection(mixed), training=training)

    def _heads(self, x: Any, order: tuple[int, int, int, int]) -> Any:
        return ops.transpose(ops.reshape(x, (-1, x.shape[1], self.heads, self.head_dim)), order)

    def get_config(self) -> dict[str, Any]:
        own = {"heads": self.heads, "dropout": self.rate, "attention_dropout": self.attention_rate}
        return {**super().get_config(), **own, "qkv_bias": self.qkv_bias, "key_dim": self.key_dim}


@keras.saving.register_keras_serializable(package="ablate")
class Mlp(_Tokenwise):
    """Two dense layers with the exact GELU between them.

    Args:
        width: Outputs of the first layer.
        dropout: Rate after GELU and after the second layer.
        second_activation: Whether a GELU follows the second layer too, as in the Keras ports.
    """

    def __init__(self, width: int, dropout: float = 0.0, second_activation: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.second_activation = second_activation
        self.rate = dropout
        self.dropout_1 = keras.layers.Dropout(dropout, dtype=self.dtype_policy, name="dropout_1")
        self.dropout_2 = keras.layers.Dropout(dropout, dtype=self.dtype_policy, name="dropout_2")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.dense_1 = _dense(self, self.width, "dense_1")
        self.dense_2 = _dense(self, int(input_shape[-1] or 0), "dense_2")
        self.dense_1.build(input_shape)
        self.dense_2.build((*input_shape[:-1], self.width))

    def call(self, x: Any, training: bool | None = None) -> Any:
        if not training:
            rows = ops.reshape(x, (-1, x.shape[-1]))  # as matrices, products are fused with what follows them
            rows = biased(self.dense_2, gelu(biased(self.dense_1, rows), training=False))
            return ops.reshape(gelu(rows, training=False) if self.second_activation else rows, ops.shape(x))
        x = self.dropout_1(gelu(self.dense_1(x)), training=training)
        x = self.dense_2(x)
        return self.dropout_2(gelu(x) if self.second_activation else x, training=training)

    def get_config(self) -> dict[str, Any]:
        own = {"width": self.width, "dropout": self.rate, "second_activation": self.second_activation}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="ablate")
class DropPath(_Tokenwise):
    """Stochastic depth: drops a residual branch for some samples of a batch while training, and scales up the others.

    Args:
        rate: Probability that a sample loses the branch, below 1.

    Source: Huang et al. 2016, arXiv 1603.09382.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = rate
        self.seed = seed
        if rate > 0:
            self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, x: Any, training: bool | None = None) -> Any:
        if not training or self.rate == 0:
            return x
        shape = (ops.shape(x)[0],) + (1,) * (len(x.shape) - 1)
        draws = keras.random.uniform(shape, dtype="float32", seed=self.seed_generator)
        scale = ops.where(draws < self.rate, 0.0, 1 / (1 - self.rate))
        return x * ops.cast(scale, x.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


@keras.saving.register_keras_serializable(package="ablate")
class Block(_Tokenwise):
    """One encoder block, as the official code has it: the second residual starts from the *normalised* tensor.

    Textbook pre-norm, ``residual="plain"``, adds the MLP to what entered the second LayerNorm; that is another
    network (the reference's logits move by at least 0.5).

    Args:
        heads: Attention heads.
        mlp_width: Hidden width of the MLP.
        dropout: Rate after GELU and after the MLP.
        attention_dropout: Rate on attention weights.
        drop_path: Probability that a sample skips attention, and, drawn anew, the MLP.
        projection_dropout: Rate after attention's projection; None takes ``dropout``.
        qkv_bias: Whether queries, keys and values have a bias.
        key_dim: Width of a head; None shares the width of a token among the heads.
        residual: ``normalised`` or ``plain``.
        second_activation: Whether a GELU follows the MLP's second layer too.
        norm_eps: Of both LayerNorms.
    """

    def __init__(
        self,
        heads: int,
        mlp_width: int,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        drop_path: float = 0.0,
        projection_dropout: float | None = None,
        qkv_bias: bool = False,
        key_dim: int | None = None,
        residual: str = "normalised",
        second_activation: bool = False,
        norm_eps: float = NORM_EPS,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.own = {
            "heads": heads,
            "mlp_width": mlp_width,
            "dropout": dropout,
            "attention_dropout": attention_dropout,
            "drop_path": drop_path,
            "projection_dropout": projection_dropout,
            "qkv_bias": qkv_bias,
            "key_dim": key_dim,
            "residual": residual,
            "second_activation": second_activation,
            "norm_eps": norm_eps,
        }
        self.plain = Residual(residual) is Residual.plain
        after = dropout if projection_dropout is None else projection_dropout
        self.norm_1 = _norm(self, "norm_1", norm_eps)
        self.attention = Attention(heads, after, attention_dropout, qkv_bias, key_dim, dtype=policy, name="attention")
        self.norm_2 = _norm(self, "norm_2", norm_eps)
        self.mlp = Mlp(mlp_width, dropout, second_activation, dtype=policy, name="mlp")
        self.drop_path = DropPath(drop_path, dtype=policy, name="drop_path")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        for layer in (self.norm_1, self.attention, self.norm_2, self.mlp, self.drop_path):
            layer.build(input_shape)

    def call(self, x: Any, training: bool | None = None) -> Any:
        attended = self.attention(self.norm_1(x), training=training)
        x = x + self.drop_path(attended, training=training)
        normalised = self.norm_2(x)
        mixed = self.drop_path(self.mlp(normalised, training=training), training=training)
        x = (x if self.plain else normalised) + mixed
        tap(self, x)
        return x

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.own}


@keras.saving.register_keras_serializable(package="ablate")
class Encoder(_Tokenwise):
    """Dropout on the embedded tokens, blocks, and a final LayerNorm.

    Args:
        layers: Blocks.
        heads: Attention heads of each.
        mlp_width: Hidden width of each MLP.
        dropout: Rate on the tokens that enter, and in the blocks.
        attention_dropout: Rate on attention weights.
        stochastic_depth: Drop-path rate of the last block.
        drop_path_schedule: ``linear``, from 0 at the first block, or ``constant``.
        token_dropout: Rate on the tokens that enter; None takes ``dropout``.
        projection_dropout: Rate after attention's projection; None takes ``dropout``.
        qkv_bias: Whether queries, keys and values have a bias.
        key_dim: Width of a head; None shares the width of a token among the heads.
        residual: What the MLP is added to: ``normalised`` tokens, or ``plain`` pre-norm.
        second_activation: Whether a GELU follows the MLP's second layer too.
        norm_eps: Of every LayerNorm.
    """

    def __init__(
        self,
        layers: int,
        heads: int,
        mlp_width: int,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        stochastic_depth: float = 0.0,
        drop_path_schedule: str = "linear",
        token_dropout: float | None = None,
        projection_dropout: float | None = None,
        qkv_bias: bool = False,
        key_dim: int | None = None,
        residual: str = "normalised",
        second_activation: bool = False,
        norm_eps: float = NORM_EPS,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.own = {
            "layers": layers,
            "heads": heads,
            "mlp_width": mlp_width,
            "dropout": dropout,
            "attention_dropout": attention_dropout,
            "stochastic_depth": stochastic_depth,
            "drop_path_schedule": drop_path_schedule,
            "token_dropout": token_dropout,
            "projection_dropout": projection_dropout,
            "qkv_bias": qkv_bias,
            "key_dim": key_dim,
            "residual": residual,
            "second_activation": second_activation,
            "norm_eps": norm_eps,
        }
        entering = dropout if token_dropout is None else token_dropout
        self.dropout = keras.layers.Dropout(entering, dtype=policy, name="dropout")
        self.blocks = [
            Block(
                heads,
                mlp_width,
                dropout,
                attention_dropout,
                rate,
                projection_dropout,
                qkv_bias,
                key_dim,
                residual,
                second_activation,
                norm_eps,
                dtype=policy,
                name=f"block_{index}",
            )
            for index, rate in enumerate(_drop_path_rates(drop_path_schedule, stochastic_depth, layers))
        ]
        self.norm = _norm(self, "norm", norm_eps)

    @property
    def layers(self) -> list[Block]:
        """The blocks, which ``model.summary(expand_nested=True)`` lists by this name."""
        return list(self.blocks)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        for block in self.blocks:
            block.build(input_shape)
        self.norm.build(input_shape)

    def call(self, x: Any, training: bool | None = None) -> Any:
        tap(self, x, "tokens")
        x = self.dropout(x, training=training)
        for block in self.blocks:
            x = block(x, training=training)
        return self.norm(x)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.own}


def _dense(parent: keras.layers.Layer, units: int, name: str, *, use_bias: bool = True) -> keras.layers.Dense:
    return keras.layers.Dense(
        units, use_bias=use_bias, kernel_initializer=TruncatedNormal(), dtype=parent.dtype_policy, name=name
    )


def _norm(parent: keras.layers.Layer, name: str, eps: float) -> "LayerNorm":
    return LayerNorm(epsilon=eps, dtype=parent.dtype_policy, name=name)


@keras.saving.register_keras_serializable(package="ablate")
class LayerNorm(keras.layers.LayerNormalization):
    """Keras' LayerNormalization over the last axis, faster on a CPU; computed in float32 or wider."""

    def call(self, x: Any, training: bool | None = None) -> Any:
        x = ops.cast(x, self.compute_dtype)  # Keras' layer takes any type
        return layer_norm(x, self.gamma, self.beta, self.epsilon, training=bool(training))


def _drop_path_rates(schedule: str, last: float, layers: int) -> list[float]:
    if DropPathSchedule(schedule) is DropPathSchedule.constant:
        return [last] * layers
    return [float(rate) for rate in np.linspace(0, last, layers)]
