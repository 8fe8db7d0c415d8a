"""How alike tokens are on three manifolds: functions of queries and keys ``(batch, heads, tokens, head_dim)``.

Each gives ``(batch, heads, tokens, tokens)`` in float32 or wider, times a scale where it takes one. No weights here.

Source of all formulas: the fork's code, iliasprc/Compact-Transformers at 31975a0; Konstantinidis et al. 2022, arXiv
2207.08569, is its paper.
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from ablate.models.numerics import after, resolution, widened

PANEL = 48
"""Columns that TensorFlow's QR takes at once in training. A CPU's takes more than 48 in another, slower way, and where
there are up to 1.5 times as many rows as columns, panels make up for what they cost: 65 x 64 takes 0.75 times as long,
96 x 64 0.92, 128 x 64 1.17 (one thread)."""


def euclid(query: Any, key: Any, scale: Any = 1.0) -> Any:
    """Inner products, as softmax attention has them."""
    return ops.matmul(widened(query) * scale, _transposed(widened(key)))


def spd(query: Any, key: Any, scale: Any = 1.0) -> Any:
    """The product of two covariance matrices, element by element without its sign."""
    # Both divisors are in the scale: one number, where queries and keys are many.
    product = ops.matmul(_scatter(widened(query)), _scatter(widened(key)))
    return _scaled_absolute(product, scale / _degrees(query) ** 2)


def spd_distance(query: Any, key: Any) -> Any:
    """How far two covariance matrices are apart, element by element: large where tokens are unlike."""
    return ops.abs(covariance(query) - covariance(key))


def grassmann(query: Any, key: Any, scale: Any = 1.0, *, training: bool = False) -> Any:
    """Squared inner products of the rows of two orthonormal bases."""
    query, key = orthonormal_pair(query, key, training=training)
    return _scaled_square(ops.matmul(query, _transposed(key)), scale)


def grassmann_projection(query: Any, key: Any, *, training: bool = False) -> Any:
    """Inner products of the squared entries of two orthonormal bases' rows: sums over the outer products of columns."""
    query, key = orthonormal_pair(query, key, training=training)
    return ops.matmul(ops.square(query), _transposed(ops.square(key)))


def covariance(x: Any) -> Any:
    """Covariances between tokens, ``(..., tokens, tokens)``, of their ``head_dim`` features.

    Divided by ``head_dim - 1``, or by 1 where there is a single feature.
    """
    return _scatter(widened(x)) / _degrees(x)


def _scatter(x: Any) -> Any:
    """Covariances before the division."""
    centred = x - ops.mean(x, axis=-1, keepdims=True)
    return ops.matmul(centred, _transposed(centred))


def _degrees(x: Any) -> int:
    """What covariances are divided by."""
    return max(1, int(x.shape[-1]) - 1)


def orthonormal_pair(query: Any, key: Any, *, training: bool = False) -> tuple[Any, Any]:
    """`orthonormal` of both, in one call.

    Two that XLA may run side by side on a CPU of two cores can wait for each other for ever: 512 QRs of 65 x 64 twice
    in one graph do with JAX 0.10.2.
    """
    both = orthonormal(ops.concatenate([query, key], axis=1), training=training)
    first, second = ops.split(both, 2, axis=1)
    return first, second


def orthonormal(x: Any, *, training: bool = False) -> Any:
    """The thin Q factor ``(..., tokens, min(tokens, head_dim))`` of a QR of ``(..., tokens, head_dim)``.

    A QR is unique up to the sign of each column. The signs are Householder's, as LAPACK has them: where the pivot is at
    least 0 the diagonal of R is negative, and the other way round, and a step that has nothing to eliminate is left
    out. With at most as many tokens as features, Q is that of the leading square.

    A column that depends on those before it leaves its column of Q open: repeated tokens, such as a black border, bring
    that about. The usual gradient is then NaN or noise. So where an entry of R's diagonal is at most
    ``8 * max(tokens, head_dim)`` times the numbers' resolution times the largest one, that column of Q is taken to turn
    only as it must to stay at right angles to the columns before it. Everywhere else the gradient is exact. (Rounding
    leaves up to 21 resolutions there, of 16 tokens with repeats; the usual bound of a matrix' rank has no factor 8.)

    In training TensorFlow may reflect panels of `PANEL` columns: the same reflections in the same order. Rounding
    differs, and is no larger (root mean square distance to float64's Q, of 64 x 64 float32 numbers: 0.9 times);
    without training it is that of one QR, by which a model can be held against the fork's.
    """
    x = widened(x)
    rows, columns = int(x.shape[-2]), int(x.shape[-1])
    x = x[..., :rows] if rows < columns else x
    in_panels = training and keras.backend.backend() == "tensorflow"
    return _orthonormal(x, _qr_in_panels if in_panels else _qr)


