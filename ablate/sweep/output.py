"""Standard output and error: what is printed can be read on any terminal, and ends no work."""

import codecs
import io
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ablate.escaping import terminal

PLAIN = {
    "±": "+/-",
    "\N{MULTIPLICATION SIGN}": "x",
    "\N{EN DASH}": "-",
    "—": "-",
    "\N{MINUS SIGN}": "-",
    "…": "...",
    "†": "*",
    "‡": "**",
    "·": ".",
    "√": "sqrt",
    "→": "->",
    "≈": "~",
    "≤": "<=",
    "≥": ">=",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "“": '"',
    "”": '"',
}
"""What stands for a character that the terminal's encoding lacks; any other is shown by its number, as ``\\xe9``."""

_READABLE = "ablate.readable"


def _readable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    plain = (PLAIN.get(letter) or letter.encode("ascii", "backslashreplace").decode() for letter in letters)
    return "".join(plain), error.end


def make_readable() -> None:
    """Lets this process print any text, whatever the encoding of its terminal: ASCII, GBK, or UTF-8 as it should be.

    A stream that whoever started this process has closed (``>&-``) takes all, and shows nothing.
    """
    codecs.register_error(_READABLE, _readable)
    for name in ("stdin", "stdout", "stderr"):  # in the order of their descriptors, which a file opened here takes
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # and no notebook's, which takes all
            stream.reconfigure(errors=_READABLE)


class LogFormatter(logging.Formatter):
    """Log lines without passwords and control characters: an error may quote a file's own words, or the command's."""

    def format(self, record: logging.LogRecord) -> str:
        from ablate.tracking import redact  # what only prints help starts without it

        return terminal(redact(super().format(record)))


class Unwritten(Exception):
    """Standard output takes no more; what a command says of it depends on what it was printed for."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(cause.strerror)
        self.closed = isinstance(cause, BrokenPipeError)
        """Whether its reader has left, as ``head`` does."""


class _Watched:
    """Standard output, whose failure is told from every other OSError."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
        except OSError as error:
            self._failed(error)
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        with suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:  # it may have no file descriptor
            os.dup2(nowhere.fileno(), self._stream.fileno())  # the interpreter's end would try once more
        raise Unwritten(error)


class _Unbroken(_Watched):
    """Standard output of work: its first failure turns it away, for good."""

    def write(self, text: str) -> int:
        with self._told():
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with self._told():
            super().flush()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except Unwritten as error:
            say(f"ablate: what is printed can no longer be written ({error}); the work goes on, and is recorded.")


@contextmanager
def watched() -> Iterator[None]:
    """A block in which printing raises ``Unwritten`` where standard output takes no more."""
    with _in_place_of_stdout(_Watched):
        yield
        print(end="", flush=True)


@contextmanager
def unbroken() -> Iterator[None]:
    """A block of work that goes on, unseen, when what it prints can no longer be written.

    The reader of a pipe leaves, a terminal closes, a disk is full: what the work is for stands in its records.
    """
    with _in_place_of_stdout(_Unbroken):
        yield


@contextmanager
def _in_place_of_stdout(kind: Callable[[Any], Any]) -> Iterator[None]:
    stream = sys.stdout
    if stream is not None:  # no command: ``make_readable`` opens what was closed
        sys.stdout = kind(stream)
    try:
        yield
    finally:
        sys.stdout = stream


def show(*lines: str) -> None:
    """Lines on standard output, whatever names stand in them: a terminal obeys none."""
    for line in lines:
        print(terminal(line))


def say(line: str) -> None:
    """A line on standard error, if there is anything to say, and anybody reads it."""
    with suppress(OSError):
        print(terminal(line), end="\n" if line else "", file=sys.stderr, flush=True)
