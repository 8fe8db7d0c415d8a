"""State dicts from the files of PyTorch's ``torch.save``, without PyTorch and without running anything that is in them.

Such a file is a zip archive: ``data.pkl``, which pickles the dict, and one file of raw numbers for each storage that
its tensors lie in. A pickle is a program, and Python's unpickler imports and calls what it names. Here its
instructions are followed by hand instead: they can make numbers, texts, tuples, lists, dicts and tensors. Nothing is
looked up, imported or called by a name that comes from the file. Whatever else it asks for, such as the date that a
trainer notes beside the weights, becomes an `_Unread`, which only says what it would have been made from.

Source: the layout is that of PyTorch's ``torch/serialization.py`` since version 1.6.
"""

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ablate.models.weight_files import (
    EVERYTHING,
    StoredWeights,
    Wanted,
    chosen,
    is_index,
    no_such_key,
    one_sentence,
    opened_zip,
    require_file,
    require_names,
    shards,
    shown,
    stored_bytes,
    taken,
    unread,
    unwrapped,
    widened,
)
from ablate.pickles import Machine, Named

_DTYPES = {
    "torch DoubleStorage": "<f8",
    "torch FloatStorage": "<f4",
    "torch HalfStorage": "<f2",
    "torch BFloat16Storage": "bfloat16",
    "torch LongStorage": "<i8",
    "torch IntStorage": "<i4",
    "torch ShortStorage": "<i2",
    "torch CharStorage": "i1",
    "torch ByteStorage": "u1",
    "torch BoolStorage": "?",
}
_REAL = ("torch DoubleStorage", "torch FloatStorage", "torch HalfStorage", "torch BFloat16Storage")
_TENSOR = "torch._utils _rebuild_tensor_v2"
_PARAMETERS = ("torch._utils _rebuild_parameter", "torch._utils _rebuild_parameter_with_state")
_DICT = "collections OrderedDict"
_OF_TENSORS = ("torch._utils ", "torch._tensor ")  # what these make are tensors of kinds that are not read
_RUNS = ("builtins", "__builtin__", "os", "posix", "nt", "subprocess", "sys", "importlib", "runpy", "ctypes", "socket")
_BUILTINS = {
    *("set", "frozenset", "list", "dict", "tuple", "complex", "bytes", "bytearray", "str", "unicode", "int", "long"),
    *("float", "bool", "slice", "range", "xrange", "object", "type", "Ellipsis", "NotImplemented"),
}
_SHARD = ".bin"
_PROTOCOLS = range(2, 6)
_FIRST = ("state_dict", "model", "model_state_dict")  # where timm, and other trainers, put the weights as trained
_STEPS = 3_000_000
"""Most steps from one object to another, in search of tensors."""
_NESTED = 4
"""Most dicts within dicts in which tensors are looked for: an average stands at callbacks.NAME.state, for one."""


def read_pth(path: Path) -> dict[str, np.ndarray]:
    """Reads the state dict of a ``torch.save`` file, as `open_pth` does.

    Raises:
        WeightsError: The file is truncated, is something else, or asks for what would run a program.
        OSError: It cannot be read.
    """
    return open_pth(path).tensors


def open_pth(path: Path, key: str | None = None, wanted: Wanted = EVERYTHING) -> StoredWeights:
    """Reads a state dict: the one at the file's top, under ``state_dict`` or ``model``, or the only one that there is.

    Args:
        path: The file, or the index of one that is cut into several: ``….bin.index.json``.
        key: Where another one lies: its key, or keys joined by dots; or what its tensors' names begin with, with or
            without the key of the dict that they lie in. Without it, the dict that is read by default goes first.
        wanted: Which of its tensors are read.

    Returns:
        Arrays by name; bfloat16 comes as float32. They may be read-only views into one buffer.

    Raises:
        WeightsError: The file is truncated, is something else, asks for what would run a program, or has no such key,
            or several that are no default.
        OSError: It cannot be read.
    """
    require_file(path)
    if is_index(path, _SHARD):
        with one_sentence(f"{path.name} must be the index of files that torch.save wrote, but:"):
            return _of_index(path, key, wanted)
    with _opened(path) as stored:
        found = _Found(_Machine().run(stored.program()))
        taken_from = found.chosen(key)
        arrays = stored.arrays(unwrapped(taken_from.tensors), wanted)
        return StoredWeights(arrays, None, taken_from.key or None, found.others(taken_from.place))


