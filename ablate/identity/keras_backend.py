"""What Keras computes with, told without importing it."""

import json
import os
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ablate.paths import keras_folder


@cache
def versions(backend: str) -> dict[str, str]:
    """Versions of what computes: Keras, its backend and NumPy; read from metadata, nothing is imported."""
    packages = ("keras", {"jax": "jax", "torch": "torch"}.get(backend, "tensorflow"), "numpy")
    return {name: _version(name) for name in packages}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def keras_file() -> Path:
    """Keras' file of its user's settings, which need not be there."""
    return keras_folder() / "keras.json"


def backend() -> str:
    """The backend that Keras will choose, without importing it: as it does, by environment, then by its own file."""
    if named := os.environ.get("KERAS_BACKEND"):
        return named
    try:
        return str(json.loads(keras_file().read_text("utf-8")).get("backend", "tensorflow"))
    except (OSError, ValueError, AttributeError):
        return "tensorflow"
