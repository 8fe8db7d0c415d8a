"""Compact Transformers by name or by spec, as Keras models.

    from ablate.models import create_model, list_models
    model = create_model("cct_2_3x2_32", image_size=(28, 28), in_channels=1)

What needs Keras is imported when it is asked for, so that names, costs and ``--help`` never pay for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

# The built-in variants register as their specs are imported: here alone, a line a slot.
from ablate.models.activation import spec as _activation  # noqa: F401
from ablate.models.attention import spec as _attention  # noqa: F401
from ablate.models.attention.manifold import spec as _manifold  # noqa: F401
from ablate.models.head import spec as _head  # noqa: F401
from ablate.models.mlp import spec as _mlp  # noqa: F401
from ablate.models.norm import spec as _norm  # noqa: F401
from ablate.models.pooling import spec as _pooling  # noqa: F401
from ablate.models.positional import spec as _positional  # noqa: F401
from ablate.models.tokenizer import spec as _tokenizer  # noqa: F401
from ablate.models.zoo import create_model, list_models

if TYPE_CHECKING:
    from ablate.models.classifier import build
    from ablate.models.intermediates import trace
    from ablate.models.resolution import at_resolution
    from ablate.models.saved import load_model
    from ablate.models.weights import load_weights, save_weights

__all__ = [
    "at_resolution",
    "build",
    "create_model",
    "list_models",
    "load_model",
    "load_weights",
    "save_weights",
    "trace",
]

_LAZY = {
    "at_resolution": "resolution",
    "build": "classifier",
    "load_model": "saved",
    "load_weights": "weights",
    "save_weights": "weights",
    "trace": "intermediates",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
