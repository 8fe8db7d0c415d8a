"""File formats of weights: safetensors, and what Keras saves. Nothing in a file is run, or built, by reading it."""

import io
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import keras
import numpy as np
import safetensors
from safetensors.numpy import save_file

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1"}
_IN_KERAS = "model.weights.h5"


class WeightsError(ValueError):
    """A file whose weights are not this model's, or no weights at all; the message says which."""


class Checkpoint(NamedTuple):
    """What a file of weights holds.

    Attributes:
        tensors: Arrays by name.
        grid: Rows and columns of the tokens that a positional embedding in it is for; None where it does not say.
    """

    tensors: dict[str, np.ndarray]
    grid: tuple[int, int] | None = None


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Reads the tensors of a safetensors file; bfloat16 comes as float32.

    Raises:
        WeightsError: The file is truncated, or is something else.
        OSError: It cannot be read.
    """
    return open_safetensors(path).tensors


def open_safetensors(path: Path) -> Checkpoint:
    """Like `read_safetensors`, with the grid of tokens where `write_safetensors` was told it.

    Raises:
        WeightsError: The file is truncated, or is something else.
        OSError: It cannot be read.
    """
    content = path.read_bytes()
    try:
        # The library holds the header to the format: sizes, offsets, no holes, nothing left over.
        tensors = {name: _array(entry) for name, entry in safetensors.deserialize(content)}  # type: ignore[no-untyped-call]
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return Checkpoint(tensors, _grid(header.get("__metadata__") or {}))
    except (safetensors.SafetensorError, ValueError, OverflowError) as error:
        raise WeightsError(f"{path.name} must be a whole safetensors file, but: {error}.") from None


def _array(entry: Mapping[str, Any]) -> np.ndarray:
    if entry["dtype"] == "BF16":
        return widened(entry["data"]).reshape(entry["shape"])
    if entry["dtype"] not in _DTYPES:
        raise ValueError(f"dtype {entry['dtype']} is none of {', '.join(_DTYPES)}, BF16")
    return np.frombuffer(entry["data"], _DTYPES[entry["dtype"]]).reshape(entry["shape"])


def _grid(metadata: Mapping[str, str]) -> tuple[int, int] | None:
    if "grid" not in metadata:
        return None
    rows, _, columns = metadata["grid"].partition("x")
    return int(rows), int(columns)


def write_safetensors(path: Path, tensors: Mapping[str, np.ndarray], *, grid: tuple[int, int] | None = None) -> None:
    """Writes tensors to a file that is complete or not there.

    Args:
        path: Of the file; one that is there is replaced.
        tensors: Arrays of floats by name.
        grid: Rows and columns of tokens, for whoever interpolates a positional embedding.
    """
    # "pt" is what libraries of PyTorch want to see. The library writes the memory as it lies, so it must be in order.
    metadata = {"format": "pt"} | ({} if grid is None else {"grid": f"{grid[0]}x{grid[1]}"})
    flat = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    replace_whole(path, lambda scratch: save_file(flat, scratch, metadata=metadata))


def replace_whole(path: Path, write: Any) -> None:
    """Calls ``write`` on a scratch path beside ``path``, of the same suffix, and moves what it wrote to ``path``."""
    scratch = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        write(scratch)
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def widened(bfloat16: bytes) -> np.ndarray:
    """Little-endian bfloat16 as float32, which has the same numbers and more: bfloat16 is its upper half."""
    return (np.frombuffer(bfloat16, "<u2").astype("<u4") << 16).view("<f4")


def read_keras(path: Path) -> dict[str, list[np.ndarray]]:
    """Reads the variables in a ``.weights.h5`` or ``.keras`` file, of which the model itself is not built.

    Returns:
        By the group of a layer, such as ``layers/encoder/blocks/block/mlp/dense_1``, its variables in Keras' order;
        `keras_groups` knows whose they are.

    Raises:
        WeightsError: The file is truncated, or is something else.
        OSError: It cannot be read.
    """
    content = path.read_bytes()
    try:
        if path.suffix == ".keras":
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                entry = archive.getinfo(_IN_KERAS)
                if entry.compress_type != zipfile.ZIP_STORED:
                    raise ValueError(f"{_IN_KERAS} in it is compressed, which Keras' is not")
                content = archive.read(entry)
        with h5py.File(io.BytesIO(content), "r") as file:
            return _layers(file)
    except Exception as error:  # HDF5 and zip say in many types that a file is not theirs
        reason = str(error) or type(error).__name__
    raise WeightsError(f"{path.name} must be a whole file that Keras saved, but: {reason}.")


def _layers(file: h5py.File) -> dict[str, list[np.ndarray]]:
    """Variables by group. They stand by number in a group ``vars`` in their layer's group.

    The attribute that names a layer is not read: in a broken file, HDF5 crashes or hangs over a text of any length
    (with random bytes in the file, within seconds; never in 2,000 such files without it).
    """
    found: dict[str, dict[int, np.ndarray]] = {}

    def visit(place: str, item: Any) -> None:  # meets no link that leads out of the file
        owner, _, number = place.rpartition("/")
        if isinstance(item, h5py.Dataset) and place.startswith("layers/") and owner.endswith("/vars"):
            found.setdefault(owner.removesuffix("/vars"), {})[int(number)] = _dataset(item)

    file.visititems(visit)
    if not found:
        raise ValueError("it holds no variables of layers")
    return {group: [arrays[number] for number in sorted(arrays)] for group, arrays in found.items()}


def keras_groups(model: keras.Model) -> dict[str, str]:
    """Where Keras puts each layer of a model: the layer's path by its group in the file, as in `read_keras`.

    Keras numbers layers of one class, by a rule of its own, and its files name them only in a way that is not safe to
    read; so this writes the model's own file and looks.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "own.weights.h5"
        model.save_weights(path)
        with h5py.File(path, "r") as file:
            names: dict[str, str] = {}
            file.visit(lambda place: _note_name(file, place, names))
    return {group: _path(group, names) for group in names}


def _note_name(file: h5py.File, place: str, names: dict[str, str]) -> None:
    if place.startswith("layers/") and place.endswith("/vars"):
        names[place.removesuffix("/vars")] = str(file[place].attrs["name"])


def _path(group: str, names: Mapping[str, str]) -> str:
    """Names along the way; a group in between that is a list of layers has none."""
    parts = group.split("/")
    groups = ("/".join(parts[:end]) for end in range(2, len(parts) + 1))
    return "/".join(names[group] for group in groups if group in names)


def _dataset(item: h5py.Dataset) -> np.ndarray:
    # Keras stores arrays whole: anything else could read another file, or grow far beyond this one.
    if item.external or item.is_virtual or item.id.get_storage_size() != item.size * item.dtype.itemsize:
        raise ValueError(f"{item.name} does not lie in it as Keras stores an array")
    array = np.asarray(item[()])
    # Two bytes that HDF5 has no number type for: how Keras stores bfloat16.
    return widened(array.tobytes()).reshape(array.shape) if array.dtype == np.dtype("V2") else array
