"""The transformer encoder: attention, MLP and drop path in blocks, then a final LayerNorm.

Every layer maps ``(batch, tokens, dim)`` to the same shape.
"""

# mypy: allow-subclassing-any

from typing import Any

import keras
import numpy as np
from keras import ops

from ablate.models.attention.layers import Attention
from ablate.models.intermediates import tap
from ablate.models.numerics import fusible_dense, gelu
from ablate.models.spec import DropPathSchedule, EncoderSpec, Residual
from ablate.models.tokenwise import DropPath, SpecLayer, dense, norm


@keras.saving.register_keras_serializable(package="ablate")
class Mlp(SpecLayer):
    """Two dense layers with the exact GELU between them.

    Args:
        spec: The encoder's; this layer reads ``mlp_width``, ``mlp_second_activation`` and ``dropout``, the rate after
            GELU and after the second layer.
    """

    def __init__(self, spec: EncoderSpec, **kwargs: Any) -> None:
        super().__init__(spec, **kwargs)
        self.dropout_1 = keras.layers.Dropout(spec.dropout, dtype=self.dtype_policy, name="dropout_1")
        self.dropout_2 = keras.layers.Dropout(spec.dropout, dtype=self.dtype_policy, name="dropout_2")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.dense_1 = dense(self, self.spec.mlp_width, "dense_1")
        self.dense_2 = dense(self, int(input_shape[-1] or 0), "dense_2")
        self.dense_1.build(input_shape)
        self.dense_2.build((*input_shape[:-1], self.spec.mlp_width))

    def call(self, x: Any, training: bool | None = None) -> Any:
        if not training:
            rows = ops.reshape(x, (-1, x.shape[-1]))  # as matrices, products are fused with what follows them
            rows = fusible_dense(self.dense_2, gelu(fusible_dense(self.dense_1, rows), training=False))
            return ops.reshape(gelu(rows, training=False) if self.spec.mlp_second_activation else rows, ops.shape(x))
        x = self.dropout_1(gelu(self.dense_1(x)), training=training)
        x = self.dense_2(x)
        return self.dropout_2(gelu(x) if self.spec.mlp_second_activation else x, training=training)


@keras.saving.register_keras_serializable(package="ablate")
class Block(SpecLayer):
    """One encoder block, as the official code has it: the second residual starts from the *normalised* tensor.

    Textbook pre-norm, ``residual="plain"``, adds the MLP to what entered the second LayerNorm; that is another
    network (the reference's logits move by at least 0.5).

    Args:
        spec: The encoder's; a block reads all of it but for the number of blocks and their drop-path rates.
        drop_path: Probability that a sample skips attention, and, drawn anew, the MLP; from 0 to below 1.
    """

    def __init__(self, spec: EncoderSpec, drop_path: float = 0.0, **kwargs: Any) -> None:
        super().__init__(spec, **kwargs)
        policy = self.dtype_policy
        self.plain = Residual(spec.residual) is Residual.plain
        self.norm_1 = norm(self, "norm_1", spec.norm_eps)
        self.attention = Attention(spec, dtype=policy, name="attention")
        self.norm_2 = norm(self, "norm_2", spec.norm_eps)
        self.mlp = Mlp(spec, dtype=policy, name="mlp")
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
        return {**super().get_config(), "drop_path": self.drop_path.rate}


@keras.saving.register_keras_serializable(package="ablate")
class Encoder(SpecLayer):
    """Dropout on the embedded tokens, blocks, and a final LayerNorm.

    Args:
        spec: Number of the blocks, their widths, rates and options.
    """

    def __init__(self, spec: EncoderSpec, **kwargs: Any) -> None:
        super().__init__(spec, **kwargs)
        policy = self.dtype_policy
        entering = spec.dropout if spec.token_dropout is None else spec.token_dropout
        self.dropout = keras.layers.Dropout(entering, dtype=policy, name="dropout")
        self.blocks = [
            Block(spec, rate, dtype=policy, name=f"block_{index}") for index, rate in enumerate(_drop_path_rates(spec))
        ]
        self.norm = norm(self, "norm", spec.norm_eps)

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


def _drop_path_rates(spec: EncoderSpec) -> list[float]:
    if DropPathSchedule(spec.drop_path_schedule) is DropPathSchedule.constant:
        return [spec.stochastic_depth] * spec.layers
    return [float(rate) for rate in np.linspace(0, spec.stochastic_depth, spec.layers)]
