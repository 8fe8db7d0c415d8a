"""Variants of the head, and what each costs."""

from dataclasses import dataclass

from ablate.models.cost import Macs, Params
from ablate.models.registry import register
from ablate.models.slots import Geometry, Head
from ablate.models.spec import ModelSpec


@register("head", "linear", layer="ablate.models.head.layers:linear")
@dataclass
class LinearHeadSpec(Head):
    """One dense layer."""

    def params(self, model: ModelSpec, geometry: Geometry) -> Params:
        classes = geometry.num_classes or 0
        return Params(model.features * classes + classes)

    def macs(self, model: ModelSpec, geometry: Geometry) -> Macs:
        classes = geometry.num_classes or 0
        return Macs(linear=model.features * classes, elementwise=classes)
