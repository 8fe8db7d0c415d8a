"""Trains one graph, as often as asked: other seeds, rates, decays and smoothings share its tracing."""

import math
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from ablate.data.arrays import Arrays, Splits
from ablate.data.augment import AugmentSpec
from ablate.data.augment.augmenter import Augmenter
from ablate.data.batches import Batches
from ablate.training.history import EpochMetrics, History, Predictions
from ablate.training.optimizer import AdamW
from ablate.training.schedule import Schedule
from ablate.training.spec import Freeze, SeedSpec, TrainError, TrainSpec
from ablate.training.step import Step, compile_step, pad

_VALUES_PREDICTED = 2**20
"""Channel values of one batch without gradients: fills two cores at 28x28, and fits into memory at 384x384."""


class _Diverged(Exception):
    """A loss is no number any more; the message says where."""


class Trainer:
    """A compiled model that can be trained again from the start.

    Bit for bit on a CPU, the n-th training gives what a first one gives: weights, optimizer, and every source of
    chance are set anew from the spec and the seeds.

    Args:
        build: Makes the model, ``(batch, height, width, channels)`` floats to ``(batch, classes)`` logits. It is called
            anew for each training, under that training's ``seeds.init``, and must make the same graph each time.
        freeze: What of it stays as it was built. It is part of the graph, which holds gradients and optimizer state of
            the other weights only; a frozen layer's dropout goes on dropping, as in PyTorch.

    Example:
        >>> trainer = Trainer(lambda: build(spec.model, splits.input_shape, splits.num_classes))
        >>> histories = [trainer.fit(splits, spec.train, SeedSpec(init=seed)) for seed in range(3)]
    """

    def __init__(self, build: Callable[[], keras.Model], *, freeze: Freeze = Freeze.none) -> None:
        self._build = build if freeze == Freeze.none else lambda: _frozen(build())
        self._freeze = freeze
        self._model: keras.Model | None = None
        self._optimizer: AdamW
        self._step: Step

    @property
    def model(self) -> keras.Model:
        """The model: after ``fit`` with the selected weights, before it with weights of seed 0."""
        return self._adopted(0) if self._model is None else self._model

    def _adopted(self, seed: int) -> keras.Model:
        self._model = _built(self._build, seed)
        _require_same(self._model, _built(self._build, seed))
        self._optimizer = AdamW()
        self._step = compile_step(self._model, self._optimizer)
        return self._model

    def reset(self, seeds: SeedSpec) -> None:
        """Puts the model where a training with these seeds starts."""
        if self._model is None:
            self._adopted(seeds.init)
        else:
            fresh = _built(self._build, seeds.init)
            for variable, start in zip(self._model.variables, fresh.variables, strict=True):
                variable.assign(start)
        self._optimizer.reset()
        _seed_dropout(self.model, seeds.dropout)

    def fit(
        self,
        splits: Splits,
        spec: TrainSpec,
        seeds: SeedSpec,
        *,
        augment: AugmentSpec | None = None,
        on_epoch: Callable[[EpochMetrics], None] | None = None,
        on_batch: Callable[[int, int], None] | None = None,
    ) -> History:
        """Trains from the start, selects an epoch on the validation images, and tests it once.

        Whatever a callback raises ends the training and passes through; the next ``fit`` starts afresh.

        Args:
            splits: Images of the model's input shape.
            spec: Budget and rule.
            seeds: Initial weights, order of the images, dropout, augmentation.
            augment: What is done to the training images; None leaves them alone.
            on_epoch: Gets each epoch's metrics as it ends.
            on_batch: Gets the step, from 1, and the steps of its epoch.

        Raises:
            TrainError: The rule makes no sense, or not on this data.
            DataError: A batch takes more images than there are, or the augmentation does not fit them.
        """
        started = time.perf_counter()
        spec.check()
        seeds.check()
        if spec.freeze != self._freeze:
            raise TrainError(
                f"train.freeze must be what the Trainer was made with, {self._freeze}, got {spec.freeze}; make another "
                "Trainer for it."
            )
        if spec.select == "best" and not len(splits.val):
            raise TrainError(
                "train.select=best needs validation images, got data.val_fraction=0; "
                "raise data.val_fraction, or set train.select=last."
            )
        batches = _batches(splits, spec, seeds, augment or AugmentSpec())
        self.reset(seeds)
        self._optimizer.set_decay(spec.weight_decay, decay_1d=spec.decay_1d)
        run = _Run(self.model, self._optimizer, self._step, splits, spec, batches)
        return run.history(started, on_epoch or (lambda metrics: None), on_batch or (lambda step, steps: None))


