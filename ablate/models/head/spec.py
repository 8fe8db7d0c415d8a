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


@register("head", "mlp", layer="ablate.models.head.layers:mlp")
@dataclass
class MlpHeadSpec(Head):
    """A dense layer as wide as its input, tanh, and a dense layer to the classes: what ViT was pretrained with.

    Source: Dosovitskiy et al. 2021, arXiv 2010.11929, section 3.1; its code calls the first layer ``pre_logits``.
    """

    def params(self, model: ModelSpec, geometry: Geometry) -> Params:
        classes = geometry.num_classes or 0
        return Params((model.features + 1) * model.features + (model.features + 1) * classes)

    def macs(self, model: ModelSpec, geometry: Geometry) -> Macs:
        classes = geometry.num_classes or 0
        return Macs(linear=model.features * (model.features + classes), elementwise=model.features + classes)
