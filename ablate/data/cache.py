"""Decoded images on disk: written once, whole or not at all, whoever else is writing."""

import hashlib
import os
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray

from ablate.data.spec import DataError, DataSpec

_FORMAT = "1"


def path_for(spec: DataSpec, listing: Iterable[str]) -> Path:
    """The file that holds the images of a listing at a size; its folder exists and can be written to.

    Raises:
        DataError: It cannot.
    """
    # Another version of Pillow may decode or resize to other pixels.
    sha = hashlib.sha256(f"{_FORMAT} {PIL.__version__} {spec.size}".encode())
    for line in listing:
        sha.update(f"\n{line}".encode(errors="surrogateescape"))
    folder = _user_folder() if spec.cache is None else Path(spec.cache).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DataError(
            f"{folder} must be a folder to keep decoded images in ({error}); set data.cache=PATH."
        ) from error
    return folder / f"images-{sha.hexdigest()[:32]}.npz"


def _user_folder() -> Path:
    if sys.platform == "win32":
        start = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        start = Path.home() / "Library" / "Caches"
    else:
        start = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return start / "ablate"


def read(path: Path) -> dict[str, NDArray[np.uint8]] | None:
    """The arrays, or None where they must be decoded (again, and with a warning, where the file is damaged)."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        warnings.warn(f"{path} is damaged ({error}); decoding the images again.", stacklevel=2)
        return None


def write(path: Path, arrays: Mapping[str, NDArray[np.uint8]]) -> None:
    """Writes beside the target and renames, so that a reader sees all or nothing, and of two writers the last wins.

    Raises:
        DataError: The disk is full, or fails otherwise.
    """
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
        part = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{path} could not be written ({error}); free some space, or set data.cache=PATH.") from error
