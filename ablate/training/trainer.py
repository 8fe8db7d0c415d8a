"""Trains one graph, as often as asked: other seeds, rates, decays and smoothings share its tracing."""

import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import keras
import numpy as np

from ablate.contract import Observer
from ablate.data.arrays import Splits
from ablate.data.augment import AugmentSpec
from ablate.data.augment.augmenter import Augmenter
from ablate.data.batches import Batches
from ablate.training.averages import Averages
from ablate.training.checkpoint import Checkpoint
from ablate.training.history import History
from ablate.training.loop import Loop
from ablate.training.optimizer import AdamW, ScaledAdamW
from ablate.training.spec import Freeze, SeedSpec, TrainError, TrainSpec
from ablate.training.steps.compiled import compile_step
from ablate.training.steps.step import Step


class Trainer:
    """A compiled model that can be trained again from the start.

    Bit for bit on a CPU, the n-th training gives what a first one gives: weights, optimizer, and every source of
    chance are set anew from the spec and the seeds.

    Args:
        build: Makes the model, ``(batch, height, width, channels)`` floats to ``(batch, classes)`` logits. It is called
            anew for each training, under that training's ``seeds.init``, and must make the same graph each time.
        freeze: Which weights of the model stay as they were built. It is part of the graph, which holds gradients and
            optimizer state of the other weights only; a frozen layer's dropout goes on dropping, as in PyTorch.

    Example:
        >>> trainer = Trainer(lambda: build(spec.model, splits.input_shape, splits.num_classes))
        >>> histories = [trainer.fit(splits, spec.train, SeedSpec(init=seed)) for seed in range(3)]
    """

    def __init__(self, build: Callable[[], keras.Model], *, freeze: Freeze = Freeze.none) -> None:
        self._build = build if freeze == Freeze.none else lambda: _frozen(build())
        self._freeze = freeze
        self._model: keras.Model | None = None
        self._averages: Averages | None = None
        self._optimizer: AdamW | ScaledAdamW
        self._step: Step

    @property
    def model(self) -> keras.Model:
        """The model: after ``fit`` with the selected weights, before it with weights of seed 0."""
        return self._adopted(0) if self._model is None else self._model

    def _adopted(self, seed: int) -> keras.Model:
        self._model = _built(self._build, seed)
        _require_same(self._model, _built(self._build, seed))
        self._optimizer = _optimizer(self._model)
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
        observer: Observer | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> History:
        """Trains from the start, or from where the checkpoint says, selects an epoch, and tests it once.

        Whatever the observer raises ends the training and passes through; the next ``fit`` starts afresh.

        Args:
            splits: Images of the model's input shape.
            spec: Budget and rule.
            seeds: Initial weights, order of the images, dropout, augmentation.
            augment: What is done to the training images; None leaves them alone.
            observer: Hears of each step and epoch, and first of the epochs that an earlier attempt had finished, where
                there was one; None where nobody listens.
            checkpoint: Keeps the state of this very run (spec, seeds, data, architecture); its owner removes it once
                the outcome is on record.

        Raises:
            TrainError: The rule makes no sense, or not on this data.
            Stopped: SIGTERM came, and the state is kept.
            DataError: A batch takes more images than there are, or the augmentation does not fit them.
        """
        started = time.perf_counter()
        self._check(spec, seeds)
        spec.check_validation(len(splits.val) > 0)
        loop = self._loop(splits, spec, seeds, augment, checkpoint)
        return loop.history(started, observer or Observer())

    def losses_at(
        self,
        splits: Splits,
        spec: TrainSpec,
        seeds: SeedSpec,
        rates: Iterable[float],
        *,
        augment: AugmentSpec | None = None,
    ) -> Iterator[float]:
        """Trains from the start, one step at each rate instead of the rule's schedule.

        Args:
            splits: Images of the model's input shape.
            spec: The rule of a step; its rates and epochs are not looked at.
            seeds: Initial weights, order of the images, dropout, augmentation.
            rates: Learning rates, one a step, over as many epochs as they take.
            augment: What is done to the training images; None leaves them alone.

        Yields:
            The mean loss of each step's batch, before it moves the weights: what the rates before it have led to.

        Raises:
            TrainError: The rule makes no sense, or not on this data.
            DataError: A batch takes more images than there are, or the augmentation does not fit them.
        """
        self._check(spec, seeds)
        yield from self._loop(splits, spec, seeds, augment, None).losses_at(rates)

    def _check(self, spec: TrainSpec, seeds: SeedSpec) -> None:
        spec.check()
        seeds.check()
        if spec.freeze != self._freeze:
            raise TrainError(
                f"train.freeze must be what the Trainer was made with, {self._freeze}, got {spec.freeze}; make another "
                "Trainer for it."
            )

    def _loop(
        self,
        splits: Splits,
        spec: TrainSpec,
        seeds: SeedSpec,
        augment: AugmentSpec | None,
        checkpoint: Checkpoint | None,
    ) -> Loop:
        """A training whose weights, optimizer and generators are set to its start."""
        batches = _batches(splits, spec, seeds, augment or AugmentSpec())
        self.reset(seeds)
        self._optimizer.set_decay(spec.weight_decay, decay_1d=spec.decay_1d)
        averages = None if spec.ema_decay is None else self._averaging()
        return Loop(self.model, self._optimizer, self._step, averages, splits, spec, batches, checkpoint)

    def _averaging(self) -> Averages:
        """The averages, from the weights as they are."""
        if self._averages is None:
            self._averages = Averages(self.model)
        self._averages.restart()
        return self._averages


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


def _optimizer(model: keras.Model) -> AdamW | ScaledAdamW:
    """With a scaled loss where a layer computes in float16, in which small gradients are 0."""
    return ScaledAdamW() if any(layer.compute_dtype == "float16" for layer in model.layers) else AdamW()


def _require_same(one: keras.Model, other: keras.Model) -> None:
    """Raises TrainError where two models of one seed start from different weights."""
    for a, b in zip(one.weights, other.weights, strict=True):
        if not np.array_equal(np.asarray(a), np.asarray(b), equal_nan=True):
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
