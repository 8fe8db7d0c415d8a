"""Initial draws where PyTorch's, which the official code uses, are not Keras' own."""

# mypy: allow-subclassing-any

import math
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="ablate")
class TruncatedNormal(keras.initializers.RandomNormal):
    """Normal draws between two absolute limits, like PyTorch's ``trunc_normal_``.

    Keras' own TruncatedNormal cuts at two standard deviations, which shrinks the spread by 12 %; the official code
    cuts at ±2, which is a hundred standard deviations away for its dense layers.

    Args:
        stddev: Standard deviation before the cut.
        limit: Draws lie between ``-limit`` and ``limit``.
        seed: Seed of this initializer; None draws one, following `keras.utils.set_random_seed`.
    """

    def __init__(self, stddev: float = 0.02, limit: float = 2.0, seed: int | None = None) -> None:
        if stddev <= 0 or limit <= 0:
            raise ValueError(f"stddev and limit must be above 0, got stddev={stddev}, limit={limit}.")
        super().__init__(stddev=stddev, seed=seed)
        self.limit = limit

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> Any:
        # Inverse of the distribution function on [-1, 1]. A float32 draw can be exactly -1, whose inverse is infinite:
        # the ends are moved in by the resolution of float32, to 5.2 standard deviations.
        end = min(math.erf(self.limit / (self.stddev * math.sqrt(2))), 1 - 2.0**-23)
        uniform = keras.random.uniform(shape, -end, end, dtype="float32", seed=self.seed)
        draws = ops.erfinv(ops.clip(uniform, -end, end)) * (self.stddev * math.sqrt(2))
        return ops.cast(ops.clip(draws, -self.limit, self.limit), dtype or keras.config.floatx())

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "limit": self.limit}
        del config["mean"]
        return config


def kaiming_normal() -> Any:
    """Normal of variance 2 / fan_in, like PyTorch's ``kaiming_normal_``; Keras' HeNormal cuts at two deviations."""
    return keras.initializers.VarianceScaling(scale=2.0, mode="fan_in", distribution="untruncated_normal")


def uniform_bias(fan_in: int) -> Any:
    """PyTorch's default for the bias of a convolution: uniform within ±1/√fan_in."""
    bound = 1 / math.sqrt(fan_in)
    return keras.initializers.RandomUniform(-bound, bound)
