"""Images to tokens: the convolutional tokenizer of CCT, the patches of ViT-Lite and CVT.

Layers from ``(batch, height, width, channels)`` to ``(batch, rows * columns, dim)``, row by row.
"""

# mypy: allow-subclassing-any

from typing import Any

import keras
from keras import ops

from ablate.models.initializers import kaiming_normal, uniform_bias
from ablate.models.intermediates import tap
from ablate.models.slots import Geometry
from ablate.models.spec import ModelSpec
from ablate.models.tokenizer.observed import Observed, observed
from ablate.models.tokenizer.spec import ConvTokenizerSpec


def conv(spec: ModelSpec, geometry: Geometry) -> "ConvTokenizer":
    """CCT's tokenizer for a spec."""
    variant: ConvTokenizerSpec = spec.variant("tokenizer")
    return ConvTokenizer(
        variant.widths(spec),
        spec.kernel,
        variant.stride(spec),
        variant.padding(spec),
        variant.conv_padding,
        variant.pool_padding,
        observability=_stage(spec),
        name="tokenizer",
    )


def patch(spec: ModelSpec, geometry: Geometry) -> "PatchTokenizer":
    """ViT-Lite's and CVT's tokenizer for a spec."""
    return PatchTokenizer(spec.width, spec.kernel, observability=_stage(spec), name="tokenizer")


def _stage(spec: ModelSpec) -> Observed | None:
    """What stands behind the tokens of all; the branches of late fusion have it each for itself."""
    return None if spec.branches else observed(spec)


class _Observed(keras.layers.Layer):
    """A tokenizer with a stage behind its tokens, or with none.

    Args:
        observability: The stage.
    """

    def __init__(self, *, observability: Observed | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.observability = observability

    def _build_stage(self, dim: int) -> None:
        if self.observability is not None:
            self.observability.build((None, None, dim))

    def _staged(self, tokens: Any, training: bool | None) -> Any:
        if self.observability is None:
            return tokens
        tap(self, tokens, "tokens")
        return self.observability(tokens, training=training)

    def get_config(self) -> dict[str, Any]:
        stage = self.observability
        own = {} if stage is None else {"observability": stage.get_config()}
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        stage = config.get("observability")
        return cls(**{**config, "observability": stage and Observed.from_config(stage)})


@keras.saving.register_keras_serializable(package="ablate")
class ConvTokenizer(_Observed):
    """Stages of convolution without bias, ReLU, and max-pool 3 with stride 2.

    Args:
        widths: Output channels of each stage; the last is the width of a token.
        kernel: Side of the convolution kernels.
        stride: Stride of the convolutions.
        padding: Number of zeros on every side: of what each convolution sees, or of what it gives.
        conv_padding: ``symmetric``, ``padding`` before each convolution; ``after``, ``padding`` behind each ReLU;
            ``same``, TensorFlow's, whatever ``padding`` says.
        pool_padding: ``symmetric``, one row of -inf on every side, or ``same``, TensorFlow's.

    Source: Hassani et al. 2021, section 3.3.
    """

    def __init__(
        self,
        widths: list[int],
        kernel: int,
        stride: int = 1,
        padding: int = 1,
        conv_padding: str = "symmetric",
        pool_padding: str = "symmetric",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.conv_padding = conv_padding
        self.pool_padding = pool_padding
        self.widths = list(widths)
        self.kernel = kernel
        self.stride = stride
        self.padding = padding
        # With stride 1 and an odd kernel, "same" is this padding, and spares a copy of the images.
        symmetric = stride == 1 and kernel == 2 * padding + 1 and conv_padding == "symmetric"
        self.same = symmetric or conv_padding == "same"
        self.stages = [
            keras.layers.Conv2D(
                width,
                kernel,
                strides=stride,
                padding="same" if self.same else "valid",
                use_bias=False,
                kernel_initializer=kaiming_normal(),
                dtype=self.dtype_policy,
                name=f"conv_{index}",
            )
            for index, width in enumerate(self.widths)
        ]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = input_shape[-1]
        for stage, width in zip(self.stages, self.widths, strict=True):
            stage.build((None, None, None, channels))
            channels = width
        self._build_stage(self.widths[-1])

    def call(self, x: Any, training: bool | None = None) -> Any:
        around = [[0, 0], [self.padding, self.padding], [self.padding, self.padding], [0, 0]]
        for stage in self.stages:
            x = stage(ops.pad(x, around) if self.conv_padding == "symmetric" and not self.same else x)
            if self.conv_padding == "after":
                x = ops.pad(ops.relu(x), around)
            x = ops.relu(max_pool(x) if self.pool_padding == "symmetric" else max_pool_same(x))
        return self._staged(ops.reshape(x, (-1, x.shape[1] * x.shape[2], x.shape[3])), training)

    def get_config(self) -> dict[str, Any]:
        own = {"widths": self.widths, "kernel": self.kernel, "stride": self.stride, "padding": self.padding}
        paddings = {"conv_padding": self.conv_padding, "pool_padding": self.pool_padding}
        return {**super().get_config(), **own, **paddings}


def max_pool(x: Any) -> Any:
    """Max-pool 3, stride 2, as PyTorch pads it: one row of -inf on every side, which never wins.

    ``padding="same"`` would pad an even side after its end only: another function. The pad after the end is left out
    here where no window reaches it. ReLU commutes with a maximum, so it is cheaper after the pool, on a quarter of
    the values.
    """
    after = [side % 2 for side in x.shape[1:3]]
    around = [[0, 0], [1, after[0]], [1, after[1]], [0, 0]]
    return ops.max_pool(ops.pad(x, around, constant_values=float("-inf")), 3, strides=2, padding="valid")


def max_pool_same(x: Any) -> Any:
    """Max-pool 3, stride 2, as TensorFlow pads it: an even side after its end only."""
    return ops.max_pool(x, 3, strides=2, padding="same")


@keras.saving.register_keras_serializable(package="ablate")
class PatchTokenizer(_Observed):
    """One convolution with bias whose stride is its kernel; no activation, no pooling.

    Args:
        dim: Width of a token.
        kernel: Side of a patch in pixels.

    Source: Dosovitskiy et al. 2020; Hassani et al. 2021, section 3.1.
    """

    def __init__(self, dim: int, kernel: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dim = dim
        self.kernel = kernel

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        # Made here, not in __init__, since the draw of its bias depends on the number of channels.
        self.conv = keras.layers.Conv2D(
            self.dim,
            self.kernel,
            strides=self.kernel,
            kernel_initializer=kaiming_normal(),
            bias_initializer=uniform_bias(self.kernel**2 * int(input_shape[-1] or 1)),
            dtype=self.dtype_policy,
            name="conv_0",
        )
        self.conv.build(input_shape)
        self._build_stage(self.dim)

    def call(self, x: Any, training: bool | None = None) -> Any:
        x = self.conv(x)
        return self._staged(ops.reshape(x, (-1, x.shape[1] * x.shape[2], self.dim)), training)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dim": self.dim, "kernel": self.kernel}
