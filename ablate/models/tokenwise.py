"""What every layer of the encoder is made of: each keeps ``(batch, tokens, dim)`` as it is."""

# mypy: allow-subclassing-any

from dataclasses import asdict, fields
from typing import Any

import keras
from keras import ops

from ablate.models.initializers import TruncatedNormal
from ablate.models.numerics import layer_norm
from ablate.models.spec import EncoderSpec

_FIELDS = {field.name for field in fields(EncoderSpec)}
_FORMER = {"second_activation": "mlp_second_activation", "width": "mlp_width"}
"""Names of fields in the files of older versions -> their names today."""


class Tokenwise(keras.layers.Layer):
    """Keeps the shape of its input, which Keras would otherwise find by tracing the call."""

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape


class SpecLayer(Tokenwise):
    """A layer that is built from the encoder's spec, whose fields stand one by one in the layer's configuration.

    Args:
        spec: The whole encoder's; each layer reads what concerns it.
    """

    def __init__(self, spec: EncoderSpec, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.spec = spec

    def get_config(self) -> dict[str, Any]:
        plain = {name: str(value) if isinstance(value, str) else value for name, value in asdict(self.spec).items()}
        return {**super().get_config(), **plain}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        named = {_FORMER.get(name, name): value for name, value in config.items()}
        spec = EncoderSpec(**{name: value for name, value in named.items() if name in _FIELDS})
        return super().from_config({"spec": spec, **{k: value for k, value in named.items() if k not in _FIELDS}})


@keras.saving.register_keras_serializable(package="ablate")
class DropPath(Tokenwise):
    """Stochastic depth: drops a residual branch for some samples of a batch while training, and scales up the others.

    Args:
        rate: Probability that a sample loses the branch, below 1.

    Source: Huang et al. 2016, arXiv 1603.09382.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = rate
        self.seed = seed
        if rate > 0:
            self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, x: Any, training: bool | None = None) -> Any:
        if not training or self.rate == 0:
            return x
        shape = (ops.shape(x)[0],) + (1,) * (len(x.shape) - 1)
        draws = keras.random.uniform(shape, dtype="float32", seed=self.seed_generator)
        scale = ops.where(draws < self.rate, 0.0, 1 / (1 - self.rate))
        return x * ops.cast(scale, x.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


@keras.saving.register_keras_serializable(package="ablate")
class LayerNorm(keras.layers.LayerNormalization):
    """Keras' LayerNormalization over the last axis, faster on a CPU; computed in float32 or wider."""

    def call(self, x: Any, training: bool | None = None) -> Any:
        x = ops.cast(x, self.compute_dtype)  # Keras' layer takes any type
        return layer_norm(x, self.gamma, self.beta, self.epsilon, training=bool(training))


def norm(parent: keras.layers.Layer, name: str, epsilon: float) -> LayerNorm:
    """A LayerNorm in the precision of the layer that holds it."""
    return LayerNorm(epsilon=epsilon, dtype=parent.dtype_policy, name=name)


def dense(parent: keras.layers.Layer, units: int, name: str, *, use_bias: bool = True) -> keras.layers.Dense:
    """A dense layer with the official initial draw, in the precision of the layer that holds it."""
    return keras.layers.Dense(
        units, use_bias=use_bias, kernel_initializer=TruncatedNormal(), dtype=parent.dtype_policy, name=name
    )
