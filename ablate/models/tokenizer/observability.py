"""Features of each token as a linear dynamical system: the observability matrix of Konstantinidis et al.

No weights here: the LayerNorm before it and the dense layer after it belong to the layer that calls it.
"""

from typing import Any

import keras
from keras import ops


def observability(tokens: Any, order: int, blocks: int) -> Any:
    """The extended observability matrix of every token, as one row of numbers.

    A token of ``dim = order * steps`` numbers is read as ``steps`` observations of ``order`` numbers, the last
    observation first, less their mean: Y. The left singular vectors U of Y are what is observed of a state
    Z = Uᵀ Y, and A, fitted by least squares, takes the state one step on. The features are the matrices U, UA, and
    the powers 1 to ``blocks - 2`` of UA, element by element, side by side (the third matrix repeats the second).

    Singular vectors have no sign of their own: here the entry of largest magnitude in each is positive. The gradient
    has a term 1 / (λᵢ - λⱼ) for each pair of squared singular values; where the two are equal to the precision of the
    numbers it would be infinite, and the term is left out.

    Args:
        tokens: ``(batch, tokens, dim)``, after the LayerNorm.
        order: Length of an observation and of the state, l; it divides ``dim`` at least ``order + 1`` times.
        blocks: Number of matrices side by side, m, at least 2.

    Returns:
        ``(batch, tokens, blocks * order ** 2)`` in the type of ``tokens``, computed in float32 or wider.

    Raises:
        ValueError: ``dim`` has no ``order + 1`` whole observations, or ``blocks`` is below 2.

    Source: ../shared/reference/manifold/README.md, "Observability matrix"; its sign rule is that of "SVD".
    """
    dim = int(tokens.shape[-1])
    if order < 1 or dim % order or dim // order < order + 1:
        raise ValueError(
            f"dim must be a multiple of order, at least order + 1 times, got dim={dim}, order={order}; "
            "set another dim or order."
        )
    if blocks < 2:
        raise ValueError(f"blocks must be at least 2, got {blocks}.")
    kind = keras.backend.standardize_dtype(tokens.dtype)
    wide = kind if kind in ("float32", "float64") else "float32"
    steps = dim // order
    count = tokens.shape[1]
    observed = ops.reshape(ops.cast(tokens, wide), (-1, steps, order))
    observed = _transposed(ops.flip(observed, axis=1))  # (batch * tokens, order, steps)
    observed = observed - ops.mean(observed, axis=-1, keepdims=True)
    seen = left_singular_vectors(observed)
    state = ops.matmul(_transposed(seen), observed)
    before, after = state[..., :-1], state[..., 1:]
    back = _transposed(before)
    step = ops.matmul(ops.matmul(after, back), pseudo_inverse(ops.matmul(before, back)))
    moved = ops.matmul(seen, step)
    rows = ops.concatenate([seen, moved, *_powers(moved, blocks - 2)], axis=-1)
    return ops.cast(ops.reshape(rows, (-1, count, blocks * order**2)), kind)


def _powers(x: Any, highest: int) -> list[Any]:
    powers = [x][:highest]
    while len(powers) < highest:
        powers.append(powers[-1] * x)
    return powers


def left_singular_vectors(x: Any) -> Any:
    """U ``(..., rows, rows)`` of a thin SVD of ``(..., rows, columns)``, ``rows <= columns``, in float32 or wider.

    The entry of largest magnitude in each column of U is positive. U's gradient is that of the eigenvectors of x xᵀ,
    written as a change of U to first order, so that it is the same on every backend and finite at every x: TensorFlow
    and JAX give NaN where singular values are equal, such as those of a constant token.
    """
    vectors, values, _ = ops.svd(ops.stop_gradient(x), full_matrices=False)
    largest = ops.take_along_axis(vectors, ops.argmax(ops.abs(vectors), axis=-2)[..., None, :], axis=-2)
    vectors = ops.stop_gradient(ops.where(largest < 0, -vectors, vectors))
    squares = ops.stop_gradient(ops.square(values))
    gaps = squares[..., None, :] - squares[..., :, None]
    apart = ops.abs(gaps) > _resolution(squares) * squares[..., :1, None]
    factors = ops.where(apart, 1 / ops.where(apart, gaps, ops.ones_like(gaps)), ops.zeros_like(gaps))
    turned = ops.matmul(_transposed(vectors), x)
    change = _change(ops.matmul(turned, _transposed(turned)))
    return vectors + ops.matmul(vectors, factors * change)


def pseudo_inverse(x: Any) -> Any:
    """The pseudo-inverse of symmetric matrices ``(..., n, n)`` that have no negative eigenvalue.

    Eigenvalues up to n times the numbers' resolution times the largest one count as 0. Its gradient is that at
    constant rank (Golub and Pereyra 1973, SIAM Journal on Numerical Analysis 10.2, equation 4.12), finite at every x.
    """
    size = int(x.shape[-1])
    values, vectors = ops.eigh(ops.stop_gradient(x))
    kept = values > size * _resolution(values) * ops.max(values, axis=-1, keepdims=True)
    inverted = ops.where(kept, 1 / ops.where(kept, values, ops.ones_like(values)), ops.zeros_like(values))
    inverse = ops.stop_gradient(ops.matmul(vectors * inverted[..., None, :], _transposed(vectors)))
    rest = ops.stop_gradient(ops.matmul(vectors * ops.cast(~kept, x.dtype)[..., None, :], _transposed(vectors)))
    change = _change(x)
    once = ops.matmul(inverse, change)
    across = ops.matmul(ops.matmul(inverse, once), rest)
    return inverse - ops.matmul(once, inverse) + across + _transposed(across)


def _change(x: Any) -> Any:
    """0, with the gradient of ``x``."""
    return x - ops.stop_gradient(x)


def _transposed(x: Any) -> Any:
    return ops.swapaxes(x, -1, -2)


def _resolution(x: Any) -> float:
    """Distance from 1 to the next larger number of the type of ``x``."""
    return 2.0**-52 if keras.backend.standardize_dtype(x.dtype) == "float64" else 2.0**-23
