"""Ctrl-C that cannot be lost: Python drops a KeyboardInterrupt that arrives within a callback of the garbage collector,
and JAX, which TensorFlow loads where it is installed, has one. So it is remembered, and raised again at the next step.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_came = False


def interrupt(number: int, frame: Any) -> None:
    """Handles SIGINT once: a terminal interrupts leader and workers, and the leader its workers again."""
    global _came
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _came = True
    raise KeyboardInterrupt


def check() -> None:
    """Raises KeyboardInterrupt where one came and was dropped."""
    if _came:
        raise KeyboardInterrupt


@contextmanager
def remembered() -> Iterator[None]:
    """Remembers an interrupt within the block; the handler before it is back after."""
    global _came
    before = signal.signal(signal.SIGINT, interrupt)
    _came = False
    try:
        yield
    finally:
        _came = False
        signal.signal(signal.SIGINT, before)
