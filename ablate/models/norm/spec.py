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


@register("norm", "rms", layer="ablate.models.norm.layers:rms")
@dataclass
class RmsNormSpec(Norm):
    """RMSNorm: mean square 1 over a token's numbers, then a trained scale; no mean is taken off, and no shift added.

    Of LayerNorm's 5 operations for each element, 3 are left: the sum of squares, and two multiplications. Tools such as
    fvcore do not know RMSNorm. Source: Zhang and Sennrich 2019, arXiv 1910.07467, equation 4; ``norm_eps`` is added to
    the mean square, as in the code that followed it.
    """

    def params(self, model: ModelSpec, geometry: Geometry) -> Params:
        return Params(model.width)

    def macs(self, model: ModelSpec, geometry: Geometry) -> Macs:
        return Macs(norms=3 * geometry.tokens * model.width)
