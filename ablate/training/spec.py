"""How a model is trained: budget, optimizer, schedule, seeds; pure data, no Keras here."""

from dataclasses import dataclass
from enum import StrEnum

from ablate import registry


class TrainError(ValueError):
    """A training rule that makes no sense, or not on this data; the message says what to do."""


class Select(StrEnum):
    """Which epoch's weights a run keeps."""

    best = "best"
    last = "last"


class Freeze(StrEnum):
    """Which weights a training leaves as they are."""

    none = "none"
    encoder = "encoder"


@dataclass
class SeedSpec:
    """Where chance enters a run; each is recorded, and all follow ``seed`` unless set.

    Attributes:
        init: Draws the initial weights.
        order: Shuffles the training images, anew each epoch.
        dropout: Drives dropout and drop path.
        augment: Draws what is done to the training images.
    """

    init: int = 0
    order: int = 0
    dropout: int = 0
    augment: int = 0

    def check(self) -> None:
        """Raises TrainError for what no generator can be seeded with."""
        for name in ("init", "order", "dropout", "augment"):
            if not 0 <= getattr(self, name) < 2**32:
                raise TrainError(f"seeds.{name} must be between 0 and 2**32 - 1, got {getattr(self, name)}.")


@dataclass
class TrainSpec:
    """Training budget and rule.

    Attributes:
        epochs: Passes over the training images.
        batch_size: Images a step; a last, smaller batch is kept.
        lr: Peak learning rate of AdamW.
        min_lr: Where the cosine ends.
        warmup_epochs: Linear rise from ``warmup_lr`` to ``lr``.
        warmup_lr: Where the rise starts.
        weight_decay: Decoupled: each step multiplies a decayed weight by 1 - learning rate x weight_decay.
        decay_1d: Whether biases and norms (1-D tensors) are decayed as well.
        label_smoothing: Mass moved from the true class to all classes alike.
        select: ``best`` keeps the epoch with the best validation accuracy (earliest of equals), ``last`` the last one.
        freeze: ``encoder`` trains only what comes after the encoder: the pooling's own weights and the head.
    """

    epochs: int = 10
    batch_size: int = 128
    lr: float = 1e-3
    min_lr: float = 1e-5
    warmup_epochs: float = 1.0
    warmup_lr: float = 1e-6
    weight_decay: float = 0.06
    decay_1d: bool = False
    label_smoothing: float = 0.1
    select: Select = Select.best
    freeze: Freeze = Freeze.none

    def check(self) -> None:
        """Raises TrainError for a rule that no data makes possible."""
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise TrainError(f"train.{name} must be at least 1, got {getattr(self, name)}.")
        if not self.lr > 0:
            raise TrainError(f"train.lr must be above 0, got {self.lr}.")
        for name in ("min_lr", "warmup_lr"):
            if not 0 <= getattr(self, name) <= self.lr:
                raise TrainError(
                    f"train.{name} must be between 0 and train.lr, got {getattr(self, name)} with lr={self.lr}; "
                    f"set train.{name}=0."
                )
        if not 0 <= self.warmup_epochs <= self.epochs:
            raise TrainError(
                f"train.warmup_epochs must be between 0 and train.epochs, got {self.warmup_epochs} with "
                f"epochs={self.epochs}; set train.warmup_epochs=0 for none."
            )
        if self.weight_decay < 0:
            raise TrainError(f"train.weight_decay must be at least 0, got {self.weight_decay}.")
        if not 0 <= self.label_smoothing < 1:
            raise TrainError(f"train.label_smoothing must be at least 0 and below 1, got {self.label_smoothing}.")
        if self.select not in list(Select):
            raise TrainError(registry.unknown("train.select", self.select, Select))
        if self.freeze not in list(Freeze):
            raise TrainError(registry.unknown("train.freeze", self.freeze, Freeze))
