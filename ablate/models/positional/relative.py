"""Relative positions: a trained bias on attention's scores, by how far two tokens are apart."""

# mypy: allow-subclassing-any

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from ablate.models.initializers import TruncatedNormal
from ablate.models.positional.layers import resize
from ablate.models.positional.spec import RELATIONS
from ablate.models.slots import Geometry
from ablate.models.spec import ModelSpec


def relative(spec: ModelSpec, geometry: Geometry, depth: int) -> "RelativePositional":
    """A table for each block."""
    return RelativePositional(geometry.grid, geometry.extra_tokens)


@keras.saving.register_keras_serializable(package="ablate")
class RelativePositional(keras.layers.Layer):
    """Adds a number to each score: one for each head and each difference of two tokens' rows and columns.

    Takes and gives ``(batch, heads, tokens, tokens)``. The table is ``(entries, heads)``; `relative_index` says which
    entry belongs to which two tokens.

    Args:
        grid: Rows and columns of image tokens.
        extra_tokens: Tokens in front of them, which are nowhere in the grid.

    Source: Liu et al. 2021 (Swin), arXiv 2103.14030, section 3.2; for a class token, BEiT's code (Bao et al. 2021).
    """

    def __init__(self, grid: tuple[int, int], extra_tokens: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.grid = (int(grid[0]), int(grid[1]))
        self.extra_tokens = extra_tokens

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.index = relative_index(self.grid, self.extra_tokens)
        entries = entries_of(self.grid, self.extra_tokens)
        shape = (entries, int(input_shape[1] or 0))
        self.table = self.add_weight(shape=shape, initializer=TruncatedNormal(), name="table")

    def call(self, scores: Any) -> Any:
        # Taken along the last axis: along the first, TensorFlow's gradient is sparse, which optimizers treat apart.
        bias = ops.take(ops.transpose(self.table), self.index.reshape(-1), axis=1)
        return scores + ops.cast(ops.reshape(bias, (-1, *self.index.shape)), scores.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "grid": list(self.grid), "extra_tokens": self.extra_tokens}

    def from_grid(self, name: str, weight: np.ndarray, grid: tuple[int, int] | None) -> np.ndarray:
        """The table of a model with another grid for this layer's: differences are interpolated as places are.

        Args:
            name: The weight's, ``table``.
            weight: ``(entries, heads)``.
            grid: Rows and columns that it is for; None takes this layer's if they have as many entries, or a square.

        Returns:
            The very same array where it is for this layer's grid already.

        Raises:
            ValueError: The table is for no such grid; the message goes on where its name stands.
        """
        differences = len(weight) - (RELATIONS if self.extra_tokens else 0)
        if grid is None and differences == _differences(self.grid):
            grid = self.grid
        if grid is None:
            side = (math.isqrt(max(differences, 0)) + 1) // 2
            grid = (side, side)
        if _differences(grid) != differences:
            raise ValueError(
                f"has {differences} differences of places, but a grid of {grid[0]}x{grid[1]} has {_differences(grid)}: "
                "say grid=(rows, columns) of the file's images"
            )
        if grid == self.grid:
            return weight
        old, new = ((2 * rows - 1, 2 * columns - 1) for rows, columns in (grid, self.grid))
        table: np.ndarray = resize(weight[None], old, new)[0]
        return table


def entries_of(grid: tuple[int, int], extra_tokens: int) -> int:
    """How many different pairs of tokens there are."""
    return (RELATIONS if extra_tokens else 0) + _differences(grid)


def _differences(grid: tuple[int, int]) -> int:
    return (2 * grid[0] - 1) * (2 * grid[1] - 1)


def relative_index(grid: tuple[int, int], extra_tokens: int) -> np.ndarray:
    """Which entry of the table is for a query and a key: ``(tokens, tokens)``, queries along the first axis.

    Where there are extra tokens, entry 0 is for such a query and an image token, 1 for the other way round, 2 for two
    extra tokens. Then come differences of rows, from ``1 - rows`` to ``rows - 1``, each with all of columns.
    """
    rows, columns = grid
    places = np.indices(grid).reshape(2, -1)
    down, right = places[:, :, None] - places[:, None, :] + np.array([rows - 1, columns - 1])[:, None, None]
    index: np.ndarray = down * (2 * columns - 1) + right
    if not extra_tokens:
        return index
    index = np.pad(index + RELATIONS, ((extra_tokens, 0), (extra_tokens, 0)))
    index[:extra_tokens, extra_tokens:] = 0
    index[extra_tokens:, :extra_tokens] = 1
    index[:extra_tokens, :extra_tokens] = 2
    return index
