"""Arrays and a model in, a trained model and its history out. Keras is imported where it is first needed."""

from typing import TYPE_CHECKING, Any

from ablate.contract import Stopped
from ablate.training.spec import Freeze, SeedSpec, TrainError, TrainSpec

if TYPE_CHECKING:
    from ablate.training.checkpoint import Checkpoint
    from ablate.training.history import EpochMetrics, History, Predictions
    from ablate.training.optimizer import AdamW
    from ablate.training.trainer import Trainer

__all__ = [
    "AdamW",
    "Checkpoint",
    "EpochMetrics",
    "Freeze",
    "History",
    "Predictions",
    "SeedSpec",
    "Stopped",
    "TrainError",
    "TrainSpec",
    "Trainer",
]

_HOMES = {
    "AdamW": "ablate.training.optimizer",
    "Checkpoint": "ablate.training.checkpoint",
    "EpochMetrics": "ablate.training.history",
    "History": "ablate.training.history",
    "Predictions": "ablate.training.history",
    "Trainer": "ablate.training.trainer",
}


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
