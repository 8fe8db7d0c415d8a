"""AdamW as PyTorch computes it. Keras' own adds epsilon to the uncorrected root, and lets a decay be set only once."""

import math
from typing import Any

import keras
from keras import ops


def clipped(gradients: list[Any], limit: Any, scale: Any = 1.0) -> list[Any]:
    """Scales all gradients down together where their global norm is above the limit; None leaves them alone.

    As torch.nn.utils.clip_grad_norm_ and hence timm do: by ``limit / (norm + 1e-6)``, where that is below 1. Both
    numbers are of gradients that have not been multiplied by ``scale``.
    """
    if limit is None:
        return gradients
    squares = [ops.sum(ops.square(gradient)) for gradient in gradients]
    factor = ops.minimum(limit * scale / (ops.sqrt(sum(squares)) + 1e-6 * scale), 1.0)
    return [gradient * ops.cast(factor, gradient.dtype) for gradient in gradients]


@keras.saving.register_keras_serializable(package="ablate")
class AdamW(keras.optimizers.Optimizer):
    """``p *= 1 - lr * decay``, then ``p -= lr * m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + epsilon)``.

    Rates and decays are variables: another value is no other graph. Tensors of one dimension (norms), and biases of any
    shape, decay only where ``decay_1d`` says so, as in timm. A positional embedding, a class token and the weight of a
    norm over pairs of tokens have more dimensions, and a scale of manifold attention has none: they do.

    Source: Loshchilov and Hutter 2019, arXiv 1711.05101, in the form of torch.optim.AdamW.

    Args:
        learning_rate: Rate of the next step; assign ``optimizer.learning_rate`` before each.
        weight_decay: Decoupled decay, which is multiplied by the learning rate.
        decay_1d: Whether tensors of one dimension and biases decay as well.
        beta_1: Memory of the gradient's mean, from 0 to below 1.
        beta_2: Memory of the gradient's square, from 0 to below 1.
        epsilon: Added to the corrected root.
    """

    def __init__(
        self,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        *,
        decay_1d: bool = False,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        name: str = "adamw",
    ) -> None:
        super().__init__(learning_rate=learning_rate, name=name)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self._decay = self.add_variable((), name="decay")
        self._decay_1d = self.add_variable((), name="decay_1d")
        self.set_decay(weight_decay, decay_1d=decay_1d)

    def set_decay(self, weight_decay: float, *, decay_1d: bool) -> None:
        """Sets the decay of all steps to come."""
        self._decay.assign(weight_decay)
        self._decay_1d.assign(weight_decay if decay_1d else 0.0)

    def reset(self) -> None:
        """Forgets all steps so far."""
        for variable in [self._iterations, *self._means, *self._squares]:
            variable.assign(ops.zeros(variable.shape, variable.dtype))

    def build(self, variables: list[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self._spared = [_is_spared(variable) for variable in variables]
        self._means, self._squares = self.add_optimizer_variables(variables, ("mean", "square"))

    def update_step(self, gradient: Any, variable: keras.Variable, learning_rate: Any) -> None:
        dtype = variable.dtype
        index = self._get_variable_index(variable)
        rate, gradient = ops.cast(learning_rate, dtype), ops.cast(gradient, dtype)
        decay = ops.cast(self._decay_1d if self._spared[index] else self._decay, dtype)
        mean = self.beta_1 * self._means[index] + (1 - self.beta_1) * gradient
        square = self.beta_2 * self._squares[index] + (1 - self.beta_2) * ops.square(gradient)
        root = ops.sqrt(square / self._correction(self.beta_2, dtype)) + self.epsilon
        update = rate / self._correction(self.beta_1, dtype) * mean / root
        self.assign(self._means[index], mean)
        self.assign(self._squares[index], square)
        self.assign(variable, variable * (1 - rate * decay) - update)

    def _correction(self, beta: float, dtype: str) -> Any:
        """1 - beta^t, by expm1: in float32, 1 - 0.999^1 is wrong by 5e-5 of itself, and the first steps with it."""
        step = ops.cast(self.iterations + 1, dtype)
        return -ops.expm1(step * math.log(beta))

    def get_config(self) -> dict[str, Any]:
        return {
            "learning_rate": float(ops.convert_to_numpy(self.learning_rate)),
            "weight_decay": float(ops.convert_to_numpy(self._decay)),
            "decay_1d": bool(ops.convert_to_numpy(self._decay_1d) > 0),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "name": self.name,
        }


def _is_spared(variable: keras.Variable) -> bool:
    """By timm's rule (0.5.4), whose names for our ``beta`` and ``bias`` end in ``.bias``."""
    return len(variable.shape) == 1 or variable.path.rpartition("/")[2] in ("beta", "bias")


@keras.saving.register_keras_serializable(package="ablate")
class ScaledAdamW(keras.optimizers.LossScaleOptimizer):
    """AdamW for float16: what it is given are gradients of the loss times a scale, which keeps them above 0.

    Keras' own rule. The scale starts at 2^15; a step whose gradients are not all finite moves no weight but halves it,
    and 2000 steps without such a one double it. ``scale_loss`` multiplies by it, here and in AdamW, which has none.

    Source: Micikevicius and others 2018, arXiv 1710.03740, section 3.2.
    """

    def __init__(self, inner_optimizer: AdamW | None = None, name: str = "scaled_adamw") -> None:
        super().__init__(inner_optimizer or AdamW(), name=name)

    def set_decay(self, weight_decay: float, *, decay_1d: bool) -> None:
        """Sets the decay of all steps to come."""
        self.inner_optimizer.set_decay(weight_decay, decay_1d=decay_1d)

    def reset(self) -> None:
        """Forgets all steps so far, and what they found of the scale."""
        self.inner_optimizer.reset()
        self.step_counter.assign(0)
        self.dynamic_scale.assign(self.initial_scale)

    def get_config(self) -> dict[str, Any]:
        inner = keras.saving.serialize_keras_object(self.inner_optimizer)
        return {"inner_optimizer": inner, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> "ScaledAdamW":
        inner = keras.saving.deserialize_keras_object(config["inner_optimizer"], custom_objects=custom_objects)
        return cls(inner, config["name"])
