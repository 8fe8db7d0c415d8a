"""A Ctrl-C that somebody's callback swallows still ends the work."""

import contextlib
import signal

import pytest

from ablate.sweep.interrupts import check, remembered


def test_an_interrupt_that_was_dropped_is_raised_at_the_next_step_and_only_within_its_block():
    before = signal.getsignal(signal.SIGINT)
    with remembered():
        check()
        with contextlib.suppress(KeyboardInterrupt):  # what Python does within a callback of the garbage collector
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            check()
        signal.raise_signal(signal.SIGINT)  # once is enough: a second must not break the closing of a record
    check()
    assert signal.getsignal(signal.SIGINT) == before
