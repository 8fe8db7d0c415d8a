"""The transformer encoder: attention, MLP and drop path in blocks, then a final norm.

Every layer maps ``(batch, tokens, dim)`` to the same shape.
"""

# mypy: allow-subclassing-any

from typing import Any

import keras
import numpy as np

from ablate.models.intermediates import tap
from ablate.models.slots import Geometry, Place
from ablate.models.spec import DropPathSchedule, ModelSpec, Residual
from ablate.models.tokenwise import BlockLayer, DropPath, SpecLayer, in_policy, positional_layer, variant_layer


@keras.saving.register_keras_serializable(package="ablate")
class Block(BlockLayer):
    """One encoder block, as the official code has it: the second residual starts from the *normalised* tensor.

    Textbook pre-norm, ``residual="plain"``, adds the MLP to what entered the second norm; that is another network (the
    reference's logits move by at least 0.5). ``residual="post"`` normalises each sum.

    Args:
        spec: The model's, which says what fills the block's slots.
        geometry: Shapes around the encoder.
        depth: Which block, from 0.
        drop_path: Probability that a sample skips attention, and, drawn anew, the MLP; from 0 to below 1.
    """

    def __init__(
        self, spec: ModelSpec, geometry: Geometry | None, depth: int = 0, drop_path: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(spec, geometry, depth, **kwargs)
        self.residual = Residual(spec.residual)
        with in_policy(self.dtype_policy):
            self.norm_1 = variant_layer("norm", spec, geometry, depth, "norm_1")
            self.attention = variant_layer("attention", spec, geometry, depth, "attention")
            there = spec.entry_at("mlp", depth).spec.present
            self.norm_2: Any = variant_layer("norm", spec, geometry, depth, "norm_2") if there else None
            self.mlp: Any = variant_layer("mlp", spec, geometry, depth, "mlp") if there else None
            self.drop_path = DropPath(drop_path, name="drop_path")
            self.positional = positional_layer(spec, geometry, depth, Place.blocks)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        with in_policy(self.dtype_policy):
            parts = (self.norm_1, self.attention, self.norm_2, self.mlp, self.drop_path, self.positional)
            for layer in parts:
                if layer is not None:
                    layer.build(input_shape)

    def call(self, x: Any, training: bool | None = None) -> Any:
        post = self.residual is Residual.post
        attended = self.attention(x if post else self.norm_1(x), training=training)
        x = x + self.drop_path(attended, training=training)
        x = self.norm_1(x) if post else x
        x = x if self.mlp is None else self._mixed(x, training)
        x = x if self.positional is None else self.positional(x)
        tap(self, x)
        return x

    def _mixed(self, x: Any, training: bool | None) -> Any:
        entering = x if self.residual is Residual.post else self.norm_2(x)
        mixed = self.drop_path(self.mlp(entering, training=training), training=training)
        if self.residual is Residual.post:
            return self.norm_2(x + mixed)
        return (x if self.residual is Residual.plain else entering) + mixed

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "drop_path": self.drop_path.rate}


@keras.saving.register_keras_serializable(package="ablate")
class Encoder(SpecLayer):
    """Dropout on the embedded tokens, blocks, and a final norm, unless each block ends in one.

    Args:
        spec: The model's, for the number of the blocks and what is in them.
        geometry: Shapes around the encoder.
    """

    def __init__(self, spec: ModelSpec, geometry: Geometry | None, **kwargs: Any) -> None:
        super().__init__(spec, geometry, **kwargs)
        entering = spec.dropout if spec.token_dropout is None else spec.token_dropout
        self.dropout = keras.layers.Dropout(entering, dtype=self.dtype_policy, name="dropout")
        self.blocks = [
            Block(spec, geometry, depth, rate, dtype=self.dtype_policy, name=f"block_{depth}")
            for depth, rate in enumerate(_drop_path_rates(spec))
        ]
        with in_policy(self.dtype_policy):
            self.norm: Any = None if spec.post_norm else variant_layer("norm", spec, geometry, spec.layers, "norm")

    @property
    def layers(self) -> list[Block]:
        """The blocks, which ``model.summary(expand_nested=True)`` lists by this name."""
        return list(self.blocks)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        for block in self.blocks:
            block.build(input_shape)
        if self.norm is not None:
            with in_policy(self.dtype_policy):
                self.norm.build(input_shape)

    def call(self, x: Any, training: bool | None = None) -> Any:
        tap(self, x, "tokens")
        x = self.dropout(x, training=training)
        for block in self.blocks:
            x = block(x, training=training)
        return x if self.norm is None else self.norm(x)


def _drop_path_rates(spec: ModelSpec) -> list[float]:
    if DropPathSchedule(spec.drop_path_schedule) is DropPathSchedule.constant:
        return [spec.stochastic_depth] * spec.layers
    return [float(rate) for rate in np.linspace(0, spec.stochastic_depth, spec.layers)]
