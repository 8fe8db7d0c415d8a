"""The slots of a model: what every variant of each answers for. No Keras here.

A variant's dataclass fields are its options. Its costs are in closed form, and tests hold them against built models.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from enum import Enum, StrEnum
from math import isfinite
from numbers import Integral, Real
from typing import Any, ClassVar

from ablate.models.cost import InputShape, Macs, Params
from ablate.models.plugins import is_own, told
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

    @classmethod
    def misdeclared(cls) -> str | None:
        """What an attribute of the class must be and is not, in words; None where all are as they must be."""
        return None

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

    @classmethod
    def misdeclared(cls) -> str | None:
        listed = isinstance(cls.serves, tuple | list) and all(each in list(Place) for each in cls.serves)
        return None if listed else f"serves must be a tuple of {', '.join(Place)}, got {cls.serves!r}"


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

    @classmethod
    def misdeclared(cls) -> str | None:
        whole = isinstance(cls.ptflops, int) and cls.ptflops >= 0
        return None if whole else f"ptflops must be a whole number from 0 on, got {cls.ptflops!r}"


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

    @classmethod
    def misdeclared(cls) -> str | None:
        if not isinstance(cls.present, bool):
            return f"present must be True or False, got {cls.present!r}"
        named = cls.activation is None or isinstance(cls.activation, str)
        return None if named else f"activation must be the name of one, or None, got {cls.activation!r}"

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


_DUE: Mapping[str, type[Any]] = {"params": Params, "macs": Macs}


def cost_of(method: str, variant: Variant, model: Any, geometry: Geometry) -> Any:
    """What ``params`` or ``macs`` of a variant says, whose last argument may be one of `FORMER` instead of a geometry.

    A plugin that was written when costs were asked for by these goes on as it is, and so do the runs that it is in.

    Raises:
        SpecError: A user's variant fails as it is asked, or says something else than whole numbers.
    """
    kind, due = type(variant), _DUE[method]
    with asking(kind, method):
        last = list(inspect.signature(getattr(variant, method)).parameters)[1:]
        given = [FORMER[name](geometry) if name in FORMER else geometry for name in last]
        answer = getattr(variant, method)(model, *given)
    if not isinstance(answer, due) or not all(_is_count(n) for n in answer):
        raise SpecError(
            f"{method} of {kind.__qualname__} must return ablate.{due.__name__} of whole numbers from 0 on, got "
            f"{_shown(answer)}."
        )
    return due(*map(int, answer))


def _is_count(n: Any) -> bool:
    return isinstance(n, Real) and isfinite(n) and float(n).is_integer() and float(n) >= 0


def _shown(got: object) -> str:
    """What a plugin gave, in one line."""
    return " ".join(repr(got).split())[:200]


@contextmanager
def asking(kind: type, what: str) -> Iterator[None]:
    """Within it, a variant's class is asked for something; what a user's class fails with is told in a sentence.

    Args:
        kind: The class, whose own SpecErrors are answers and go on as they are.
        what: The method or attribute.

    Raises:
        SpecError: The class is a user's and fails; the message has the line of the user's file.
    """
    try:
        yield
    except (SpecError, MemoryError):
        raise
    except Exception as error:
        if not is_own(kind.__module__):
            raise
        modules = [each.__module__ for each in kind.__mro__ if is_own(each.__module__)]
        raise SpecError(
            f"a plugin's spec must answer for the model that it is in, but {kind.__qualname__}.{what} fails with "
            f"{told(error, modules)}; mend it there, or leave the variant out."
        ) from error


def place_of(variant: Positional) -> Place:
    """What a positional variant acts on.

    Raises:
        SpecError: A user's variant fails as it is asked, or names no place.
    """
    kind = type(variant)
    with asking(kind, "acts_on"):
        place = variant.acts_on
    check_choice(f"acts_on of {kind.__qualname__}", place, Place)
    return Place(place)


def check_options(variant: Variant) -> None:
    """Raises SpecError for an option that cannot be written into a file of settings, and so not into a record."""
    for option in fields(variant):
        value = getattr(variant, option.name)
        if not _is_plain(value):
            raise SpecError(
                f"option {option.name} of {type(variant).__qualname__} must be a number, text, true, false, null, or "
                f"lists and mappings of these, got {_shown(value)}."
            )


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(name, str) and _is_plain(each) for name, each in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str | Enum)


def grid_of(variant: Tokenizer, model: Any, height: int, width: int) -> tuple[int, int]:
    """Rows and columns that a tokenizer cuts an image into; below 1 where the image is too small.

    Raises:
        SpecError: The tokenizer refuses the image; a user's fails as it is asked, or gives something else.
    """
    kind = type(variant)
    with asking(kind, "grid"):
        grid = variant.grid(model, height, width)
    if not (isinstance(grid, tuple | list) and len(grid) == 2 and all(isinstance(n, Integral) for n in grid)):
        raise SpecError(f"grid of {kind.__qualname__} must return (rows, columns), whole numbers, got {_shown(grid)}.")
    return int(grid[0]), int(grid[1])


def extra_tokens_of(variant: Pooling) -> int:
    """How many tokens a pooling variant puts in front of the image's.

    Raises:
        SpecError: A user's variant fails as it is asked, or gives something else.
    """
    kind = type(variant)
    with asking(kind, "extra_tokens"):
        extra = variant.extra_tokens()
    if not isinstance(extra, Integral) or extra < 0:
        raise SpecError(
            f"extra_tokens of {kind.__qualname__} must return a whole number from 0 on, got {_shown(extra)}."
        )
    return int(extra)


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
