"""Looking inside a model without touching it: layers say what passes through them, to whoever listens."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras
import numpy as np
from keras import ops

_ENDS = {"tokenizer": "tokenizer", "features": "pooling", "logits": "head"}
"""Layers of the model itself, whose outputs need no tap."""

_listener: ContextVar[dict[str, Any] | None] = ContextVar("listener", default=None)


def tap(layer: keras.layers.Layer, value: Any, what: str = "") -> None:
    """Offers an intermediate value, under the layer's path, to the `trace` that is running, if any.

    A plugin's layer may call this too: ``tap(self, weights, "weights")`` in a layer at ``pooling`` is traced as
    ``pooling.weights``.
    """
    heard = _listener.get()
    if heard is not None:
        path = [part for part in str(layer.path).split("/") if part != "encoder"]
        heard[".".join([*path, what] if what else path)] = value


def is_traced() -> bool:
    """Whether a `trace` is running, for a layer that computes a value only to offer it."""
    return _listener.get() is not None


@contextmanager
def _listening() -> Iterator[dict[str, Any]]:
    heard: dict[str, Any] = {}
    token = _listener.set(heard)
    try:
        yield heard
    finally:
        _listener.reset(token)


def trace(model: keras.Model, x: Any) -> dict[str, np.ndarray]:
    """Runs a model on a batch, in inference mode, and returns what passed through it, by name.

    Args:
        model: One that `ablate.models` built or loaded; it is not changed.
        x: Images, ``(batch, height, width, channels)``.

    Returns:
        In float32 or wider, in the order of the computation: ``tokenizer``, its output, ``(batch, rows * columns,
        dim)``; ``tokens``, what enters the first block, with class token and positional embedding, ``(batch, tokens,
        dim)``; ``block_i.attention``, ``(batch, heads, tokens, tokens)``, rows summing to 1 (with attention=linear,
        which needs no such table, it is computed here alone); ``block_i``, its output; for SeqPool ``pooling.weights``,
        ``(batch, tokens)``; ``features``, what enters the head, ``(batch, dim)``; and ``logits``, unless the model was
        built without a head.
    """
    there = {layer.name for layer in model.layers}
    ends = {name: model.get_layer(layer).output for name, layer in _ENDS.items() if layer in there}
    with _listening() as heard:
        outputs = keras.Model(model.inputs, ends)(ops.convert_to_tensor(x), training=False)
    named = {"tokenizer": outputs.pop("tokenizer"), **heard, **outputs}
    return {name: _array(value) for name, value in named.items()}


def _array(value: Any) -> np.ndarray:
    array = ops.convert_to_numpy(value)
    return array.astype("float32") if array.dtype.itemsize < 4 else np.asarray(array)
