"""The slots of a model: what every variant of each answers for. No Keras here.

A variant's dataclass fields are its options. Its costs are in closed form, and tests hold them against built models.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from ablate.models.cost import InputShape, Macs, Params
from ablate.models.registry import Stage, slot
from ablate.words import unknown


class SpecError(ValueError):
    """A model that cannot be built; the message says what must hold, what came, and what to do."""


@dataclass(frozen=True)
class Geometry:
    """What a layer factory may need to know of the shapes around it, beside the model's spec.

    Attributes:
        input_shape: Height, width, channels of an image.
        grid: Rows and columns of image tokens.
        extra_tokens: Tokens that the pooling puts in front of them.
        num_classes: Outputs of the head; None for a model that ends in features.
    """

    input_shape: InputShape
    grid: tuple[int, int]
    extra_tokens: int = 0
    num_classes: int | None = None

    @property
    def tokens(self) -> int:
        """Length of the sequence that the encoder sees."""
        return self.grid[0] * self.grid[1] + self.extra_tokens


FORMER: Mapping[str, Callable[[Geometry], Any]] = {
    "tokens": lambda geometry: geometry.tokens,
    "channels": lambda geometry: geometry.input_shape[2],
    "input_shape": lambda geometry: geometry.input_shape,
}
"""Names that the last argument of ``params`` and ``macs`` had in earlier versions -> what it was."""


class Place(StrEnum):
    """What a positional variant acts on.

    Attributes:
        tokens: The tokens that enter the encoder.
        blocks: The tokens that leave a block.
        queries_keys: Queries and keys of attention, ``(batch, heads, tokens, head_dim)``, each by itself.
        scores: Scores of attention before its softmax, ``(batch, heads, tokens, tokens)``.
    """

    tokens = "tokens"
    blocks = "blocks"
    queries_keys = "queries_keys"
    scores = "scores"


@dataclass
class Variant:
    """What fills a slot. ``model`` is the `ablate.models.spec.ModelSpec` that it is part of."""

    def check(self, model: Any) -> None:
        """Raises SpecError where an option makes no sense, or does not go with the rest of the model."""

    def one_name(self, name: str) -> str:
        """The name that a run is recorded with, where several names and options mean one network."""
        return name

    def params(self, model: Any, geometry: Geometry) -> Params:
        """Parameters: of the whole model for what stands there once, of one block for what stands in each."""
        return Params()

    def macs(self, model: Any, geometry: Geometry) -> Macs:
        """Multiply-accumulates of one image, counted as ``params`` are."""
        return Macs()


@slot("tokenizer", stage=Stage.tokens, default="conv")
@dataclass
class Tokenizer(Variant):
    """Images to a grid of tokens. Subclasses answer for a model's ``kernel``, ``convs`` and ``dim``."""

    def grid(self, model: Any, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of tokens; a value below 1 means that the image is too small."""
        raise NotImplementedError

    def alone(self) -> "Tokenizer":
        """The tokenizer without what a branch of late fusion has for itself behind its tokens."""
        return self

    def params(self, model: Any, geometry: Geometry) -> Params:
        raise NotImplementedError

    def macs(self, model: Any, geometry: Geometry) -> Macs:
        raise NotImplementedError


@slot("positional", stage=Stage.tokens, default="learnable")
@dataclass
class Positional(Variant):
    """What tells tokens apart by their place. Costs are of the whole model, whatever the variant acts on.

    Attributes:
        acts_on: The place; on tokens, it is added after the class token, if there is one, has joined them.
    """

    acts_on: ClassVar[Place] = Place.tokens


@slot("pooling", stage=Stage.tokens, default="seqpool")
@dataclass
class Pooling(Variant):
    """A sequence to one vector. It owns both ends: tokens added before the encoder, and what is read after it."""

    def extra_tokens(self) -> int:
        return 0


@slot("attention", stage=Stage.block, default="softmax")
@dataclass
class Attention(Variant):
    """How the tokens of a block see each other; costs are of one block.

    Attributes:
        serves: Places inside attention at which its layer asks for a positional variant.
    """

    serves: ClassVar[tuple[Place, ...]] = ()


@slot("norm", stage=Stage.block, default="layer")
@dataclass
class Norm(Variant):
    """What brings tokens to one scale; costs are of one normalisation of all tokens."""


@slot("activation", stage=Stage.block, default="gelu")
@dataclass
class Activation(Variant):
    """What stands between the layers of a block's MLP; costs are of one block.

    Attributes:
        ptflops: What ptflops 0.6 counts for each element that enters: 1 for a ReLU, 0 for what it does not know.
    """

    ptflops: ClassVar[int] = 0


@slot("mlp", stage=Stage.block, default="plain")
@dataclass
class Mlp(Variant):
    """What each token passes alone in a block; costs are of one block, without the activation's parameters.

    Attributes:
        activation: The activation that it is known with, for ``model.activation=null``; None where it has none.
        present: False where a block ends after its attention: it then has no second norm either.
    """

    activation: ClassVar[str | None] = "gelu"
    present: ClassVar[bool] = True

    def hidden(self, model: Any) -> int:
        """Width of what enters the activation."""
        return int(model.mlp_width)


@slot("head", stage=Stage.head, default="linear")
@dataclass
class Head(Variant):
    """From features ``(batch, dim)`` to logits ``(batch, classes)``."""

    def params(self, model: Any, geometry: Geometry) -> Params:
        raise NotImplementedError

    def macs(self, model: Any, geometry: Geometry) -> Macs:
        raise NotImplementedError


def cost_of(method: str, variant: Variant, model: Any, geometry: Geometry) -> Any:
    """What ``params`` or ``macs`` of a variant says, whose last argument may be one of `FORMER` instead of a geometry.

    A plugin that was written when costs were asked for by these goes on as it is, and so do the runs that it is in.
    """
    last = list(inspect.signature(getattr(variant, method)).parameters)[1:]
    given = [FORMER[name](geometry) if name in FORMER else geometry for name in last]
    return getattr(variant, method)(model, *given)


def check_choice(what: str, got: object, choices: Iterable[str]) -> None:
    """Raises SpecError for an option of a variant that is none of its choices."""
    if got not in list(choices):
        raise SpecError(unknown(what, got, choices))


def check_flag(what: str, got: object) -> None:
    """Raises SpecError for an option of a variant that is neither true nor false."""
    if not isinstance(got, bool):
        raise SpecError(f"{what} must be true or false, got {got!r}.")


def check_blocks(what: str, got: Any, layers: int) -> None:
    """Raises SpecError for an option ``blocks`` that names no block of a model of ``layers`` blocks."""
    listed = isinstance(got, list | tuple)
    whole = listed and all(isinstance(each, int) and not isinstance(each, bool) for each in got)
    if got in ("all", "last") or (whole and got and set(got) <= set(range(layers)) and len(set(got)) == len(got)):
        return
    raise SpecError(f"{what} must be all, last, or a list of blocks from 0 to {layers - 1}, each once, got {got!r}.")


def in_block(blocks: Any, depth: int, layers: int) -> bool:
    """Whether an option ``blocks``, which `check_blocks` has passed, means the block at a depth."""
    if isinstance(blocks, str):
        return blocks == "all" or depth == layers - 1
    return depth in blocks
