"""What a Compact Transformer is made of, as plain dataclasses that know their shapes and their cost.

No Keras here: composing, planning, listing and reporting never pay its import. Every count is in closed form and is
held against the built model by tests. Source of the architecture: Hassani et al. 2021, arXiv 2104.05704, and its
official code.
"""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, NamedTuple

from ablate.models import registry
from ablate.models.cost import InputShape, Macs, MacsConvention, Params
from ablate.words import unknown


class SpecError(ValueError):
    """A model that cannot be built; the message says what must hold, what came, and what to do."""


class Residual(StrEnum):
    """What a block's MLP is added to.

    Attributes:
        normalised: What comes out of the second LayerNorm, as in the official code.
        plain: What goes into it: textbook pre-norm, as in the Keras ports.
    """

    normalised = "normalised"
    plain = "plain"


class DropPathSchedule(StrEnum):
    """Drop-path rates over the blocks.

    Attributes:
        linear: From 0 at the first block to ``stochastic_depth`` at the last, as in the official code.
        constant: ``stochastic_depth`` at every block, as in CCT-keras.
    """

    linear = "linear"
    constant = "constant"


@dataclass(frozen=True)
class Geometry:
    """What a layer factory may need to know of the model around it, beside its spec.

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


@dataclass
class Tokenizer:
    """Images to a grid of tokens. Subclasses answer for a model's ``kernel``, ``convs`` and ``dim``."""

    def check(self, model: "ModelSpec") -> None:
        """Raises SpecError where the model's leaves make no sense for this tokenizer."""

    def grid(self, model: "ModelSpec", height: int, width: int) -> tuple[int, int]:
        """Rows and columns of tokens; a value below 1 means that the image is too small."""
        raise NotImplementedError

    def params(self, model: "ModelSpec", channels: int) -> Params:
        raise NotImplementedError

    def macs(self, model: "ModelSpec", input_shape: InputShape) -> Macs:
        raise NotImplementedError


@dataclass
class Positional:
    """What tells tokens apart by their place; added after the class token, if there is one, has joined them."""

    def check(self, model: "ModelSpec") -> None:
        """Raises SpecError where an option makes no sense."""

    def params(self, model: "ModelSpec", tokens: int) -> Params:
        return Params()


@dataclass
class Pooling:
    """A sequence to one vector. It owns both ends: tokens added before the encoder, and what is read after it."""

    def check(self, model: "ModelSpec") -> None:
        """Raises SpecError where an option makes no sense."""

    def extra_tokens(self) -> int:
        return 0

    def params(self, model: "ModelSpec") -> Params:
        return Params()

    def macs(self, model: "ModelSpec", tokens: int) -> Macs:
        return Macs()


class Size(NamedTuple):
    """Width of the encoder where a model's name alone is given."""

    dim: int
    heads: int
    mlp_ratio: float


def default_size(layers: int) -> Size:
    """The paper's width for a depth (official factories; the reference's README, "Sizes")."""
    if layers <= 5:
        return Size(128, 2, 1.0)
    if layers == 12:
        return Size(768, 12, 4.0)
    if layers >= 14:
        return Size(384, 6, 3.0)
    return Size(256, 4, 2.0)


