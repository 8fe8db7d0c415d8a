"""What stands between the layers of an MLP: functions ``(x, training) -> x``, or layers, that keep the shape."""

from collections.abc import Callable
from typing import Any

from ablate.models import numerics
from ablate.models.slots import Geometry
from ablate.models.spec import ModelSpec


def gelu(spec: ModelSpec, geometry: Geometry, depth: int) -> Callable[..., Any]:
    """The exact GELU."""
    return numerics.gelu
