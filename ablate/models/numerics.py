"""Softmax, GELU, LayerNorm, dropout's mask: where precision or speed asks for more than the plain call.

Without training, TensorFlow on a CPU replaces some operations by oneDNN's fused kernels: softmax, LayerNorm, and a
dense layer with its bias and GELU. Each such kernel reads and writes memory once, and rounds once, at its end. Which
operations are replaced depends on how they are written: `fusible_dense` and `_fusible_layer_norm` write them so, and
`_has_fused_kernels` says where that pays.
"""

import functools
import math
from typing import Any

import keras
from keras import ops


def softmax(x: Any, *, training: bool = True) -> Any:
    """Softmax over the last axis, computed in at least float32 and returned in the type of ``x``.

    With bfloat16's 8 bits the weights of 64 tokens would sum to 1 within a percent only.
    """
    if _is_wide(x) or (not training and _has_fused_kernels(x)):  # in float32 whatever the type
        return ops.softmax(x, axis=-1)
    return ops.cast(ops.softmax(ops.cast(x, "float32"), axis=-1), x.dtype)


def _is_wide(x: Any) -> bool:
    return keras.backend.standardize_dtype(x.dtype) in ("float32", "float64")


def widened(x: Any) -> Any:
    """In float32, or in float64 if it is: no narrower type has a QR or an SVD, and sums keep their digits."""
    return x if _is_wide(x) else ops.cast(x, "float32")


def resolution(x: Any) -> float:
    """Distance from 1 to the next larger number of the type of ``x``, float32 or float64."""
    return 2.0**-52 if keras.backend.standardize_dtype(x.dtype) == "float64" else 2.0**-23


def after(done: Any, x: Any) -> Any:
    """``x`` as it is, which JAX goes on with only once it has ``done``; the gradient of ``done`` waits for that of it.

    XLA computes side by side what does not depend on each other. Two batches of QRs, or of their gradients, can then
    wait for each other for ever on a processor of two cores (JAX 0.10.2). TensorFlow's do not, and nothing is added.
    """
    if keras.backend.backend() != "jax":
        return x

    @ops.custom_gradient  # type: ignore[untyped-decorator]
    def ordered(done: Any, x: Any) -> Any:
        def gradient(*arguments: Any, upstream: Any = None) -> Any:
            upstream = arguments[0] if upstream is None else upstream
            return _depending(upstream, ops.zeros_like(done)), upstream

        return _depending(done, x), gradient

    return ordered(done, x)


def _depending(done: Any, x: Any) -> Any:
    """``x``, whatever ``done`` holds: infinities and NaN as well. No number is NaN and 0, which no compiler works out.

    A sum with ``0 * done`` would be NaN where ``done`` is infinite; XLA's own barrier is gone when it plans what runs
    side by side.
    """
    never = ops.any(ops.logical_and(ops.isnan(done), ops.equal(done, 0)))
    return ops.where(never, ops.ones_like(x), x)


