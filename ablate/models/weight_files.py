"""File formats of weights: safetensors, and what Keras saves. Nothing in a file is run, or built, by reading it."""

import io
import json
import math
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

import h5py
import keras
import numpy as np
import safetensors
from safetensors.numpy import save_file

_DTYPES = {
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1"},
    **{"U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?"},
}
_IN_KERAS = "model.weights.h5"
_OF_MODEL = "model_weights/"
"""Where a whole model of Keras' older format has its variables, beside those of its optimizer."""
_WRAPPERS = ("_orig_mod.", "module.", "model.", "net.")
"""What torch.compile, parallel training and trainers put before the name of each weight."""
_COUNTER = "n_averaged"
"""What torch's AveragedModel keeps beside the weights: how many it has averaged."""
_SAFETENSORS = ".safetensors"
_HEADER_BYTES = 2**23
"""Most bytes of a safetensors header or index: a model of 40,000 tensors has so many, which are read in a moment."""
_DIRECTORY_BYTES = 2**23
"""Most bytes of a zip archive's list of its files, of which torch.save needs some 100 a tensor."""
_DEPTH = 32
"""Most groups within groups of a Keras file: an encoder's blocks take 7."""
_ITEMS = 20_000
"""Most groups and arrays of a Keras file: CCT-14 with its optimizer has 2,000."""

_FLOATS = (h5py.h5t.IEEE_F16LE, h5py.h5t.IEEE_F32LE, h5py.h5t.IEEE_F64LE)

T = TypeVar("T")


class WeightsError(ValueError):
    """A file whose weights are not this model's, or no weights at all; the message says which."""


class StoredWeights(NamedTuple):
    """What a file of weights holds.

    Attributes:
        tensors: Arrays by name.
        grid: Rows and columns of the tokens that a positional embedding in it is for; None where it does not say.
        key: Key of the file under which the tensors lie; None where it holds no others, or they lie at its top.
        others: Keys of the file under which tensors lie that were not taken.
    """

    tensors: dict[str, np.ndarray]
    grid: tuple[int, int] | None = None
    key: str | None = None
    others: tuple[str, ...] = ()


class Wanted(NamedTuple):
    """What is read of a file, once its names and shapes are known.

    Attributes:
        takes: Whether the numbers of a tensor are needed, by name and shape. Those of the others are not read.
        room: Most bytes that may be read.
    """

    takes: Callable[[str, tuple[int, ...]], bool] = lambda name, shape: True
    room: float = math.inf

    def after(self, size: int) -> "Wanted":
        """What is still wanted once so many bytes of it were read."""
        return self._replace(room=self.room - size)

    def require_room(self, size: int) -> None:
        """Raises ValueError where more is to be read than is wanted."""
        if size > self.room:
            raise ValueError(f"{size:,} bytes of it would be read, far more than the model needs")


EVERYTHING = Wanted()


def unread(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Stands for a tensor whose shape alone matters: takes no memory, whatever the shape."""
    return np.broadcast_to(np.zeros((), dtype), shape)


def require_file(path: Path) -> None:
    """Raises WeightsError for a folder, a pipe or a device, and FileNotFoundError where there is nothing."""
    path.stat()
    if not path.is_file():
        raise WeightsError(f"weights must lie in a plain file, but {path.name} is a folder, a pipe or a device.")


@contextmanager
def one_sentence(beginning: str) -> Iterator[None]:
    """Turns whatever a hostile or broken file makes its readers raise into one WeightsError."""
    try:
        yield
    except Exception as error:  # HDF5, zip and pickletools say in many types that a file is not theirs
        reason = str(error) or type(error).__name__
        if isinstance(error, zipfile.BadZipFile):
            reason = f"it is no whole zip archive ({reason})"
    else:
        return
    raise WeightsError(f"{beginning} {shown(reason, 600).rstrip('.')}.")


def shown(text: object, length: int = 80) -> str:
    """A text from a file as it may be printed: in one line, no longer than said, without a terminal's commands."""
    whole = " ".join(str(text).split())
    cut = whole if len(whole) <= length else f"{whole[:length]}…"
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in cut)


# Which tensors


def taken(tensors: Mapping[str, T], key: str) -> dict[str, T]:
    """The tensors that a key takes: below it in the file's own names, or in those without the prefixes of trainers."""
    return below(tensors, key) or below(unwrapped(tensors), key)


def below(tensors: Mapping[str, T], prefix: str) -> dict[str, T]:
    """The tensors whose names begin with a prefix and a dot, by the rest of their names."""
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")}


