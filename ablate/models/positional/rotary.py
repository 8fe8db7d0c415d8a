"""Rotary positions: queries and keys are turned by their places, and nothing is added to tokens."""

# mypy: allow-subclassing-any

from typing import Any

import keras
import numpy as np
from keras import ops

from ablate.models.positional.spec import RotaryPositionalSpec
from ablate.models.slots import Geometry
from ablate.models.spec import ModelSpec


def rotary(spec: ModelSpec, geometry: Geometry, depth: int) -> "RotaryPositional":
    """One for the queries and keys of each block."""
    variant: RotaryPositionalSpec = spec.variant("positional")
    return RotaryPositional(geometry.grid, geometry.extra_tokens, variant.axes, variant.theta)


@keras.saving.register_keras_serializable(package="ablate")
class RotaryPositional(keras.layers.Layer):
    """Turns pairs of channels of a query or a key, so that the product of two depends on how far apart they are alone.

    Takes and gives ``(batch, heads, tokens, head_dim)``. Channels ``i`` and ``i + head_dim / 2`` are a pair. The tables
    are constants, computed in float64.

    Args:
        grid: Rows and columns of image tokens.
        extra_tokens: Tokens in front of them, which are not turned.
        axes: 1 counts tokens along the sequence; 2 turns half of the pairs by the row and half by the column.
        theta: Base of the frequencies (`rotary_angles`).
    """

    def __init__(
        self, grid: tuple[int, int], extra_tokens: int = 0, axes: int = 2, theta: float = 100.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.grid = (int(grid[0]), int(grid[1]))
        self.extra_tokens = extra_tokens
        self.axes = axes
        self.theta = theta

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        angles = rotary_angles(self.grid, int(input_shape[-1] or 0), self.axes, self.theta)
        angles = np.pad(angles, ((self.extra_tokens, 0), (0, 0)))
        self.cosines, self.sines = np.cos(angles), np.sin(angles)

    def call(self, x: Any) -> Any:
        first, second = ops.split(x, 2, axis=-1)
        cosines, sines = ops.cast(self.cosines, x.dtype), ops.cast(self.sines, x.dtype)
        return ops.concatenate([first * cosines - second * sines, first * sines + second * cosines], axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        own = {"grid": list(self.grid), "extra_tokens": self.extra_tokens, "axes": self.axes, "theta": self.theta}
        return {**super().get_config(), **own}


def rotary_angles(grid: tuple[int, int], head_dim: int, axes: int, theta: float) -> np.ndarray:
    """Angles by which the pairs of channels of each image token are turned: ``(rows * columns, head_dim / 2)``.

    The n frequencies of an axis are theta^(-i/n), for i from 0 to n - 1. Where there are two axes, the first half of
    the pairs has the row's angles and the second half the column's.

    Source: Su et al. 2021, arXiv 2104.09864, section 3.2; with two axes Heo et al. 2024, arXiv 2403.13298, section 3.2.
    """
    count = head_dim // (2 * axes)
    frequencies = theta ** -(np.arange(count) / count)
    places = np.indices(grid).reshape(2, -1) if axes == 2 else np.arange(grid[0] * grid[1])[None]
    return np.concatenate([np.outer(place, frequencies) for place in places], axis=1)
