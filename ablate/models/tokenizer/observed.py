"""Tokens that are read as linear dynamical systems, ``(batch, tokens, dim)`` to the same shape."""

# mypy: allow-subclassing-any

from typing import Any

import keras
from keras import ops

from ablate.models.intermediates import tap
from ablate.models.norm.layers import LayerNorm
from ablate.models.spec import ModelSpec
from ablate.models.tokenizer.observability import observability
from ablate.models.tokenizer.spec import ObservedTokenizer
from ablate.models.tokenwise import Tokenwise, dense


def observed(spec: ModelSpec) -> "Observed | None":
    """The stage behind a spec's tokens; None where they stay as they are, or the tokenizer is a plugin's without it."""
    variant = spec.variant("tokenizer")
    if not isinstance(variant, ObservedTokenizer) or variant.observability is None:
        return None
    order, blocks = variant.observability
    return Observed(order, blocks, variant.early_fusion, spec.norm_eps, name="observability")


@keras.saving.register_keras_serializable(package="ablate")
class Observed(Tokenwise):
    """A dense layer's view of each token's observability matrix.

    Args:
        order: Length of an observation, l.
        blocks: Matrices side by side, m.
        early_fusion: Whether a second dense layer joins the token and that view; if not, a LayerNorm stands before the
            matrix.
        epsilon: Added to the variance in the LayerNorm.

    Source: ``om_layer`` and ``early_fusion__vit`` in iliasprc/Compact-Transformers at 31975a0.
    """

    def __init__(
        self, order: int, blocks: int, early_fusion: bool = False, epsilon: float = 1e-5, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.order = order
        self.blocks = blocks
        self.early_fusion = early_fusion
        self.epsilon = epsilon

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        dim = int(input_shape[-1] or 0)
        self.norm = None if self.early_fusion else LayerNorm(epsilon=self.epsilon, dtype=self.dtype_policy, name="norm")
        # PyTorch numbers the layers of a chain: a file's names depend on whether there is a norm.
        self.dense = dense(self, dim, "dense_alone" if self.early_fusion else "dense")
        self.joined = dense(self, dim, "joined") if self.early_fusion else None
        self.dense.build((*input_shape[:-1], self.blocks * self.order**2))
        if self.norm is not None:
            self.norm.build(input_shape)
        if self.joined is not None:
            self.joined.build((*input_shape[:-1], 2 * dim))

    def call(self, x: Any, training: bool | None = None) -> Any:
        normed = x if self.norm is None else self.norm(x, training=training)
        matrices = observability(normed, self.order, self.blocks)
        tap(self, matrices)
        features = self.dense(matrices)
        return features if self.joined is None else self.joined(ops.concatenate([x, features], axis=-1))

    def get_config(self) -> dict[str, Any]:
        own = {"order": self.order, "blocks": self.blocks, "early_fusion": self.early_fusion, "epsilon": self.epsilon}
        return {**super().get_config(), **own}