def unwrapped(tensors: Mapping[str, T]) -> dict[str, T]:
    """Without the prefixes that trainers put before every name, one within another."""
    out = dict(tensors)
    for _ in range(len(_WRAPPERS)):
        names = [name for name in out if name != _COUNTER]
        prefix = next((p for p in _WRAPPERS if names and all(name.startswith(p) for name in names)), None)
        if prefix is None:
            break
        out = {name.removeprefix(prefix): out[name] for name in names}
    return out


def chosen(tensors: Mapping[str, T], key: str | None) -> dict[str, T]:
    """The tensors of a flat file that a key takes, under their plain names."""
    if key is None:
        return unwrapped(tensors)
    if not (found := taken(tensors, key)):
        raise ValueError(no_such_key(key, sorted({name.partition(".")[0] for name in tensors if "." in name})))
    return unwrapped(found)


def no_such_key(key: str, keys: list[str]) -> str:
    """What is wrong with a key that a file lacks."""
    there = ", ".join(shown(key) for key in keys[:10]) or "none"
    return f"it has no tensors under model.weights_key={shown(key)}; keys with tensors are: {there}"


# Indices of files


def is_index(path: Path, suffix: str) -> bool:
    """Whether a path is named as the index of a file of that suffix that is cut into several."""
    return path.name.lower().endswith(f"{suffix}.index.json")


def shards(index: Path, suffix: str) -> dict[Path, list[str]]:
    """What an index says: the names of the tensors in each of its files, which lie in the folder that it lies in."""
    files: dict[str, list[str]] = {}
    for name, place in _weight_map(index).items():
        files.setdefault(place, []).append(name)
    return {_shard(index, place, suffix): names for place, names in files.items()}


def require_names(file: Path, found: Mapping[str, Any], names: list[str]) -> None:
    """Raises ValueError where a file of an index does not hold what that says."""
    if sorted(found) != sorted(names):
        raise ValueError(f"{file.name} holds other tensors than it says")


def _weight_map(path: Path) -> dict[str, str]:
    """What an index says: by the name of each tensor, the file that it lies in."""
    if path.stat().st_size > _HEADER_BYTES:
        raise ValueError(f"it has {path.stat().st_size:,} bytes, far more than an index needs")
    try:
        told = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON text") from None
    places = told.get("weight_map") if isinstance(told, dict) else None
    if not isinstance(places, dict) or not places:
        raise ValueError('it has no {"weight_map": {…}} that names a file for each tensor')
    for name, place in places.items():
        if not isinstance(place, str):
            raise ValueError(f"its weight_map gives {shown(name)} {_kind(place)}, not the name of a file")
    return places


def _kind(value: object) -> str:
    """What a value of JSON is, which may be too long, or nested too deep, to be shown."""
    return {dict: "an object", list: "a list", type(None): "null"}.get(type(value), f"{value!r:.20}")


def _shard(index: Path, name: str, suffix: str) -> Path:
    if name != Path(name).name or not name.lower().endswith(suffix):
        raise ValueError(f"{shown(name)} is no name of a {suffix} file beside it")
    if not os.path.isfile(index.parent / name):  # False, too, for a name that no file system takes
        raise ValueError(f"{shown(name)}, which it names, is missing beside it")
    return index.parent / name


