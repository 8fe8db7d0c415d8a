"""Variants of the tokenizer, their shapes, and what each costs."""

from dataclasses import dataclass, replace
from itertools import pairwise

from ablate.models.cost import Macs, Params
from ablate.models.registry import register
from ablate.models.slots import Geometry, SpecError, Tokenizer, check_choice, check_flag
from ablate.models.spec import ModelSpec


@dataclass
class ObservedTokenizer(Tokenizer):
    """A tokenizer whose tokens may be read as linear dynamical systems before the class token joins them.

    Attributes:
        observability: ``[order, blocks]``, such as ``[8, 3]``: each token's observability matrix takes its place, the
            token read as observations of ``order`` numbers, with ``blocks`` matrices side by side
            (`ablate.models.tokenizer.observability`); null leaves tokens as they are.
        early_fusion: Whether a dense layer joins the token and its matrix, instead of the matrix alone.
    """

    observability: list[int] | None = None
    early_fusion: bool = False

    def check(self, model: "ModelSpec") -> None:
        check_flag("model.options.tokenizer.early_fusion", self.early_fusion)
        if self.observability is None:
            if self.early_fusion:
                raise SpecError(
                    "model.options.tokenizer.early_fusion must come with observability, the features that it joins to "
                    "tokens, got none; set model.options.tokenizer.observability=[4,4], or early_fusion=false."
                )
            return
        got = self.observability
        listed = isinstance(got, list | tuple)
        whole = listed and all(isinstance(each, int) and not isinstance(each, bool) for each in got)
        if not whole or len(got) != 2 or got[0] < 1 or not 2 <= got[1] <= 100:
            raise SpecError(
                "model.options.tokenizer.observability must be [order, blocks], whole numbers, order at least 1 and "
                f"blocks from 2 to 100, got {list(got) if listed else repr(got)}; [8,3] and [4,4] are published."
            )
        order = got[0]
        if model.width % order or model.width // order < order + 1:
            works = [n for n in range(1, model.width + 1) if model.width % n == 0 and model.width // n > n]
            raise SpecError(
                "model.dim must be a multiple of the order in model.options.tokenizer.observability, at least order + 1"
                f" times, got dim={model.width}, order={order}; order={', '.join(map(str, works))} work."
            )

    def alone(self) -> "ObservedTokenizer":
        return replace(self, observability=None, early_fusion=False)

    def stage_params(self, model: "ModelSpec") -> Params:
        """Parameters of what stands behind the tokens: a LayerNorm and a dense layer; in early fusion two of these."""
        if self.observability is None:
            return Params()
        order, blocks = self.observability
        features = blocks * order**2 * model.width + model.width
        joined = 2 * model.width**2 + model.width
        return Params(features + (joined if self.early_fusion else 2 * model.width))

    def stage_macs(self, model: "ModelSpec", geometry: Geometry) -> Macs:
        """Multiply-accumulates of it, without the decompositions: singular values and pseudo-inverse."""
        if self.observability is None:
            return Macs()
        order, blocks = self.observability
        tokens, steps = geometry.grid[0] * geometry.grid[1], model.width // order
        dense = blocks * order**2 * model.width + (2 * model.width**2 if self.early_fusion else 0)
        return Macs(
            linear=tokens * dense,
            # U'Y, both products of the least squares, their product with the pseudo-inverse, and UA for each block
            # but the first, as the source counts
            products=tokens * order**2 * (steps + 2 * (steps - 1) + blocks * order),
            norms=0 if self.early_fusion else 5 * tokens * model.width,
            elementwise=(1 + self.early_fusion) * model.width,
        )


@register("tokenizer", "conv", layer="ablate.models.tokenizer.layers:conv")
@dataclass
class ConvTokenizerSpec(ObservedTokenizer):
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
        super().check(model)
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
        return Params(sum(model.kernel**2 * a * b for a, b in pairwise(widths)) + self.stage_params(model).trainable)

    def macs(self, model: "ModelSpec", geometry: Geometry) -> Macs:
        height, width, channels = geometry.input_shape
        rows, columns = self.sizes(model, height), self.sizes(model, width)
        areas = [row[0] * column[0] for row, column in zip(rows, columns, strict=True)]
        entering = [row[1] * column[1] for row, column in zip(rows, columns, strict=True)]
        widths = [channels, *self.widths(model)]
        own = Macs(
            linear=sum(area * model.kernel**2 * a * b for area, (a, b) in zip(areas, pairwise(widths), strict=True)),
            # ReLU, then max-pool
            elementwise=sum((a + b) * width for a, b, width in zip(areas, entering, widths[1:], strict=True)),
        )
        return own.plus(self.stage_macs(model, geometry))


@register("tokenizer", "patch", layer="ablate.models.tokenizer.layers:patch")
@dataclass
class PatchTokenizerSpec(ObservedTokenizer):
    """ViT-Lite's and CVT's: one convolution with bias whose stride is its kernel; no activation, no pooling."""

    def check(self, model: "ModelSpec") -> None:
        super().check(model)
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
        own = model.kernel**2 * geometry.input_shape[2] * model.width + model.width
        return Params(own + self.stage_params(model).trainable)

    def macs(self, model: "ModelSpec", geometry: Geometry) -> Macs:
        outputs = geometry.grid[0] * geometry.grid[1] * model.width
        own = Macs(linear=outputs * model.kernel**2 * geometry.input_shape[2], elementwise=outputs)
        return own.plus(self.stage_macs(model, geometry))
