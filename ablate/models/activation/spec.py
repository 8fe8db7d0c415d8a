"""Variants of the activation; ours have no parameters."""

from dataclasses import dataclass

from ablate.models.registry import register
from ablate.models.slots import Activation


@register("activation", "gelu", layer="ablate.models.activation.layers:gelu")
@dataclass
class GeluSpec(Activation):
    """The exact GELU, by the error function (Hendrycks and Gimpel 2016)."""