def _of_index(path: Path, key: str | None, wanted: Wanted) -> StoredWeights:
    """The tensors that lie in several files, each of which holds one state dict."""
    tensors: dict[str, tuple[Path, _Tensor]] = {}
    for file, names in shards(path, _SHARD).items():
        with _opened(file) as stored:
            found = _Found(_Machine().run(stored.program())).chosen(None).tensors
        require_names(file, found, names)
        tensors |= {name: (file, tensor) for name, tensor in found.items()}
    places: dict[Path, dict[str, _Tensor]] = {}
    for name, (file, tensor) in chosen(tensors, key).items():
        places.setdefault(file, {})[name] = tensor
    arrays: dict[str, np.ndarray] = {}
    for file, inside in places.items():
        with _opened(file) as stored:
            arrays |= stored.arrays(inside, wanted)
            wanted = wanted.after(stored.needs(inside, wanted))
    return StoredWeights(arrays, None, key)


@contextmanager
def _opened(path: Path) -> Iterator["_Archive"]:
    """A file of ``torch.save``; whatever it makes its readers raise is one sentence that names it."""
    with path.open("rb") as file, one_sentence(f"{path.name} must be a state dict that torch.save wrote, but"):
        if not zipfile.is_zipfile(file):
            raise zipfile.BadZipFile("what torch before 1.6 wrote must be saved again by a newer one")
        with opened_zip(file) as archive:
            yield _Archive(archive)


@dataclass(frozen=True)
class _Storage:
    """Raw numbers in a file of the archive, of which none is read yet."""

    key: str
    dtype: str
    numbers: int


@dataclass(frozen=True)
class _Tensor:
    """Numbers of a storage: where they lie in it, counted in numbers."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class _Archive:
    """The files inside of a zip that torch wrote: all below one folder, none compressed."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive
        programs = [name for name in archive.namelist() if name.split("/")[1:] == ["data.pkl"]]
        if len(programs) != 1:
            raise ValueError(f"it has {len(programs)} files FOLDER/data.pkl inside")
        self.folder = programs[0].removesuffix("data.pkl")
        if f"{self.folder}byteorder" in archive.namelist() and self._bytes("byteorder") != b"little":
            raise ValueError("its numbers are not little-endian")

    def program(self) -> bytes:
        return self._bytes("data.pkl")

    def arrays(self, tensors: dict[str, _Tensor], wanted: Wanted) -> dict[str, np.ndarray]:
        """The numbers of those that are wanted; each storage is read once."""
        wanted.require_room(self.needs(tensors, wanted))
        read = {storage: self._storage(storage) for storage in _storages(tensors, wanted)}
        return {name: _view(tensor, read.get(tensor.storage)) for name, tensor in tensors.items()}

    def needs(self, tensors: dict[str, _Tensor], wanted: Wanted) -> int:
        """Bytes that are read for those that are wanted; all storages are looked at."""
        sizes = {tensor.storage: self._size(tensor.storage) for tensor in tensors.values()}
        return sum(sizes[storage] for storage in _storages(tensors, wanted))

    def _storage(self, storage: _Storage) -> np.ndarray:
        content, dtype = self._bytes(f"data/{storage.key}"), _DTYPES[storage.dtype]
        return widened(content) if dtype == "bfloat16" else np.frombuffer(content, dtype)

    def _size(self, storage: _Storage) -> int:
        size, dtype = self._entry(f"data/{storage.key}").file_size, _DTYPES[storage.dtype]
        width = 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize
        if size != storage.numbers * width:
            raise ValueError(f"storage {storage.key} has {size // width} numbers, not {storage.numbers}")
        return size

    def _entry(self, name: str) -> zipfile.ZipInfo:
        if self.folder + name not in self.archive.NameToInfo:
            raise ValueError(f"{name} is missing in it")
        return self.archive.getinfo(self.folder + name)

    def _bytes(self, name: str) -> bytes:
        return stored_bytes(self.archive, self._entry(name).filename)


