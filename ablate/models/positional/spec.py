"""Variants of the positional embedding, and what each costs."""

from dataclasses import dataclass

from ablate.models.cost import Params
from ablate.models.registry import register
from ablate.models.slots import Geometry, Positional, check_choice, check_flag
from ablate.models.spec import ModelSpec


@register("positional", "learnable", layer="ablate.models.positional.layers:learnable")
@dataclass
class LearnablePositionalSpec(Positional):
    """One trained row a token.

    Attributes:
        trained: False keeps the rows as they were drawn. Both Keras ports do so, by accident: their embedding is a
            constant of the graph, and no parameter. It is none here either, though it is kept with the weights.
        draw: ``normal``, of standard deviation 0.2, or ``uniform``, within ±0.05 (the keras.io example).
    """

    trained: bool = True
    draw: str = "normal"

    def check(self, model: "ModelSpec") -> None:
        check_flag("model.options.positional.trained", self.trained)
        check_choice("model.options.positional.draw", self.draw, ("normal", "uniform"))

    def params(self, model: "ModelSpec", geometry: Geometry) -> Params:
        return Params(trainable=geometry.tokens * model.width) if self.trained else Params()


@register("positional", "sine", layer="ablate.models.positional.layers:sine")
@dataclass
class SinePositionalSpec(Positional):
    """Fixed: sine on even channels, cosine on odd ones (Vaswani et al. 2017, section 3.5). Counted, never trained."""

    def params(self, model: "ModelSpec", geometry: Geometry) -> Params:
        return Params(fixed=geometry.tokens * model.width)


@register("positional", "none", layer="ablate.models.positional.layers:none")
@dataclass
class NoPositionalSpec(Positional):
    """Tokens as they are."""
