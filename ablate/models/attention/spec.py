"""Variants of attention, and what each costs."""

from dataclasses import dataclass
from typing import Any, ClassVar

from ablate.models.cost import Macs, Params
from ablate.models.registry import register
from ablate.models.slots import Attention, Geometry, Place
from ablate.models.spec import ModelSpec


def projections_params(model: ModelSpec) -> Params:
    """Parameters of one projection to queries, keys and values, and of one back, with bias."""
    inner = model.attention_heads * model.key_width
    to = 3 * model.width * inner + (3 * inner if model.qkv_bias else 0)
    return Params(to + inner * model.width + model.width)


def projections_macs(model: ModelSpec, geometry: Geometry) -> Macs:
    """Multiply-accumulates of these projections."""
    inner = model.attention_heads * model.key_width
    return Macs(
        linear=geometry.tokens * model.width * 4 * inner,
        elementwise=model.width + (3 * inner if model.qkv_bias else 0),
    )


@register("attention", "softmax", layer="ablate.models.attention.layers:softmax_attention")
@dataclass
class SoftmaxAttentionSpec(Attention):
    """Multi-head self-attention: the softmax of scaled products of queries and keys weighs values."""

    serves: ClassVar[tuple[Place, ...]] = (Place.queries_keys, Place.scores)

    def params(self, model: ModelSpec, geometry: Geometry) -> Params:
        return projections_params(model)

    def macs(self, model: ModelSpec, geometry: Geometry) -> Macs:
        inner = model.attention_heads * model.key_width
        return projections_macs(model, geometry).plus(Macs(products=2 * geometry.tokens**2 * inner))


@register("attention", "linear", layer="ablate.models.attention.layers:linear_attention")
@dataclass
class LinearAttentionSpec(Attention):
    """Attention whose cost grows with the tokens, not with their square: a product of ``elu + 1`` of queries and keys.

    Source: Katharopoulos et al. 2020, arXiv 2006.16236, equations 5 and 7.

    Attributes:
        blocks: Blocks that have it: ``all``, ``last``, or a list from 0 on; the others have softmax attention.
    """

    serves: ClassVar[tuple[Place, ...]] = (Place.queries_keys,)

    blocks: Any = "all"

    def params(self, model: ModelSpec, geometry: Geometry) -> Params:
        return projections_params(model)

    def macs(self, model: ModelSpec, geometry: Geometry) -> Macs:
        inner = model.attention_heads * model.key_width
        # Keys times values, queries times these, and queries times the sum of keys.
        products = geometry.tokens * inner * (2 * model.key_width + 1)
        return projections_macs(model, geometry).plus(Macs(products=products))