def _batches(splits: Splits, spec: TrainSpec, seeds: SeedSpec, augment: AugmentSpec) -> Batches:
    augment.check()
    augmenter = None
    if augment.active:
        augmenter = Augmenter(augment, seeds.augment, splits.num_classes, splits.mean, splits.std)
    return Batches(splits.train, spec.batch_size, seeds.order, augmenter, workers=augment.workers)


def _frozen(model: keras.Model) -> keras.Model:
    """Takes what makes tokens, tells their places and encodes them out of the trained weights."""
    names = [layer.name for layer in model.layers]
    if "encoder" not in names:
        raise TrainError(f"train.freeze=encoder needs a model with a layer named encoder, got {', '.join(names)}.")
    for layer in model.layers[: names.index("encoder") + 1]:
        layer.trainable = False
    if not model.trainable_variables:
        raise TrainError("train.freeze=encoder must leave weights to train, but none come after the encoder.")
    return model


def _built(build: Callable[[], keras.Model], seed: int) -> keras.Model:
    with _seeded(seed):
        return build()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Sets the generators that Keras' initializers are seeded from, Python's and NumPy's, and puts them back.

    ``keras.utils.set_random_seed`` would also clear TensorFlow's cached kernels: the next step of a graph that was long
    traced then takes 0.7 to 1 s, once a training.
    """
    states = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def _require_same(one: keras.Model, other: keras.Model) -> None:
    """Raises TrainError where two models of one seed start from different weights."""
    for a, b in zip(one.weights, other.weights, strict=True):
        if not np.array_equal(np.asarray(a), np.asarray(b)):
            raise TrainError(
                f"the same seed must give the same initial weights, got others in {a.path}; "
                "draw them by a Keras initializer, or by keras.random with a seed."
            )


def _seed_dropout(model: keras.Model, seed: int) -> None:
    """Every generator gets a stream of its own, by seed and position, whatever drew the weights."""
    states = [variable for variable in model.variables if variable.name == "seed_generator_state"]
    for position, state in enumerate(states):
        drawn = int(np.random.SeedSequence([seed, position]).generate_state(1)[0]) >> 1
        state.assign(np.array([drawn, 0], dtype=state.dtype))


@dataclass(frozen=True)
class _Measured:
    """A model on a set of images, in inference mode: ``(images, classes)`` logits, and what follows from them."""

    logits: NDArray[np.float64]
    loss: float
    top1_percent: float


class _Run:
    """One training, from weights that are set."""

    def __init__(
        self, model: keras.Model, optimizer: AdamW, step: Step, splits: Splits, spec: TrainSpec, batches: Batches
    ) -> None:
        self._model, self._optimizer, self._step = model, optimizer, step
        self._splits, self._spec, self._batches = splits, spec, batches
        self._schedule = Schedule.of(spec, len(batches))
        real, mean, std = keras.config.floatx(), np.array(splits.mean), np.array(splits.std)
        # Pixels are 0..255 in memory: (x / 255 - mean) / std is one multiplication and one addition.
        self._scale, self._shift = (1 / (255 * std)).astype(real), (-mean / std).astype(real)

    def history(
        self, started: float, on_epoch: Callable[[EpochMetrics], None], on_batch: Callable[[int, int], None]
    ) -> History:
        epochs: list[EpochMetrics] = []
        try:
            selected = self._epochs(epochs, on_epoch, on_batch)
            test = self._measure(self._splits.test, f"the test loss after epoch {selected.epoch}", selected.lr)
        except _Diverged as reason:
            return History(epochs, "diverged", str(reason), time.perf_counter() - started)
        return History(
            epochs,
            "finished",
            reason="",
            seconds=time.perf_counter() - started,
            selected_epoch=selected.epoch,
            val_top1_percent=selected.val_top1_percent,
            val_loss=selected.val_loss,
            test_top1_percent=test.top1_percent,
            test_loss=test.loss,
            test_predictions=_predictions(test.logits, self._splits.test.y),
        )

    def _epochs(
        self,
        epochs: list[EpochMetrics],
        on_epoch: Callable[[EpochMetrics], None],
        on_batch: Callable[[int, int], None],
    ) -> EpochMetrics:
        """Trains; appends each epoch as it ends; leaves the selected one's weights in the model and returns it."""
        best, weights = -1.0, []
        for epoch in range(self._spec.epochs):
            epochs.append(self._epoch(epoch, on_batch))
            top1 = epochs[-1].val_top1_percent
            if self._spec.select == "best" and top1 is not None and top1 > best:
                best, selected = top1, epochs[-1]
                # Copies: a backend may hand out its own memory, and train on in it.
                weights = [np.asarray(weight).copy() for weight in self._model.weights]
            on_epoch(epochs[-1])
        if self._spec.select == "last":
            return epochs[-1]
        for weight, value in zip(self._model.weights, weights, strict=True):
            weight.assign(value)
        return selected

    def _epoch(self, epoch: int, on_batch: Callable[[int, int], None]) -> EpochMetrics:
        started = time.perf_counter()
        loss, right = self._train(epoch, on_batch)
        step = (epoch + 1) * len(self._batches)
        lr = self._schedule.at(step - 1)
        val = None
        if len(self._splits.val):
            val = self._measure(self._splits.val, f"the validation loss after step {step} (epoch {epoch + 1})", lr)
        return EpochMetrics(
            epoch=epoch + 1,
            train_loss=loss,
            train_top1_percent=100 * right,
            val_loss=val.loss if val else None,
            val_top1_percent=val.top1_percent if val else None,
            lr=lr,
            seconds=time.perf_counter() - started,
        )

    def _train(self, epoch: int, on_batch: Callable[[int, int], None]) -> tuple[float, float]:
        """One pass over the training images. Returns their mean loss, and the share that was right."""
        results = []
        for i, (x, y) in enumerate(self._batches.epoch(epoch)):
            self._optimizer.learning_rate = self._schedule.at(epoch * len(self._batches) + i)
            results.append((len(y), *self._move(x, y)))
            if i:
                # The step before: waiting for this one would leave a GPU idle while the next batch is made.
                self._require_number(results[i - 1][1], epoch, i - 1)
            on_batch(i + 1, len(self._batches))
        self._require_number(results[-1][1], epoch, len(results) - 1)
        images = len(self._splits.train)
        return sum(n * float(loss) for n, loss, _ in results) / images, sum(float(r) for _, _, r in results) / images

    def _move(self, x: NDArray[Any], y: NDArray[Any]) -> tuple[Any, Any]:
        """One step. Returns the mean loss before it, and how many images were right."""
        weight = np.ones(len(y), keras.config.floatx())
        if self._step.fixed_batch:
            x, y, weight = (pad(array, self._spec.batch_size) for array in (x, y, weight))
        return self._step.train(x, y, weight, self._scale, self._shift, self._spec.label_smoothing)

    def _require_number(self, loss: Any, epoch: int, i: int) -> None:
        if not math.isfinite(float(loss)):
            step = epoch * len(self._batches) + i
            what = f"the training loss at step {step + 1} (epoch {epoch + 1})"
            raise _Diverged(_not_finite(what, float(loss), self._schedule.at(step)))

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
