"""The dict of arrays, lists and names that a batch of CIFAR pickles, without running anything that is in the file.

An array's pickle makes an empty array by ``_reconstruct`` and a type by ``dtype``, and then sets what they hold. Here
both are plain records, filled in once and checked, and the array is made of the bytes at the end.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablate.pickles import Machine, Named

_MAKE = (Named("numpy.core.multiarray _reconstruct"), Named("numpy._core.multiarray _reconstruct"))  # NumPy 1, NumPy 2
_ARRAY, _DTYPE = Named("numpy ndarray"), Named("numpy dtype")
_ENCODE = Named("_codecs encode")  # how Python 3 writes bytes by protocol 2: a text, and latin-1
_KNOWN = (*_MAKE, _ARRAY, _DTYPE, _ENCODE)
_NUMBERS = re.compile(r"b1|[iu][1248]|f[248]")


def read_batch(content: bytes) -> dict[bytes, object]:
    """What a batch holds; arrays may be read-only views of the content.

    Raises:
        Exception: Any kind of it, for what is no such pickle.
    """
    value = _Batch(len(content)).run(content)
    if not isinstance(value, dict):
        raise ValueError(f"it holds a {type(value).__name__}")
    # Batches written by Python 3 have text keys.
    named = {key.encode() if isinstance(key, str) else key: held for key, held in value.items()}
    return {key: held.numbers if isinstance(held, _Array) else held for key, held in named.items()}


@dataclass
class _Dtype:
    code: str
    order: str | None = None


@dataclass
class _Array:
    numbers: NDArray[Any] | None = None


class _Batch(Machine):
    """Adds to plain data what NumPy's arrays are made of, and the strings of Python 2, which are bytes."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._encodable = size  # characters: an honest file names each of its texts once

    def do_binstring(self, text: str) -> None:
        self.stack.append(text.encode("latin-1"))  # as pickletools decoded it

    do_short_binstring = do_binstring

    def do_global(self, name: str) -> None:
        if Named(name) not in _KNOWN:
            raise ValueError(f"it asks for {name.replace(' ', '.')}, which no CIFAR batch needs; nothing of it was run")
        self.stack.append(Named(name))

    def do_reduce(self, _: None) -> None:
        arguments, called = self.stack.pop(), self.stack.pop()
        if called in _MAKE and arguments == (_ARRAY, (0,), b"b"):
            self.stack.append(_Array())
        elif called == _DTYPE:
            self.stack.append(_Dtype(_number_code(arguments[0])))
        elif called == _ENCODE and arguments[1] in ("latin1", "latin-1"):
            self._encodable -= len(arguments[0])
            if self._encodable < 0:
                raise ValueError("it repeats its bytes")
            self.stack.append(arguments[0].encode("latin-1"))
        else:
            raise ValueError("its pickle calls something that makes no array and no bytes")

    def do_build(self, _: None) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, _Dtype) and target.order is None:
            target.order = _byte_order(state)
        elif isinstance(target, _Array) and target.numbers is None:
            target.numbers = _array(*state)
        else:
            raise ValueError("its pickle sets attributes of something that has none, or has them")


def _number_code(code: Any) -> str:
    text = code.decode("ascii") if isinstance(code, bytes) else code
    if not isinstance(text, str) or not _NUMBERS.fullmatch(text):
        raise ValueError("it holds an array of something other than numbers")
    return text


def _byte_order(state: Any) -> str:
    """``(version, order, None, None, None, -1, -1, flags)``: no fields, no parts, no sizes of its own."""
    order = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]
    if order not in ("|", "<", ">") or tuple(state[2:7]) != (None, None, None, -1, -1):
        raise ValueError("it holds an array of something other than numbers")
    return str(order)


def _array(_version: Any, shape: Any, dtype: Any, fortran: Any, content: Any) -> NDArray[Any]:
    if not isinstance(dtype, _Dtype) or dtype.order is None or not isinstance(content, bytes):
        raise ValueError("an array in it has no type, or no bytes")
    if not all(type(side) is int and side >= 0 for side in shape):
        raise ValueError("an array in it has a shape that is no list of counts")
    numbers = np.frombuffer(content, dtype.order + dtype.code)
    if numbers.size != math.prod(shape):
        raise ValueError(f"an array in it has {numbers.size} numbers, not those of its shape")
    return numbers.reshape(shape, order="F" if fortran else "C")
