"""Variants of pooling, and what each costs."""

from dataclasses import dataclass

from ablate.models.cost import Macs, Params
from ablate.models.registry import register
from ablate.models.slots import Geometry, Pooling, check_flag
from ablate.models.spec import ModelSpec


@register("pooling", "seqpool", layer="ablate.models.pooling.layers:seqpool")
@dataclass
class SeqPoolSpec(Pooling):
    """A learned weighted mean: softmax over tokens of a dense layer with one output.

    Attributes:
        sums: Softmax over the one output instead of over tokens: each token weighs 1, so that the tokens are summed
            and the dense layer learns nothing (CCT-keras).
    """

    sums: bool = False

    def check(self, model: "ModelSpec") -> None:
        check_flag("model.options.pooling.sums", self.sums)

    def params(self, model: "ModelSpec", geometry: Geometry) -> Params:
        return Params(model.width + 1)

    def macs(self, model: "ModelSpec", geometry: Geometry) -> Macs:
        return Macs(linear=geometry.tokens * model.width, products=geometry.tokens * model.width, elementwise=1)


@register("pooling", "class_token", layer="ablate.models.pooling.layers:class_token")
@dataclass
class ClassTokenSpec(Pooling):
    """ViT's: a trained token joins the sequence in front, and is all that is read after the encoder."""

    def extra_tokens(self) -> int:
        return 1

    def params(self, model: "ModelSpec", geometry: Geometry) -> Params:
        return Params(model.width)


@register("pooling", "mean", layer="ablate.models.pooling.layers:mean")
@dataclass
class MeanSpec(Pooling):
    """The plain mean over tokens."""
