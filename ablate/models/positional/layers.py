"""What is added to tokens to tell their places: learnable, sine, sine2d, or nothing; a learned one on another grid.

Layers from ``(batch, tokens, dim)`` to the same; a factory may return None for the identity.
"""

# mypy: allow-subclassing-any

from typing import Any

import keras
import numpy as np
from keras import ops

from ablate.models.initializers import TruncatedNormal
from ablate.models.positional.spec import LearnablePositionalSpec
from ablate.models.slots import Geometry
from ablate.models.spec import ModelSpec


def learnable(spec: ModelSpec, geometry: Geometry) -> "LearnablePositional":
    """One row a token, trained unless the variant says otherwise."""
    variant: LearnablePositionalSpec = spec.variant("positional")
    return LearnablePositional(trained=variant.trained, draw=variant.draw, name="positional")


def sine(spec: ModelSpec, geometry: Geometry) -> "SinePositional":
    """Fixed sines and cosines."""
    return SinePositional(name="positional")


def sine2d(spec: ModelSpec, geometry: Geometry) -> "Sine2dPositional":
    """Fixed sines and cosines of rows and columns."""
    return Sine2dPositional(geometry.grid, geometry.extra_tokens, name="positional")


def none(spec: ModelSpec, geometry: Geometry) -> None:
    """Tokens as they are."""
    return None


@keras.saving.register_keras_serializable(package="ablate")
class LearnablePositional(keras.layers.Layer):
    """Adds one row to each token, a class token included.

    Args:
        trained: False keeps the rows as drawn: a constant, kept with the weights, that `ablate.models.profile` does not
            count, since the Keras ports, which have it, do not.
        draw: ``normal``, of standard deviation 0.2, or ``uniform``, within ±0.05.
    """

    def __init__(self, trained: bool = True, draw: str = "normal", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.trained = trained
        self.draw = draw

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        draws = {"normal": TruncatedNormal(stddev=0.2), "uniform": keras.initializers.RandomUniform(-0.05, 0.05)}
        self.embedding = self.add_weight(
            shape=(1, *input_shape[1:]), initializer=draws[self.draw], trainable=self.trained, name="embedding"
        )

    def call(self, x: Any) -> Any:
        return x + self.embedding

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "trained": self.trained, "draw": self.draw}


@keras.saving.register_keras_serializable(package="ablate")
class SinePositional(keras.layers.Layer):
    """Adds `sine_table`. The table is a weight, as in the official code, that is never trained."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.embedding = self.add_weight(
            shape=(1, *input_shape[1:]),
            initializer=lambda shape, dtype=None: keras.ops.cast(sine_table(*shape[1:])[None], dtype),
            trainable=False,
            name="embedding",
        )

    def call(self, x: Any) -> Any:
        return x + self.embedding


@keras.saving.register_keras_serializable(package="ablate")
class Sine2dPositional(keras.layers.Layer):
    """Adds `sine2d_table` to image tokens: a constant, and no weight, so that each grid has its own.

    Args:
        grid: Rows and columns of image tokens.
        extra_tokens: Tokens in front of them, to which nothing is added.
    """

    def __init__(self, grid: tuple[int, int], extra_tokens: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.grid = (int(grid[0]), int(grid[1]))
        self.extra_tokens = extra_tokens

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        table = sine2d_table(self.grid, int(input_shape[-1] or 0))
        self.table = np.pad(table, ((self.extra_tokens, 0), (0, 0)))

    def call(self, x: Any) -> Any:
        return x + ops.cast(self.table, x.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "grid": list(self.grid), "extra_tokens": self.extra_tokens}


def sine_table(tokens: int, dim: int) -> np.ndarray:
    """Sines on even channels, cosines on odd ones, of place / 10000^(2·⌊i/2⌋/dim): ``(tokens, dim)`` in float64.

    Source: Vaswani et al. 2017, section 3.5.
    """
    channel = np.arange(dim)
    angle = np.arange(tokens)[:, None] / 10000.0 ** (2 * (channel // 2) / dim)
    return np.where(channel % 2 == 0, np.sin(angle), np.cos(angle))


def sine2d_table(grid: tuple[int, int], dim: int) -> np.ndarray:
    """`sine_table` of a token's row on the first half of its channels, of its column on the others.

    Returns:
        ``(rows * columns, dim)`` in float64, for a ``dim`` divisible by 4.

    Source: Parmar et al. 2018, arXiv 1802.05751, section 3; on Vision Transformers Beyer et al. 2022, arXiv 2205.01580.
    """
    rows, columns = (sine_table(count, dim // 2) for count in grid)
    return np.concatenate([np.repeat(rows, grid[1], axis=0), np.tile(columns, (grid[0], 1))], axis=1)


def resize(embedding: np.ndarray, old: tuple[int, int], new: tuple[int, int]) -> np.ndarray:
    """A learned embedding on another grid: bilinear between the centres of tokens, as PyTorch's ``interpolate`` has it.

    Args:
        embedding: ``(1, extra + rows * columns, dim)``; the extra rows in front, a class token's, are kept.
        old: Rows and columns of tokens that the embedding has.
        new: Rows and columns of tokens that the embedding shall have.

    Returns:
        ``(1, extra + rows * columns, dim)`` in float64. A smaller grid is sampled, not averaged (no antialias).
    """
    extra = embedding.shape[1] - old[0] * old[1]
    places = embedding[0, extra:].reshape(*old, -1).astype("float64")
    places = np.einsum("ai,bj,ijd->abd", *(_bilinear(*sides) for sides in zip(old, new, strict=True)), places)
    return np.concatenate([embedding[:, :extra], places.reshape(1, new[0] * new[1], -1)], axis=1)


def _bilinear(old: int, new: int) -> np.ndarray:
    """Weights ``(new, old)`` of the two nearest centres; beyond the outermost centres, theirs alone."""
    centre = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    before = np.floor(centre).astype(int)
    weights = np.zeros((new, old))
    weights[np.arange(new), before] = 1 - (centre - before)
    weights[np.arange(new), np.minimum(before + 1, old - 1)] += centre - before
    return weights
