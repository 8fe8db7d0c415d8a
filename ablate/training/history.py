"""What a training run tells."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ablate.contract import Epoch

Ending = Literal["finished", "diverged"]


@dataclass(frozen=True)
class EpochMetrics:
    """One epoch.

    Attributes:
        epoch: Number of the epoch, from 1.
        train_loss: Mean over the epoch's images, each under the weights of its step, in training mode (dropout), and
            label smoothing included: not to be compared with ``val_loss``.
        train_top1_percent: Accuracy over the epoch's images, 0 to 100, each under the weights of its step and with
            dropout: not to be compared with ``val_top1_percent``.
        val_loss: Plain cross entropy in nats at the epoch's end, without smoothing; None without validation images.
        val_top1_percent: Accuracy on the validation images at the epoch's end, 0 to 100; None without such images.
        lr: Learning rate of the epoch's last step.
        seconds: Wall time of the epoch, validation included; a first epoch includes the tracing of the graph.
        test_top1_percent: Accuracy on the test images at the epoch's end, 0 to 100, under ``select=test``, which
            chooses by it; None under honest rules.
    """

    epoch: int
    train_loss: float
    train_top1_percent: float
    val_loss: float | None
    val_top1_percent: float | None
    lr: float
    seconds: float
    test_top1_percent: float | None = None

    def recorded(self) -> dict[str, float]:
        """What was measured, under its recorded names."""
        values = {
            "train/loss": self.train_loss,
            "train/top1_percent": self.train_top1_percent,
            "val/loss": self.val_loss,
            "val/top1_percent": self.val_top1_percent,
            "test/top1_percent": self.test_top1_percent,
            "train/lr": self.lr,
            "train/seconds_per_epoch": self.seconds,
        }
        return {name: value for name, value in values.items() if value is not None}

    def told(self, epochs: int | None) -> Epoch:
        """What an observer hears, e.g. ``epoch  3/10  loss 1.204  train  71.2 %  val  80.5 %  lr 8.1e-04  2.1 s``.

        Args:
            epochs: Number of epochs that the run is to have; None where time, not a number, may end it.
        """
        width, of = (3, "") if epochs is None else (len(str(epochs)), f"/{epochs}")
        long = short = ""
        if (val := self.val_top1_percent) is not None:
            long, short = f"  val {val:5.1f} %", f" val {val:.1f} %"
        line = (
            f"epoch {self.epoch:>{width}}{of}  loss {self.train_loss:.3f}  "
            f"train {self.train_top1_percent:5.1f} %{long}  lr {self.lr:.1e}  {self.seconds:.1f} s"
        )
        return Epoch(self.epoch, self.recorded(), line, f"epoch {self.epoch}{of}{short}")


@dataclass(frozen=True)
class Predictions:
    """The model on every test image, in the order of the data.

    Attributes:
        probabilities: ``(images, classes)`` float16.
        predicted: ``(images,)`` int64, the most probable class, taken before rounding to float16.
        label: ``(images,)`` int64, the true class.
    """

    probabilities: NDArray[np.float16]
    predicted: NDArray[np.int64]
    label: NDArray[np.int64]


@dataclass(frozen=True)
class History:
    """One run.

    Attributes:
        epochs: Metrics of each epoch in order, those of earlier attempts first; a diverged run has those that it
            finished.
        status: ``finished``, or ``diverged`` where a loss was NaN or infinite.
        reason: Why it diverged, with step and learning rate; empty where it did not.
        seconds: Wall time of the whole run, test and earlier attempts included.
        selected_epoch: Epoch whose weights were tested, from 1; None if diverged.
        val_top1_percent: Accuracy of the selected weights on the validation images, 0 to 100; None if diverged or
            without such images.
        val_loss: Plain cross entropy of the selected weights on the validation images, in nats; None if diverged or
            without such images.
        test_top1_percent: Accuracy of the selected weights on the test images, 0 to 100, measured once; None if
            diverged.
        test_loss: Plain cross entropy of the selected weights on the test images, in nats; None if diverged.
        test_predictions: The selected weights' predictions on the test images, from which ``test_top1_percent`` and
            ``test_loss`` are computed; None if diverged.
    """

    epochs: list[EpochMetrics]
    status: Ending
    reason: str
    seconds: float
    selected_epoch: int | None = None
    val_top1_percent: float | None = None
    val_loss: float | None = None
    test_top1_percent: float | None = None
    test_loss: float | None = None
    test_predictions: Predictions | None = None
