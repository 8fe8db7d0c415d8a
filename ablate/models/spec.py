"""What a Compact Transformer is made of, as plain dataclasses that know their shapes and their cost.

No Keras here: composing, planning, listing and reporting never pay its import. Every count is in closed form and is
held against the built model by tests. Source of the architecture: Hassani et al. 2021, arXiv 2104.05704, and its
official code.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, NamedTuple

from ablate.models import registry
from ablate.models.cost import InputShape, MacsConvention, Params, sum_macs, sum_params
from ablate.models.registry import Stage
from ablate.models.slots import (
    Geometry,
    Head,
    Place,
    SpecError,
    Variant,
    asking,
    check_blocks,
    check_choice,
    check_flag,
    check_options,
    cost_of,
    extra_tokens_of,
    grid_of,
    in_block,
    place_of,
)
from ablate.words import unknown


class Residual(StrEnum):
    """Where a block's norms stand, and what its MLP is added to.

    Attributes:
        normalised: Each norm before what it is for; the MLP is added to what comes out of the second norm, as in the
            official code.
        plain: Textbook pre-norm, as in the Keras ports: the MLP is added to what goes into the second norm.
        post: Each norm after its addition, as in Vaswani et al. 2017; no norm follows the last block.
    """

    normalised = "normalised"
    plain = "plain"
    post = "post"


class DropPathSchedule(StrEnum):
    """Drop-path rates over the blocks.

    Attributes:
        linear: From 0 at the first block to ``stochastic_depth`` at the last, as in the official code.
        constant: ``stochastic_depth`` at every block, as in CCT-keras.
    """

    linear = "linear"
    constant = "constant"


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


@dataclass
class ModelSpec:
    """One point in the space of architectures.

    Attributes:
        tokenizer: How an image becomes tokens: a registered name (``conv``, ``patch``).
        kernel: P: side of the convolution kernel, or of the patch.
        convs: C: stages of the convolutional tokenizer; 1 for patches.
        positional: What tells tokens apart by their place (``learnable``, ``sine``, ``none``, ``sine2d``, ``rotary``,
            ``relative``, ``conditional``).
        pooling: How the sequence becomes one vector (``seqpool``, ``class_token``, ``mean``).
        attention: How the tokens of a block see each other (``softmax``, ``linear``, ``manifold``, ``spd_distance``,
            ``grassmann_projection``; ``manifold_euclid``, ``manifold_spd``, ``manifold_grassmann``,
            ``manifold_euclid_spd``, ``manifold_euclid_grassmann`` and ``manifold_spd_grassmann`` are ``manifold`` with
            fewer maps).
        norm: What brings tokens to one scale (``layer``, ``rms``).
        activation: What stands between the layers of a block's MLP (``gelu``, ``gelu_tanh``, ``relu``, ``silu``); None
            takes what the MLP is known with.
        mlp: What each token passes alone in a block (``plain``, ``gated``, ``none``).
        head: From features to classes (``linear``, ``mlp``).
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
        residual: Where norms stand, and what a block's MLP is added to: ``normalised`` tokens as in the official code,
            ``plain`` pre-norm, or ``post``.
        mlp_second_activation: Whether the activation follows the MLP's second layer too.
        norm_eps: Added to the variance in every norm; above 0, at most 1.
        weights: File that the initial weights are read from (docs/finetuning.md); None draws them.
        weights_key: Which of the file's state dicts, such as ``state_dict_ema``, or what the names of its tensors begin
            with; None takes the weights as trained. Without ``weights`` there is nothing to choose, and it is None.
        options: A variant's own options by slot, e.g. ``{"attention": {"blocks": "last"}}``.
        branches: Late fusion: encoders side by side on the same tokens, by names of their own, each with what differs
            from the model in it, e.g. ``{"spd": {"attention": "spd_distance"}}``; empty for a single encoder.
    """

    tokenizer: str = "conv"
    kernel: int = 3
    convs: int = 2
    positional: str = "learnable"
    pooling: str = "seqpool"
    attention: str = "softmax"
    norm: str = "layer"
    activation: str | None = None
    mlp: str = "plain"
    head: str = "linear"
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
    branches: dict[str, Any] = field(default_factory=dict)

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
    def features(self) -> int:
        """Width of what the head reads: that of a token, for each branch."""
        return self.width * max(1, len(self.branches))

    def branch(self, name: str) -> "ModelSpec":
        """The model that a branch would be by itself; what all branches share it has as the model.

        Raises:
            SpecError: The model's tokenizer has no such option.
        """
        own = dict(self.branches[name])
        kept = {slot: each for slot, each in self.options.items() if own.get(slot) in (None, getattr(self, slot))}
        options = kept | own.get("options", {})
        if "tokenizer" in own.get("options", {}):
            options["tokenizer"] = asdict(self._tokenizer()) | options["tokenizer"]
        return replace(self, branches={}, **own | {"options": options})

    def _agreed(self, branches: list["ModelSpec"]) -> "ModelSpec":
        """The model with what its resolved branches have alike, and defaults where they differ: nothing reads these."""
        first, *others = branches
        own: dict[str, Any] = {each.name: each.default for each in fields(self) if each.name in _BRANCH[:-1]}
        alike = {leaf for leaf in own if all(getattr(each, leaf) == getattr(first, leaf) for each in others)}
        options = {
            slot: each
            for slot, each in first.options.items()
            if (slot in alike or slot not in own) and all(other.options.get(slot) == each for other in others)
        }
        options = {"tokenizer": asdict(self._tokenizer())} | options
        return replace(self, branches={}, **own | {leaf: getattr(first, leaf) for leaf in alike} | {"options": options})

    @property
    def post_norm(self) -> bool:
        return Residual(self.residual) is Residual.post

    def resolved(self) -> "ModelSpec":
        """The same model with nothing left to a default: what is recorded, and what identity is taken over.

        Branches have all that is theirs, in the order of their names, and the model what they have alike, or else its
        defaults: a leaf that no branch takes over tells no runs apart, nor does the order in which branches are named.

        Raises:
            SpecError: No such model can be built on any input.
        """
        self.check()
        size = default_size(self.layers)
        branches = {name: self.branch(name).resolved() for name in sorted(self.branches)}
        own = self._agreed(list(branches.values())) if branches else self
        values = {f.name: getattr(own, f.name) for f in fields(own)} | {
            "dim": self.width,
            "heads": self.attention_heads,
            "mlp_ratio": float(size.mlp_ratio if self.mlp_ratio is None else self.mlp_ratio),
            "key_dim": self.key_width,
            "token_dropout": self.dropout if self.token_dropout is None else self.token_dropout,
            "projection_dropout": self.dropout if self.projection_dropout is None else self.projection_dropout,
            "drop_path_schedule": DropPathSchedule(self.drop_path_schedule),
            "residual": Residual(self.residual),
            "weights_key": self.weights_key if self.weights is not None else None,
            **{slot: variant.one_name(getattr(own, slot)) for slot, variant in own.chosen()},
            "activation": self._one_activation(own),
            "options": {slot: asdict(variant) for slot, variant in own.chosen() if fields(variant)},
            "branches": {name: _branch_leaves(branch) for name, branch in branches.items()},
        }
        return ModelSpec(**values)

    def entries(self) -> Iterator[registry.Entry]:
        """The registered variants that the model is made of, a slot's default included where some blocks keep it.

        Raises:
            SpecError: There is no such variant.
        """
        for slot in registry.slots():
            depths = [depth for depth, _ in self._layers_of(slot)]
            names = {name: None for depth in depths if (name := self._name_at(slot, depth)) is not None}
            yield from (_entry(slot, name) for name in names)
        for branch in self.branches:
            yield from self.branch(branch).entries()

    def variant(self, slot: str) -> Any:
        """The spec of the variant chosen for a slot, with its options.

        Raises:
            SpecError: There is no such variant, it has no such option, or nothing in the model has an activation.
        """
        name = self._name(slot)
        if name is None:
            raise SpecError(f"model.activation has nothing to act on with mlp={self.mlp}.")
        return self._made(slot, name, self.options.get(slot, {}))

    def variant_at(self, slot: str, depth: int) -> Any:
        """The spec of the variant that fills a slot in one block, counted from 0; None for no activation."""
        name = self._name_at(slot, depth)
        if name is None:
            return None
        return self._made(slot, name, self.options.get(slot, {}) if name == self._name(slot) else {})

    def entry_at(self, slot: str, depth: int) -> Any:
        """The registered variant that fills a slot in one block, as `variant_at`."""
        name = self._name_at(slot, depth)
        return None if name is None else _entry(slot, name)

    def _name(self, slot: str) -> str | None:
        name: str | None = getattr(self, slot)
        if slot == "activation" and name is None:
            name = _entry("mlp", self.mlp).spec.activation
        return name

    def _name_at(self, slot: str, depth: int) -> str | None:
        """The variant's name in a block: the chosen one, or the slot's default where ``blocks`` leave it out."""
        if slot == "activation":
            own: str | None = _entry("mlp", self._name_at("mlp", depth) or "").spec.activation
            return own if self.activation is None or own is None else self.activation
        blocks = getattr(self.variant(slot), "blocks", "all") if slot in _PER_BLOCK else "all"
        return self._name(slot) if in_block(blocks, depth, self.layers) else registry.slots()[slot].default

    def _one_activation(self, own: "ModelSpec") -> str | None:
        """The activation of all blocks that have one; None where they have several, or a branch or ``own`` has none."""
        models = [own, *map(self.branch, self.branches)]
        found = [{each._name_at("activation", depth) for depth in range(self.layers)} - {None} for each in models]
        names = set[str | None]().union(*found)
        return names.pop() if len(names) == 1 and all(found) else None

    def _made(self, slot: str, name: str, options: dict[str, Any]) -> Any:
        entry = _entry(slot, name)
        known = [f.name for f in fields(entry.spec)]
        for option in options:
            if option not in known:
                there = f"it has {', '.join(known)}" if known else "it has none"
                raise SpecError(f"model.options.{slot}.{option} is no option of {slot}={entry.name}: {there}.")
        with asking(entry.spec, "__init__"):
            return entry.spec(**options)

    def chosen(self) -> Iterator[tuple[str, Any]]:
        """Each slot with the variant chosen for it, an activation only where there is one."""
        for slot in registry.slots():
            if self._name(slot) is not None:
                yield slot, self.variant(slot)

    def _parts(self) -> Iterator[tuple[Variant, int]]:
        """Each variant, and how often its costs count."""
        for name, slot in registry.slots().items():
            if slot.stage is not Stage.block:
                yield self.variant(name), 1
                continue
            times: Counter[str | None] = Counter()
            depths = {}
            for depth, count in self._layers_of(name):
                times[chosen := self._name_at(name, depth)] += count
                depths[chosen] = depth
            yield from ((self.variant_at(name, depths[each]), n) for each, n in times.items() if each is not None)

    def _layers_of(self, slot: str) -> Iterator[tuple[int, int]]:
        """Each block and how often a block's slot stands in it; of norms, the last stands behind all blocks."""
        for depth in range(self.layers):
            yield depth, 1 + int(self.entry_at("mlp", depth).spec.present) if slot == "norm" else 1
        if slot == "norm" and not self.post_norm:
            yield self.layers, 1

    def _tokenizer(self) -> Any:
        """The tokenizer without what a branch has for itself."""
        whole = self.variant("tokenizer")
        with asking(type(whole), "alone"):
            return whole.alone()

    def _all_parts(self) -> Iterator[tuple["ModelSpec", Variant, int]]:
        """As ``_parts``, of all branches, each with the model that it is a part of; they share tokenizer and head."""
        if not self.branches:
            yield from ((self, variant, times) for variant, times in self._parts())
            return
        tokenizer = self._tokenizer()
        yield self, tokenizer, 1
        yield self, self.variant("head"), 1
        for branch in map(self.branch, self.branches):
            yield branch, tokenizer, -1  # it stands in the branch's own parts, before what is behind its tokens
            yield from ((branch, part, times) for part, times in branch._parts() if not isinstance(part, Head))

    def check(self) -> None:
        """Raises SpecError for a model that no input makes possible."""
        if not _by_slot(self.options):
            raise SpecError(
                f"model.options must have options by slot, got {self.options!r}; write model.options.SLOT.NAME=…"
            )
        for slot in self.options:
            if slot not in registry.slots():
                raise SpecError(unknown("a slot in model.options", slot, registry.slots()))
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
        for name in ("qkv_bias", "mlp_second_activation"):
            check_flag(f"model.{name}", getattr(self, name))
        check_choice("model.residual", self.residual, Residual)
        check_choice("model.drop_path_schedule", self.drop_path_schedule, DropPathSchedule)
        for slot, variant in self.chosen():
            check_options(variant)
            if slot in _PER_BLOCK and hasattr(variant, "blocks"):
                check_blocks(f"model.options.{slot}.blocks", variant.blocks, self.layers)
            with asking(type(variant), "check"):
                variant.check(self)
        self._check_together()
        self._check_branches()

    def _check_branches(self) -> None:
        """Raises SpecError for a branch that is none."""
        if not isinstance(self.branches, dict):
            raise SpecError(
                "model.branches must name each branch and have its leaves by name, got "
                f"{self.branches!r}; write model.branches.NAME.attention=softmax."
            )
        for name, own in self.branches.items():
            if not (isinstance(name, str) and _BRANCH_NAME.fullmatch(name)) or not isinstance(own, dict):
                raise SpecError(
                    "model.branches must name each branch with small letters and digits, and have its leaves by name, "
                    f"got {name!r}: {own!r}; write model.branches.NAME.attention=softmax."
                )
            for leaf in own:
                if leaf not in _BRANCH:
                    raise SpecError(unknown(f"a leaf of model.branches.{name}", leaf, _BRANCH))
            for leaf in ("attention", "positional"):
                if not isinstance(own.get(leaf, ""), str):
                    raise SpecError(f"model.branches.{name}.{leaf} must be the name of a variant, got {own[leaf]!r}.")
            check_flag(f"model.branches.{name}.qkv_bias", own.get("qkv_bias", False))
            if not _by_slot(own.get("options", {})):
                raise SpecError(
                    f"model.branches.{name}.options must have options by slot, got {own['options']!r}; write "
                    f"model.branches.{name}.options.SLOT.NAME=…"
                )
            try:
                self.branch(name).check()
            except SpecError as error:
                raise SpecError(_of_branch(name, str(error))) from None
            self._check_shared(name)

    def _check_shared(self, name: str) -> None:
        """Raises SpecError for an option of a branch's own where one layer serves all branches."""
        branch = self.branch(name)
        pairs = {
            "tokenizer": (self._tokenizer(), branch._tokenizer()),
            "head": (self.variant("head"), branch.variant("head")),
        }
        for slot, (ours, its) in pairs.items():
            for option in (each.name for each in fields(ours) if getattr(ours, each.name) != getattr(its, each.name)):
                raise SpecError(
                    f"model.branches.{name}.options.{slot}.{option} must be what all branches have, "
                    f"{getattr(ours, option)}, got {getattr(its, option)}; set model.options.{slot}.{option}."
                )

    def _check_together(self) -> None:
        """Raises SpecError for variants that do not go together."""
        if self.activation is not None and all(self._name_at("activation", d) is None for d in range(self.layers)):
            raise SpecError(
                f"model.activation must be null where no block has an MLP with one, got {self.activation} with "
                f"mlp={self.mlp}."
            )
        place = place_of(self.variant("positional"))
        if place in (Place.tokens, Place.blocks):
            return
        for name in dict.fromkeys(self._name_at("attention", depth) for depth in range(self.layers)):
            entry = _entry("attention", str(name))
            if place not in entry.spec.serves:
                able = [
                    other for other in registry.names("attention") if place in _entry("attention", other).spec.serves
                ]
                raise SpecError(
                    f"model.positional={self.positional} acts on attention's {place.replace('_', ' and ')}, which "
                    f"attention={name} does not offer; it goes with attention={' or '.join(able)}."
                )

    def grid(self, input_shape: InputShape) -> tuple[int, int]:
        """Rows and columns of image tokens.

        Raises:
            SpecError: The image is too small, or is not cut evenly.
        """
        height, width, _ = input_shape
        rows, columns = grid_of(self.variant("tokenizer"), self, height, width)
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
        first = next(map(self.branch, self.branches), self)
        extra_tokens = extra_tokens_of(first.variant("pooling"))
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
        return sum_params(self._costs("params", input_shape, num_classes))

    def _costs(self, method: str, input_shape: InputShape, num_classes: int) -> Iterator[tuple[Any, int]]:
        """What each part costs, and how often; a branch has extra tokens of its own."""
        for model, part, times in self._all_parts():
            yield cost_of(method, part, model, model.geometry(input_shape, num_classes)), times

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
        return sum_macs(self._costs("macs", input_shape, num_classes)).under(convention)


