"""Trains one graph, as often as asked: other seeds, rates, decays and smoothings share its tracing."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from ablate.data.arrays import Arrays, Splits
from ablate.data.batches import Batches
from ablate.training.history import EpochMetrics, History, Predictions
from ablate.training.optimizer import AdamW
from ablate.training.schedule import Schedule
from ablate.training.spec import SeedSpec, TrainError, TrainSpec
from ablate.training.step import Step, compile_step, pad

_PIXELS_PREDICTED = 2**20
"""Of one batch without gradients: enough to fill two cores at 28x28, little enough for memory at 384x384."""


class _Diverged(Exception):
    """A loss is no number any more; the message says where."""


class Trainer:
    """A compiled model that can be trained again from the start.

    Bit for bit on a CPU, the n-th training gives what a first one gives: weights, optimizer, and every source of chance are
    set anew from the spec and the seeds.

    Args:
        build: Makes the model, ``(batch, height, width, channels)`` floats to ``(batch, classes)`` logits. It is called
            anew for each training, under that training's ``seeds.init``, and must make the same graph each time.

    Example:
        >>> trainer = Trainer(lambda: build(spec.model, splits.input_shape, splits.num_classes))
        >>> histories = [trainer.fit(splits, spec.train, SeedSpec(init=seed)) for seed in range(3)]
    """

    def __init__(self, build: Callable[[], keras.Model]) -> None:
        self._build = build
        self._model: keras.Model | None = None
        self._optimizer: AdamW
        self._step: Step

    @property
    def model(self) -> keras.Model:
        """The model: after ``fit`` with the selected weights, before it with weights of seed 0."""
        return self._adopted(0) if self._model is None else self._model

    def _adopted(self, seed: int) -> keras.Model:
        keras.utils.set_random_seed(seed)
        self._model = self._build()
        self._optimizer = AdamW()
        self._step = compile_step(self._model, self._optimizer)
        return self._model

    def reset(self, seeds: SeedSpec) -> None:
        """Puts the model where a training with these seeds starts."""
        if self._model is None:
            self._adopted(seeds.init)
        else:
            keras.utils.set_random_seed(seeds.init)
            for variable, fresh in zip(self._model.variables, self._build().variables, strict=True):
                variable.assign(fresh)
        self._optimizer.reset()
        _seed_dropout(self.model, seeds.dropout)

    def fit(
        self,
        splits: Splits,
        spec: TrainSpec,
        seeds: SeedSpec,
        *,
        on_epoch: Callable[[EpochMetrics], None] | None = None,
        on_batch: Callable[[int, int], None] | None = None,
    ) -> History:
        """Trains from the start, selects an epoch on the validation images, and tests it once.

        Whatever a callback raises ends the training and passes through; the next ``fit`` starts afresh.

        Args:
            splits: Images of the model's input shape.
            spec: Budget and rule.
            seeds: Initial weights, order of the images, dropout.
            on_epoch: Gets each epoch's metrics as it ends.
            on_batch: Gets the step, from 1, and the steps of its epoch.

        Raises:
            TrainError: The rule makes no sense, or not on this data.
            DataError: A batch takes more images than there are.
        """
        started = time.perf_counter()
        spec.check()
        if spec.select == "best" and not len(splits.val):
            raise TrainError(
                "train.select=best needs validation images, got data.val_fraction=0; "
                "raise data.val_fraction, or set train.select=last."
            )
        batches = Batches(splits.train, spec.batch_size, seeds.order)
        self.reset(seeds)
        self._optimizer.set_decay(spec.weight_decay, decay_1d=spec.decay_1d)
        run = _Run(self.model, self._optimizer, self._step, splits, spec, batches)
        return run.history(started, on_epoch or (lambda metrics: None), on_batch or (lambda step, steps: None))


def _seed_dropout(model: keras.Model, seed: int) -> None:
    """Every generator gets a stream of its own, by seed and position, whatever drew the weights."""
    states = [variable for variable in model.variables if variable.name == "seed_generator_state"]
    for position, state in enumerate(states):
        drawn = int(np.random.SeedSequence([seed, position]).generate_state(1)[0]) >> 1
        state.assign(np.array([drawn, 0], dtype=state.dtype))


@dataclass(frozen=True)
class _Score:
    """Mean cross entropy and percentage right, of logits ``(images, classes)``."""

    loss: float
    top1_percent: float
    logits: NDArray[np.float64]


class _Run:
    """One training, from weights that are set."""

    def __init__(
        self, model: keras.Model, optimizer: AdamW, step: Step, splits: Splits, spec: TrainSpec, batches: Batches
    ) -> None:
        self.model, self.optimizer, self.step = model, optimizer, step
        self.splits, self.spec, self.batches = splits, spec, batches
        self.schedule = Schedule.of(spec, len(batches))
        real, std = keras.config.floatx(), np.array(splits.std)
        # Pixels are 0..255 in memory: (x / 255 - mean) / std is one multiplication and one addition.
        self.scale, self.shift = (1 / (255 * std)).astype(real), (-np.array(splits.mean) / std).astype(real)

    def history(
        self, started: float, on_epoch: Callable[[EpochMetrics], None], on_batch: Callable[[int, int], None]
    ) -> History:
        epochs: list[EpochMetrics] = []
        selected, weights = -1, []
        try:
            for number in range(self.spec.epochs):
                epochs.append(self.epoch(number, on_batch))
                on_epoch(epochs[-1])
                if selected < 0 or self.spec.select == "last" or _top1(epochs[-1]) > _top1(epochs[selected]):
                    selected, weights = number, [np.array(v) for v in self.model.weights]
        except _Diverged as reason:
            return History(epochs, "diverged", str(reason), time.perf_counter() - started)
        for variable, value in zip(self.model.weights, weights, strict=True):
            variable.assign(value)
        return self.tested(started, epochs, selected)

    def tested(self, started: float, epochs: list[EpochMetrics], selected: int) -> History:
        test = self.score(self.splits.test)
        probabilities = _softmax(test.logits)
        predictions = Predictions(probabilities.astype(np.float16), test.logits.argmax(-1), self.splits.test.y)
        return History(
            epochs=epochs,
            status="finished",
            reason="",
            seconds=time.perf_counter() - started,
            selected_epoch=epochs[selected].epoch,
            val_top1_percent=epochs[selected].val_top1_percent,
            val_loss=epochs[selected].val_loss,
            test_top1_percent=test.top1_percent,
            test_loss=test.loss,
            test_predictions=predictions,
        )

    def epoch(self, number: int, on_batch: Callable[[int, int], None]) -> EpochMetrics:
        started = time.perf_counter()
        total_loss, right, rate = 0.0, 0.0, 0.0
        for step, (x, y) in enumerate(self.batches.epoch(number)):
            rate = self.schedule.at(number * len(self.batches) + step)
            loss, correct = self.moved(x, y, rate)
            if not math.isfinite(loss):
                at = number * len(self.batches) + step + 1
                raise _Diverged(
                    f"the loss was {loss} at step {at} (epoch {number + 1}), at a learning rate of {rate:.3g}"
                )
            total_loss += loss * len(x)
            right += correct
            on_batch(step + 1, len(self.batches))
        images = len(self.splits.train)
        val = self.score(self.splits.val) if len(self.splits.val) else None
        return EpochMetrics(
            epoch=number + 1,
            train_loss=total_loss / images,
            train_top1_percent=100 * right / images,
            val_loss=None if val is None else val.loss,
            val_top1_percent=None if val is None else val.top1_percent,
            lr=rate,
            seconds=time.perf_counter() - started,
        )

    def moved(self, x: NDArray[Any], y: NDArray[Any], rate: float) -> tuple[float, float]:
        """One step. Returns the mean loss before it, and how many images were right."""
        weight = np.ones(len(x), keras.config.floatx())
        if self.step.fixed_batch and len(x) < self.spec.batch_size:
            x, y, weight = pad(self.spec.batch_size, x, y, weight)
        self.optimizer.learning_rate.assign(rate)
        loss, right = self.step.train(x, y, weight, self.scale, self.shift, self.spec.label_smoothing)
        return float(loss), float(right)

    def score(self, arrays: Arrays) -> _Score:
        """Over all images, in inference mode, without smoothing."""
        size = min(len(arrays), max(1, _PIXELS_PREDICTED // int(np.prod(arrays.x.shape[1:3]))))
        logits = []
        for start in range(0, len(arrays), size):
            x = arrays.x[start : start + size]
            padded = pad(size, x)[0] if self.step.fixed_batch else x
            logits.append(ops.convert_to_numpy(self.step.predict(padded, self.scale, self.shift))[: len(x)])
        values = np.concatenate(logits).astype(np.float64)
        chosen = np.log(_softmax(values)[np.arange(len(values)), arrays.y] + np.finfo(np.float64).tiny)
        return _Score(float(-chosen.mean()), float(100 * (values.argmax(-1) == arrays.y).mean()), values)


def _top1(metrics: EpochMetrics) -> float:
    """Validation accuracy, by which epochs are selected; there is none where the last one is taken."""
    return -1.0 if metrics.val_top1_percent is None else metrics.val_top1_percent


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers: NDArray[np.float64] = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)
