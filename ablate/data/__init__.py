"""Images in, arrays out: ``load(DataSpec) -> Splits``.

One file a source. Nothing is imported before it is used, so that composing and planning do not pay for NumPy
and Pillow.
"""

from typing import TYPE_CHECKING, Any

from ablate.data.described import describe
from ablate.data.spec import DataError, DataSpec

if TYPE_CHECKING:
    from ablate.data.arrays import Arrays, Splits
    from ablate.data.batches import Batches
    from ablate.data.load import load
    from ablate.data.on_disk import Stored

__all__ = ["Arrays", "Batches", "DataError", "DataSpec", "Splits", "Stored", "describe", "load"]

_HOMES = {
    "Arrays": "ablate.data.arrays",
    "Batches": "ablate.data.batches",
    "Splits": "ablate.data.arrays",
    "Stored": "ablate.data.on_disk",
    "load": "ablate.data.load",
}


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Kept as an attribute of the package, where `load` would otherwise be the module of that name once it is imported.
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
