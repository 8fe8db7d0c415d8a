"""Signals that must neither be lost nor lose anything.

Python drops a KeyboardInterrupt that arrives within a callback of the garbage collector, and JAX, which TensorFlow
loads where it is installed, has one. So a Ctrl-C, or a termination, is remembered, and raised again at the next step.

A SIGTERM, or a SIGHUP as a terminal's end sends it: a training keeps its state by itself and stops, so it is left to
it; whatever else goes on is stopped at once.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ablate.contract import Stopped

_HANGUP = getattr(signal, "SIGHUP", None)  # Windows has none

_came: KeyboardInterrupt | None = None
_trains = False
_waits = False


def interrupt(number: int, frame: Any) -> None:
    """Handles SIGINT once: a terminal interrupts leader and workers, and the leader its workers again."""
    global _came
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _came = KeyboardInterrupt()
    raise _came


def check() -> None:
    """Raises again what came and was dropped, and hands on a SIGTERM that came too early."""
    global _waits
    if _came is not None:
        raise type(_came)(*_came.args)
    if _waits:
        _waits = False
        signal.raise_signal(signal.SIGTERM)


@contextmanager
def remembered() -> Iterator[None]:
    """Remembers an interrupt within the block; the handler before it is back after."""
    global _came
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        _came = None
        signal.signal(signal.SIGINT, before)


@contextmanager
def terminable(*, led: bool = False) -> Iterator[None]:
    """Raises ``Stopped`` at a SIGTERM or SIGHUP within the block; a training in it handles the first by itself.

    A SIGHUP that is ignored, as by nohup, stays ignored.

    Args:
        led: A leader stops this process, perhaps after somebody stopped all of them: within ``training``, a second
            SIGTERM does not disturb what the first began.
    """
    global _came, _waits

    def terminate(number: int, frame: Any) -> None:
        global _came, _waits
        if led and _trains:
            _waits = True
            return
        _came = Stopped("stopped by SIGTERM; the same command goes on from here.")
        raise _came

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, terminate)}
    if _HANGUP and signal.getsignal(_HANGUP) != signal.SIG_IGN:
        before[_HANGUP] = signal.signal(_HANGUP, _hang_up)
    try:
        yield
    finally:
        _came, _waits = None, False
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def training() -> Iterator[None]:
    """Marks what keeps its own state when SIGTERM comes; one that came when it was nearly done is remembered."""
    global _trains, _waits
    if threading.current_thread() is not threading.main_thread():  # which alone hears of signals
        yield
        return
    heard, told = os.pipe()  # the training's own handler tells nobody, but Python writes here whatever handles a signal
    os.set_blocking(heard, False)
    os.set_blocking(told, False)
    before = signal.set_wakeup_fd(told)
    _trains = True
    try:
        yield
        with suppress(BlockingIOError):
            _waits |= signal.SIGTERM in os.read(heard, 4096)
    finally:
        _trains = False
        signal.set_wakeup_fd(before)
        os.close(heard)
        os.close(told)


def _hang_up(number: int, frame: Any) -> None:
    """As SIGTERM; but the terminal is gone, and whoever still writes to it would fail before all is closed."""
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None and stream.isatty():
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
    signal.raise_signal(signal.SIGTERM)
