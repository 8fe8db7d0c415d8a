"""An exponential moving average of a model's weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from ablate.training.steps.compiled import compile_average


class Averages:
    """``average = decay * average + (1 - decay) * weight`` after each update, from the initial weights on.

    As timm's ModelEmaV2: all weights, no warm-up of the decay, so that a short run needs a smaller decay than 0.9998;
    generators of dropout are no weights and are not averaged.

    Args:
        model: Its weights are averaged; they are the averages' first values at each ``restart``.
    """

    def __init__(self, model: keras.Model) -> None:
        self._weights = model.weights
        self._averages = [
            # From a copy: given a backend's variable, Keras adopts it, and average and weight would be one.
            keras.Variable(value, trainable=False, dtype=value.dtype.name, name=f"average_{position}")
            for position, value in enumerate(copies(self._weights))
        ]
        self.update = compile_average(self._averages, self._weights)

    def restart(self) -> None:
        """Starts anew from the weights as they are."""
        assign(self._averages, copies(self._weights))

    @property
    def values(self) -> list[NDArray[Any]]:
        """Copies of the averages, in the order of ``model.weights``."""
        return copies(self._averages)

    def resume(self, values: list[NDArray[Any]]) -> None:
        """Goes on from averages that were kept."""
        assign(self._averages, values)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Puts the averages into the model, and afterwards the weights back that are trained."""
        trained = copies(self._weights)
        assign(self._weights, self.values)
        try:
            yield
        finally:
            assign(self._weights, trained)


def copies(variables: list[keras.Variable]) -> list[NDArray[Any]]:
    """Their values. A backend may hand out its own memory, and train on in it: these stay."""
    return [np.asarray(variable).copy() for variable in variables]


def assign(variables: list[keras.Variable], values: list[NDArray[Any]]) -> None:
    """Sets each variable to its value."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
