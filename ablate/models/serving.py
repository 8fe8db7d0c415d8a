"""A registered model as ``mlflow models serve`` runs it: pixels in, probabilities out.

MLflow imports this module by name (``loader_module``), so nothing is pickled and no code comes with the model.
"""

import importlib
import json
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from ablate.models.saved import load_model


class Served:
    """A model and what its images have to become first."""

    def __init__(self, model: keras.Model, mean: list[float], std: list[float]) -> None:
        """Takes a Keras model of logits, and mean and standard deviation a channel, of pixels in 0..1."""
        self._model = model
        self._mean, self._std = (np.asarray(each, np.float32) for each in (mean, std))

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities.

        Args:
            images: ``(images, height, width, channels)``, pixels from 0 to 255 at the model's size.

        Returns:
            ``(images, classes)``, each row adding up to 1.
        """
        pixels = np.asarray(images, np.float32)
        logits = self._model.predict((pixels / 255 - self._mean) / self._std, verbose=0)
        return np.asarray(keras.ops.softmax(logits, axis=-1), np.float32)


def _load_pyfunc(path: str) -> Served:
    """What MLflow asks for: the model in a folder that ``tracking.registry`` filled."""
    told = json.loads((Path(path) / "model.input.json").read_text("utf-8"))
    for name in told["modules"]:  # a plugin's layers
        importlib.import_module(name)
    return Served(load_model(Path(path) / "model.keras"), told["mean"], told["std"])
