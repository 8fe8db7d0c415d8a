"""Variants of the positional embedding, and what each costs."""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ablate.models.cost import Macs, Params
from ablate.models.registry import register
from ablate.models.slots import Geometry, Place, Positional, SpecError, check_blocks, check_choice, check_flag, in_block
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

    def check(self, model: ModelSpec) -> None:
        check_flag("model.options.positional.trained", self.trained)
        check_choice("model.options.positional.draw", self.draw, ("normal", "uniform"))

    def params(self, model: ModelSpec, geometry: Geometry) -> Params:
        return Params(trainable=geometry.tokens * model.width) if self.trained else Params()


@register("positional", "sine", layer="ablate.models.positional.layers:sine")
@dataclass
class SinePositionalSpec(Positional):
    """Fixed: sine on even channels, cosine on odd ones (Vaswani et al. 2017, section 3.5). Counted, never trained."""

    def params(self, model: ModelSpec, geometry: Geometry) -> Params:
        return Params(fixed=geometry.tokens * model.width)


@register("positional", "none", layer="ablate.models.positional.layers:none")
@dataclass
class NoPositionalSpec(Positional):
    """Tokens as they are."""


@register("positional", "sine2d", layer="ablate.models.positional.layers:sine2d")
@dataclass
class Sine2dPositionalSpec(Positional):
    """Fixed sines of a token's row on half of its channels, of its column on the others; no parameters.

    A class token has none. Source: Parmar et al. 2018, arXiv 1802.05751, section 3.
    """

    def check(self, model: ModelSpec) -> None:
        if model.width % 4:
            raise SpecError(
                f"model.dim must be divisible by 4 for positional=sine2d, got {model.width}; "
                f"{model.width // 4 * 4 + 4} works."
            )


@register("positional", "rotary", layer="ablate.models.positional.rotary:rotary")
@dataclass
class RotaryPositionalSpec(Positional):
    """Queries and keys are turned by their places (Su et al. 2021, arXiv 2104.09864); a class token's are not.

    Its elementwise products count in no convention of MACs.

    Attributes:
        axes: 1 counts tokens along the sequence; 2 turns half of a head's channels by the row, half by the column.
        theta: Base of the frequencies. 100 is of Heo et al. 2024 (arXiv 2403.13298), for images; text takes 10,000.
    """

    acts_on: ClassVar[Place] = Place.queries_keys

    axes: int = 2
    theta: float = 100.0

    def check(self, model: ModelSpec) -> None:
        what = "model.options.positional"
        if not isinstance(self.axes, int) or isinstance(self.axes, bool) or self.axes not in (1, 2):
            raise SpecError(f"{what}.axes must be 1 (along the sequence) or 2 (rows and columns), got {self.axes!r}.")
        number = isinstance(self.theta, int | float) and not isinstance(self.theta, bool)
        if not number or not 1 < self.theta < math.inf:
            raise SpecError(f"{what}.theta must be a finite number above 1, got {self.theta!r}.")
        if model.key_width % (2 * self.axes):
            raise SpecError(
                f"a head must be divisible by {2 * self.axes} for positional=rotary with axes={self.axes}, got "
                f"{model.key_width}; change model.dim, model.heads or model.key_dim."
            )


@register("positional", "relative", layer="ablate.models.positional.relative:relative")
@dataclass
class RelativePositionalSpec(Positional):
    """A trained bias a head on attention's scores, by the difference of rows and columns; each block has its own.

    Source: Liu et al. 2021 (Swin), arXiv 2103.14030, section 3.2. A class token has `RELATIONS` biases besides.
    """

    acts_on: ClassVar[Place] = Place.scores

    def params(self, model: ModelSpec, geometry: Geometry) -> Params:
        rows, columns = geometry.grid
        entries = (2 * rows - 1) * (2 * columns - 1) + (RELATIONS if geometry.extra_tokens else 0)
        return Params(trainable=model.layers * model.attention_heads * entries)


RELATIONS = 3
"""From extra tokens to image tokens, from these to those, and among extra tokens, as in BEiT's code."""


@register("positional", "conditional", layer="ablate.models.positional.conditional:conditional")
@dataclass
class ConditionalPositionalSpec(Positional):
    """A depthwise convolution over the grid of tokens, added to them after a block.

    Source: Chu et al. 2021, arXiv 2102.10882, which place one after the first block and leave a class token out.

    Attributes:
        after: Behind which blocks it stands: ``all``, ``last``, or a list of their places from 0.
        kernel: Side of its kernel in tokens, odd.
    """

    acts_on: ClassVar[Place] = Place.blocks

    after: Any = field(default_factory=lambda: [0])
    kernel: int = 3

    def check(self, model: ModelSpec) -> None:
        check_blocks("model.options.positional.after", self.after, model.layers)
        whole = isinstance(self.kernel, int) and not isinstance(self.kernel, bool)
        if not whole or self.kernel % 2 == 0 or not 3 <= self.kernel <= 99:
            raise SpecError(f"model.options.positional.kernel must be odd, from 3 to 99, got {self.kernel!r}.")
        if model.pooling == "class_token" and self.follows(model.layers - 1, model):
            raise SpecError(
                "model.options.positional.after must leave out the last block with pooling=class_token, which reads "
                "the one token that a convolution there leaves as it is, got "
                f"{self.after!r} with layers={model.layers}."
            )

    def follows(self, depth: int, model: ModelSpec) -> bool:
        """Whether one stands behind the block at this depth."""
        return in_block(self.after, depth, model.layers)

    def params(self, model: ModelSpec, geometry: Geometry) -> Params:
        return Params(trainable=self._count(model) * model.width * (self.kernel**2 + 1))

    def macs(self, model: ModelSpec, geometry: Geometry) -> Macs:
        outputs = self._count(model) * geometry.grid[0] * geometry.grid[1] * model.width
        return Macs(linear=outputs * self.kernel**2, elementwise=outputs)

    def _count(self, model: ModelSpec) -> int:
        return sum(self.follows(depth, model) for depth in range(model.layers))
