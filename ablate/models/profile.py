"""What a built model costs, counted in its own graph: the independent check on `ModelSpec`'s closed forms.

The forward pass of one image is traced on the backend that runs, and each matrix product in the graph is counted. An
operation with one operand that depends on the image multiplies an activation by a weight; with two, an activation by
an activation. So a plugin's layers are counted like ours.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from math import prod
from typing import Any

import keras

from ablate.models.cost import Macs


@dataclass(frozen=True)
class Profile:
    """The cost of a model.

    Attributes:
        params: All parameters, a fixed sine embedding included; a learnable one that is not trained is a constant.
        trainable_params: Parameters that training moves.
        tokens: Length of the sequence that the encoder sees.
        macs: Multiply-accumulates of one image: convolutions, dense layers, attention's two products, SeqPool.
        macs_modules: Convolutions and dense layers only.
        macs_fvcore: ``macs`` and 5 for each element that passes a LayerNorm, the convention of the paper's Table 1.
    """

    params: int
    trainable_params: int
    tokens: int
    macs: int
    macs_modules: int
    macs_fvcore: int


class ProfileError(ValueError):
    """A model whose cost cannot be counted; the message says why."""


def profile(model: keras.Model) -> Profile:
    """Counts parameters, tokens and MACs of a model that `ablate.models` built.

    Raises:
        ProfileError: The model has no encoder, or its graph holds an operation that cannot be counted.
    """
    if not any(layer.name == "encoder" for layer in model.layers):
        raise ProfileError(
            f"a model must have a layer named encoder, but {model.name!r} has none: build it with ablate.models."
        )
    macs = measure(model)
    return Profile(
        params=parameters(model),
        trainable_params=_size(model.trainable_weights),
        tokens=_tokens(model.get_layer("encoder")),
        macs=macs.under("macs"),
        macs_modules=macs.under("macs_modules"),
        macs_fvcore=macs.under("macs_fvcore"),
    )


def parameters(model: keras.Model) -> int:
    """Parameters as the literature counts them: a fixed sine embedding included, constants and moments left out."""
    return _size(model.weights) - _constants(model)


def _tokens(encoder: Any) -> int:
    """By its input; in late fusion, where a class token joins within each branch, as the branches were told."""
    branches = getattr(encoder, "branches", None)
    return int(branches[0].tokens if branches else encoder.input.shape[1])


def measure(model: keras.Model) -> Macs:
    """Multiply-accumulates of one image's forward pass, by kind, counted in the traced graph.

    Raises:
        ProfileError: No way to trace this backend, or an operation that cannot be counted.
    """
    counters: dict[str, Callable[[keras.Model], _Count]] = {"tensorflow": _count_tensorflow, "jax": _count_jax}
    backend = keras.backend.backend()
    if backend not in counters:
        raise ProfileError(f"MACs are counted on {' and '.join(counters)} only, but KERAS_BACKEND is {backend}.")
    with _norm_operations() as operations:
        count = counters[backend](model)
    return Macs(linear=count.linear, products=count.products, norms=sum(operations))


_MOMENTS = ("/moving_mean", "/moving_variance")


def _constants(model: keras.Model) -> int:
    """Elements of embeddings that are not trained, which the Keras ports keep as constants of their graphs, and moments
    that a BatchNorm keeps, which PyTorch does not call parameters either."""
    layers = [layer for layer in model._flatten_layers() if getattr(layer, "trained", True) is False]
    moments = [weight for weight in model.weights if weight.path.endswith(_MOMENTS)]
    return _size(moments) + sum(_size(layer.weights) for layer in layers)


def _size(weights: Sequence[Any]) -> int:
    return sum(prod(weight.shape) for weight in weights)


_NORMS = {
    keras.layers.LayerNormalization: 5,
    keras.layers.RMSNormalization: 3,
    keras.layers.BatchNormalization: 2,
}
"""Layers that normalise -> operations for each element that passes, as fvcore counts them (a batch norm in inference).
It knows no RMSNorm, which has what is left of LayerNorm's 5 without the mean's sum and its subtraction."""


@contextmanager
def _norm_operations() -> Iterator[list[int]]:
    """Notes the operations of each norm while the model is traced: a graph no longer shows that layer."""
    operations: list[int] = []
    for norm, each in _NORMS.items():
        norm.__call__ = _noting(norm, each, operations)
    try:
        yield operations
    finally:
        for norm in _NORMS:
            del norm.__call__


def _noting(norm: Any, each: int, operations: list[int]) -> Callable[..., Any]:
    def noting(self: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        operations.append(each * prod(x.shape))
        return super(norm, self).__call__(x, *args, **kwargs)

    return noting


@dataclass
class _Count:
    """MACs so far. An operation without an operand that depends on the image costs nothing per image."""

    linear: int = 0
    products: int = 0

    def add(self, macs: int, operands: Sequence[bool]) -> None:
        if all(operands):
            self.products += macs
        elif any(operands):
            self.linear += macs


# ------------------------------------------------------------------------------------------------------ TensorFlow

_TF_CONVOLUTIONS = ("Conv2D", "Conv3D", "DepthwiseConv2dNative")
_TF_OPAQUE = (
    *("While", "StatelessWhile", "If", "StatelessIf", "Case", "StatelessCase"),
    *("PartitionedCall", "StatefulPartitionedCall", "XlaCallModule", "Conv2DBackpropInput"),
)


def _count_tensorflow(model: keras.Model) -> _Count:
    import tensorflow as tf

    image = tf.TensorSpec((1, *model.input_shape[1:]), model.inputs[0].dtype)
    eager = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)  # so that a layer's own tf.function is traced in place, with known sizes
    try:
        traced = tf.compat.v1.wrap_function(lambda x: model(x, training=False), [image])
    finally:
        tf.config.run_functions_eagerly(eager)
    return _walk_tensorflow(traced.graph, traced.inputs[0])


def _walk_tensorflow(graph: Any, image: Any) -> _Count:
    count = _Count()
    tainted = {image.ref()}
    for op in graph.get_operations():
        operands = [tensor.ref() in tainted for tensor in op.inputs]
        _count_tensorflow_op(op, operands, count)
        if any(operands):
            tainted.update(tensor.ref() for tensor in op.outputs)
    return count


def _count_tensorflow_op(op: Any, operands: Sequence[bool], count: _Count) -> None:
    if op.type in _TF_OPAQUE and any(operands):
        raise ProfileError(f"{op.name} is a {op.type}, whose MACs cannot be counted; write the layer without it.")
    if op.type in _TF_CONVOLUTIONS:
        kernel = op.inputs[1].shape
        # Each output of a convolution sums kernel height x kernel width x input channels of its group.
        per_output = prod(kernel[:2]) if op.type == "DepthwiseConv2dNative" else prod(kernel[:-1])
        count.add(_static(op, op.outputs[0].shape) * per_output, operands[:2])
    elif op.type in ("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"):
        transposed = op.get_attr("transpose_a" if op.type == "MatMul" else "adj_x")
        inner = op.inputs[0].shape[-2 if transposed else -1]
        count.add(_static(op, op.outputs[0].shape) * inner, operands)
    elif op.type == "Einsum":
        count.add(_einsum(op), operands)


def _einsum(op: Any) -> int:
    """One MAC for each combination of all indices: with two operands each is a multiplication and an addition."""
    terms = op.get_attr("equation").decode().split("->")[0].split(",")
    if len(terms) != 2:
        return 0
    sizes: dict[str, int] = {}
    for term, tensor in zip(terms, op.inputs, strict=True):
        head, ellipsis, tail = term.partition("...")
        _static(op, tensor.shape)
        shape = tensor.shape.as_list()
        middle = [f"...{place}" for place in range(len(shape) - len(head) - len(tail), 0, -1)] if ellipsis else []
        for index, size in zip([*head, *middle, *tail], shape, strict=True):
            sizes[index] = max(size, sizes.get(index, 1))
    return prod(sizes.values())


def _static(op: Any, shape: Any) -> int:
    if shape.rank is None or None in shape.as_list():
        raise ProfileError(
            f"{op.name} has shape {shape} for one image, but every size must be known to count its MACs."
        )
    return prod(shape)


# ------------------------------------------------------------------------------------------------------------- JAX


def _count_jax(model: keras.Model) -> _Count:
    jax: Any = import_module("jax")  # no part of the install: it is there where KERAS_BACKEND=jax works
    trainable = [variable.value for variable in model.trainable_variables]
    fixed = [variable.value for variable in model.non_trainable_variables]

    def forward(image: Any) -> Any:
        return model.stateless_call(trainable, fixed, image, training=False)[0]

    image = jax.ShapeDtypeStruct((1, *model.input_shape[1:]), model.inputs[0].dtype)
    jaxpr = jax.make_jaxpr(forward)(image).jaxpr
    count = _Count()
    _walk_jax(jaxpr, [True], count)
    return count


def _walk_jax(jaxpr: Any, inputs: Sequence[bool], count: _Count) -> list[bool]:
    """Counts a jaxpr whose inputs depend on the image as told; returns which of its outputs do."""
    tainted = {id(var) for var, depends in zip(jaxpr.invars, inputs, strict=True) if depends}
    for eqn in jaxpr.eqns:
        operands = [id(var) in tainted for var in eqn.invars]
        inner = _inner_jaxpr(eqn, operands)
        if inner is not None:
            outputs = _walk_jax(inner, operands, count)
        else:
            _count_jax_equation(eqn, operands, count)
            outputs = [any(operands)] * len(eqn.outvars)
        tainted.update(id(var) for var, depends in zip(eqn.outvars, outputs, strict=True) if depends)
    return [id(var) in tainted for var in jaxpr.outvars]


def _inner_jaxpr(eqn: Any, operands: Sequence[bool]) -> Any:
    if eqn.primitive.name in ("while", "scan", "cond") and any(operands):
        raise ProfileError(f"a {eqn.primitive.name} has MACs that cannot be counted; write the layer without it.")
    for name in ("jaxpr", "call_jaxpr"):
        inner = eqn.params.get(name)
        if inner is not None:
            return getattr(inner, "jaxpr", inner)
    return None


def _count_jax_equation(eqn: Any, operands: Sequence[bool], count: _Count) -> None:
    out = eqn.outvars[0].aval.shape
    if eqn.primitive.name == "dot_general":
        (contracted, _), _ = eqn.params["dimension_numbers"]
        count.add(prod(out) * prod(eqn.invars[0].aval.shape[axis] for axis in contracted), operands)
    elif eqn.primitive.name == "conv_general_dilated":
        kernel = eqn.invars[1].aval.shape
        outputs = eqn.params["dimension_numbers"].rhs_spec[0]
        count.add(prod(out) * prod(kernel) // kernel[outputs], operands)
