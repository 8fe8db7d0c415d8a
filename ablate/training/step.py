"""One training step and one forward pass, compiled: a graph is traced once, and everything else enters as a value.

``keras.Model.fit`` would bake the smoothing into the graph, trace anew for a last, smaller batch, and weigh a padded
one wrongly in its metrics. What differs between backends is how they differentiate and compile; it all stands here.
A graph waits for its first use: who never clips, accumulates or averages never pays for it.
"""

from collections.abc import Callable
from typing import Any, Protocol

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from ablate.training.loss import correct, cross_entropy, targets
from ablate.training.optimizer import AdamW, ScaledAdamW, clipped


class Step(Protocol):
    """A compiled model.

    Images are ``(batch, height, width, channels)`` as they lie in memory; the model sees ``x * scale + shift``. Labels
    are ``(batch,)`` integers or ``(batch, classes)`` probabilities, and an image of weight 0 counts for nothing.
    Results may still be on their way: convert them when needed.
    """

    fixed_batch: bool
    """Whether another batch size is compiled anew, so that a smaller batch is better padded."""

    def train(
        self,
        x: NDArray[Any],
        y: NDArray[Any],
        weight: NDArray[Any],
        scale: Any,
        shift: Any,
        smoothing: float,
        clip: float | None = None,
    ) -> tuple[Any, Any]:
        """Moves the weights once. Returns the mean loss under the old ones, and how many images they got right.

        ``clip`` is the largest global norm that the gradient may have.
        """

    def accumulate(
        self,
        x: NDArray[Any],
        y: NDArray[Any],
        weight: NDArray[Any],
        scale: Any,
        shift: Any,
        smoothing: float,
        images: int,
    ) -> tuple[Any, Any]:
        """Adds the gradient of one part of a batch of ``images``. Returns its share of the mean loss, and its right."""

    def update(self, clip: float | None = None) -> None:
        """Moves the weights by what was accumulated."""

    def predict(self, x: NDArray[Any], scale: Any, shift: Any) -> Any:
        """Logits ``(batch, classes)`` in inference mode."""


def compile_step(model: keras.Model, optimizer: AdamW | ScaledAdamW, *, dtype: str = "uint8") -> Step:
    """Compiles for the backend that Keras runs on; tracing waits for the first call.

    Args:
        model: Logits from images.
        optimizer: Is built for the model's trainable variables here.
        dtype: Of the images as they come; a training step takes floats as well, as erased images are.

    Raises:
        NotImplementedError: The backend is neither TensorFlow nor JAX.
    """
    optimizer.build(model.trainable_variables)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        if tf.distribute.has_strategy():
            from ablate.training.mirrored import MirroredStep

            return MirroredStep(model, optimizer, dtype)
        return TensorFlowStep(model, optimizer, dtype)
    if backend == "jax":
        return _JaxStep(model, optimizer)
    raise NotImplementedError(f"training needs KERAS_BACKEND=tensorflow or jax, got {backend}.")


def compile_average(averages: list[keras.Variable], live: list[keras.Variable]) -> Callable[[float], None]:
    """A compiled ``average = decay * average + (1 - decay) * live`` of each pair, called with the decay."""
    if keras.backend.backend() == "jax":
        return _jax_average(averages, live)
    import tensorflow as tf

    def move(decay: Any) -> None:
        for average, variable in zip(averages, live, strict=True):
            average.assign(_averaged(average.value, variable.value, decay))

    scalar = tf.TensorSpec((), keras.config.floatx())
    compiled: Callable[[float], None] = tf.function(move, input_signature=[scalar], autograph=False)
    return compiled


def _jax_average(averages: list[keras.Variable], live: list[keras.Variable]) -> Callable[[float], None]:
    import jax

    moved = jax.jit(lambda old, new, decay: [_averaged(a, b, decay) for a, b in zip(old, new, strict=True)])

    def move(decay: float) -> None:
        values = moved([v.value for v in averages], [v.value for v in live], decay)
        for average, value in zip(averages, values, strict=True):
            average.assign(value)

    return move


def _averaged(average: Any, live: Any, decay: Any) -> Any:
    if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(average.dtype)):
        return live
    decay = ops.cast(decay, average.dtype)
    return average * decay + live * (1 - decay)


def _score(logits: Any, y: Any, weight: Any, smoothing: Any, images: Any) -> tuple[Any, Any]:
    loss = ops.sum(cross_entropy(logits, y, smoothing) * weight) / images
    return loss, ops.sum(correct(logits, y) * weight)


def _normalise(x: Any, scale: Any, shift: Any) -> Any:
    return ops.cast(x, keras.config.floatx()) * scale + shift


