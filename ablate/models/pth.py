"""State dicts from the files of PyTorch's ``torch.save``, without PyTorch and without running anything that is in them.

Such a file is a zip archive: ``data.pkl``, which pickles the dict, and one file of raw numbers for each storage that
its tensors lie in. A pickle is a program, and Python's unpickler imports and calls what it names. Here its
instructions are followed by hand instead: they can make numbers, texts, tuples, lists, dicts and tensors, and reading
any other one is an error. Nothing is looked up, imported or called by a name that comes from the file.

Source: the layout is that of PyTorch's ``torch/serialization.py`` since version 1.6.
"""

import math
import pickletools
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ablate.models.checkpoints import WeightsError, widened

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
_TENSOR = "torch._utils _rebuild_tensor_v2"
_PARAMETER = "torch._utils _rebuild_parameter"
_DICT = "collections OrderedDict"
_NAMESPACE = "argparse Namespace"  # timm stores its command line beside the weights
_NESTED = ("state_dict", "model")  # where timm, and other trainers, put the state dict
_LITERALS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = {"BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def read_pth(path: Path) -> dict[str, np.ndarray]:
    """Reads the state dict of a ``torch.save`` file; one under ``state_dict`` or ``model``, as timm writes it, too.

    Returns:
        Arrays by name; bfloat16 comes as float32. They may be read-only views into one buffer.

    Raises:
        WeightsError: The file is truncated, is something else, or holds or asks for anything but plain data.
        OSError: It cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            stored = _Archive(archive, path.stat().st_size)
            return _state_dict(_Machine(stored).run(stored.program()))
    except OSError:
        raise
    except zipfile.BadZipFile as error:
        reason = f"it is no whole zip archive ({error}; what torch before 1.6 wrote must be saved again by a newer one)"
    except Exception as error:  # a hostile archive can make zipfile and pickletools raise anything
        reason = str(error) or type(error).__name__
    raise WeightsError(f"{path.name} must be a state dict that torch.save wrote, but {reason}.")


def _state_dict(value: object) -> dict[str, np.ndarray]:
    """The dict of tensors, at the top or nested; without the prefix that a parallel wrapper puts before each name."""
    if not isinstance(value, dict):
        raise ValueError(f"it holds a {type(value).__name__}")
    for found in (value, *(value[key] for key in _NESTED if key in value)):
        if isinstance(found, dict) and found and all(isinstance(tensor, np.ndarray) for tensor in found.values()):
            wrapped = all(str(name).startswith("module.") for name in found)
            return {str(name).removeprefix("module.") if wrapped else str(name): t for name, t in found.items()}
    keys = ", ".join([str(key) for key in value][:10]) or "none"
    raise ValueError(f"it holds no dict of tensors, at its top or under {' or '.join(_NESTED)}; its keys are {keys}")


class _Archive:
    """The files inside of a zip that torch wrote: all below one folder, none compressed."""

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        self.archive = archive
        self.size = size
        programs = [name for name in archive.namelist() if name.split("/")[1:] == ["data.pkl"]]
        if len(programs) != 1:
            raise ValueError(f"it has {len(programs)} files FOLDER/data.pkl inside")
        self.folder = programs[0].removesuffix("data.pkl")
        order = f"{self.folder}byteorder"
        if order in archive.namelist() and self._bytes("byteorder") != b"little":
            raise ValueError("its numbers are not little-endian")

    def program(self) -> bytes:
        return self._bytes("data.pkl")

    def storage(self, key: str, dtype: str, numbers: int) -> np.ndarray:
        content = self._bytes(f"data/{key}")
        array = widened(content) if dtype == "bfloat16" else np.frombuffer(content, dtype)
        if array.size != numbers:
            raise ValueError(f"storage {key} has {array.size} numbers, not {numbers}")
        return array

    def _bytes(self, name: str) -> bytes:
        if self.folder + name not in self.archive.NameToInfo:
            raise ValueError(f"{name} is missing in it")
        entry = self.archive.getinfo(self.folder + name)
        # torch compresses nothing, so that no entry needs to be larger than the file.
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > self.size:
            raise ValueError(f"{name} is compressed, or larger than the file")
        return self.archive.read(entry)


@dataclass(frozen=True)
class _Named:
    """A name that the pickle asks for: of a class or function, neither of which is ever looked up."""

    name: str


class _Dropped:
    """Stands for an object that is not read, such as timm's command line."""


class _Machine:
    """Follows the instructions of a pickle, protocol 2, as far as they make plain data."""

    def __init__(self, archive: _Archive) -> None:
        self.archive = archive
        self.storages: dict[str, np.ndarray] = {}
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self, program: bytes) -> object:
        for instruction, argument, _ in pickletools.genops(program):
            if instruction.name == "STOP":
                return self.stack.pop()
            self.follow(instruction.name, argument)
        raise ValueError("its pickle has no end")

    def follow(self, name: str, argument: Any) -> None:
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _LITERALS:
            self.stack.append(_LITERALS[name])
        elif name in _TUPLES:
            count = _TUPLES[name]
            self.stack.append(tuple(self.stack.pop() for _ in range(count))[::-1])
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif hasattr(self, f"do_{name.lower()}"):
            getattr(self, f"do_{name.lower()}")(argument)
        else:
            raise ValueError(f"its pickle has the instruction {name}, which no tensors need")

    def do_proto(self, protocol: int) -> None:
        if protocol != 2:
            raise ValueError(f"its pickle has protocol {protocol}, not torch.save's 2")

    def do_empty_dict(self, _: None) -> None:
        self.stack.append({})

    def do_empty_list(self, _: None) -> None:
        self.stack.append([])

    def do_mark(self, _: None) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def do_tuple(self, _: None) -> None:
        items = tuple(self._since_mark())
        self.stack.append(items)

    def do_append(self, _: None) -> None:
        self._extend([self.stack.pop()])

    def do_appends(self, _: None) -> None:
        self._extend(self._since_mark())

    def do_setitem(self, _: None) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._update([key, value])

    def do_setitems(self, _: None) -> None:
        self._update(self._since_mark())

    def do_global(self, name: str) -> None:
        if name not in (_TENSOR, _PARAMETER, _DICT, _NAMESPACE, *_DTYPES):
            raise ValueError(f"its pickle asks for {name.replace(' ', '.')}, which is no tensor; nothing of it was run")
        self.stack.append(_Named(name))

    def do_binpersid(self, _: None) -> None:
        kind, dtype, key, _device, numbers = self.stack.pop()
        if kind != "storage" or not isinstance(dtype, _Named) or dtype.name not in _DTYPES or not isinstance(key, str):
            raise ValueError("its pickle refers to something that is no storage of numbers")
        if key not in self.storages:
            self.storages[key] = self.archive.storage(key, _DTYPES[dtype.name], numbers)
        self.stack.append(self.storages[key])

    def do_reduce(self, _: None) -> None:
        arguments, called = self.stack.pop(), self.stack.pop()
        if called == _Named(_TENSOR):
            self.stack.append(_tensor(*arguments[:4]))
        elif called == _Named(_PARAMETER) and isinstance(arguments[0], np.ndarray):
            self.stack.append(arguments[0])
        elif called == _Named(_DICT) and arguments == ():
            self.stack.append({})
        else:
            raise ValueError("its pickle calls something that makes no tensor")

    def do_newobj(self, _: None) -> None:
        arguments, made = self.stack.pop(), self.stack.pop()
        if made != _Named(_NAMESPACE) or arguments != ():
            raise ValueError("its pickle makes an object that is no tensor")
        self.stack.append(_Dropped())

    def do_build(self, _: None) -> None:
        self.stack.pop()  # attributes: versions of modules on a state dict, the values of a command line
        if not isinstance(self.stack[-1], dict | _Dropped):
            raise ValueError("its pickle sets attributes of something that has none")

    def _since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marked.pop()
        return items

    def _extend(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise ValueError("its pickle appends to something that is no list")
        self.stack[-1].extend(items)

    def _update(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], dict) or not all(isinstance(key, str | int) for key in items[::2]):
            raise ValueError("its pickle sets items of no dict, or under keys that are no names")
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any) -> np.ndarray:
    """A view into a storage, which it does not leave, and none of whose numbers it repeats."""
    if not isinstance(storage, np.ndarray) or storage.ndim != 1 or len(shape) != len(stride):
        raise ValueError("a tensor in it has no storage, or strides that are not its shape's")
    if not all(isinstance(n, int) and n >= 0 for n in (offset, *shape, *stride)):
        raise ValueError("a tensor in it has an offset, shape or stride that is no count")
    last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
    if 0 not in shape and (math.prod(shape) > storage.size or last >= storage.size):
        raise ValueError("a tensor in it is larger than its storage")
    strides = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, strides, writeable=False)
