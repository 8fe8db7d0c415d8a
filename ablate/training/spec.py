"""How a model is trained: budget, optimizer, schedule, seeds; pure data, no Keras here."""

from dataclasses import dataclass
from enum import StrEnum

from ablate.paths import problem
from ablate.words import unknown

MOST = 1_000_000
"""Most epochs, and most images in a batch: no run has more, and a larger number is a slip."""

MOST_SECONDS = 31_536_000

FLOAT32_MAX = 3.4e38
"""What is larger becomes infinite in the step, whose numbers are float32."""

_IN_FLOAT32 = f" (in float32, which ends at {FLOAT32_MAX})"


class TrainError(ValueError):
    """A training rule that makes no sense, or not on this data; the message says what to do."""


class Select(StrEnum):
    """Which epoch's weights a run keeps."""

    best = "best"
    last = "last"
    test = "test"


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
        epochs: Passes over the training images, warm-up included, cooldown not.
        seconds: Time of the training steps, after which the run ends wherever its epoch is; the schedule then follows
            the share of time that is spent, and ``epochs`` only gives its shape. What a run reaches then depends on the
            machine and on what else it does. None trains for ``epochs``.
        batch_size: Images an update; a last, smaller batch is kept.
        accumulate: Parts that a batch is cut into, whose gradients add up to the one update: the same training in less
            memory, but for what dropout draws. (timm's ``--grad-accum-steps`` multiplies the batch instead.)
        lr: Peak learning rate of AdamW.
        min_lr: Learning rate where the cosine ends.
        warmup_epochs: Epochs of the linear rise from ``warmup_lr`` to ``lr``, within ``epochs``.
        warmup_lr: Learning rate where the rise starts.
        cooldown_epochs: Further epochs at ``min_lr``, after ``epochs``.
        weight_decay: Decoupled: each step multiplies a decayed weight by 1 - learning rate x weight_decay.
        decay_1d: Whether biases and what is 1-D (norms) are decayed as well.
        clip_norm: Largest global norm of an update's gradient; None for any.
        label_smoothing: Mass moved from the true class to all classes alike.
        ema_decay: Decay of a moving average of the weights, which is then what is validated, tested and kept; None for
            the weights themselves.
        select: ``best`` keeps the epoch with the best validation accuracy (earliest of equals), ``last`` the last one;
            ``test`` keeps the one with the best test accuracy, which flatters: it is marked wherever it is shown.
        patience: Epochs without a better accuracy of what selects (of validation under ``last``), after which the run
            ends; None for all epochs.
        freeze: ``encoder`` trains only what comes after the encoder: the pooling's own weights and the head.
        checkpoint_every: Epochs from one kept state of the run to the next, and from the start to the first; SIGTERM
            keeps one too.
        checkpoint_dir: Where states are kept, each run's in a folder named after its identity.
    """

    epochs: int = 10
    seconds: float | None = None
    batch_size: int = 128
    accumulate: int = 1
    lr: float = 1e-3
    min_lr: float = 1e-5
    warmup_epochs: float = 1.0
    warmup_lr: float = 1e-6
    cooldown_epochs: int = 0
    weight_decay: float = 0.06
    decay_1d: bool = False
    clip_norm: float | None = None
    label_smoothing: float = 0.1
    ema_decay: float | None = None
    select: Select = Select.best
    patience: int | None = None
    freeze: Freeze = Freeze.none
    checkpoint_every: int = 10
    checkpoint_dir: str = "checkpoints"

    @property
    def total_epochs(self) -> int | None:
        """Epochs with cooldown, as many as there are unless ``patience`` ends the run; None where time ends it."""
        return None if self.seconds is not None else self.epochs + self.cooldown_epochs

    def check(self) -> None:
        """Raises TrainError for a rule that no data makes possible."""
        self._check_counts()
        self._check_rates()
        if self.select not in list(Select):
            raise TrainError(unknown("train.select", self.select, Select))
        if self.freeze not in list(Freeze):
            raise TrainError(unknown("train.freeze", self.freeze, Freeze))
        if wrong := problem("train.checkpoint_dir", self.checkpoint_dir):
            raise TrainError(wrong)

    def check_validation(self, images: bool) -> None:
        """Raises TrainError where validation is to select or to end the run, and no image is held out for it."""
        if images:
            return
        if self.select == Select.best:
            raise TrainError(
                "train.select=best needs validation images, got data.val_fraction=0; "
                "raise data.val_fraction, or set train.select=last."
            )
        if self.select == Select.last and self.patience is not None:
            raise TrainError(
                "train.patience waits for validation accuracy, and needs validation images, got data.val_fraction=0; "
                "raise data.val_fraction, or set train.patience=null."
            )

    def _check_counts(self) -> None:
        for name in ("epochs", "batch_size", "accumulate", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise TrainError(f"train.{name} must be at least 1, got {getattr(self, name)}.")
        for name in ("epochs", "cooldown_epochs", "batch_size"):
            if getattr(self, name) > MOST:
                raise TrainError(f"train.{name} must be at most {MOST:,}, got {getattr(self, name):,}.")
        if self.accumulate > self.batch_size:
            raise TrainError(
                f"train.accumulate must be at most train.batch_size, got {self.accumulate} with "
                f"batch_size={self.batch_size}."
            )
        if self.cooldown_epochs < 0:
            raise TrainError(f"train.cooldown_epochs must be at least 0, got {self.cooldown_epochs}.")
        if self.seconds is not None and not 0 < self.seconds <= MOST_SECONDS:
            raise TrainError(
                f"train.seconds must be above 0 and at most {MOST_SECONDS:,} (a year), or null for a number of epochs, "
                f"got {self.seconds}."
            )
        if self.seconds is not None and self.cooldown_epochs:
            raise TrainError(
                f"train.cooldown_epochs must be 0 beside train.seconds, got {self.cooldown_epochs}; set it to 0."
            )
        if self.patience is not None and self.patience < 1:
            raise TrainError(f"train.patience must be at least 1, or null for none, got {self.patience}.")

    def _check_rates(self) -> None:
        if not 0 < self.lr <= FLOAT32_MAX:
            raise TrainError(f"train.lr must be above 0 and finite{_IN_FLOAT32}, got {self.lr}.")
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
        if not 0 <= self.weight_decay <= FLOAT32_MAX:
            raise TrainError(f"train.weight_decay must be at least 0 and finite{_IN_FLOAT32}, got {self.weight_decay}.")
        if not 0 <= self.label_smoothing < 1:
            raise TrainError(f"train.label_smoothing must be at least 0 and below 1, got {self.label_smoothing}.")
        if self.clip_norm is not None and not 0 < self.clip_norm <= FLOAT32_MAX:
            raise TrainError(
                f"train.clip_norm must be above 0 and finite{_IN_FLOAT32}, or null for none, got {self.clip_norm}."
            )
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise TrainError(f"train.ema_decay must be between 0 and 1, or null for none, got {self.ema_decay}.")