class TensorFlowStep:
    fixed_batch = False

    def __init__(self, model: keras.Model, optimizer: AdamW | ScaledAdamW, dtype: str) -> None:
        import tensorflow as tf

        self._tf = tf
        self._model, self._optimizer = model, optimizer
        self._variables = model.trainable_variables
        self._classes = int(model.output_shape[-1])
        self._sums: list[Any] = []
        real = keras.config.floatx()
        images = tf.TensorSpec((None, *model.input_shape[1:]), dtype)
        moments = [tf.TensorSpec((model.input_shape[-1],), real)] * 2
        labels, weight, scalar = (
            tf.TensorSpec((None, self._classes), real),
            tf.TensorSpec((None,), real),
            tf.TensorSpec((), real),
        )
        kinds = {kind: tf.TensorSpec(images.shape, kind) for kind in (dtype, real)}
        batches = {kind: [x, labels, weight, *moments, scalar] for kind, x in kinds.items()}
        self._plain = {kind: self._compiled(self._train, batch) for kind, batch in batches.items()}
        self._clipped = {kind: self._compiled(self._train, [*batch, scalar]) for kind, batch in batches.items()}
        self._accumulated = {kind: self._compiled(self._add, [*batch, scalar]) for kind, batch in batches.items()}
        self._updated = self._compiled(self._apply_sums, [])
        self._updated_clipped = self._compiled(self._apply_sums, [scalar])
        self._predicted = self._compiled(self._predict, [images, *moments])

    def _compiled(self, function: Callable[..., Any], signature: list[Any]) -> Any:
        return self._tf.function(function, input_signature=signature, autograph=False)

    def train(
        self,
        x: NDArray[Any],
        y: NDArray[Any],
        weight: NDArray[Any],
        scale: Any,
        shift: Any,
        smoothing: float,
        clip: float | None = None,
    ) -> tuple[Any, Any]:
        values = (x, targets(y, self._classes), weight, scale, shift, smoothing)
        kind = x.dtype.name
        results: tuple[Any, Any] = self._plain[kind](*values) if clip is None else self._clipped[kind](*values, clip)
        return results

    def accumulate(
        self,
        x: NDArray[Any],
        y: NDArray[Any],
        weight: NDArray[Any],
        scale: Any,
        shift: Any,
        smoothing: float,
        images: int,
    ) -> tuple[Any, Any]:
        self._sums = self._sums or [self._zeros(variable) for variable in self._variables]
        results: tuple[Any, Any] = self._accumulated[x.dtype.name](
            x, targets(y, self._classes), weight, scale, shift, smoothing, images
        )
        return results

    def _zeros(self, variable: keras.Variable) -> Any:
        return self._tf.Variable(self._tf.zeros_like(variable.value))

    def update(self, clip: float | None = None) -> None:
        if clip is None:
            self._updated()
        else:
            self._updated_clipped(clip)

    def _train(
        self, x: Any, y: Any, weight: Any, scale: Any, shift: Any, smoothing: Any, clip: Any = None
    ) -> tuple[Any, Any]:
        loss, right, gradients = self._gradients(x, y, weight, scale, shift, smoothing, ops.sum(weight))
        self._optimizer.apply(self._clip(gradients, clip), self._variables)
        return loss, right

    def _add(self, x: Any, y: Any, weight: Any, scale: Any, shift: Any, smoothing: Any, images: Any) -> tuple[Any, Any]:
        loss, right, gradients = self._gradients(x, y, weight, scale, shift, smoothing, images)
        for total, gradient in zip(self._sums, gradients, strict=True):
            total.assign_add(gradient)
        return loss, right

    def _apply_sums(self, clip: Any = None) -> None:
        self._optimizer.apply(self._clip([total.value() for total in self._sums], clip), self._variables)
        for total in self._sums:
            total.assign(self._tf.zeros_like(total))

    def _clip(self, gradients: list[Any], clip: Any) -> list[Any]:
        return clipped(gradients, clip, self._optimizer.scale_loss(1.0))

    def _gradients(
        self, x: Any, y: Any, weight: Any, scale: Any, shift: Any, smoothing: Any, images: Any
    ) -> tuple[Any, Any, Any]:
        with self._tf.GradientTape() as tape:
            logits = self._model(_normalise(x, scale, shift), training=True)
            loss, right = _score(logits, y, weight, smoothing, images)
            scaled = self._optimizer.scale_loss(loss)
        # A weight that the loss does not see gets a gradient of 0, as on JAX, and so decays there and here. TensorFlow
        # makes that 0 from its own variables only, not from Keras'.
        variables, zero = [variable.value for variable in self._variables], self._tf.UnconnectedGradients.ZERO
        return loss, right, tape.gradient(scaled, variables, unconnected_gradients=zero)

    def predict(self, x: NDArray[Any], scale: Any, shift: Any) -> Any:
        return self._predicted(x, scale, shift)

    def _predict(self, x: Any, scale: Any, shift: Any) -> Any:
        return self._model(_normalise(x, scale, shift), training=False)


