"""A model's logits for whoever asks again and again, such as a server.

Keras' ``predict`` sets up a pipeline of data each time it is called, which takes longer than a small model.
"""

import threading
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

AT_ONCE = 128
"""Images in one call, so that memory stays bounded."""


class Predictor:
    """Logits of images, as the model gives them with ``training=False``.

    A single image is compiled by XLA when one first comes (a second or two), and then takes 0.6 of the time; for many,
    oneDNN's fused kernels (`ablate.models.numerics`) are faster. JAX compiles each number of images.
    """

    def __init__(self, model: keras.Model, scale: NDArray[Any], shift: NDArray[Any], *, dtype: str = "float32") -> None:
        """Takes a model of logits.

        Args:
            model: On images ``(height, width, channels)``.
            scale: ``(channels,)``, what pixels are multiplied by.
            shift: ``(channels,)``, what is added to the product.
            dtype: Type of the pixels, such as ``uint8``.
        """
        self._dtype, self._one_by_one = dtype, threading.Lock()  # under JAX Keras keeps state between calls
        pixels, floatx = keras.Input(model.input_shape[1:], dtype=dtype), keras.config.floatx()
        numbers = keras.ops.cast(pixels, floatx)  # by hand: `layers.Rescaling` asks for TensorFlow on any backend
        numbers = numbers * np.asarray(scale, floatx) + np.asarray(shift, floatx)
        logits = model(numbers, training=False)
        self._model = keras.Model(pixels, logits)
        if keras.backend.backend() == "tensorflow":
            self._many, self._alone = self._traced(dtype, None), self._traced(dtype, 1)
        else:
            self._model.compile(jit_compile=True)
            self._many = self._alone = self._model.predict_on_batch

    def _traced(self, dtype: str, images: int | None) -> Callable[[NDArray[Any]], Any]:
        """TensorFlow fuses LayerNorm where the number of images is open, which Keras' own compiled call fixes."""
        import tensorflow as tf

        def logits(x: Any) -> Any:
            return self._model(x, training=False)

        signature = [tf.TensorSpec((images, *self._model.input_shape[1:]), dtype)]
        traced: Callable[[NDArray[Any]], Any] = tf.function(
            logits, input_signature=signature, jit_compile=images == 1, autograph=False
        )
        return traced

    def __call__(self, images: NDArray[Any]) -> NDArray[Any]:
        """Logits ``(images, classes)`` of any number of images ``(images, height, width, channels)``.

        Raises:
            ValueError: Images are not of the model's shape.
        """
        x, shape = np.asarray(images, self._dtype), self._model.input_shape[1:]
        if x.shape[1:] != shape:
            raise ValueError(f"images must be (images, {', '.join(map(str, shape))}), got {x.shape}; resize them.")
        with self._one_by_one:
            parts = [self._logits(x[start : start + AT_ONCE]) for start in range(0, max(1, len(x)), AT_ONCE)]
        return np.concatenate([np.asarray(part, keras.config.floatx()) for part in parts])

    def _logits(self, x: NDArray[Any]) -> Any:
        if len(x) == 1:
            try:
                return self._alone(x)
            except Exception:  # XLA does not know every operation that a plugin may have
                self._alone = self._many
        return self._many(x)
