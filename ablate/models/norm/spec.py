"""Variants of the norm, and what each costs."""

from dataclasses import dataclass

from ablate.models.cost import Macs, Params
from ablate.models.registry import register
from ablate.models.slots import Geometry, Norm
from ablate.models.spec import ModelSpec


@register("norm", "layer", layer="ablate.models.norm.layers:layer")
@dataclass
class LayerNormSpec(Norm):
    """LayerNorm: mean 0 and variance 1 over a token's numbers, then a trained scale and shift."""

    def params(self, model: ModelSpec, geometry: Geometry) -> Params:
        return Params(2 * model.width)

    def macs(self, model: ModelSpec, geometry: Geometry) -> Macs:
        return Macs(norms=5 * geometry.tokens * model.width)
