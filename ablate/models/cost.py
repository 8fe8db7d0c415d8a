"""What is counted of a model: parameters, and multiply-accumulates under four conventions."""

from collections.abc import Iterable
from typing import Literal, NamedTuple, get_args

from ablate.words import unknown

InputShape = tuple[int, int, int]
"""Height, width and channels of an image."""

MacsConvention = Literal["macs", "macs_modules", "macs_fvcore", "macs_ptflops06"]


class Macs(NamedTuple):
    """Multiply-accumulates of one image's forward pass, by kind, so that each convention is a sum of them.

    Attributes:
        linear: Convolutions and dense layers: a weight times an activation.
        products: An activation times an activation: QKᵀ, AV and SeqPool's weighted sum.
        norms: Elements that pass a LayerNorm, times the 5 operations that fvcore counts for each.
        elementwise: What ptflops 0.6 counts beside weights: every output of a convolution with bias, every element
            that enters a ReLU or a max-pool, and a dense layer's bias once, however many tokens pass it. GELU,
            softmax and LayerNorm are free there. Known in closed form only: `ablate.models.profile` leaves it at 0.
    """

    linear: int = 0
    products: int = 0
    norms: int = 0
    elementwise: int = 0

    def plus(self, other: "Macs") -> "Macs":
        return Macs(*(a + b for a, b in zip(self, other, strict=True)))

    def under(self, convention: MacsConvention) -> int:
        """The count under one of the four named conventions (docs/architecture.md, "Cost")."""
        if convention == "macs":
            return self.linear + self.products
        if convention == "macs_modules":
            return self.linear
        if convention == "macs_fvcore":
            return self.linear + self.products + self.norms
        if convention == "macs_ptflops06":
            return self.linear + self.elementwise
        raise ValueError(unknown("convention", convention, get_args(MacsConvention)))


class Params(NamedTuple):
    """Parameters by whether an optimizer moves them."""

    trainable: int = 0
    fixed: int = 0


def sum_params(parts: Iterable[tuple[Params, int]]) -> Params:
    """The sum of parts, each with how often it counts."""
    listed = list(parts)
    return Params(sum(p.trainable * times for p, times in listed), sum(p.fixed * times for p, times in listed))


def sum_macs(parts: Iterable[tuple[Macs, int]]) -> Macs:
    """The sum of parts, each with how often it counts."""
    total = Macs()
    for macs, times in parts:
        total = total.plus(Macs(*(n * times for n in macs)))
    return total
