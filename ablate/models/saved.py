"""A whole model from the ``.keras`` file that a run keeps."""

from pathlib import Path

import keras

from ablate.models import encoder as _encoder  # noqa: F401  registers its layers with Keras; no variant names them
from ablate.models import registry


def load_model(path: str | Path) -> keras.Model:
    """Reads a model of ours; a plugin's, once the plugin is imported.

    Keras finds a layer in a file by its registered name, which the layer's module has to have given before: all are
    imported here.

    Args:
        path: A ``.keras`` file.

    Returns:
        The model, not compiled.

    Raises:
        ValueError: The file holds layers that nobody registered, or no model.
    """
    for axis in registry.AXES:
        for name in registry.names(axis):
            registry.get(axis, name).load_layer()
    return keras.saving.load_model(path, compile=False)
