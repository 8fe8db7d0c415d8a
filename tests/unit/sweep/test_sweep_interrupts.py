"""A Ctrl-C that somebody's callback swallows still ends the work."""

import contextlib
import signal

import pytest

from ablate.contract import Stopped
from ablate.sweep.interrupts import check, remembered, terminable, training
from ablate.training.checkpoint import termination


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


def _terminate():
    signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_whoever_is_terminated_stops_at_once_and_the_handlers_come_back(number):
    before = signal.getsignal(number)
    with pytest.raises(Stopped, match="the same command goes on"), terminable():
        signal.raise_signal(number)
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_termination_that_was_dropped_is_raised_at_the_next_step_and_only_within_its_block(number):
    with terminable():
        with contextlib.suppress(Stopped):
            signal.raise_signal(number)
        with remembered(), pytest.raises(Stopped, match="the same command goes on"):
            check()
    check()


def test_a_hangup_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with terminable():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_training_hears_of_a_termination_by_itself_and_a_leaders_second_one_does_not_disturb_it(number):
    with terminable(led=True):
        with training(), termination() as noted:
            signal.raise_signal(number)
            assert noted.asked
            _terminate()
        with pytest.raises(Stopped):
            check()


def test_a_termination_that_came_when_a_training_was_nearly_done_stops_what_comes_after():
    with terminable():
        with training(), termination():
            _terminate()  # during the test: nothing asks any more
        with pytest.raises(Stopped):
            check()
    check()


def test_a_termination_before_a_training_listens_is_handed_on_to_it():
    with terminable(led=True), training():
        _terminate()
        with termination() as noted:
            check()
            assert noted.asked


def test_a_second_termination_ends_a_training_that_nobody_leads():
    with terminable(), training(), termination():
        _terminate()
        with pytest.raises(Stopped):
            _terminate()
