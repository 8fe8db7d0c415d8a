"""Late fusion: encoders side by side on the same tokens, whose features one head reads together."""

# mypy: allow-subclassing-any

from typing import Any

import keras
from keras import ops

from ablate.models import registry
from ablate.models.encoder import Encoder
from ablate.models.numerics import after
from ablate.models.slots import Geometry, Place
from ablate.models.spec import ModelSpec
from ablate.models.tokenizer.observed import observed
from ablate.models.tokenwise import SpecLayer, in_policy


@keras.saving.register_keras_serializable(package="ablate")
class Branch(SpecLayer):
    """One encoder with all that stands around it: ``(batch, rows * columns, dim)`` to ``(batch, dim)``.

    Args:
        spec: The branch's own.
        geometry: Shapes around its encoder.
    """

    def __init__(self, spec: ModelSpec, geometry: Geometry, **kwargs: Any) -> None:
        super().__init__(spec, geometry, **kwargs)
        self.tokens = geometry.tokens
        with in_policy(self.dtype_policy):
            self.observability = observed(spec)
            self.before, self.after = _made("pooling", spec, geometry)
            embeds = Place(spec.variant("positional").acts_on) is Place.tokens
            self.positional = _made("positional", spec, geometry) if embeds else None
            self.encoder = Encoder(spec, geometry, name="encoder")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        dim, tokens = input_shape[-1], self.tokens
        if self.observability is not None:
            self.observability.build(input_shape)
        if self.before is not None:
            self.before.build(input_shape)
        for layer in (self.positional, self.encoder, self.after):
            if layer is not None:
                layer.build((None, tokens, dim))

    def call(self, x: Any, training: bool | None = None) -> Any:
        x = x if self.observability is None else self.observability(x, training=training)
        x = x if self.before is None else self.before(x)
        x = x if self.positional is None else self.positional(x)
        return self.after(self.encoder(x, training=training))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape[0], input_shape[-1]


@keras.saving.register_keras_serializable(package="ablate")
class LateFusion(SpecLayer):
    """The branches of a model, ``(batch, rows * columns, dim)`` to their features, ``(batch, branches * dim)``.

    Args:
        spec: The model's, which names its branches.
        geometry: Shapes around them; of extra tokens each has its own.

    Source: ``img_riem_vit`` and its like in iliasprc/Compact-Transformers at 31975a0.
    """

    def __init__(self, spec: ModelSpec, geometry: Geometry, **kwargs: Any) -> None:
        super().__init__(spec, geometry, **kwargs)
        around = geometry.input_shape, geometry.num_classes
        branches = {name: spec.branch(name) for name in spec.branches}
        self.branches = [
            Branch(each, each.geometry(*around), dtype=self.dtype_policy, name=name) for name, each in branches.items()
        ]

    @property
    def layers(self) -> list[Branch]:
        """The branches, which ``model.summary(expand_nested=True)`` lists by this name."""
        return list(self.branches)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        for branch in self.branches:
            branch.build(input_shape)

    def call(self, x: Any, training: bool | None = None) -> Any:
        features: list[Any] = []
        for branch in self.branches:  # one after the other, forward and backward
            features.append(branch(after(features[-1], x) if features else x, training=training))
        return ops.concatenate(features, axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape[0], len(self.branches) * int(input_shape[-1] or 0)


def _made(slot: str, spec: ModelSpec, geometry: Geometry) -> Any:
    return registry.get(slot, getattr(spec, slot)).load_layer()(spec, geometry)
