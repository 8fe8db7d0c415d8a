"""Keras' sides: ours as a run trains it, and a plain model as one writes it who follows the example of keras.io.

Both compute with Keras' backend, which is JAX where ``KERAS_BACKEND=jax`` says so: then no TensorFlow is needed.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from ablate.models.classifier import build
from ablate.models.inference import Predictor
from ablate.training.hardware import HardwareSpec, Precision, prepare
from ablate.training.optimizer import AdamW
from ablate.training.steps.compiled import compile_step
from benchmarks.contender import Call
from benchmarks.models import spec

SMOOTHING, DECAY, RATE = 0.1, 0.06, 5e-4


class Ours:
    """`compile_step`, as a run calls it, and `Predictor`, as a server does: images as bytes, normalised within."""

    precision = Precision.float32

    def __init__(self, threads: int) -> None:
        self._hardware = HardwareSpec(threads=threads, precision=self.precision)
        prepare(self._hardware)

    def train(self, model: dict[str, Any], x: Any, y: Any) -> Call:
        optimizer = AdamW(weight_decay=DECAY)
        optimizer.learning_rate = RATE
        step, (scale, shift) = compile_step(self.built(model), optimizer), _moments(model)
        weight = np.ones(len(x), "float32")
        return lambda: float(step.train(x, y, weight, scale, shift, SMOOTHING)[0])

    def predict(self, model: dict[str, Any], x: Any) -> Call:
        predictor = Predictor(self.built(model), *_moments(model), dtype="uint8")
        return lambda: predictor(x)

    def product(self, side: int) -> Call:
        return product(side, "float32" if self.precision == Precision.float32 else "bfloat16")

    def built(self, model: dict[str, Any]) -> keras.Model:
        """The model, after Keras has forgotten the one before, and with it the precision."""
        keras.backend.clear_session()
        prepare(self._hardware)
        return build(spec(model["name"], model["dropout"]), tuple(model["input_shape"]), model["num_classes"])


def _moments(model: dict[str, Any]) -> tuple[Any, Any]:
    """What makes pixels numbers from -1 to 1: scale and shift of each channel."""
    channels = model["input_shape"][-1]
    return np.full(channels, 1 / 127.5, "float32"), np.full(channels, -1, "float32")


class OursHalf(Ours):
    """``hardware.precision=mixed_bfloat16``."""

    precision = Precision.mixed_bfloat16


class PlainKeras:
    """Keras' own layers, ``compile`` and ``train_on_batch``: keras.io's way, with our model's sizes."""

    def __init__(self, threads: int) -> None:
        prepare(HardwareSpec(threads=threads))

    def train(self, model: dict[str, Any], x: Any, y: Any) -> Call:
        net = plain(model)
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=SMOOTHING)
        net.compile(keras.optimizers.AdamW(RATE, weight_decay=DECAY), loss, jit_compile=_jit())
        labels = keras.utils.to_categorical(y, model["num_classes"])
        return lambda: float(net.train_on_batch(x, labels))

    def predict(self, model: dict[str, Any], x: Any) -> Call:
        net = plain(model)
        net.compile(jit_compile=_jit())
        return lambda: net.predict_on_batch(x)

    def product(self, side: int) -> Call:
        return product(side, "float32")


class _DropPath(layers.Layer):
    """Stochastic depth as a layer of one's own, the one thing that Keras lacks."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.keep = 1 - rate
        self.seeds = keras.random.SeedGenerator(1)

    def call(self, x: Any, training: bool = False) -> Any:
        if not training:
            return x
        drawn = keras.random.uniform((ops.shape(x)[0], 1, 1), seed=self.seeds)
        return x / self.keep * ops.floor(self.keep + drawn)


class _Places(layers.Layer):
    """A trained row for each token."""

    def build(self, shape: Any) -> None:
        self.rows = self.add_weight(shape=(1, *shape[1:]), initializer="random_normal")

    def call(self, x: Any) -> Any:
        return x + self.rows


class _First(layers.Layer):
    """A trained token in front of the others."""

    def build(self, shape: Any) -> None:
        self.token = self.add_weight(shape=(1, 1, shape[-1]), initializer="zeros")

    def call(self, x: Any) -> Any:
        return ops.concatenate([ops.repeat(self.token, ops.shape(x)[0], axis=0), x], axis=1)


def plain(model: dict[str, Any]) -> keras.Model:
    """The example's model with the sizes, rates, and pooling of ours; its block, a textbook's, adds to plain tokens."""
    images = keras.Input(model["input_shape"])
    x = ops.cast(images, "float32") / 127.5 - 1  # `layers.Rescaling` asks for TensorFlow, whatever the backend
    x = layers.Reshape((-1, model["dim"]))(_tokens(x, model))
    x = _First()(x) if model["pooling"] == "class_token" else x
    x = layers.Dropout(model["dropout"])(_Places()(x))
    for rate in np.linspace(0, model["stochastic_depth"], model["layers"]):
        x = _block(x, model, float(rate))
    x = layers.LayerNormalization(epsilon=1e-5)(x)
    if model["pooling"] == "class_token":
        x = x[:, 0]
    else:
        weights = layers.Softmax(axis=1)(layers.Dense(1)(x))
        x = layers.Flatten()(layers.Dot(axes=1)([weights, x]))
    return keras.Model(images, layers.Dense(model["num_classes"])(x))


def _tokens(x: Any, model: dict[str, Any]) -> Any:
    if model["tokenizer"] == "patch":
        return layers.Conv2D(model["dim"], model["kernel"], strides=model["kernel"])(x)
    for index in range(model["convs"]):
        width = model["dim"] if index == model["convs"] - 1 else 64
        x = layers.Conv2D(width, model["kernel"], padding="same", use_bias=False, activation="relu")(x)
        x = layers.MaxPooling2D(3, 2, padding="same")(x)
    return x


def _block(x: Any, model: dict[str, Any], rate: float) -> Any:
    width, dropout = model["dim"], model["dropout"]
    y = layers.LayerNormalization(epsilon=1e-5)(x)
    heads = layers.MultiHeadAttention(model["heads"], width // model["heads"], dropout=model["attention_dropout"])
    x = layers.Add()([_DropPath(rate)(layers.Dropout(dropout)(heads(y, y))), x])
    y = layers.LayerNormalization(epsilon=1e-5)(x)
    y = layers.Dense(round(width * model["mlp_ratio"]), activation=keras.activations.gelu)(y)
    y = layers.Dropout(dropout)(layers.Dense(width)(layers.Dropout(dropout)(y)))
    return layers.Add()([_DropPath(rate)(y), x])


def _jit() -> str | bool:
    """TensorFlow without XLA, as in our step: on a processor it is the slower way for both."""
    return False if keras.backend.backend() == "tensorflow" else "auto"


def product(side: int, kind: str) -> Call:
    """A matrix product in a graph, as the models' are."""
    a, b = (ops.cast(keras.random.uniform((side, side)), kind) for _ in range(2))
    # Its corner comes too: nothing is left to be awaited.
    corner = lambda a, b: ops.matmul(a, b)[0, 0]  # noqa: E731
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        compiled = tf.function(lambda: corner(a, b))
        return lambda: float(compiled())
    import jax

    jitted = jax.jit(corner)
    return lambda: float(jitted(a, b))
