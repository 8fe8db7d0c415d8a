"""Features of each token as a linear dynamical system: the observability matrix of Konstantinidis et al.

No weights here: the LayerNorm before it and the dense layer after it belong to the layer that calls it.
"""

from typing import Any

from keras import ops

from ablate.models.numerics import resolution, widened


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

    Source: iliasprc/Compact-Transformers at 31975a0, which leaves the signs to the SVD.
    """
    dim = int(tokens.shape[-1])
    if order < 1 or dim % order or dim // order < order + 1:
        raise ValueError(
            f"dim must be a multiple of order, at least order + 1 times, got dim={dim}, order={order}; "
            "set another dim or order."
        )
    if blocks < 2:
        raise ValueError(f"blocks must be at least 2, got {blocks}.")
    steps = dim // order
    count = tokens.shape[1]
    observed = ops.reshape(widened(tokens), (-1, steps, order))
    observed = _transposed(ops.flip(observed, axis=1))  # (batch * tokens, order, steps)
    observed = observed - ops.mean(observed, axis=-1, keepdims=True)
    seen = left_singular_vectors(observed)
    state = ops.matmul(_transposed(seen), observed)
    before, after = state[..., :-1], state[..., 1:]
    back = _transposed(before)
    step = ops.matmul(ops.matmul(after, back), pseudo_inverse(ops.matmul(before, back)))
    # U A is written out for each block, as the fork computes it and its MACs are counted; TensorFlow's graphs and XLA
    # find that it is the same.
    powers = [_power(ops.matmul(seen, step), power) for power in (1, *range(1, blocks - 1))]
    rows = ops.concatenate([seen, *powers], axis=-1)
    return ops.cast(ops.reshape(rows, (-1, count, blocks * order**2)), tokens.dtype)


def _power(x: Any, power: int) -> Any:
    """Element by element, by products: a power's gradient would be NaN at 0 on some backends."""
    powered = x
    for _ in range(power - 1):
        powered = powered * x
    return powered


@ops.custom_gradient  # type: ignore[untyped-decorator]
def left_singular_vectors(x: Any) -> Any:
    """U ``(..., rows, rows)`` of a thin SVD of ``(..., rows, columns)``, ``rows <= columns``, in float32 or wider.

    The entry of largest magnitude in each column of U is positive. U's gradient is that of the eigenvectors of x xᵀ,
    finite at every x: those of TensorFlow and JAX are NaN where singular values are equal, as a constant token's are.
    """
    vectors, values, _ = ops.svd(x, full_matrices=False)
    place = ops.expand_dims(ops.argmax(ops.abs(vectors), axis=-2), -2)
    is_largest = ops.expand_dims(ops.arange(int(x.shape[-2]), dtype=place.dtype), -1) == place
    largest = ops.sum(ops.where(is_largest, vectors, ops.zeros_like(vectors)), axis=-2, keepdims=True)
    vectors = ops.where(largest < 0, -vectors, vectors)

    def gradient(*arguments: Any, upstream: Any = None) -> Any:
        upstream = arguments[0] if upstream is None else upstream
        squares = ops.square(values)
        gaps = squares[..., None, :] - squares[..., :, None]
        apart = ops.abs(gaps) > resolution(squares) * squares[..., :1, None]
        factors = ops.where(apart, 1 / ops.where(apart, gaps, ops.ones_like(gaps)), ops.zeros_like(gaps))
        back = _transposed(vectors)
        turned = factors * ops.matmul(back, upstream)
        return ops.matmul(ops.matmul(vectors, turned + _transposed(turned)), ops.matmul(back, x))

    return vectors, gradient


@ops.custom_gradient  # type: ignore[untyped-decorator]
def pseudo_inverse(x: Any) -> Any:
    """The pseudo-inverse of symmetric matrices ``(..., n, n)`` that have no negative eigenvalue.

    Eigenvalues up to n times the numbers' resolution times the largest one count as 0. Its gradient is that at
    constant rank (Golub and Pereyra 1973, SIAM Journal on Numerical Analysis 10.2, equation 4.12), finite at every x.
    """
    values, vectors = ops.eigh(x)
    kept = values > int(x.shape[-1]) * resolution(values) * ops.max(values, axis=-1, keepdims=True)
    inverted = ops.where(kept, 1 / ops.where(kept, values, ops.ones_like(values)), ops.zeros_like(values))
    inverse = _composed(vectors, inverted)

    def gradient(*arguments: Any, upstream: Any = None) -> Any:
        upstream = arguments[0] if upstream is None else upstream
        rest = _composed(vectors, ops.cast(~kept, x.dtype))
        once = ops.matmul(inverse, upstream)
        back = ops.matmul(upstream, inverse)
        return (
            ops.matmul(ops.matmul(inverse, once), rest)
            + ops.matmul(rest, ops.matmul(back, inverse))
            - ops.matmul(once, inverse)
        )

    return inverse, gradient


def _composed(vectors: Any, values: Any) -> Any:
    """The matrices of these eigenvectors and eigenvalues; summed, as no product of a decomposition counts as MACs."""
    return ops.sum(vectors[..., :, None, :] * vectors[..., None, :, :] * values[..., None, None, :], axis=-1)


def _transposed(x: Any) -> Any:
    return ops.swapaxes(x, -1, -2)
