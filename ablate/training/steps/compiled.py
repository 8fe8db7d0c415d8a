"""Chooses the backend: a training step, or a moving average of weights, compiled for the one that Keras runs on."""

from collections.abc import Callable

import keras

from ablate.training.optimizer import AdamW, ScaledAdamW
from ablate.training.steps.jax import JaxStep, jax_average
from ablate.training.steps.step import Step
from ablate.training.steps.tensorflow import TensorFlowStep, tensorflow_average


def compile_step(model: keras.Model, optimizer: AdamW | ScaledAdamW, *, dtype: str = "uint8") -> Step:
    """Compiles for the backend that Keras runs on; tracing waits for the first call.

    Args:
        model: Logits from images.
        optimizer: Is built for the model's trainable variables here.
        dtype: Type of the images as they come; a training step takes floats as well, as erased images are.

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
    average = jax_average if keras.backend.backend() == "jax" else tensorflow_average
    return average(averages, live)
