"""Learning rate by step: a linear rise, half a cosine, and where asked a constant end."""

import math
from dataclasses import dataclass

from ablate.training.spec import TrainSpec


@dataclass(frozen=True)
class Schedule:
    """The rate of every step of a run.

    The official code (timm's scheduler) changes the rate once an epoch, and lets the cosine run from epoch 0,
    under the warm-up. Ours changes it every step, and the cosine starts where the warm-up ends, at ``lr``: a run of few
    epochs would otherwise train at a handful of rates. Cooldown is the same in both: epochs at ``min_lr`` beyond those
    that the cosine was stretched over.

    Attributes:
        warmup_lr: Rate of step 0, if there is a warm-up.
        lr: Peak rate, reached at step ``warmup_steps``.
        min_lr: Rate at which the cosine is at step ``steps``, and of every step from there on.
        warmup_steps: Number of steps of the rise.
        steps: Number of steps of rise and cosine together.
    """

    warmup_lr: float
    lr: float
    min_lr: float
    warmup_steps: int
    steps: int

    @classmethod
    def of(cls, spec: TrainSpec, steps_per_epoch: int) -> "Schedule":
        """The schedule of a run, whose warm-up is rounded to whole steps."""
        return cls(
            warmup_lr=spec.warmup_lr,
            lr=spec.lr,
            min_lr=spec.min_lr,
            warmup_steps=round(spec.warmup_epochs * steps_per_epoch),
            steps=spec.epochs * steps_per_epoch,
        )

    def at(self, step: float) -> float:
        """Rate of a step, counted from 0; between two, where time and not steps is what is spent."""
        if step >= self.steps:
            return self.min_lr
        if step < self.warmup_steps:
            return self.warmup_lr + (self.lr - self.warmup_lr) * step / self.warmup_steps
        progress = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.min_lr + (self.lr - self.min_lr) * (1 + math.cos(math.pi * progress)) / 2