def keep_mask(shape: Any, rate: float, seeds: keras.random.SeedGenerator) -> Any:
    """What dropout keeps: booleans of a shape, each false with probability ``rate``, to a thousandth of it.

    TensorFlow on a CPU draws a number in 4 ns, which is half of what softmax and dropout take: one serves twice there.
    """
    if keras.backend.backend() != "tensorflow" or _has_gpu() or not 0.01 <= rate <= 0.99:
        return keras.random.uniform(shape, dtype="float32", seed=seeds) >= rate
    import tensorflow as tf

    size, seed = tf.reduce_prod(shape), tf.cast(seeds.next(), tf.int32)
    pairs = tf.random.stateless_uniform([(size + 1) // 2], seed, minval=None, maxval=None, dtype=tf.uint32)
    draws = tf.reshape(tf.bitcast(pairs, tf.uint16), [-1])[:size]
    return tf.reshape(draws >= round(rate * 2**16), shape)


def gelu(x: Any, *, training: bool = True) -> Any:
    """The exact GELU, by the error function; the tanh form moves the reference's logits by 4e-4.

    Written out since this order of factors takes a quarter less time on a CPU, forward and backward, than `ops.gelu`.
    Without training another order is the faster: TensorFlow fuses it with the `fusible_dense` before it. Training
    in bfloat16 widens first: TensorFlow's error function takes twice as long on narrow numbers.
    """
    if training and not _is_wide(x):
        return ops.cast(gelu(ops.cast(x, "float32")), x.dtype)
    root = 1 / math.sqrt(2)
    if training:
        return x * (0.5 + 0.5 * ops.erf(x * root))
    return (0.5 * x) * (1.0 + ops.erf(x * root))


def gelu_tanh(x: Any, *, training: bool = True) -> Any:
    """The GELU's approximation by a tanh, computed in at least float32 and returned in the type of ``x``.

    Written with a sigmoid, ``(1 + tanh(u)) / 2 = sigmoid(2 u)``, which leaves three passes over the numbers out.
    """
    if not _is_wide(x):
        return ops.cast(gelu_tanh(ops.cast(x, "float32")), x.dtype)
    first = 2 * math.sqrt(2 / math.pi)
    return x * ops.sigmoid(x * (first + 0.044715 * first * (x * x)))


def relu(x: Any, *, training: bool = True) -> Any:
    """What is above 0; 0 for the rest, where the gradient is 0 as well."""
    return ops.relu(x)


def silu(x: Any, *, training: bool = True) -> Any:
    """``x * sigmoid(x)``, computed in at least float32 and returned in the type of ``x``."""
    if not _is_wide(x):
        return ops.cast(silu(ops.cast(x, "float32")), x.dtype)
    return ops.silu(x)


def fusible_dense(dense: keras.layers.Dense, rows: Any) -> Any:
    """A dense layer's outputs ``(rows, units)`` for a matrix ``(rows, dim)``, which TensorFlow can fuse with a GELU.

    The product of matrices, the bias and a GELU after them become one fused kernel; Keras' own layer, which keeps the
    tokens' axis, is not written so.
    """
    if keras.backend.backend() != "tensorflow" or dense.bias is None:
        return dense(rows)
    import tensorflow as tf

    return tf.nn.bias_add(ops.matmul(rows, dense.kernel), ops.convert_to_tensor(dense.bias))


def layer_norm(x: Any, gamma: Any, beta: Any, epsilon: float, *, training: bool = True) -> Any:
    """LayerNorm over the last axis, computed in at least float32 and returned in the type of ``x``.

    TensorFlow on a CPU runs it op by op, and every elementwise pass over the tokens costs: there the gradient is
    written out, and without training oneDNN's fused kernel takes the place of all passes. JAX compiles such passes
    into one, and a GPU's matrix products may round to 10 bits.
    """
    kind = keras.backend.standardize_dtype(x.dtype)
    if not training and _has_fused_kernels(x):
        return _fusible_layer_norm(x, gamma, beta, epsilon)
    values = [ops.cast(value, kind if _is_wide(x) else "float32") for value in (x, gamma, beta)]
    if keras.backend.backend() != "tensorflow" or _has_gpu():
        return ops.cast(ops.layer_normalization(*values, axis=-1, epsilon=epsilon), kind)
    return ops.cast(_cpu_layer_norm(*values, epsilon=epsilon), kind)


def rms_norm(x: Any, gamma: Any, epsilon: float) -> Any:
    """RMSNorm over the last axis, computed in at least float32 and returned in the type of ``x``."""
    kind = keras.backend.standardize_dtype(x.dtype)
    x, gamma = (ops.cast(value, kind if _is_wide(x) else "float32") for value in (x, gamma))
    scale = ops.rsqrt(ops.mean(ops.square(x), axis=-1, keepdims=True) + epsilon)
    return ops.cast(x * scale * gamma, kind)


def _has_fused_kernels(x: Any) -> bool:
    """Whether TensorFlow puts oneDNN's fused kernels in the place of what is computed from ``x``, without a gradient.

    It finds some only where the number of images is open as the graph is made.
    """
    if keras.backend.backend() != "tensorflow" or x.shape[0] is not None or _has_gpu() or not _has_onednn():
        return False
    kind = keras.backend.standardize_dtype(x.dtype)
    return kind == "float32" or (kind == "bfloat16" and _has_fused_bfloat16_kernels())


@functools.cache
def _has_gpu() -> bool:
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


@functools.cache
def _has_onednn() -> bool:
    """Whether TensorFlow computes with oneDNN, as it does where the processor has VNNI; nothing public tells."""
    try:
        from tensorflow.python.util import _pywrap_util_port

        return bool(_pywrap_util_port.IsMklEnabled())
    except (ImportError, AttributeError):
        return False


@functools.cache
def _has_fused_bfloat16_kernels() -> bool:
    """Whether softmax in bfloat16 is oneDNN's fused kernel: rounded once, at its end, not after each operation."""
    import tensorflow as tf

    with tf.init_scope():  # whatever graph is being made
        x = tf.cast(tf.sin(tf.reshape(tf.range(400.0), (10, 40))), tf.bfloat16)
        rounded = tf.cast(tf.nn.softmax(tf.cast(x, tf.float32)), tf.bfloat16)
        return bool(tf.reduce_all(tf.nn.softmax(x) == rounded))


def _fusible_layer_norm(x: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
    """LayerNorm as a batch normalisation of one image whose channels are tokens, which TensorFlow looks for.

    It puts oneDNN's fused LayerNorm in its place, where the number of tokens is known only as the graph runs: 1.5 ms,
    not 3.8, for 8192 tokens of 256 numbers on one core. Left as it is, as under a gradient, it takes 6.9 ms. Under XLA
    it would lose digits where a token's mean is many times its deviation; a single image, which alone is compiled by it
    here, has a fixed shape and does not come this way.
    """
    import tensorflow as tf

    shape = tf.shape(x)
    tokens = tf.reduce_prod(shape[:-1])
    rows = tf.reshape(x, (1, tokens, int(x.shape[-1]), 1))
    nothing = tf.constant([], tf.float32)  # statistics are float32 whatever the type of x
    normalised, *_ = tf.raw_ops.FusedBatchNormV3(
        x=rows,
        scale=tf.ones((tokens,)),
        offset=tf.zeros((tokens,)),
        mean=nothing,
        variance=nothing,
        epsilon=epsilon,
        data_format="NCHW",
        is_training=True,
    )
    return tf.reshape(normalised, shape) * tf.cast(gamma, x.dtype) + tf.cast(beta, x.dtype)


def _cpu_layer_norm(x: Any, gamma: Any, beta: Any, *, epsilon: float) -> Any:
    """With ``y = gamma * n + beta`` and ``n = (x - mean) * scale``, the gradient of x is
    ``scale * (dy * gamma - mean(dy * gamma) - n * mean(dy * gamma * n))``.

    Its means are products with a column, and its sums over rows with a row: faster than reductions.
    """
    import tensorflow as tf

    width = int(x.shape[-1])

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def normalised(x: Any, gamma: Any, beta: Any) -> Any:
        rows = tf.reshape(x, (-1, width))
        centred = rows - tf.reduce_mean(rows, axis=-1, keepdims=True)
        scale = tf.math.rsqrt(tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True) + epsilon)
        n = centred * scale

        def gradient(upstream: Any) -> tuple[Any, Any, Any]:
            with tf.name_scope("norm"):  # a profile tells it so
                dy = tf.reshape(upstream, (-1, width))
                dyn = dy * n
                column = tf.reshape(gamma, (width, 1)) / width
                dx = scale * (dy * gamma - (tf.matmul(dy, column) + n * tf.matmul(dyn, column)))
                row = tf.ones((1, tf.shape(dy)[0]), dy.dtype)
                dgamma, dbeta = (tf.reshape(tf.matmul(row, each), (width,)) for each in (dyn, dy))
                return tf.reshape(dx, tf.shape(x)), dgamma, dbeta

        return tf.reshape(n * gamma + beta, tf.shape(x)), gradient

    return normalised(x, gamma, beta)