_MOST = {
    "layers": 10_000,
    "kernel": 10_000,
    "convs": 100,
    "width": 1_000_000,
    "attention_heads": 1_000_000,
    "mlp_width": 10_000_000,
}
"""The largest that each number may be, ten times or more what any published model has: a larger one is a slip."""

_LEAF = {"width": "dim", "attention_heads": "heads", "mlp_width": "mlp_ratio x model.dim"}
_PER_BLOCK = ("attention", "norm", "mlp")
"""Slots whose variants may have an option ``blocks``; the norm behind the last block is in none of a list's."""
_RATES = (
    *("dropout", "attention_dropout", "stochastic_depth"),
    *("token_dropout", "projection_dropout", "head_dropout"),
)


_BRANCH = ("attention", "positional", "qkv_bias", "options")
"""Leaves in which a branch may differ from its model; the options of all slots stand last."""
_BRANCH_NAME = re.compile(r"[a-z][a-z0-9]*")  # no _, so that it never reads as block_0


_BRANCH_LEAF = re.compile(rf"\bmodel\.({'|'.join(_BRANCH)})\b")


def _of_branch(name: str, message: str) -> str:
    """What is wrong with a branch, by the names of its own leaves."""
    told = _BRANCH_LEAF.sub(rf"model.branches.{name}.\1", message)
    return told if told != message else f"in model.branches.{name}: {message}"


def _branch_leaves(branch: ModelSpec) -> dict[str, Any]:
    return {leaf: getattr(branch, leaf) for leaf in _BRANCH}


def _by_slot(options: Any) -> bool:
    return isinstance(options, dict) and all(isinstance(each, dict) for each in options.values())


def _entry(slot: str, name: str) -> registry.Entry:
    try:
        return registry.get(slot, name)
    except ValueError as error:
        raise SpecError(str(error)) from None