def _qr(x: Any) -> Any:
    return ops.qr(x, mode="reduced")


def _qr_in_panels(x: Any) -> Any:
    """Thin Q and R of at least as many rows as columns."""
    rows, columns = int(x.shape[-2]), int(x.shape[-1])
    if columns <= PANEL or 2 * rows > 3 * columns:
        return _qr(x)
    first, upper = ops.qr(x[..., :PANEL], mode="complete")
    rest = ops.matmul(_transposed(first), x[..., PANEL:])
    second, lower = _qr_in_panels(rest[..., PANEL:, :])
    basis = ops.concatenate([first[..., :PANEL], ops.matmul(first[..., PANEL:], second)], axis=-1)
    right = ops.concatenate([rest[..., :PANEL, :], lower], axis=-2)
    return basis, ops.concatenate([upper[..., :columns, :], right], axis=-1)


def _orthonormal(x: Any, factorise: Callable[[Any], Any]) -> Any:
    """The Q that ``factorise`` gives, with the gradient that `orthonormal` promises."""

    @ops.custom_gradient  # type: ignore[untyped-decorator]
    def orthonormal(x: Any) -> Any:
        basis, factor = factorise(x)

        def gradient(*arguments: Any, upstream: Any = None) -> Any:
            """With P = Qᵀ dQ: dx = (dQ - Q P + Q K) R⁻ᵀ, where K is what lies below the diagonal of P - Pᵀ.

            A column without a direction of its own has 1 / R_jj = 0: in R its row becomes that of the identity, and its
            column of the inverse becomes 0. Where x is square, dQ - Q P is 0. The inverse is written out, since a
            product with it needs no transposed copies of what it is multiplied with.

            Source: Walter and Lehmann 2010, arXiv 1009.6112, with dR = 0.
            """
            upstream = arguments[0] if upstream is None else upstream
            rows, columns = int(x.shape[-2]), int(x.shape[-1])
            diagonal = ops.abs(ops.diagonal(factor, axis1=-2, axis2=-1))
            least = 8 * max(rows, columns) * resolution(x) * ops.max(diagonal, axis=-1, keepdims=True)
            own = diagonal > least
            unit = ops.eye(columns, dtype=factor.dtype)
            # Else XLA solves beside the QR of the next block or branch, and both may wait for each other.
            regular = ops.where(ops.expand_dims(own, -1), after(upstream, factor), unit)
            kept = ops.expand_dims(ops.cast(own, factor.dtype), -2)
            inverse = ops.solve_triangular(regular, unit * kept, lower=False)
            inner = ops.matmul(_transposed(basis), upstream)
            below = ops.tril(ops.ones((columns, columns), dtype=factor.dtype), -1)
            turned = (inner - _transposed(inner)) * below
            square = rows == columns
            outer = ops.matmul(basis, turned) if square else upstream + ops.matmul(basis, turned - inner)
            return ops.matmul(outer, _transposed(inverse))

        return basis, gradient

    return orthonormal(x)


def _scaled_absolute(x: Any, scale: Any) -> Any:
    return _scaled(x, ops.convert_to_tensor(scale, dtype=x.dtype), ops.abs, lambda x, dy: ops.sign(x) * dy, 1)


def _scaled_square(x: Any, scale: Any) -> Any:
    return _scaled(x, ops.convert_to_tensor(scale, dtype=x.dtype), ops.square, lambda x, dy: x * dy, 2)


def _scaled(x: Any, scale: Any, function: Callable[[Any], Any], turn: Callable[[Any, Any], Any], degree: int) -> Any:
    """A homogeneous function, such as a power, times a number: with t = turn(x, dy), dx = degree * scale * t, and the
    number's gradient is the inner product of t and x. On a CPU each pass over the maps that this saves counts."""

    @ops.custom_gradient  # type: ignore[untyped-decorator]
    def scaled(x: Any, scale: Any) -> Any:
        def gradient(*arguments: Any, upstream: Any = None) -> Any:
            turned = turn(x, arguments[0] if upstream is None else upstream)
            inner = ops.matmul(ops.reshape(turned, (1, -1)), ops.reshape(x, (-1, 1)))
            return turned * (degree * scale), ops.reshape(inner, ())

        return function(x) * scale, gradient

    return scaled(x, scale)


def _transposed(x: Any) -> Any:
    return ops.swapaxes(x, -1, -2)
