"""Data sets that keras.datasets downloads once and keeps under the user's Keras folder."""

import importlib

import numpy as np

from ablate.data.arrays import Arrays, Raw, checked_labels
from ablate.data.spec import DataError


def downloaded(name: str, classes: tuple[str, ...]) -> Raw:
    """Reads a module of keras.datasets.

    Raises:
        DataError: It cannot be downloaded or read.
    """
    source = importlib.import_module(f"keras.datasets.{name}")
    try:
        pairs = source.load_data()
    except Exception as error:  # Keras raises a bare Exception where a URL cannot be fetched.
        raise DataError(
            f"data={name} could not be downloaded through keras.datasets ({error}); connect to the network once, "
            "or set data.root to a folder that holds its files."
        ) from error
    (train_x, train_y), (test_x, test_y) = pairs
    try:
        return Raw(_arrays(train_x, train_y, len(classes)), _arrays(test_x, test_y, len(classes)), classes)
    except ValueError as error:
        raise DataError(f"data={name}, as keras.datasets keeps it: {error}; remove it there.") from None


def _arrays(x: np.ndarray, y: np.ndarray, num_classes: int) -> Arrays:
    return Arrays(x if x.ndim == 4 else x[..., np.newaxis], checked_labels(y.reshape(-1), num_classes))
