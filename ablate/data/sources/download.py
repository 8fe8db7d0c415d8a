"""Data sets that Keras downloads once and keeps under the user's Keras folder."""

import importlib
from pathlib import Path

import numpy as np

from ablate.data import ordinary_files
from ablate.data.arrays import Arrays, Raw, checked_labels
from ablate.data.spec import DataError
from ablate.paths import keras_folder


def downloaded(name: str, classes: tuple[str, ...]) -> Raw:
    """Reads a module of keras.datasets.

    Raises:
        DataError: It cannot be downloaded or read.
    """
    source = importlib.import_module(f"keras.datasets.{name}")
    try:
        pairs = source.load_data()
    except Exception as error:  # Keras raises a bare Exception where a URL cannot be fetched.
        raise _unfetched(name, error) from error
    (train_x, train_y), (test_x, test_y) = pairs
    try:
        return Raw(_arrays(train_x, train_y, len(classes)), _arrays(test_x, test_y, len(classes)), classes)
    except ValueError as error:
        raise DataError(f"data={name}, as keras.datasets keeps it: {error}; remove it there.") from None


def fetched(name: str, file: str, origin: str, sha256: str) -> Path:
    """A file as it is published, out of Keras' cache, into which it is downloaded where it is not there, or is another.

    Args:
        name: Name of the data set, for an error.
        file: What the cache calls it.
        origin: Where it is published.
        sha256: SHA-256 of the file, in hexadecimal, which is checked each time.

    Raises:
        DataError: It cannot be downloaded.
    """
    import keras

    folder = keras_folder()
    if (folder / "datasets" / file).exists():
        ordinary_files.ordinary(folder / "datasets" / file)  # a pipe would be waited for
    try:
        return Path(keras.utils.get_file(file, origin, file_hash=sha256, cache_dir=str(folder)))
    except Exception as error:  # whatever Keras' download raises
        raise _unfetched(name, error) from error


def _unfetched(name: str, error: Exception) -> DataError:
    return DataError(
        f"data={name} could not be downloaded through Keras ({error}); connect to the network once, "
        "or set data.root to a folder that holds its files."
    )


def _arrays(x: np.ndarray, y: np.ndarray, num_classes: int) -> Arrays:
    return Arrays(x if x.ndim == 4 else x[..., np.newaxis], checked_labels(y.reshape(-1), num_classes))
