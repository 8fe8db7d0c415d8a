"""A learned positional embedding at another resolution than it was learned at."""

import numpy as np


def resize(embedding: np.ndarray, old: tuple[int, int], new: tuple[int, int]) -> np.ndarray:
    """Another grid's embedding: bilinear between the centres of tokens, as PyTorch's ``interpolate`` has it.

    Args:
        embedding: ``(1, extra + rows * columns, dim)``; the extra rows in front, a class token's, are kept.
        old: Rows and columns that it has.
        new: Rows and columns that it shall have.

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
