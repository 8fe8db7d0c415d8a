"""Variants of attention that compare tokens on manifolds, and what each costs."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from ablate.models.attention.spec import projections_macs, projections_params
from ablate.models.cost import Macs, Params, sum_macs
from ablate.models.registry import register
from ablate.models.slots import Attention, Geometry, Place, SpecError, check_choice, check_flag
from ablate.models.spec import ModelSpec

MAPS = ("euclid", "spd", "grassmann")
"""The maps there are, in the order in which they are stacked."""


@register("attention", "manifold", layer="ablate.models.attention.manifold.layers:manifold")
@dataclass
class ManifoldAttentionSpec(Attention):
    """Several maps of how alike tokens are, each scaled, normalised together and mixed into one by a 1 x 1 convolution.

    The softmax of what comes out weighs values. With ``maps=[euclid]`` it is the control of the others: the same norm
    and mixing around the usual inner products. Fewer maps than all have names of their own, so that a sweep can list
    them: ``manifold_euclid_spd`` is ``manifold`` with ``maps=[euclid, spd]``, and a run of either is recorded so.

    Attributes:
        maps: One or more of ``euclid``, inner products; ``spd``, a product of covariance matrices; ``grassmann``,
            squared inner products of orthonormal bases; in this order.
        map_norm: ``layernorm``, jointly over all maps, heads and pairs of tokens; ``batchnorm``, of each map and head;
            or ``none``.
        spd_dropout: Whether attention dropout also falls on the SPD map, as in the fork's type ``all``.
        unused_table: Whether there is a trained table of tokens x tokens that nothing reads, as in the fork's first
            revision.
        blocks: ``all``, ``last``, or a list of blocks from 0; the others have softmax attention.

    Source: the fork is iliasprc/Compact-Transformers at 31975a0, and bd55c27 its first revision; its paper is
    Konstantinidis et al. 2022, arXiv 2207.08569.
    """

    serves: ClassVar[tuple[Place, ...]] = (Place.queries_keys, Place.scores)

    maps: list[str] = field(default_factory=lambda: list(MAPS))
    map_norm: str = "layernorm"
    spd_dropout: bool = False
    unused_table: bool = False
    blocks: Any = "all"

    def check(self, model: ModelSpec) -> None:
        known = isinstance(self.maps, list | tuple) and all(each in MAPS for each in self.maps)
        ordered = [each for each in MAPS if known and each in self.maps]
        if not ordered or list(self.maps) != ordered:
            works = f"; write [{', '.join(ordered)}]" if ordered else ""
            raise SpecError(
                f"model.options.attention.maps must be one or more of {', '.join(MAPS)}, in this order and each once, "
                f"got {self.maps!r}{works}."
            )
        named = type(self)().maps
        if len(named) < len(MAPS) and ordered != named:
            raise SpecError(
                f"model.options.attention.maps must be [{', '.join(named)}] with attention={model.attention}, got "
                f"{list(self.maps)}; set model.attention=manifold to choose maps."
            )
        check_choice("model.options.attention.map_norm", self.map_norm, ("layernorm", "batchnorm", "none"))
        check_flag("model.options.attention.spd_dropout", self.spd_dropout)
        check_flag("model.options.attention.unused_table", self.unused_table)
        if self.spd_dropout and "spd" not in self.maps:
            raise SpecError(
                "model.options.attention.spd_dropout must be false where maps has no spd, got true with "
                f"maps={list(self.maps)}."
            )

    def one_name(self, name: str) -> str:
        fewer = name == "manifold" and len(self.maps) < len(MAPS)
        return "_".join([name, *self.maps]) if fewer else name

    def params(self, model: ModelSpec, geometry: Geometry) -> Params:
        heads, pairs = model.attention_heads, geometry.tokens**2
        stacked = len(self.maps) * heads
        norm = {"layernorm": 2 * stacked * pairs, "batchnorm": 2 * stacked, "none": 0}[self.map_norm]
        own = len(self.maps) + norm + stacked * heads + heads + (pairs if self.unused_table else 0)
        return Params(projections_params(model).trainable + own)  # moments of a BatchNorm are no parameters

    def macs(self, model: ModelSpec, geometry: Geometry) -> Macs:
        heads, pairs = model.attention_heads, geometry.tokens**2
        stacked = len(self.maps) * heads
        norm = {"layernorm": 5, "batchnorm": 2, "none": 0}[self.map_norm] * stacked * pairs
        # The convolution has a bias; ptflops 0.6 counts its outputs, and 2 for each number that passes a BatchNorm.
        elementwise = heads * pairs + (norm if self.map_norm == "batchnorm" else 0)
        fusion = Macs(linear=stacked * heads * pairs, norms=norm, elementwise=elementwise)
        each = [_map_macs(name, model, geometry) for name in self.maps]
        return sum_macs(
            (part, 1) for part in (projections_macs(model, geometry), _mixing(model, geometry), fusion, *each)
        )


@register("attention", "manifold_euclid", layer="ablate.models.attention.manifold.layers:manifold")
@dataclass
class EuclidAttentionSpec(ManifoldAttentionSpec):
    """Inner products alone, with the norm and the mixing: the control of the others."""

    maps: list[str] = field(default_factory=lambda: ["euclid"])


@register("attention", "manifold_spd", layer="ablate.models.attention.manifold.layers:manifold")
@dataclass
class SpdAttentionSpec(ManifoldAttentionSpec):
    """Products of covariance matrices alone."""

    maps: list[str] = field(default_factory=lambda: ["spd"])


@register("attention", "manifold_grassmann", layer="ablate.models.attention.manifold.layers:manifold")
@dataclass
class GrassmannAttentionSpec(ManifoldAttentionSpec):
    """Squared inner products of orthonormal bases alone."""

    maps: list[str] = field(default_factory=lambda: ["grassmann"])


@register("attention", "manifold_euclid_spd", layer="ablate.models.attention.manifold.layers:manifold")
@dataclass
class EuclidSpdAttentionSpec(ManifoldAttentionSpec):
    """Inner products, and products of covariance matrices."""

    maps: list[str] = field(default_factory=lambda: ["euclid", "spd"])


@register("attention", "manifold_euclid_grassmann", layer="ablate.models.attention.manifold.layers:manifold")
@dataclass
class EuclidGrassmannAttentionSpec(ManifoldAttentionSpec):
    """Inner products, and squared ones of orthonormal bases."""

    maps: list[str] = field(default_factory=lambda: ["euclid", "grassmann"])


@register("attention", "manifold_spd_grassmann", layer="ablate.models.attention.manifold.layers:manifold")
@dataclass
class SpdGrassmannAttentionSpec(ManifoldAttentionSpec):
    """Products of covariance matrices, and squared inner products of orthonormal bases."""

    maps: list[str] = field(default_factory=lambda: ["spd", "grassmann"])


@register("attention", "spd_distance", layer="ablate.models.attention.manifold.layers:spd_distance")
@dataclass
class SpdDistanceAttentionSpec(Attention):
    """The softmax of how far apart the covariances of queries and of keys are weighs values.

    The larger the distance, the larger the weight.

    Attributes:
        map_norm: ``none``, or ``rows``: LayerNorm of each token's distances, as in the fork's first revision.
        unused_scale: Whether there is a trained number that nothing reads, as in the fork.
        blocks: ``all``, ``last``, or a list of blocks from 0; the others have softmax attention.

    Source: as `ManifoldAttentionSpec`; ``riemmanian_vit`` in the fork.
    """

    serves: ClassVar[tuple[Place, ...]] = (Place.queries_keys, Place.scores)

    map_norm: str = "none"
    unused_scale: bool = False
    blocks: Any = "all"

    def check(self, model: ModelSpec) -> None:
        check_choice("model.options.attention.map_norm", self.map_norm, ("none", "rows"))
        check_flag("model.options.attention.unused_scale", self.unused_scale)

    def params(self, model: ModelSpec, geometry: Geometry) -> Params:
        norm = 2 * geometry.tokens if self.map_norm == "rows" else 0
        return Params(projections_params(model).trainable + norm + int(self.unused_scale))

    def macs(self, model: ModelSpec, geometry: Geometry) -> Macs:
        heads, pairs = model.attention_heads, geometry.tokens**2
        norm = 5 * heads * pairs if self.map_norm == "rows" else 0
        distances = Macs(products=2 * heads * pairs * model.key_width, norms=norm)
        return projections_macs(model, geometry).plus(_mixing(model, geometry)).plus(distances)


@register("attention", "grassmann_projection", layer="ablate.models.attention.manifold.layers:grassmann_projection")
@dataclass
class GrassmannProjectionAttentionSpec(Attention):
    """Orthonormal bases of queries and keys, compared and normalised, weigh values without a softmax.

    Attributes:
        form: ``projection``, inner products of the squared entries of two bases; or ``squared``, squared inner products
            times a trained scale, as in the fork's first revision.
        unused_scale: Whether ``form=projection`` has that scale, which nothing reads then, as in the fork.
        blocks: ``all``, ``last``, or a list of blocks from 0; the others have softmax attention.

    Source: as `ManifoldAttentionSpec`; ``grassmanian_vit`` and ``grassmanian_cct`` in the fork.
    """

    serves: ClassVar[tuple[Place, ...]] = (Place.queries_keys,)

    form: str = "projection"
    unused_scale: bool = False
    blocks: Any = "all"

    def check(self, model: ModelSpec) -> None:
        check_choice("model.options.attention.form", self.form, ("projection", "squared"))
        check_flag("model.options.attention.unused_scale", self.unused_scale)
        if self.unused_scale and self.form == "squared":
            raise SpecError(
                "model.options.attention.unused_scale must be false with form=squared, which reads its scale, got true."
            )

    @property
    def has_scale(self) -> bool:
        return self.unused_scale or self.form == "squared"

    def params(self, model: ModelSpec, geometry: Geometry) -> Params:
        norm = 2 * model.attention_heads * geometry.tokens**2
        return Params(projections_params(model).trainable + norm + int(self.has_scale))

    def macs(self, model: ModelSpec, geometry: Geometry) -> Macs:
        norm = Macs(norms=5 * model.attention_heads * geometry.tokens**2)
        bases = _map_macs("grassmann", model, geometry)
        return projections_macs(model, geometry).plus(_mixing(model, geometry)).plus(bases).plus(norm)


def _map_macs(name: str, model: ModelSpec, geometry: Geometry) -> Macs:
    """The products of one map; a QR is in no count of MACs, as no tool knows it."""
    heads, tokens, width = model.attention_heads, geometry.tokens, model.key_width
    if name == "spd":
        return Macs(products=heads * tokens**2 * (2 * width + tokens))
    return Macs(products=heads * tokens**2 * (min(tokens, width) if name == "grassmann" else width))


def _mixing(model: ModelSpec, geometry: Geometry) -> Macs:
    """The product of weights and values."""
    return Macs(products=geometry.tokens**2 * model.attention_heads * model.key_width)
