"""The training step and the moving average of weights on TensorFlow: one `tf.function` for each part."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops
from numpy.typing import NDArray

from ablate.training.loss import targets
from ablate.training.optimizer import AdamW, ScaledAdamW, clipped
from ablate.training.steps.step import averaged, normalise, score


class TensorFlowStep:
    """`Step` on one device: the model's variables are moved in place."""

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
            logits = self._model(normalise(x, scale, shift), training=True)
            loss, right = score(logits, y, weight, smoothing, images)
            scaled = self._optimizer.scale_loss(loss)
        # A weight that the loss does not see gets a gradient of 0, as on JAX, and so decays there and here. TensorFlow
        # makes that 0 from its own variables only, not from Keras'.
        variables, zero = [variable.value for variable in self._variables], self._tf.UnconnectedGradients.ZERO
        return loss, right, tape.gradient(scaled, variables, unconnected_gradients=zero)

    def predict(self, x: NDArray[Any], scale: Any, shift: Any) -> Any:
        return self._predicted(x, scale, shift)

    def _predict(self, x: Any, scale: Any, shift: Any) -> Any:
        return self._model(normalise(x, scale, shift), training=False)


def tensorflow_average(averages: list[keras.Variable], live: list[keras.Variable]) -> Callable[[float], None]:
    """`compile_average` on TensorFlow."""
    import tensorflow as tf

    def move(decay: Any) -> None:
        for average, variable in zip(averages, live, strict=True):
            average.assign(averaged(average.value, variable.value, decay))

    scalar = tf.TensorSpec((), keras.config.floatx())
    compiled: Callable[[float], None] = tf.function(move, input_signature=[scalar], autograph=False)
    return compiled
