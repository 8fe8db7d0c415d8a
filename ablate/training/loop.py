"""One training, from weights that are set to a history; between any two steps its state can be kept."""

import itertools
import math
import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from ablate.contract import Observer, Stopped
from ablate.data.arrays import Arrays, Splits
from ablate.data.batches import Batches
from ablate.training.averages import Averages, assign, copies
from ablate.training.checkpoint import Checkpoint, State, Termination, termination
from ablate.training.history import EpochMetrics, History, Predictions
from ablate.training.optimizer import AdamW, ScaledAdamW
from ablate.training.schedule import Schedule
from ablate.training.spec import TrainSpec
from ablate.training.steps.step import Step, pad

_VALUES_PREDICTED = 2**20
"""Channel values of one batch without gradients: fills two cores at 28x28, and fits into memory at 384x384."""


class _Diverged(Exception):
    """A loss is no number any more; the message says where."""


@dataclass(frozen=True)
class _Measured:
    """A model on a set of images, in inference mode: ``(images, classes)`` logits, and what follows from them."""

    logits: NDArray[np.float64]
    loss: float
    top1_percent: float


class Loop:
    """One training of a model whose weights and generators are set.

    Args:
        model: The model, which is trained in place.
        optimizer: What moves the weights; its learning rate is set before each step.
        step: The model, compiled with the optimizer.
        averages: Moving averages of the weights, restarted; None where none are kept.
        splits: The data.
        spec: Budget and rule, checked.
        batches: Batches of the training images.
        checkpoint: Where the run's state is kept; None keeps none.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: AdamW | ScaledAdamW,
        step: Step,
        averages: Averages | None,
        splits: Splits,
        spec: TrainSpec,
        batches: Batches,
        checkpoint: Checkpoint | None,
    ) -> None:
        self._model, self._optimizer, self._step, self._averages = model, optimizer, step, averages
        self._splits, self._spec, self._batches, self._checkpoint = splits, spec, batches, checkpoint
        self._schedule = Schedule.of(spec, len(batches))
        real, mean, std = keras.config.floatx(), np.array(splits.mean), np.array(splits.std)
        # Pixels are 0..255 in memory: (x / 255 - mean) / std is one multiplication and one addition.
        self._scale, self._shift = (1 / (255 * std)).astype(real), (-mean / std).astype(real)
        self._epochs: list[EpochMetrics] = []
        self._best: list[NDArray[Any]] = []
        self._termination = Termination()
        # Of the epoch under way: images, mean loss and images that were right of each step; and seconds before this
        # attempt, of it and of the whole run.
        self._steps: list[tuple[int, Any, Any]] = []
        self._epoch_seconds = self._seconds = 0.0
        self._spent, self._traced = 0.0, False  # on steps, as train.seconds counts

    def history(self, started: float, observer: Observer) -> History:
        """Trains, selects and tests.

        Args:
            started: By ``time.perf_counter``.
            observer: Hears of it meanwhile.

        Raises:
            Stopped: SIGTERM came, and the state is kept.
            TrainError: The state cannot be read or written.
        """
        self._started = started
        try:
            with termination() if self._checkpoint else nullcontext(self._termination) as self._termination:
                self._resume(observer)
                selected = self._train(observer)
            test = self._measure(self._splits.test, f"the test loss after epoch {selected.epoch}", selected.lr)
        except _Diverged as reason:
            return History(self._epochs, "diverged", str(reason), self._elapsed())
        finally:
            if self._checkpoint:
                self._checkpoint.release()
        return History(
            self._epochs,
            "finished",
            reason="",
            seconds=self._elapsed(),
            selected_epoch=selected.epoch,
            val_top1_percent=selected.val_top1_percent,
            val_loss=selected.val_loss,
            test_top1_percent=test.top1_percent,
            test_loss=test.loss,
            test_predictions=_predictions(test.logits, self._splits.test.y),
        )

    def losses_at(self, rates: Iterable[float]) -> Iterator[float]:
        """Takes one step at each rate, through as many epochs as that takes, and yields its batch's loss before it."""
        batches = (batch for epoch in itertools.count() for batch in self._batches.epoch(epoch))
        for rate, (x, y) in zip(rates, batches, strict=False):
            self._optimizer.learning_rate = rate
            yield float(self._move(x, y)[0])

    def _elapsed(self) -> float:
        return self._seconds + time.perf_counter() - self._started

    # ----------------------------------------------------------------------------------------------------- epochs

    def _train(self, observer: Observer) -> EpochMetrics:
        """Trains; leaves the selected epoch's weights in the model and returns its metrics."""
        last = self._spec.total_epochs
        for epoch in itertools.count(len(self._epochs)):
            if epoch == last or self._has_waited() or (epoch and self._is_spent()):
                break
            self._epochs.append(self._epoch(epoch, observer))
            self._steps, self._epoch_seconds = [], 0.0
            if self._chooses() and self._best_epoch() is self._epochs[-1]:
                self._best = self._averages.values if self._averages else copies(self._model.weights)
            if self._checkpoint and (epoch + 1) % self._checkpoint.every == 0 and epoch + 1 != last:
                self._keep(self._checkpoint)
            observer.epoch(self._epochs[-1].told(last))
            if self._termination.asked:
                self._stop(f"epoch {epoch + 1}")
        if self._checkpoint and self._checkpoint.path.is_file():
            self._keep(self._checkpoint)  # all but the test is done: a kill before the record is written costs no more
        return self._select()

    def _select(self) -> EpochMetrics:
        if self._chooses():
            assign(self._model.weights, self._best)
            return self._best_epoch()
        if self._averages:
            assign(self._model.weights, self._averages.values)
        return self._epochs[-1]

    def _chooses(self) -> bool:
        return self._spec.select != "last"

    def _best_epoch(self) -> EpochMetrics:
        """The first of the epochs with the best accuracy."""
        return max(self._epochs, key=self._accuracy)

    def _accuracy(self, epoch: EpochMetrics) -> float:
        """What an epoch is judged by."""
        value = epoch.test_top1_percent if self._spec.select == "test" else epoch.val_top1_percent
        return -1.0 if value is None else value

    def _has_waited(self) -> bool:
        """Whether accuracy has not risen for ``patience`` epochs."""
        if self._spec.patience is None or not self._epochs:
            return False
        return len(self._epochs) - self._best_epoch().epoch >= self._spec.patience

    def _is_spent(self) -> bool:
        return self._spec.seconds is not None and self._spent >= self._spec.seconds

    def _rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0: by its number, or by the time that is spent."""
        if self._spec.seconds is None:
            return self._schedule.at(step)
        return self._schedule.at(self._schedule.steps * min(1.0, self._spent / self._spec.seconds))

    def _epoch(self, epoch: int, observer: Observer) -> EpochMetrics:
        started = time.perf_counter()
        loss, right = self._pass(epoch, observer)
        step = epoch * len(self._batches) + len(self._steps)
        lr = self._rate(step - 1)
        val = test = None
        with self._averages.in_place() if self._averages else nullcontext():
            if len(self._splits.val):
                val = self._measure(self._splits.val, f"the validation loss after step {step} (epoch {epoch + 1})", lr)
            if self._spec.select == "test":
                test = self._measure(self._splits.test, f"the test loss after step {step} (epoch {epoch + 1})", lr)
        return EpochMetrics(
            epoch=epoch + 1,
            train_loss=loss,
            train_top1_percent=100 * right,
            val_loss=val.loss if val else None,
            val_top1_percent=val.top1_percent if val else None,
            lr=lr,
            seconds=self._epoch_seconds + time.perf_counter() - started,
            test_top1_percent=test.top1_percent if test else None,
        )

    # ------------------------------------------------------------------------------------------------------- steps

    def _pass(self, epoch: int, observer: Observer) -> tuple[float, float]:
        """One pass over the training images. Returns their mean loss, and the share that was right."""
        started, steps = time.perf_counter(), len(self._batches)
        before = started
        for i, (x, y) in enumerate(self._batches.epoch(epoch, start=len(self._steps)), start=len(self._steps)):
            self._optimizer.learning_rate = self._rate(epoch * steps + i)
            self._steps.append((len(y), *self._move(x, y)))
            if self._averages and self._spec.ema_decay is not None:
                self._averages.update(self._spec.ema_decay)
            if i:
                # The step before: waiting for this one would leave a GPU idle while the next batch is made.
                self._require_number(self._steps[i - 1][1], epoch, i - 1)
            observer.batch(i + 1, steps)
            before = self._spend(before)
            if self._termination.asked:
                self._require_number(self._steps[i][1], epoch, i)
                self._epoch_seconds += time.perf_counter() - started
                self._stop(f"step {i + 1} of epoch {epoch + 1}")
            if self._is_spent():
                break
        self._require_number(self._steps[-1][1], epoch, len(self._steps) - 1)
        images = sum(n for n, _, _ in self._steps)
        loss = sum(n * float(loss) for n, loss, _ in self._steps) / images
        return loss, sum(float(right) for _, _, right in self._steps) / images

    def _spend(self, before: float) -> float:
        """Counts the time since ``before`` as spent, but for the step that traces the graph; returns the time now."""
        now = time.perf_counter()
        if self._traced:
            self._spent += now - before
        self._traced = True
        return now

    def _move(self, x: NDArray[Any], y: NDArray[Any]) -> tuple[Any, Any]:
        """One update. Returns the mean loss before it, and how many images were right."""
        weight = np.ones(len(y), keras.config.floatx())
        part = -(-self._spec.batch_size // self._spec.accumulate)
        images, size = len(y), part * self._spec.accumulate
        if self._step.fixed_batch:
            x, y, weight = (pad(array, size) for array in (x, y, weight))
        rule = (self._scale, self._shift, self._spec.label_smoothing)
        if self._spec.accumulate == 1:
            return self._step.train(x, y, weight, *rule, self._spec.clip_norm)
        cuts = [slice(start, start + part) for start in range(0, len(y), part)]
        results = [self._step.accumulate(x[cut], y[cut], weight[cut], *rule, images) for cut in cuts]
        self._step.update(self._spec.clip_norm)
        return sum(loss for loss, _ in results), sum(right for _, right in results)

    def _require_number(self, loss: Any, epoch: int, i: int) -> None:
        if not math.isfinite(float(loss)):
            step = epoch * len(self._batches) + i
            what = f"the training loss at step {step + 1} (epoch {epoch + 1})"
            raise _Diverged(_not_finite(what, float(loss), self._rate(step)))

    # -------------------------------------------------------------------------------------------------- checkpoints

    def _keep(self, checkpoint: Checkpoint) -> bool:
        return checkpoint.save(
            State(
                epochs=self._epochs,
                steps=[(images, float(loss), float(right)) for images, loss, right in self._steps],
                seconds=self._elapsed(),
                epoch_seconds=self._epoch_seconds,
                spent=self._spent,
                model=copies(self._model.variables),
                optimizer=copies(self._optimizer.variables),
                average=self._averages.values if self._averages else [],
                best=self._best,
                weights=self._paths(),
            )
        )

    def _stop(self, where: str) -> None:
        if self._checkpoint:
            kept = self._keep(self._checkpoint)
            state = f"the run's state is in {self._checkpoint.path}, and the same command goes on from there."
            raise Stopped(
                f"stopped by SIGTERM after {where}; "
                f"{state if kept else 'no state of it could be kept, and the same command starts anew.'}"
            )

    def _resume(self, observer: Observer) -> None:
        """Goes on from where an earlier attempt was kept, if there is one."""
        state = self._checkpoint.load() if self._checkpoint else None
        if self._checkpoint is None or state is None:
            return
        weights = self._model.weights
        targets = {
            "model": self._model.variables,
            "optimizer": self._optimizer.variables,
            "average": weights if self._averages else [],
            "best": weights if self._chooses() and state.epochs else [],
        }
        self._checkpoint.require_fit(state, targets, self._paths())
        self._epochs, self._steps, self._best = state.epochs, list(state.steps), state.best
        self._seconds, self._epoch_seconds, self._spent = state.seconds, state.epoch_seconds, state.spent
        assign(self._model.variables, state.model)
        assign(self._optimizer.variables, state.optimizer)
        if self._averages:
            self._averages.resume(state.average)
        observer.resumed(len(self._epochs))
        for metrics in self._epochs:
            observer.epoch(metrics.told(self._spec.total_epochs))

    def _paths(self) -> tuple[str, ...]:
        return tuple(weight.path for weight in self._model.weights)

    # -------------------------------------------------------------------------------------------------- measuring

    def _measure(self, arrays: Arrays, what: str, lr: float) -> _Measured:
        """Exact over all images: float64 means over the logits of each.

        Raises:
            _Diverged: The loss is no finite number.
        """
        logits = self._logits(arrays)
        loss = -float(_log_softmax(logits)[np.arange(len(arrays)), arrays.y].mean())
        if not math.isfinite(loss):
            raise _Diverged(_not_finite(what, loss, lr))
        return _Measured(logits, loss, 100 * float(np.mean(logits.argmax(axis=1) == arrays.y)))

    def _logits(self, arrays: Arrays) -> NDArray[np.float64]:
        # The same for every set of one image size, so that one graph serves all.
        size = max(32, min(512, _VALUES_PREDICTED // math.prod(arrays.x.shape[1:])))
        parts = []
        for start in range(0, len(arrays), size):
            x = arrays.x[start : start + size]
            padded = pad(x, size) if self._step.fixed_batch else x
            logits = self._step.predict(padded, self._scale, self._shift)
            parts.append(np.asarray(logits, np.float64)[: len(x)])
        return np.concatenate(parts)


def _not_finite(what: str, loss: float, lr: float) -> str:
    return f"{what} was {loss}, at a learning rate of {lr:.3g}; lower train.lr or lengthen train.warmup_epochs."


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):  # Infinite logits give no number, and the loss over them says so.
        shifted = logits - logits.max(axis=1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _predictions(logits: NDArray[np.float64], label: NDArray[np.int64]) -> Predictions:
    probabilities = np.exp(_log_softmax(logits)).astype(np.float16)
    return Predictions(probabilities, logits.argmax(axis=1).astype(np.int64), label)
