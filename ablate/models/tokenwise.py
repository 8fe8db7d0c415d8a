"""What the encoder's layers are made of: each keeps ``(batch, tokens, dim)`` as it is."""

# mypy: allow-subclassing-any

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from enum import Enum
from typing import Any

import keras
from keras import ops

from ablate.models.initializers import TruncatedNormal
from ablate.models.slots import Geometry, Place
from ablate.models.spec import ModelSpec


class Tokenwise(keras.layers.Layer):
    """Keeps the shape of its input, which Keras would otherwise find by tracing the call."""

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape


class SpecLayer(Tokenwise):
    """A layer that is built from the model's spec and the shapes around it, which stand in its configuration.

    Args:
        spec: The whole model's; each layer reads what concerns it. The file of initial weights is left out.
        geometry: Shapes around the encoder; None in files of versions that did not keep them, whose variants need none.
    """

    def __init__(self, spec: ModelSpec, geometry: Geometry | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.spec = replace(spec, weights=None, weights_key=None)
        self.geometry = geometry

    def get_config(self) -> dict[str, Any]:
        geometry = None if self.geometry is None else asdict(self.geometry)
        return {**super().get_config(), "spec": _plain(asdict(self.spec)), "geometry": _plain(geometry)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        spec, shapes = ModelSpec(**config["spec"]), config["geometry"]
        geometry = None if shapes is None else Geometry(**{name: _tuple(value) for name, value in shapes.items()})
        return super().from_config({**config, "spec": spec, "geometry": geometry})


class BlockLayer(SpecLayer):
    """A layer of one block.

    Args:
        spec: The whole model's.
        geometry: Shapes around the encoder.
        depth: Which block, from 0.
    """

    def __init__(self, spec: ModelSpec, geometry: Geometry | None, depth: int = 0, **kwargs: Any) -> None:
        super().__init__(spec, geometry, **kwargs)
        self.depth = depth

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "depth": self.depth}


def _plain(value: Any) -> Any:
    """As JSON has it: names of choices as text, tuples as lists."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value.value if isinstance(value, Enum) else value


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@contextmanager
def in_policy(policy: keras.DTypePolicy) -> Iterator[None]:
    """Layers made here, a plugin's too, have the precision of the layer that holds them."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def variant_layer(slot: str, spec: ModelSpec, geometry: Geometry | None, depth: int, name: str) -> Any:
    """What a slot's variant computes with in one block, under a name: a layer, a function of an activation, or None."""
    layer = spec.entry_at(slot, depth).load_layer()(spec, geometry, depth)
    if isinstance(layer, keras.layers.Layer):
        layer.name = name  # a factory need not know it
    return layer


def positional_layer(spec: ModelSpec, geometry: Geometry | None, depth: int, place: Place) -> Any:
    """The layer of the positional variant that acts at a place of one block, or None."""
    if Place(spec.variant("positional").acts_on) is not place:
        return None
    return variant_layer("positional", spec, geometry, depth, "positional")


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


def dense(parent: keras.layers.Layer, units: int, name: str, *, use_bias: bool = True) -> keras.layers.Dense:
    """A dense layer with the official initial draw, in the precision of the layer that holds it."""
    return keras.layers.Dense(
        units, use_bias=use_bias, kernel_initializer=TruncatedNormal(), dtype=parent.dtype_policy, name=name
    )
