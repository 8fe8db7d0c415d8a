"""One batch on several devices: each takes its part, and all move their weights by the sum of the gradients."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from ablate.training.optimizer import AdamW, ScaledAdamW
from ablate.training.steps.tensorflow import TensorFlowStep


class MirroredStep(TensorFlowStep):
    """The step under TensorFlow's ``MirroredStrategy``, which holds the variables' copies and sums what they send.

    The loss is the mean over the whole batch, as on one device: up to rounding the same step. Dropout draws for each
    part as it would for a batch of that size.
    """

    def __init__(self, model: keras.Model, optimizer: AdamW | ScaledAdamW, dtype: str) -> None:
        self._strategy = tf.distribute.get_strategy()
        self._devices = self._strategy.num_replicas_in_sync
        super().__init__(model, optimizer, dtype)

    def _zeros(self, variable: keras.Variable) -> Any:
        """Each device's own sum, which is added to the others' when the weights move."""
        return tf.Variable(
            tf.zeros(variable.shape, variable.dtype),
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def _train(
        self, x: Any, y: Any, weight: Any, scale: Any, shift: Any, smoothing: Any, clip: Any = None
    ) -> tuple[Any, Any]:
        images = ops.sum(weight)

        def part() -> tuple[Any, Any]:
            cut = (self._cut(x), self._cut(y), self._cut(weight))
            loss, right, gradients = self._gradients(*cut, scale, shift, smoothing, images)
            self._move(gradients, clip)
            return loss, right

        return self._summed(self._strategy.run(part))

    def _add(self, x: Any, y: Any, weight: Any, scale: Any, shift: Any, smoothing: Any, images: Any) -> tuple[Any, Any]:
        def part() -> tuple[Any, Any]:
            cut = (self._cut(x), self._cut(y), self._cut(weight))
            loss, right, gradients = self._gradients(*cut, scale, shift, smoothing, images)
            for total, gradient in zip(self._sums, gradients, strict=True):
                total.assign_add(gradient)
            return loss, right

        return self._summed(self._strategy.run(part))

    def _apply_sums(self, clip: Any = None) -> None:
        def part() -> None:
            self._move([total.read_value() for total in self._sums], clip)
            for total in self._sums:
                total.assign(tf.zeros(total.shape, total.dtype))

        self._strategy.run(part)

    def _predict(self, x: Any, scale: Any, shift: Any) -> Any:
        parts = self._strategy.run(lambda: super(MirroredStep, self)._predict(self._cut(x), scale, shift))
        return tf.concat(self._strategy.experimental_local_results(parts), 0)[: tf.shape(x)[0]]

    def _cut(self, array: Any) -> Any:
        """This device's part of a batch. Zeros fill up one of fewer images than devices: no kernel takes an empty part.

        A zero's weight is cut from the weights alike, and is 0.
        """
        device = tf.distribute.get_replica_context().replica_id_in_sync_group
        missing = tf.maximum(self._devices - tf.shape(array)[0], 0)
        array = tf.pad(array, [[0, missing], *[[0, 0]] * (len(array.shape) - 1)])
        images = tf.shape(array)[0]
        return array[images * device // self._devices : images * (device + 1) // self._devices]

    def _move(self, gradients: list[Any], clip: Any) -> None:
        """Moves the weights by the sum over devices, which Keras' optimizers take themselves.

        A norm needs it first, and so does the question whether it is finite, which Keras asks one device only.
        """
        if clip is not None or isinstance(self._optimizer, ScaledAdamW):
            summed = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients)
            gradients = [gradient / self._devices for gradient in self._clip(summed, clip)]
        self._optimizer.apply(gradients, self._variables)

    def _summed(self, results: tuple[Any, Any]) -> tuple[Any, Any]:
        loss, right = (self._strategy.reduce(tf.distribute.ReduceOp.SUM, result, axis=None) for result in results)
        return loss, right
