"""One training step and one forward pass, compiled: a graph is traced once, and everything else enters as a value.

``keras.Model.fit`` would bake the smoothing into the graph, trace anew for a last, smaller batch, and weigh a padded
one wrongly in its metrics. What differs between backends is how they differentiate and compile; it all stands here.
"""

from typing import Any, Protocol

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from ablate.training.loss import correct, cross_entropy
from ablate.training.optimizer import AdamW


class Step(Protocol):
    """A compiled model.

    Images are ``(batch, height, width, channels)`` as they lie in memory; the model sees ``x * scale + shift``.
    """

    fixed_batch: bool
    """Whether another batch size is compiled anew, so that a smaller batch is better padded."""

    def train(
        self, x: NDArray[Any], y: NDArray[Any], weight: NDArray[Any], scale: Any, shift: Any, smoothing: float
    ) -> tuple[Any, Any]:
        """Moves the weights once. Returns the mean loss under the old ones, and how many images they got right.

        An image of weight 0 counts for nothing. The results may still be on their way: convert them when needed.
        """

    def predict(self, x: NDArray[Any], scale: Any, shift: Any) -> Any:
        """Logits ``(batch, classes)`` in inference mode."""


def compile_step(model: keras.Model, optimizer: AdamW, *, dtype: str = "uint8") -> Step:
    """Compiles for the backend that Keras runs on; tracing waits for the first call.

    Args:
        model: Logits from images.
        optimizer: Is built for the model's trainable variables here.
        dtype: Of the images as they come.

    Raises:
        NotImplementedError: The backend is neither TensorFlow nor JAX.
    """
    optimizer.build(model.trainable_variables)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return _TensorFlowStep(model, optimizer, dtype)
    if backend == "jax":
        return _JaxStep(model, optimizer)
    raise NotImplementedError(f"training needs KERAS_BACKEND=tensorflow or jax, got {backend}.")


def _score(logits: Any, y: Any, weight: Any, smoothing: Any) -> tuple[Any, Any]:
    loss = ops.sum(cross_entropy(logits, y, smoothing) * weight) / ops.sum(weight)
    return loss, ops.sum(correct(logits, y) * weight)


def _normalise(x: Any, scale: Any, shift: Any) -> Any:
    return ops.cast(x, keras.config.floatx()) * scale + shift


class _TensorFlowStep:
    fixed_batch = False

    def __init__(self, model: keras.Model, optimizer: AdamW, dtype: str) -> None:
        import tensorflow as tf

        self._gradient_tape = tf.GradientTape
        self._model, self._optimizer = model, optimizer
        real = keras.config.floatx()
        images = tf.TensorSpec((None, *model.input_shape[1:]), dtype)
        moments = [tf.TensorSpec((model.input_shape[-1],), real)] * 2
        batch = [images, tf.TensorSpec((None,), "int64"), tf.TensorSpec((None,), real)]
        scalar = tf.TensorSpec((), real)
        self.train = tf.function(self._train, input_signature=[*batch, *moments, scalar], autograph=False)
        self.predict = tf.function(self._predict, input_signature=[images, *moments], autograph=False)

    def _train(self, x: Any, y: Any, weight: Any, scale: Any, shift: Any, smoothing: Any) -> tuple[Any, Any]:
        with self._gradient_tape() as tape:
            logits = self._model(_normalise(x, scale, shift), training=True)
            loss, right = _score(logits, y, weight, smoothing)
        variables = self._model.trainable_variables
        self._optimizer.apply(tape.gradient(loss, variables), variables)
        return loss, right

    def _predict(self, x: Any, scale: Any, shift: Any) -> Any:
        return self._model(_normalise(x, scale, shift), training=False)


class _JaxStep:
    fixed_batch = True

    def __init__(self, model: keras.Model, optimizer: AdamW) -> None:
        import jax

        self._model, self._optimizer = model, optimizer
        self._gradient = jax.value_and_grad(self._objective, has_aux=True)
        # The old values are dropped as the new ones come: half the memory.
        self._train = jax.jit(self._moved, donate_argnums=0)
        self._predict = jax.jit(self._logits)

    def train(
        self, x: NDArray[Any], y: NDArray[Any], weight: NDArray[Any], scale: Any, shift: Any, smoothing: float
    ) -> tuple[Any, Any]:
        variables = self._variables()
        values = [[v.value for v in group] for group in variables]
        moved, loss, right = self._train(values, x, y, weight, scale, shift, smoothing)
        for group, new in zip(variables, moved, strict=True):
            for variable, value in zip(group, new, strict=True):
                variable.assign(value)
        return loss, right

    def predict(self, x: NDArray[Any], scale: Any, shift: Any) -> Any:
        trainable, fixed, _ = ([v.value for v in group] for group in self._variables())
        return self._predict(trainable, fixed, x, scale, shift)

    def _variables(self) -> tuple[list[keras.Variable], list[keras.Variable], list[keras.Variable]]:
        return self._model.trainable_variables, self._model.non_trainable_variables, self._optimizer.variables

    def _objective(self, trainable: Any, fixed: Any, x: Any, y: Any, weight: Any, smoothing: Any) -> tuple[Any, Any]:
        logits, fixed = self._model.stateless_call(trainable, fixed, x, training=True)
        loss, right = _score(logits, y, weight, smoothing)
        return loss, (right, fixed)

    def _moved(
        self, values: Any, x: Any, y: Any, weight: Any, scale: Any, shift: Any, smoothing: Any
    ) -> tuple[Any, Any, Any]:
        trainable, fixed, state = values
        x = _normalise(x, scale, shift)
        (loss, (right, fixed)), gradients = self._gradient(trainable, fixed, x, y, weight, smoothing)
        trainable, state = self._optimizer.stateless_apply(state, gradients, trainable)
        return (trainable, fixed, state), loss, right

    def _logits(self, trainable: Any, fixed: Any, x: Any, scale: Any, shift: Any) -> Any:
        return self._model.stateless_call(trainable, fixed, _normalise(x, scale, shift), training=False)[0]


def pad(array: NDArray[Any], size: int) -> NDArray[Any]:
    """Fills the first axis with zeros up to ``size``."""
    return np.pad(array, [(0, size - len(array))] + [(0, 0)] * (array.ndim - 1))
