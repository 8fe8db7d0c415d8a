"""What stands between the layers of an MLP: functions ``(x, training) -> x``, or layers, that keep the shape."""

from collections.abc import Callable
from typing import Any

from ablate.models import numerics
from ablate.models.slots import Geometry
from ablate.models.spec import ModelSpec


def gelu(spec: ModelSpec, geometry: Geometry, depth: int) -> Callable[..., Any]:
    """The exact GELU."""
    return numerics.gelu


def gelu_tanh(spec: ModelSpec, geometry: Geometry, depth: int) -> Callable[..., Any]:
    """The GELU's approximation by a tanh."""
    return numerics.gelu_tanh


def relu(spec: ModelSpec, geometry: Geometry, depth: int) -> Callable[..., Any]:
    """What is above 0."""
    return numerics.relu


def silu(spec: ModelSpec, geometry: Geometry, depth: int) -> Callable[..., Any]:
    """``x * sigmoid(x)``."""
    return numerics.silu