class _JaxStep:
    fixed_batch = True

    def __init__(self, model: keras.Model, optimizer: AdamW | ScaledAdamW) -> None:
        import jax

        self._model, self._optimizer = model, optimizer
        self._classes = int(model.output_shape[-1])
        self._sums: list[Any] = []
        self._gradient = jax.value_and_grad(self._objective, has_aux=True)
        # The old values are dropped as the new ones come: half the memory.
        self._train = jax.jit(self._moved, donate_argnums=0)
        self._accumulated = jax.jit(self._added, donate_argnums=(1, 2))
        self._updated = jax.jit(self._applied, donate_argnums=(0, 1))
        self._predict = jax.jit(self._logits)

    def train(
        self,
        x: NDArray[Any],
        y: NDArray[Any],
        weight: NDArray[Any],
        scale: Any,
        shift: Any,
        smoothing: float,
        clip: float | None = None,
    ) -> tuple[Any, Any]:
        y = targets(y, self._classes)
        moved, loss, right = self._train(self._values(), x, y, weight, scale, shift, smoothing, clip)
        self._assign(*moved)
        return loss, right

    def accumulate(
        self,
        x: NDArray[Any],
        y: NDArray[Any],
        weight: NDArray[Any],
        scale: Any,
        shift: Any,
        smoothing: float,
        images: int,
    ) -> tuple[Any, Any]:
        trainable, fixed, state = self._values()
        sums = self._sums or [ops.zeros_like(value) for value in trainable]
        y = targets(y, self._classes)
        results = self._accumulated(trainable, fixed, sums, state, x, y, weight, scale, shift, smoothing, float(images))
        self._sums, fixed, loss, right = results
        self._assign(fixed=fixed)
        return loss, right

    def update(self, clip: float | None = None) -> None:
        trainable, _, state = self._values()
        trainable, state = self._updated(trainable, state, self._sums, clip)
        self._sums = []
        self._assign(trainable, state=state)

    def predict(self, x: NDArray[Any], scale: Any, shift: Any) -> Any:
        trainable, fixed, _ = self._values()
        return self._predict(trainable, fixed, x, scale, shift)

    def _groups(self) -> tuple[list[keras.Variable], list[keras.Variable], list[keras.Variable]]:
        return self._model.trainable_variables, self._model.non_trainable_variables, self._optimizer.variables

    def _values(self) -> tuple[list[Any], list[Any], list[Any]]:
        trainable, fixed, state = ([v.value for v in group] for group in self._groups())
        return trainable, fixed, state

    def _assign(
        self, trainable: list[Any] | None = None, fixed: list[Any] | None = None, state: list[Any] | None = None
    ) -> None:
        for group, values in zip(self._groups(), (trainable, fixed, state), strict=True):
            for variable, value in zip(group, values, strict=True) if values is not None else ():
                variable.assign(value)

    def _objective(
        self, trainable: Any, fixed: Any, state: Any, x: Any, y: Any, weight: Any, smoothing: Any, images: Any
    ) -> tuple[Any, Any]:
        logits, fixed = self._model.stateless_call(trainable, fixed, x, training=True)
        loss, right = _score(logits, y, weight, smoothing, images)
        return self._scaled(loss, state), (loss, right, fixed)

    def _scaled(self, value: Any, state: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(self._optimizer.variables, state, strict=True))):
            return self._optimizer.scale_loss(value)

    def _moved(
        self, values: Any, x: Any, y: Any, weight: Any, scale: Any, shift: Any, smoothing: Any, clip: Any
    ) -> tuple[Any, Any, Any]:
        trainable, fixed, state = values
        x = _normalise(x, scale, shift)
        images = ops.sum(weight)
        (_, (loss, right, fixed)), gradients = self._gradient(trainable, fixed, state, x, y, weight, smoothing, images)
        trainable, state = self._applied(trainable, state, gradients, clip)
        return (trainable, fixed, state), loss, right

    def _added(
        self,
        trainable: Any,
        fixed: Any,
        sums: Any,
        state: Any,
        x: Any,
        y: Any,
        weight: Any,
        scale: Any,
        shift: Any,
        smoothing: Any,
        images: Any,
    ) -> tuple[Any, Any, Any, Any]:
        x = _normalise(x, scale, shift)
        (_, (loss, right, fixed)), gradients = self._gradient(trainable, fixed, state, x, y, weight, smoothing, images)
        return [total + gradient for total, gradient in zip(sums, gradients, strict=True)], fixed, loss, right

    def _applied(self, trainable: Any, state: Any, sums: Any, clip: Any) -> tuple[Any, Any]:
        gradients = clipped(sums, clip, self._scaled(1.0, state))
        trainable, state = self._optimizer.stateless_apply(state, gradients, trainable)
        return trainable, state

    def _logits(self, trainable: Any, fixed: Any, x: Any, scale: Any, shift: Any) -> Any:
        return self._model.stateless_call(trainable, fixed, _normalise(x, scale, shift), training=False)[0]


def pad(array: NDArray[Any], size: int) -> NDArray[Any]:
    """Fills the first axis with zeros up to ``size``."""
    return np.pad(array, [(0, size - len(array))] + [(0, 0)] * (array.ndim - 1))