def _storages(tensors: dict[str, _Tensor], wanted: Wanted) -> set[_Storage]:
    return {tensor.storage for name, tensor in tensors.items() if wanted.takes(name, tensor.shape)}


def _view(tensor: _Tensor, storage: np.ndarray | None) -> np.ndarray:
    """A view into a storage; of one that was not read, the shape alone."""
    if storage is None:
        dtype = _DTYPES[tensor.storage.dtype]
        return unread(tensor.shape, "<f4" if dtype == "bfloat16" else dtype)
    strides = [step * storage.itemsize for step in tensor.stride]
    return np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides, writeable=False)


# What a file holds


class _Chosen(NamedTuple):
    """Tensors of one dict: all of them, or those below a prefix.

    Attributes:
        place: Keys that lead to the dict, joined by dots; "" is the top.
        prefix: What the tensors' names began with; "" takes all.
        tensors: By the rest of their names.
    """

    place: str
    prefix: str
    tensors: dict[str, _Tensor]

    @property
    def key(self) -> str:
        """The full key, which takes these alone."""
        return ".".join(filter(None, (self.place, self.prefix)))


class _Found:
    """The state dicts in what a pickle made, by their keys joined by dots; "" is the top."""

    def __init__(self, value: object) -> None:
        if isinstance(value, _Unread):
            raise ValueError(f"it holds a whole {_dotted(value.name)}: save its state_dict() instead")
        if not isinstance(value, dict):
            raise ValueError(f"it holds a {type(value).__name__}")
        self.top = value
        self.steps = 0
        self.dicts: dict[str, dict[str, _Tensor]] = {}
        self.broken: dict[str, str] = {}
        for place, found in _nested(value):
            tensors = {str(name): tensor for name, tensor in found.items() if isinstance(tensor, _Tensor)}
            rest = [(name, part) for name, part in found.items() if not isinstance(part, _Tensor)]
            odd = next((f"{_label(name)} in it is {what}" for name, part in rest if (what := self._odd(part))), None)
            if odd is not None:
                self.broken[place] = odd
            elif tensors and any(isinstance(name, _Unread) for name in found):
                self.broken[place] = "it has tensors under keys that are no names"
            elif tensors and not self._hold_tensors([part for _, part in rest]):
                if place in self.dicts:
                    raise ValueError(f"it holds two dicts of tensors under one key, {shown(place)}")
                self.dicts[place] = tensors

    def chosen(self, key: str | None) -> _Chosen:
        """The state dict as trained, or that of a key, or those of its tensors whose names begin with a key."""
        place = self._first() if key is None else key
        if place in self.dicts:
            return _Chosen(place, "", self.dicts[place])
        if place in self.broken:
            raise ValueError(self.broken[place])
        return self._below(place)

    def _below(self, key: str) -> _Chosen:
        """What a full key takes, or what a bare one takes of the dict as trained, or of the only one that has it."""
        full = [(place, key[len(place) + 1 :]) for place in self.dicts if place and key.startswith(f"{place}.")]
        default = self._default()
        if default in self.broken and not full:
            raise ValueError(self.broken[default])
        bare = [(place, key) for place in self.dicts]
        for asked in (full, [(place, key) for place in self.dicts if place == default], bare):
            found = [_Chosen(*where, tensors) for where in asked if (tensors := taken(self.dicts[where[0]], where[1]))]
            if len(found) > 1:
                there = ", ".join(shown(chosen.key) for chosen in found[:10])
                raise ValueError(f"model.weights_key={shown(key)} is in it more than once: say one of {there}")
            if found:
                return found[0]
        raise ValueError(no_such_key(key, [*filter(None, self.dicts), *self._prefixes()]))

    def others(self, taken_from: str) -> tuple[str, ...]:
        """Where else weights lie: tensors of real numbers."""
        return tuple(place for place in self.dicts if place not in ("", taken_from) and self._real(place))

    def _default(self) -> str | None:
        """Where the weights as trained lie; None where nothing says so."""
        ours = [place for place in ("", *_FIRST) if place in self.dicts or (place and place in self.broken)]
        only = [place for place in self.dicts if self._real(place)]
        return ours[0] if ours else only[0] if len(only) == 1 else None

    def _first(self) -> str:
        if (default := self._default()) is not None:
            return default
        if only := [place for place in self.dicts if self._real(place)]:
            there = ", ".join(shown(place) for place in only[:10])
            raise ValueError(f"it holds several: say model.weights_key=NAME, one of {there}")
        if "" in self.broken:
            raise ValueError(self.broken[""])
        keys = ", ".join(_label(key) for key in list(self.top)[:10]) or "none"
        raise ValueError(f"it holds no dict of tensors, at its top or under state_dict or model; its keys are {keys}")

    def _real(self, place: str) -> bool:
        return any(tensor.storage.dtype in _REAL for tensor in self.dicts[place].values())

    def _odd(self, part: object) -> str | None:
        """What a tensor is that is none of those read here."""
        if isinstance(part, _Unread) and (part.name.startswith(_OF_TENSORS) or self._hold_tensors([part])):
            return f"made by {_dotted(part.name)}, which is not read"
        return None

    def _hold_tensors(self, parts: list[object]) -> bool:
        """Whether there is a tensor anywhere in them."""
        waiting, seen = parts, set()
        while waiting:
            part = waiting.pop()
            if isinstance(part, _Tensor | _Storage):
                return True
            if isinstance(part, dict | list | tuple | _Unread) and id(part) not in seen:
                seen.add(id(part))
                inside = part.parts if isinstance(part, _Unread) else part.values() if isinstance(part, dict) else part
                self.steps += 1 + len(inside)
                if self.steps > _STEPS:
                    raise ValueError("its objects hold each other in more ways than those beside weights do")
                waiting.extend(inside)
        return False

    def _prefixes(self) -> list[str]:
        """Full keys of what names begin with, where one state dict holds several models."""
        names = (
            (place, name.partition(".")[0]) for place, found in self.dicts.items() for name in found if "." in name
        )
        return [".".join(filter(None, name)) for name in dict.fromkeys(names)]


