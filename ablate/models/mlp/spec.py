"""Variants of the MLP, and what each costs."""

from dataclasses import dataclass
from typing import Any, ClassVar

from ablate.models.cost import Macs, Params
from ablate.models.registry import get as registered
from ablate.models.registry import register
from ablate.models.slots import Geometry, Mlp, SpecError, in_block
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


@register("mlp", "gated", layer="ablate.models.mlp.layers:gated")
@dataclass
class GatedMlpSpec(Mlp):
    """One dense layer for a gate, one for values, which the activated gate multiplies, and one dense layer back.

    With its own activation it is SwiGLU (Shazeer 2020, arXiv 2002.05202, equation 6), here with biases, since the plain
    MLP has them. Its hidden width, about two thirds of ``mlp_ratio x dim``, gives as many parameters as the plain MLP
    has, to half of what one hidden number takes.

    Attributes:
        blocks: Blocks that have it: ``all``, ``last``, or a list from 0 on; the others have the plain MLP.
    """

    activation: ClassVar[str | None] = "silu"

    blocks: Any = "all"

    def hidden(self, model: ModelSpec) -> int:
        plain = model.mlp_width * (2 * model.width + 1)  # without the second layer's bias, which both have
        return max(1, round(plain / (3 * model.width + 2)))

    def params(self, model: ModelSpec, geometry: Geometry) -> Params:
        hidden = self.hidden(model)
        return Params(3 * model.width * hidden + 2 * hidden + model.width)

    def macs(self, model: ModelSpec, geometry: Geometry) -> Macs:
        hidden = self.hidden(model)
        return Macs(
            linear=3 * geometry.tokens * model.width * hidden,
            elementwise=2 * hidden + model.width + geometry.tokens * activation_ptflops(model, hidden, self.activation),
        )


@register("mlp", "none", layer="ablate.models.mlp.layers:none")
@dataclass
class NoMlpSpec(Mlp):
    """A block is attention alone, without the second norm.

    Attributes:
        blocks: Blocks that have no MLP: ``all``, ``last``, or a list from 0 on; the others have the plain one.
    """

    activation: ClassVar[str | None] = None
    present: ClassVar[bool] = False

    blocks: Any = "all"

    def check(self, model: ModelSpec) -> None:
        everywhere = all(in_block(self.blocks, depth, model.layers) for depth in range(model.layers))
        if everywhere and model.mlp_second_activation:
            raise SpecError(
                "model.mlp_second_activation must be false where no block has an MLP, got true with "
                "mlp=none; leave it out."
            )
