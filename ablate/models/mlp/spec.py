"""Variants of the MLP, and what each costs."""

from dataclasses import dataclass

from ablate.models.cost import Macs, Params
from ablate.models.registry import get as registered
from ablate.models.registry import register
from ablate.models.slots import Geometry, Mlp
from ablate.models.spec import ModelSpec


def activation_ptflops(model: ModelSpec, hidden: int, known_with: str | None) -> int:
    """What ptflops 0.6 counts for the activations of one token: of the hidden numbers, and of the MLP's outputs."""
    name = model.activation or known_with
    each: int = registered("activation", str(name)).spec.ptflops
    return each * (hidden + (model.width if model.mlp_second_activation else 0))


@register("mlp", "plain", layer="ablate.models.mlp.layers:plain")
@dataclass
class PlainMlpSpec(Mlp):
    """Two dense layers with an activation between them."""

    def params(self, model: ModelSpec, geometry: Geometry) -> Params:
        hidden = self.hidden(model)
        return Params(model.width * hidden + hidden + hidden * model.width + model.width)

    def macs(self, model: ModelSpec, geometry: Geometry) -> Macs:
        hidden = self.hidden(model)
        return Macs(
            linear=2 * geometry.tokens * model.width * hidden,
            elementwise=hidden + model.width + geometry.tokens * activation_ptflops(model, hidden, self.activation),
        )