# Safetensors


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Reads the tensors of a safetensors file; bfloat16 comes as float32.

    Raises:
        WeightsError: The file is truncated, or is something else.
        OSError: It cannot be read.
    """
    return open_safetensors(path).tensors


def open_safetensors(path: Path, key: str | None = None, wanted: Wanted = EVERYTHING) -> StoredWeights:
    """Like `read_safetensors`, with the grid of tokens where `write_safetensors` was told it.

    Args:
        path: A file, or the index of one that is cut into several: ``….safetensors.index.json``.
        key: Takes only tensors whose names begin with it and a dot, and drops that from them.
        wanted: Which of them are read.

    Raises:
        WeightsError: The file is truncated, or is something else; a file that an index names is missing.
        OSError: It cannot be read.
    """
    require_file(path)
    if is_index(path, _SAFETENSORS):
        with one_sentence(f"{path.name} must be the index of safetensors files, but:"):
            entries, grid = _entries_of_index(path), None
    else:
        entries, grid = _entries(path)
    with one_sentence(f"{path.name} must be a whole safetensors file, but:"):
        if not entries:
            raise ValueError("it holds no tensors")
        found = chosen(entries, key)
        takes = {name: wanted.takes(name, entry.shape) for name, entry in found.items()}
        wanted.require_room(sum(entry.size for name, entry in found.items() if takes[name]))
        return StoredWeights({name: entry.array(name, takes[name]) for name, entry in found.items()}, grid, key)


class _Entry(NamedTuple):
    """Where a tensor lies in a safetensors file."""

    path: Path
    start: int
    size: int
    dtype: str
    shape: tuple[int, ...]

    def array(self, name: str, read: bool) -> np.ndarray:
        """The tensor of a name; where it is not to be read, its shape alone, of whatever dtype it is."""
        narrow = self.dtype == "BF16"
        if not read:
            return unread(self.shape, _DTYPES.get(self.dtype, "<f4"))
        if not narrow and self.dtype not in _DTYPES:
            known = ", ".join([*_DTYPES, "BF16"])
            raise ValueError(f"{shown(name)} in it has dtype {shown(self.dtype)}, which is none of {known}")
        with self.path.open("rb") as file:
            file.seek(self.start)
            content = file.read(self.size)
        array = widened(content) if narrow else np.frombuffer(content, _DTYPES[self.dtype])
        return array.reshape(self.shape)


def _entries(path: Path) -> tuple[dict[str, _Entry], tuple[int, int] | None]:
    """What a safetensors file holds, none of whose numbers are read yet, and its grid."""
    with path.open("rb") as file, one_sentence(f"{path.name} must be a whole safetensors file, but:"):
        length = int.from_bytes(file.read(8), "little")
        if length > _HEADER_BYTES:
            raise ValueError(f"its header would take {length:,} bytes")
        header = file.read(length)
        # The library holds the header to the format: sizes, offsets, no holes, nothing left over.
        with safetensors.safe_open(path, framework="numpy"):
            told = json.loads(header)
        grid = _grid(told.pop("__metadata__", None) or {})
        return {name: _entry(path, 8 + length, entry) for name, entry in told.items()}, grid


def _entry(path: Path, start: int, told: Mapping[str, Any]) -> _Entry:
    begin, end = told["data_offsets"]
    return _Entry(path, start + begin, end - begin, told["dtype"], tuple(told["shape"]))


def _entries_of_index(path: Path) -> dict[str, _Entry]:
    """What the files of an index hold together."""
    entries: dict[str, _Entry] = {}
    for file, names in shards(path, _SAFETENSORS).items():
        found, _ = _entries(file)
        require_names(file, found, names)
        entries |= found
    return entries


def _grid(metadata: Mapping[str, str]) -> tuple[int, int] | None:
    if "grid" not in metadata:
        return None
    rows, _, columns = metadata["grid"].partition("x")
    if not all(side.isascii() and side.isdigit() and len(side) < 10 for side in (rows, columns)):
        raise ValueError(f"its grid is {shown(metadata['grid'])}, not ROWSxCOLUMNS")
    return int(rows), int(columns)


def write_safetensors(path: Path, tensors: Mapping[str, np.ndarray], *, grid: tuple[int, int] | None = None) -> None:
    """Writes tensors to a file that is complete or not there.

    Args:
        path: File to write; one that is there is replaced.
        tensors: Arrays of floats by name.
        grid: Rows and columns of tokens, for whoever interpolates a positional embedding.
    """
    # "pt" is what libraries of PyTorch want to see. The library writes the memory as it lies, so it must be in order.
    metadata = {"format": "pt"} | ({} if grid is None else {"grid": f"{grid[0]}x{grid[1]}"})
    flat = {name: np.asarray(array, order="C") for name, array in tensors.items()}
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


# Zip archives


@contextmanager
def opened_zip(file: BinaryIO) -> Iterator[zipfile.ZipFile]:
    """A zip archive no two of whose files share bytes, so that all together are no larger than it is.

    Raises:
        ValueError: They do, or its list of files is far longer than weights need.
    """
    size = file.seek(0, os.SEEK_END)
    if _directory_size(file, size) > _DIRECTORY_BYTES:
        raise ValueError("its list of files is far longer than weights need")
    with zipfile.ZipFile(file) as archive:
        if sum(entry.compress_size for entry in archive.infolist()) > size:
            raise ValueError("the files in it overlap: together they are larger than it is")
        yield archive


def _directory_size(file: BinaryIO, size: int) -> int:
    """Bytes of a zip archive's list of its files, as its end says; 0 where that end is not found."""
    file.seek(max(0, size - 2**16 - 22))
    tail = file.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0:
        return 0
    if tail[max(0, end - 20) : end].startswith(b"PK\x06\x07"):  # may be larger than 4 GB: its end has a longer twin
        file.seek(int.from_bytes(tail[end - 12 : end - 4], "little") + 40)
        return int.from_bytes(file.read(8), "little")
    return int.from_bytes(tail[end + 12 : end + 16], "little")


def stored_bytes(archive: zipfile.ZipFile, name: str) -> bytes:
    """A file in an archive that is not compressed, and so no larger than the archive; its checksum is verified."""
    entry = archive.getinfo(name)
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
        raise ValueError(f"{name} in it is compressed, which weights are not")
    return archive.read(entry)


