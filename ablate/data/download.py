"""Data sets that keras.datasets downloads once and keeps under the user's Keras folder."""

import importlib

import numpy as np

from ablate.data.arrays import Arrays, Raw
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
    return Raw(_arrays(train_x, train_y), _arrays(test_x, test_y), classes)


def _arrays(x: np.ndarray, y: np.ndarray) -> Arrays:
    return Arrays(x if x.ndim == 4 else x[..., np.newaxis], y.reshape(-1).astype(np.int64))
