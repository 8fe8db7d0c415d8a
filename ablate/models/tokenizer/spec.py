"""Variants of the tokenizer, their shapes, and what each costs."""

from dataclasses import dataclass
from itertools import pairwise

from ablate.models.cost import Macs, Params
from ablate.models.registry import register
from ablate.models.slots import Geometry, SpecError, Tokenizer, check_choice
from ablate.models.spec import ModelSpec


@register("tokenizer", "conv", layer="ablate.models.tokenizer.layers:conv")
@dataclass
class ConvTokenizerSpec(Tokenizer):
    """CCT's: ``convs`` stages of convolution without bias, ReLU, and max-pool 3 with stride 2.

    Attributes:
        conv_widths: Channels of the stages before the last: ``fixed``, 64 whatever the width of the model, or
            ``doubling``, half of the next stage's (CCT-keras).
        conv_padding: Zeros around what a convolution sees: ``symmetric``, kernel // 2 on every side; ``same``,
            TensorFlow's, which pads the end more (CCT-keras); ``after``, none, but ReLU's output is padded instead
            (the keras.io example).
        pool_padding: ``symmetric``, one row of -inf on every side, or ``same``, TensorFlow's (both ports).
    """

    conv_widths: str = "fixed"
    conv_padding: str = "symmetric"
    pool_padding: str = "symmetric"

    def check(self, model: "ModelSpec") -> None:
        check_choice("model.options.tokenizer.conv_widths", self.conv_widths, ("fixed", "doubling"))
        check_choice("model.options.tokenizer.conv_padding", self.conv_padding, ("symmetric", "same", "after"))
        check_choice("model.options.tokenizer.pool_padding", self.pool_padding, ("symmetric", "same"))
        if model.convs < 1:
            raise SpecError(f"model.convs must be at least 1 with tokenizer=conv, got {model.convs}.")

    def stride(self, model: "ModelSpec") -> int:
        return max(1, model.kernel // 2 - 1)

    def padding(self, model: "ModelSpec") -> int:
        return max(1, model.kernel // 2)

    def widths(self, model: "ModelSpec") -> list[int]:
        """Output channels of each stage; the last stage's is the width of the model."""
        if self.conv_widths == "doubling":
            return [max(1, model.width // 2**stage) for stage in reversed(range(model.convs))]
        return [64] * (model.convs - 1) + [model.width]

    def sizes(self, model: "ModelSpec", length: int) -> list[tuple[int, int, int]]:
        """Along one side, per stage: length after the convolution, into the pool, after the pool."""
        out = []
        for _ in range(model.convs):
            convolved = self._convolved(model, length)
            entering = convolved + 2 * self.padding(model) if self.conv_padding == "after" and convolved else convolved
            length = (entering + 1) // 2  # both ways to pad the pool give it
            out.append((convolved, entering, length))
        return out

    def _convolved(self, model: "ModelSpec", length: int) -> int:
        if self.conv_padding == "same":
            return -(-length // self.stride(model))
        around = 2 * self.padding(model) if self.conv_padding == "symmetric" else 0
        return max(0, (length + around - model.kernel) // self.stride(model) + 1)

    def grid(self, model: "ModelSpec", height: int, width: int) -> tuple[int, int]:
        return self.sizes(model, height)[-1][-1], self.sizes(model, width)[-1][-1]

    def params(self, model: "ModelSpec", geometry: Geometry) -> Params:
        widths = [geometry.input_shape[2], *self.widths(model)]
        return Params(sum(model.kernel**2 * a * b for a, b in pairwise(widths)))

    def macs(self, model: "ModelSpec", geometry: Geometry) -> Macs:
        height, width, channels = geometry.input_shape
        rows, columns = self.sizes(model, height), self.sizes(model, width)
        areas = [row[0] * column[0] for row, column in zip(rows, columns, strict=True)]
        entering = [row[1] * column[1] for row, column in zip(rows, columns, strict=True)]
        widths = [channels, *self.widths(model)]
        return Macs(
            linear=sum(area * model.kernel**2 * a * b for area, (a, b) in zip(areas, pairwise(widths), strict=True)),
            # ReLU, then max-pool
            elementwise=sum((a + b) * width for a, b, width in zip(areas, entering, widths[1:], strict=True)),
        )


@register("tokenizer", "patch", layer="ablate.models.tokenizer.layers:patch")
@dataclass
class PatchTokenizerSpec(Tokenizer):
    """ViT-Lite's and CVT's: one convolution with bias whose stride is its kernel; no activation, no pooling."""

    def check(self, model: "ModelSpec") -> None:
        if model.convs != 1:
            raise SpecError(
                f"model.convs must be 1 with tokenizer=patch, which cuts the image once, got {model.convs}; "
                "set model.convs=1, or model.tokenizer=conv."
            )

    def grid(self, model: "ModelSpec", height: int, width: int) -> tuple[int, int]:
        for side, length in (("height", height), ("width", width)):
            if length % model.kernel:
                raise SpecError(
                    f"image {side} must be a multiple of model.kernel with tokenizer=patch, got {side} {length} "
                    f"and kernel {model.kernel}, which cuts off the rest; change model.kernel or data.image_size."
                )
        return height // model.kernel, width // model.kernel

    def params(self, model: "ModelSpec", geometry: Geometry) -> Params:
        return Params(model.kernel**2 * geometry.input_shape[2] * model.width + model.width)

    def macs(self, model: "ModelSpec", geometry: Geometry) -> Macs:
        outputs = geometry.grid[0] * geometry.grid[1] * model.width
        return Macs(linear=outputs * model.kernel**2 * geometry.input_shape[2], elementwise=outputs)