def _nested(top: dict[Any, Any]) -> Iterator[tuple[str, dict[Any, Any]]]:
    """Dicts in a dict, each once, with the keys that lead to it."""
    waiting, seen = [("", 0, top)], {id(top)}
    for place, depth, found in waiting:
        yield place, found
        for key, value in found.items() if depth < _NESTED else ():
            if isinstance(value, dict) and isinstance(key, str) and id(value) not in seen:
                seen.add(id(value))
                waiting.append((f"{place}.{key}" if place else key, depth + 1, value))


def _label(key: object) -> str:
    return shown(key) if isinstance(key, str | int) else "a key that is no name"


def _dotted(name: str) -> str:
    return shown(name.replace(" ", "."))


# The pickle


@dataclass(eq=False, repr=False)
class _Unread:
    """Stands for an object that is not made: its class or function, and all that it would have been made from."""

    name: str
    parts: list[Any]


class _Machine(Machine):
    """Follows the instructions of a pickle, protocols 2 to 5, as far as they make tensors and plain data."""

    def do_proto(self, protocol: int) -> None:
        if protocol not in _PROTOCOLS:
            raise ValueError(f"its pickle has protocol {protocol}, not one from 2 to 5")

    def do_global(self, name: str) -> None:
        module, _, called = name.partition(" ")
        if module.partition(".")[0] in _RUNS and not ("builtin" in module and called in _BUILTINS):
            raise ValueError(f"its pickle asks for {_dotted(name)}, which is no tensor; nothing of it was run")
        read = name in (_TENSOR, *_PARAMETERS, _DICT, *_DTYPES)
        self.stack.append(Named(name) if read else _Unread(name, []))

    def do_binpersid(self, _: None) -> None:
        kind, dtype, key, _device, numbers = self.stack.pop()
        if kind != "storage" or not isinstance(key, str) or not isinstance(dtype, Named | _Unread):
            raise ValueError("its pickle refers to something that is no storage of numbers")
        if dtype.name not in _DTYPES:
            self.stack.append(_Unread(dtype.name, [_Storage(key, dtype.name, 0)]))
        elif not isinstance(numbers, int):
            raise ValueError("its pickle refers to a storage of no known size")
        else:
            self.stack.append(_Storage(key, dtype.name, numbers))

    def do_reduce(self, _: None) -> None:
        arguments, called = self.stack.pop(), self.stack.pop()
        if called == Named(_TENSOR) and not isinstance(arguments[0], _Unread):
            self.stack.append(_tensor(*arguments[:4]))
        elif isinstance(called, Named) and called.name in _PARAMETERS and isinstance(arguments[0], _Tensor):
            self.stack.append(arguments[0])
        elif called == Named(_DICT) and arguments == ():
            self.stack.append({})
        elif isinstance(called, Named | _Unread):
            self.stack.append(_Unread(called.name, [arguments]))
        else:
            raise ValueError("its pickle calls something that is no function")

    def do_newobj(self, _: None) -> None:
        arguments, made = self.stack.pop(), self.stack.pop()
        if not isinstance(made, _Unread):
            raise ValueError("its pickle makes an object of something that is no class")
        self.stack.append(_Unread(made.name, [arguments]))

    def do_newobj_ex(self, _: None) -> None:
        named = self.stack.pop()
        self.do_newobj(None)
        self.stack[-1].parts.append(named)

    def do_empty_set(self, _: None) -> None:
        self.stack.append(_Unread("builtins set", []))

    do_additems = Machine.do_appends

    def do_frozenset(self, _: None) -> None:
        items = self.since_mark()
        self.stack.append(_Unread("builtins frozenset", items))

    def do_bytearray8(self, content: bytearray) -> None:
        self.stack.append(content)

    def do_build(self, _: None) -> None:
        state = self.stack.pop()  # attributes: versions of modules on a state dict, the values of a command line
        if isinstance(self.stack[-1], _Unread):
            self.stack[-1].parts.append(state)
        elif not isinstance(self.stack[-1], dict):
            raise ValueError("its pickle sets attributes of something that has none")

    def extend(self, items: list[Any]) -> None:
        if isinstance(self.stack[-1], _Unread):
            self.stack[-1].parts.extend(items)
        else:
            super().extend(items)

    def update(self, items: list[Any]) -> None:
        if isinstance(self.stack[-1], _Unread):
            self.stack[-1].parts.extend(items)
            return
        if not isinstance(self.stack[-1], dict):
            raise ValueError("its pickle sets items of no dict")
        # Only names are looked up as keys. Python would end over a tuple within a million others.
        keys = [key if isinstance(key, str | int) else _Unread("key", [key]) for key in items[::2]]
        self.stack[-1].update(zip(keys, items[1::2], strict=True))


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any) -> _Tensor:
    """A part of a storage, which it does not leave, and none of whose numbers it repeats."""
    if not isinstance(storage, _Storage) or len(shape) != len(stride):
        raise ValueError("a tensor in it has no storage, or strides that are not its shape's")
    if not all(isinstance(n, int) and n >= 0 for n in (offset, *shape, *stride)):
        raise ValueError("a tensor in it has an offset, shape or stride that is no count")
    last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
    if 0 not in shape and (math.prod(shape) > storage.numbers or last >= storage.numbers):
        raise ValueError("a tensor in it is larger than its storage")
    return _Tensor(storage, offset, tuple(shape), tuple(stride))