# Keras


class KerasArrays(NamedTuple):
    """The variables in a file of Keras, which has one of two layouts.

    Attributes:
        groups: By the group of a layer, such as ``layers/encoder/blocks/block/mlp/dense_1``, its variables in Keras'
            order; `keras_groups` says which layer a group belongs to.
        paths: By a variable's own path, such as ``encoder/norm/gamma``.
    """

    groups: dict[str, list[np.ndarray]]
    paths: dict[str, np.ndarray]


def read_keras(path: Path, wanted: Wanted = EVERYTHING) -> KerasArrays:
    """Reads the variables in a ``.keras`` or ``.h5`` file, of which the model itself is not built.

    Args:
        path: File to read.
        wanted: Which arrays are read, and the most bytes that they may take.

    Raises:
        WeightsError: The file is truncated, or is something else.
        OSError: It cannot be read.
    """
    require_file(path)
    with path.open("rb") as file, one_sentence(f"{path.name} must be a whole file that Keras saved, but:"):
        wanted.require_room(os.fstat(file.fileno()).st_size)
        if path.name.lower().endswith(".keras"):
            with opened_zip(file) as archive:
                content = stored_bytes(archive, _IN_KERAS)
        else:
            content = file.read()
        with h5py.File(io.BytesIO(content), "r") as stored:
            return _variables(stored)


def _variables(file: h5py.File) -> KerasArrays:
    """Variables by group, where they stand by number in a group ``vars`` in their layer's group; or else by path."""
    found: dict[str, dict[int, h5py.Dataset]] = {}
    datasets = _datasets(file)
    for place, item in datasets.items():
        owner, _, number = place.rpartition("/")
        if place.startswith("layers/") and owner.endswith("/vars"):
            found.setdefault(owner.removesuffix("/vars"), {})[int(number)] = item
    named = {} if found else _named(datasets)
    if not found and not named:
        raise ValueError("it holds no variables of layers")
    _require_apart([*named.values(), *(item for items in found.values() for item in items.values())])
    groups = {group: [_dataset(arrays[number]) for number in sorted(arrays)] for group, arrays in found.items()}
    return KerasArrays(groups, {path: _dataset(item) for path, item in named.items()})


def _datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Arrays by the groups that lead to them.

    The attributes that name layers and variables are not read: in a broken file, HDF5 crashes or hangs over a text of
    any length (with random bytes in the file, within seconds; never in 2,000 such files without it).
    """
    found: dict[str, h5py.Dataset] = {}
    items = 0

    def visit(place: str, item: Any) -> None:  # meets no link that leads out of the file
        nonlocal items
        items += 1
        if place.count("/") > _DEPTH or items > _ITEMS:
            raise ValueError(f"it holds groups more than {_DEPTH} deep, or more than {_ITEMS:,} of them")
        if isinstance(item, h5py.Dataset):
            found[place] = item

    file.visititems(visit)
    return found


def _named(datasets: Mapping[str, h5py.Dataset]) -> dict[str, h5py.Dataset]:
    """Variables by path, of what ``model.save("x.h5")`` writes, or ``save_weights("x.h5")`` of Keras 2.

    A variable stands under its path, to which Keras 2 adds ``:0``, in the group of its layer.
    """
    whole = any(place.startswith(_OF_MODEL) for place in datasets)
    places = {place: place.removeprefix(_OF_MODEL) for place in datasets if place.startswith(_OF_MODEL) or not whole}
    named: dict[str, h5py.Dataset] = {}
    for place, below_model in places.items():
        _layer, _, path = below_model.removesuffix(":0").partition("/")
        if path in named:
            raise ValueError(f"it holds two arrays of {shown(path)}")
        if path:
            named[path] = datasets[place]
    return named


def _require_apart(arrays: list[h5py.Dataset]) -> None:
    """Raises ValueError where arrays share bytes: an address in the file is wrong, or it would grow when it is read."""
    places = sorted((item.id.get_offset() or 0, item.id.get_storage_size()) for item in arrays if item.size)
    if any(start + size > after for (start, size), (after, _) in pairwise(places)):
        raise ValueError("arrays in it overlap")


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
    # A damaged description of numbers has another order of bytes, or a place of the exponent that HDF5 would follow.
    if item.dtype.kind not in "fuiV" or (item.dtype.kind == "f" and item.id.get_type() not in _FLOATS):
        raise ValueError(f"{item.name} in it holds no numbers as Keras stores them")
    array = np.asarray(item[()])
    # Two bytes that HDF5 has no number type for: how Keras stores bfloat16.
    return widened(array.tobytes()).reshape(array.shape) if array.dtype == np.dtype("V2") else array
