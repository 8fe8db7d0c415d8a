"""A registered model as ``mlflow models serve`` runs it: pixels in, probabilities out.

MLflow imports this module by name (``loader_module``), so nothing is pickled and no code comes with the model.
"""

import importlib
import json
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from ablate.models.inference import Predictor
from ablate.models.saved import load_model


class Served:
    """A model and what its images have to become first."""

    def __init__(self, model: keras.Model, mean: list[float], std: list[float]) -> None:
        """Takes a Keras model of logits, and mean and standard deviation a channel, of pixels in 0..1."""
        scale, shift = 1 / np.asarray(std), -np.asarray(mean) / np.asarray(std)
        self._logits = Predictor(model, scale / 255, shift)

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities.

        Args:
            images: ``(images, height, width, channels)``, pixels from 0 to 255 at the model's size.

        Returns:
            ``(images, classes)``, each row adding up to 1.
        """
        logits = self._logits(images)
        return np.asarray(keras.ops.softmax(logits, axis=-1), np.float32)


def _load_pyfunc(path: str) -> Served:
    """What MLflow asks for: the model in a folder that ``tracking.model_registry`` filled."""
    told = json.loads((Path(path) / "model.input.json").read_text("utf-8"))
    for name in told["modules"]:  # a plugin's layers
        importlib.import_module(name)
    return Served(load_model(Path(path) / "model.keras"), told["mean"], told["std"])