@dataclass(frozen=True)
class EncoderSpec:
    """What the encoder's layers are built from, and what a saved model keeps of it: fields of `ModelSpec`, by name.

    Attributes:
        layers: Encoder blocks.
        heads: Attention heads.
        mlp_width: Hidden width of a block's MLP.
        dropout: Rate on the tokens that enter, after attention's projection and after both MLP layers.
        attention_dropout: Rate on attention weights.
        stochastic_depth: Drop-path rate of the last block.
        drop_path_schedule: Drop-path rates of the blocks before it: ``linear`` from 0, or ``constant``.
        token_dropout: Rate on the tokens that enter alone; None takes ``dropout``.
        projection_dropout: Rate after attention's projection alone; None takes ``dropout``.
        qkv_bias: Whether queries, keys and values have a bias, as in the Keras ports.
        key_dim: Width of a head's queries, keys and values; None shares the width of a token among the heads.
        residual: What a block's MLP is added to: ``normalised`` tokens, or ``plain`` pre-norm.
        mlp_second_activation: Whether a GELU follows the MLP's second layer too, as in the Keras ports.
        norm_eps: Added to the variance in every LayerNorm; PyTorch's default, hence the official code's.
    """

    layers: int = 1
    heads: int = 1
    mlp_width: int = 1
    dropout: float = 0.0
    attention_dropout: float = 0.0
    stochastic_depth: float = 0.0
    drop_path_schedule: str = DropPathSchedule.linear
    token_dropout: float | None = None
    projection_dropout: float | None = None
    qkv_bias: bool = False
    key_dim: int | None = None
    residual: str = Residual.normalised
    mlp_second_activation: bool = False
    norm_eps: float = 1e-5

    def head_dim(self, dim: int) -> int:
        """Width of a head's queries, keys and values, where a token is ``dim`` wide."""
        return dim // self.heads if self.key_dim is None else self.key_dim

    def params(self, dim: int) -> Params:
        """Parameters of all blocks, and of the LayerNorm after them."""
        inner = self.heads * self.head_dim(dim)
        attention = 3 * dim * inner + (3 * inner if self.qkv_bias else 0) + inner * dim + dim
        mlp = dim * self.mlp_width + self.mlp_width + self.mlp_width * dim + dim
        return Params(self.layers * (attention + mlp + 2 * 2 * dim) + 2 * dim)

    def macs(self, dim: int, tokens: int) -> Macs:
        """Multiply-accumulates of all blocks and of the LayerNorm after them, for one sequence of ``tokens``."""
        inner = self.heads * self.head_dim(dim)
        block = Macs(
            linear=tokens * dim * (3 * inner + inner + 2 * self.mlp_width),
            products=2 * tokens * tokens * inner,
            norms=2 * 5 * tokens * dim,
            elementwise=dim + self.mlp_width + dim + (3 * inner if self.qkv_bias else 0),
        )
        return Macs(*(self.layers * n for n in block)).plus(Macs(norms=5 * tokens * dim))


