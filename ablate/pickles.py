"""Pickles, followed by hand: their instructions make plain data here, and nothing else.

A pickle is a program. Python's unpickler imports and calls what it names, and writes into the objects that come back;
even with a list of allowed names, NumPy's own recipe lets a file put a pointer of its choice into an array. ``Machine``
follows the instructions instead. It can make numbers, texts, bytes, tuples, lists and dicts. Nothing is looked up,
imported or called by a name that comes from the file: what a call stands for is said by a subclass, in its own code.
"""

import pickletools
from dataclasses import dataclass
from typing import Any

_LITERALS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = {
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_INSTRUCTIONS = 500_000
"""Instructions of a pickle, at most. A tensor takes some 100, so that 2,000 of them with optimizer, average and a log
are far fewer; a CIFAR batch takes 30,000."""
_NAME = 1_000
"""Characters of a name. A pickle of protocol 4 can ask for one thousands of times that it writes once."""


@dataclass(frozen=True)
class Named:
    """A name that a pickle asks for, ``module name``: of a class or function, neither of which is ever looked up."""

    name: str


class Machine:
    """Follows the instructions of a pickle as far as they make plain data.

    A subclass makes what it knows of names, calls and attributes in ``do_global``, and in ``do_reduce`` and
    ``do_build``, which it adds; any other instruction is an error.
    """

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self, program: bytes) -> object:
        """What the pickle makes.

        Raises:
            Exception: Of any kind; a hostile program can make the stack and pickletools fail in any way.
        """
        for number, (instruction, argument, _) in enumerate(pickletools.genops(program)):
            if number == _INSTRUCTIONS:
                raise ValueError(f"its pickle has more than {_INSTRUCTIONS:,} instructions, which no data here needs")
            if instruction.name == "STOP":
                return self.stack.pop()
            self.follow(instruction.name, argument)
        raise ValueError("its pickle has no end")

    def follow(self, name: str, argument: Any) -> None:
        """One instruction."""
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _LITERALS:
            self.stack.append(_LITERALS[name])
        elif name in _TUPLES:
            count = _TUPLES[name]
            self.stack.append(tuple(self.stack.pop() for _ in range(count))[::-1])
        elif hasattr(self, f"do_{name.lower()}"):
            getattr(self, f"do_{name.lower()}")(argument)
        else:
            raise ValueError(f"its pickle has the instruction {name}, which no plain data needs")

    def do_proto(self, protocol: int) -> None:
        pass  # what a later protocol adds are instructions, each of which is known here or an error

    def do_frame(self, size: int) -> None:
        pass  # only groups the instructions after it

    def do_global(self, name: str) -> None:
        """A class or function is asked for by ``module name``."""
        raise NotImplementedError

    def do_stack_global(self, _: None) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not all(isinstance(part, str) and len(part) <= _NAME for part in (module, name)):
            raise ValueError("its pickle asks for something by what is no name")
        self.do_global(f"{module} {name}")

    def do_binput(self, key: int) -> None:
        self.memo[key] = self.stack[-1]

    do_long_binput = do_binput

    def do_memoize(self, _: None) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def do_binget(self, key: int) -> None:
        self.stack.append(self.memo[key])

    do_long_binget = do_binget

    def do_empty_dict(self, _: None) -> None:
        self.stack.append({})

    def do_empty_list(self, _: None) -> None:
        self.stack.append([])

    def do_mark(self, _: None) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def do_tuple(self, _: None) -> None:
        items = tuple(self.since_mark())
        self.stack.append(items)

    def do_append(self, _: None) -> None:
        self.extend([self.stack.pop()])

    def do_appends(self, _: None) -> None:
        self.extend(self.since_mark())

    def do_setitem(self, _: None) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.update([key, value])

    def do_setitems(self, _: None) -> None:
        self.update(self.since_mark())

    def since_mark(self) -> list[Any]:
        """What was made since the last mark, taken off the stack."""
        items, self.stack = self.stack, self.marked.pop()
        return items

    def extend(self, items: list[Any]) -> None:
        """Appends to the list on top of the stack."""
        if not isinstance(self.stack[-1], list):
            raise ValueError("its pickle appends to something that is no list")
        self.stack[-1].extend(items)

    def update(self, items: list[Any]) -> None:
        """Sets keys and values, in turn, of the dict on top of the stack."""
        if not isinstance(self.stack[-1], dict) or not all(isinstance(key, str | bytes | int) for key in items[::2]):
            raise ValueError("its pickle sets items of no dict, or under keys that are no names")
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))
