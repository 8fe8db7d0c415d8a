"""A training step, or a moving average, compiled for the backend that Keras runs on."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from ablate.training.optimizer import AdamW, ScaledAdamW
from ablate.training.steps.jax import JaxStep
from ablate.training.steps.step import Step
from ablate.training.steps.tensorflow import TensorFlowStep


def compile_step(model: keras.Model, optimizer: AdamW | ScaledAdamW, *, dtype: str = "uint8") -> Step:
    """Compiles for the backend that Keras runs on; tracing waits for the first call.

    Args:
        model: Logits from images.
        optimizer: Is built for the model's trainable variables here.
        dtype: Of the images as they come; a training step takes floats as well, as erased images are.

    Raises:
        NotImplementedError: The backend is neither TensorFlow nor JAX.
    """
    optimizer.build(model.trainable_variables)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        if tf.distribute.has_strategy():
            from ablate.training.steps.mirrored import MirroredStep

            return MirroredStep(model, optimizer, dtype)
        return TensorFlowStep(model, optimizer, dtype)
    if backend == "jax":
        return JaxStep(model, optimizer)
    raise NotImplementedError(f"training needs KERAS_BACKEND=tensorflow or jax, got {backend}.")


def compile_average(averages: list[keras.Variable], live: list[keras.Variable]) -> Callable[[float], None]:
    """A compiled ``average = decay * average + (1 - decay) * live`` of each pair, called with the decay."""
    if keras.backend.backend() == "jax":
        return _jax_average(averages, live)
    import tensorflow as tf

    def move(decay: Any) -> None:
        for average, variable in zip(averages, live, strict=True):
            average.assign(_averaged(average.value, variable.value, decay))

    scalar = tf.TensorSpec((), keras.config.floatx())
    compiled: Callable[[float], None] = tf.function(move, input_signature=[scalar], autograph=False)
    return compiled


def _jax_average(averages: list[keras.Variable], live: list[keras.Variable]) -> Callable[[float], None]:
    import jax

    moved = jax.jit(lambda old, new, decay: [_averaged(a, b, decay) for a, b in zip(old, new, strict=True)])

    def move(decay: float) -> None:
        values = moved([v.value for v in averages], [v.value for v in live], decay)
        for average, value in zip(averages, values, strict=True):
            average.assign(value)

    return move


def _averaged(average: Any, live: Any, decay: Any) -> Any:
    if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(average.dtype)):
        return live
    decay = ops.cast(decay, average.dtype)
    return average * decay + live * (1 - decay)