@dataclass
class ModelSpec:
    """One point in the space of architectures.

    Attributes:
        tokenizer: How an image becomes tokens: a registered name (``conv``, ``patch``).
        kernel: P: side of the convolution kernel, or of the patch.
        convs: C: stages of the convolutional tokenizer; 1 for patches.
        positional: Positional embedding (``learnable``, ``sine``, ``none``).
        pooling: How the sequence becomes one vector (``seqpool``, ``class_token``, ``mean``).
        layers: L: encoder blocks.
        dim: Width of a token; None takes the paper's for this depth.
        heads: Attention heads, which divide ``dim``; None takes the paper's.
        mlp_ratio: Hidden width of a block's MLP over ``dim``; None takes the paper's.
        dropout: Rate on tokens after the embedding, after attention's projection and after both MLP layers.
        attention_dropout: Rate on attention weights.
        stochastic_depth: Drop-path rate of the last block.
        drop_path_schedule: Drop-path rates of the blocks before it: ``linear`` from 0, or ``constant``.
        token_dropout: Rate on tokens after the embedding alone; None takes ``dropout``.
        projection_dropout: Rate after attention's projection alone; None takes ``dropout``.
        head_dropout: Rate on what enters the head.
        qkv_bias: Whether queries, keys and values have a bias.
        key_dim: Width of a head's queries, keys and values; None takes ``dim / heads``.
        residual: What a block's MLP is added to: ``normalised`` tokens, or ``plain`` pre-norm.
        mlp_second_activation: Whether a GELU follows the MLP's second layer too.
        norm_eps: Added to the variance in every LayerNorm; above 0, at most 1.
        weights: File that the initial weights are read from (docs/finetuning.md); None draws them.
        weights_key: Which of the file's state dicts, such as ``state_dict_ema``, or what the names of its tensors begin
            with; None takes the weights as trained. Without ``weights`` there is nothing to choose, and it is None.
        options: A variant's own options by axis, e.g. ``{"positional": {"bands": 8}}``.
    """

    tokenizer: str = "conv"
    kernel: int = 3
    convs: int = 2
    positional: str = "learnable"
    pooling: str = "seqpool"
    layers: int = 2
    dim: int | None = None
    heads: int | None = None
    mlp_ratio: float | None = None
    dropout: float = 0.0
    attention_dropout: float = 0.1
    stochastic_depth: float = 0.1
    drop_path_schedule: DropPathSchedule = DropPathSchedule.linear
    token_dropout: float | None = None
    projection_dropout: float | None = None
    head_dropout: float = 0.0
    qkv_bias: bool = False
    key_dim: int | None = None
    residual: Residual = Residual.normalised
    mlp_second_activation: bool = False
    norm_eps: float = 1e-5
    weights: str | None = None
    weights_key: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """``dim``, or the paper's for this depth."""
        return default_size(self.layers).dim if self.dim is None else self.dim

    @property
    def attention_heads(self) -> int:
        return default_size(self.layers).heads if self.heads is None else self.heads

    @property
    def key_width(self) -> int:
        """``key_dim``, or what a head has of the width."""
        return self.width // self.attention_heads if self.key_dim is None else self.key_dim

    @property
    def mlp_width(self) -> int:
        ratio = default_size(self.layers).mlp_ratio if self.mlp_ratio is None else self.mlp_ratio
        return int(self.width * ratio)

    @property
    def encoder(self) -> EncoderSpec:
        """What the encoder is built from, with this depth's width and heads."""
        return EncoderSpec(**{f.name: getattr(self, _RESOLVED.get(f.name, f.name)) for f in fields(EncoderSpec)})

    def resolved(self) -> "ModelSpec":
        """The same model with nothing left to a default: what is recorded, and what identity is taken over.

        Raises:
            SpecError: No such model can be built on any input.
        """
        self.check()
        size = default_size(self.layers)
        values = {f.name: getattr(self, f.name) for f in fields(self)} | {
            "dim": self.width,
            "heads": self.attention_heads,
            "mlp_ratio": float(size.mlp_ratio if self.mlp_ratio is None else self.mlp_ratio),
            "key_dim": self.key_width,
            "token_dropout": self.dropout if self.token_dropout is None else self.token_dropout,
            "projection_dropout": self.dropout if self.projection_dropout is None else self.projection_dropout,
            "drop_path_schedule": DropPathSchedule(self.drop_path_schedule),
            "residual": Residual(self.residual),
            "weights_key": self.weights_key if self.weights is not None else None,
            "options": {axis: options for axis in registry.AXES if (options := asdict(self.variant(axis)))},
        }
        return ModelSpec(**values)

    def variant(self, axis: str) -> Any:
        """The spec of the variant chosen on an axis, with its options.

        Raises:
            SpecError: There is no such variant, or it has no such option.
        """
        entry = _entry(axis, getattr(self, axis))
        options = dict(self.options.get(axis, {}))
        known = [f.name for f in fields(entry.spec)]
        for name in options:
            if name not in known:
                there = f"it has {', '.join(known)}" if known else "it has none"
                raise SpecError(f"model.options.{axis}.{name} is no option of {axis}={entry.name}: {there}.")
        return entry.spec(**options)

    def check(self) -> None:
        """Raises SpecError for a model that no input makes possible."""
        for axis in self.options:
            if axis not in registry.AXES:
                raise SpecError(unknown("an axis in model.options", axis, registry.AXES))
        if self.mlp_ratio is not None and not math.isfinite(self.mlp_ratio):
            raise SpecError(f"model.mlp_ratio must be a finite number, got {self.mlp_ratio}.")
        for name, most in _MOST.items():
            if getattr(self, name) < 1:
                raise SpecError(f"model.{_LEAF.get(name, name)} must be at least 1, got {getattr(self, name)}.")
            if getattr(self, name) > most:
                raise SpecError(f"model.{_LEAF.get(name, name)} must be at most {most:,}, got {getattr(self, name):,}.")
        if self.key_dim is None and self.width % self.attention_heads:
            works = ", ".join(str(n) for n in range(1, self.width + 1) if self.width % n == 0 and n <= 16)
            raise SpecError(
                f"model.dim must be divisible by model.heads, got dim={self.width}, heads={self.attention_heads}; "
                f"heads={works} work."
            )
        if not 1 <= self.key_width <= _MOST["width"]:
            raise SpecError(f"model.key_dim must be at least 1 and at most {_MOST['width']:,}, got {self.key_width:,}.")
        if not 0 < self.norm_eps <= 1:
            raise SpecError(f"model.norm_eps must be above 0 and at most 1, got {self.norm_eps}.")
        if self.weights == "":
            raise SpecError("model.weights must name a file of weights, or be null to draw them, got an empty name.")
        if self.weights_key == "":
            raise SpecError("model.weights_key must be a key of model.weights' file, or null, got an empty name.")
        for name in _RATES:
            rate = getattr(self, name)
            if rate is not None and not 0 <= rate < 1:
                raise SpecError(f"model.{name} must be at least 0 and below 1, got {rate}.")
        check_choice("model.residual", self.residual, Residual)
        check_choice("model.drop_path_schedule", self.drop_path_schedule, DropPathSchedule)
        for variant in [self.variant(axis) for axis in registry.AXES]:
            variant.check(self)

    def grid(self, input_shape: InputShape) -> tuple[int, int]:
        """Rows and columns of image tokens.

        Raises:
            SpecError: The image is too small, or is not cut evenly.
        """
        height, width, _ = input_shape
        rows, columns = self.variant("tokenizer").grid(self, height, width)
        if rows < 1 or columns < 1:
            raise SpecError(
                f"an image of {height}x{width} leaves no token after tokenizer={self.tokenizer}, kernel={self.kernel}, "
                f"convs={self.convs}; use a larger data.image_size or fewer model.convs."
            )
        return rows, columns

    def geometry(self, input_shape: InputShape, num_classes: int | None = None) -> Geometry:
        """The shapes that this model has on images of a shape.

        Raises:
            SpecError: The image is too small, or is not cut evenly.
        """
        extra_tokens = int(self.variant("pooling").extra_tokens())
        return Geometry(input_shape, self.grid(input_shape), extra_tokens, num_classes)

    def tokens(self, input_shape: InputShape) -> int:
        """Length of the sequence that the encoder sees, a class token included."""
        return self.geometry(input_shape).tokens

    def params(self, input_shape: InputShape, num_classes: int) -> int:
        """All parameters, a fixed sine embedding included, as the official code counts them."""
        return sum(self._params(input_shape, num_classes))

    def trainable_params(self, input_shape: InputShape, num_classes: int) -> int:
        """Parameters that training moves."""
        return self._params(input_shape, num_classes).trainable

    def _params(self, input_shape: InputShape, num_classes: int) -> Params:
        parts = [
            Params(self.width * num_classes + num_classes),
            self.encoder.params(self.width),
            self.variant("tokenizer").params(self, input_shape[2]),
            self.variant("positional").params(self, self.tokens(input_shape)),
            self.variant("pooling").params(self),
        ]
        return Params(sum(p.trainable for p in parts), sum(p.fixed for p in parts))

    def macs(self, input_shape: InputShape, num_classes: int, *, convention: MacsConvention = "macs") -> int:
        """Multiply-accumulates of one image's forward pass.

        Args:
            input_shape: Height, width, channels.
            num_classes: Outputs of the head.
            convention: ``macs`` counts convolutions, dense layers, attention's two products and SeqPool;
                ``macs_modules`` convolutions and dense layers only; ``macs_fvcore`` adds 5 per LayerNorm element to
                ``macs`` (what the paper's Table 1 reports); ``macs_ptflops06`` adds to ``macs_modules`` what ptflops
                0.6 counts beside weights (`Macs.elementwise`).
        """
        tokens = self.tokens(input_shape)
        total = Macs(linear=self.width * num_classes, elementwise=num_classes)
        total = total.plus(self.encoder.macs(self.width, tokens))
        total = total.plus(self.variant("tokenizer").macs(self, input_shape))
        total = total.plus(self.variant("pooling").macs(self, tokens))
        return total.under(convention)


