"""Variants of the activation; ours have no parameters."""

from dataclasses import dataclass
from typing import ClassVar

from ablate.models.registry import register
from ablate.models.slots import Activation


@register("activation", "gelu", layer="ablate.models.activation.layers:gelu")
@dataclass
class GeluSpec(Activation):
    """The exact GELU, by the error function (Hendrycks and Gimpel 2016)."""


@register("activation", "gelu_tanh", layer="ablate.models.activation.layers:gelu_tanh")
@dataclass
class GeluTanhSpec(Activation):
    """The GELU's approximation by a tanh (Hendrycks and Gimpel 2016, section 2), at most 5e-4 away from it."""


@register("activation", "relu", layer="ablate.models.activation.layers:relu")
@dataclass
class ReluSpec(Activation):
    """What is above 0; 0 for the rest."""

    ptflops: ClassVar[int] = 1


@register("activation", "silu", layer="ablate.models.activation.layers:silu")
@dataclass
class SiluSpec(Activation):
    """``x * sigmoid(x)`` (Elfwing et al. 2018), also called Swish."""
