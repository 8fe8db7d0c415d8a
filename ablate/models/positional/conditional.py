"""Conditional positions: a token learns its place from its neighbours, by a depthwise convolution over the grid."""

# mypy: allow-subclassing-any

from typing import Any

import keras
from keras import ops

from ablate.models.initializers import uniform_bias
from ablate.models.positional.spec import ConditionalPositionalSpec
from ablate.models.slots import Geometry
from ablate.models.spec import ModelSpec


def conditional(spec: ModelSpec, geometry: Geometry, depth: int) -> "ConditionalPositional | None":
    """One after each block that the variant names."""
    variant: ConditionalPositionalSpec = spec.variant("positional")
    if not variant.follows(depth, spec):
        return None
    return ConditionalPositional(geometry.grid, geometry.extra_tokens, variant.kernel)


@keras.saving.register_keras_serializable(package="ablate")
class ConditionalPositional(keras.layers.Layer):
    """Adds to each image token a weighted sum of those around it, channel by channel; beyond the edge are zeros.

    Takes and gives ``(batch, tokens, dim)``. The zeros are what tells places apart.

    Args:
        grid: Rows and columns of image tokens.
        extra_tokens: Tokens in front of them, which are left as they are.
        kernel: Side of the convolution's kernel in tokens, odd.

    Source: Chu et al. 2021, arXiv 2102.10882, section 3.2. Weights and bias are drawn as PyTorch's Conv2d draws them.
    """

    def __init__(self, grid: tuple[int, int], extra_tokens: int = 0, kernel: int = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.grid = (int(grid[0]), int(grid[1]))
        self.extra_tokens = extra_tokens
        self.side = kernel

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        dim, fan_in = int(input_shape[-1] or 0), self.side**2
        shape = (self.side, self.side, 1, dim)  # as a convolution's in groups, which files of PyTorch hold
        self.kernel = self.add_weight(shape=shape, initializer=uniform_bias(fan_in), name="kernel")
        self.bias = self.add_weight(shape=(dim,), initializer=uniform_bias(fan_in), name="bias")

    def call(self, x: Any) -> Any:
        extra, tokens = x[:, : self.extra_tokens], x[:, self.extra_tokens :]
        image = ops.reshape(tokens, (-1, *self.grid, x.shape[-1]))
        kernel = ops.reshape(self.kernel, (self.side, self.side, -1, 1))
        around = ops.depthwise_conv(image, kernel, padding="same", data_format="channels_last") + self.bias
        tokens = tokens + ops.reshape(around, ops.shape(tokens))
        return ops.concatenate([extra, tokens], axis=1) if self.extra_tokens else tokens

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        own = {"grid": list(self.grid), "extra_tokens": self.extra_tokens, "kernel": self.side}
        return {**super().get_config(), **own}
