"""The training step and the moving average of weights on JAX: the state is a value that goes in and comes out."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops
from numpy.typing import NDArray

from ablate.training.loss import targets
from ablate.training.optimizer import AdamW, ScaledAdamW, clipped
from ablate.training.steps.step import averaged, normalise, score


class JaxStep:
    """`Step` on one device: after each call the new values are put into the model's and optimizer's variables."""

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
        loss, right = score(logits, y, weight, smoothing, images)
        return self._scaled(loss, state), (loss, right, fixed)

    def _scaled(self, value: Any, state: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(self._optimizer.variables, state, strict=True))):
            return self._optimizer.scale_loss(value)

    def _moved(
        self, values: Any, x: Any, y: Any, weight: Any, scale: Any, shift: Any, smoothing: Any, clip: Any
    ) -> tuple[Any, Any, Any]:
        trainable, fixed, state = values
        x = normalise(x, scale, shift)
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
        x = normalise(x, scale, shift)
        (_, (loss, right, fixed)), gradients = self._gradient(trainable, fixed, state, x, y, weight, smoothing, images)
        return [total + gradient for total, gradient in zip(sums, gradients, strict=True)], fixed, loss, right

    def _applied(self, trainable: Any, state: Any, sums: Any, clip: Any) -> tuple[Any, Any]:
        gradients = clipped(sums, clip, self._scaled(1.0, state))
        trainable, state = self._optimizer.stateless_apply(state, gradients, trainable)
        return trainable, state

    def _logits(self, trainable: Any, fixed: Any, x: Any, scale: Any, shift: Any) -> Any:
        return self._model.stateless_call(trainable, fixed, normalise(x, scale, shift), training=False)[0]


def jax_average(averages: list[keras.Variable], live: list[keras.Variable]) -> Callable[[float], None]:
    """`compile_average` on JAX."""
    import jax

    moved = jax.jit(lambda old, new, decay: [averaged(a, b, decay) for a, b in zip(old, new, strict=True)])

    def move(decay: float) -> None:
        values = moved([v.value for v in averages], [v.value for v in live], decay)
        for average, value in zip(averages, values, strict=True):
            average.assign(value)

    return move
