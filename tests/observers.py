"""An observer of a run whose calls are a test's own functions."""

from collections.abc import Callable

from ablate.contract import Observer


class Hears(Observer):
    """An observer of which some calls are given, e.g. ``Hears(epoch=heard.append)``."""

    def __init__(self, **calls: Callable[..., object]) -> None:
        assert calls.keys() <= {"started", "resumed", "batch", "epoch"}
        vars(self).update(calls)