_MOST = {
    "layers": 10_000,
    "kernel": 10_000,
    "convs": 100,
    "width": 1_000_000,
    "attention_heads": 1_000_000,
    "mlp_width": 10_000_000,
}
"""The largest that each number may be, ten times or more what any published model has: a larger one is a slip."""

_RESOLVED = {"heads": "attention_heads", "key_dim": "key_width"}
"""Leaves that may be None, by the property that says what they are then."""

_LEAF = {"width": "dim", "attention_heads": "heads", "mlp_width": "mlp_ratio x model.dim"}
_RATES = (
    *("dropout", "attention_dropout", "stochastic_depth"),
    *("token_dropout", "projection_dropout", "head_dropout"),
)


def check_choice(what: str, got: object, choices: Iterable[str]) -> None:
    """Raises SpecError for an option of a variant that is none of its choices."""
    if got not in list(choices):
        raise SpecError(unknown(what, got, choices))


def check_flag(what: str, got: object) -> None:
    """Raises SpecError for an option of a variant that is neither true nor false."""
    if not isinstance(got, bool):
        raise SpecError(f"{what} must be true or false, got {got!r}.")


def _entry(axis: str, name: str) -> registry.Entry:
    try:
        return registry.get(axis, name)
    except ValueError as error:
        raise SpecError(str(error)) from None
