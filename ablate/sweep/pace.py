"""How often a look at a long queue is worth its time."""

import time
from collections.abc import Callable
from typing import TypeVar

SHARE = 20
"""Seconds of work in which one second of looking is allowed."""

LONGEST_SECONDS = 600.0
"""Longest pause after a look, whatever that cost: a database that was away made it no dearer."""

IDLE_SECONDS = 30.0
"""Longest pause of a worker that has nothing else to do."""

_T = TypeVar("_T")


class Pace:
    """Lets what grows with the queue's length take a twentieth of a busy worker's time at most."""

    def __init__(self) -> None:
        self._next = 0.0

    @property
    def due(self) -> bool:
        """Whether enough time has passed since the last look, for what that one cost."""
        return time.monotonic() >= self._next

    def look(self, act: Callable[[], _T]) -> _T:
        """What ``act`` gives; the longer it takes, the later the next look is due. One that fails is due again."""
        started = time.monotonic()
        found = act()
        ended = time.monotonic()
        self._next = ended + min(SHARE * (ended - started), LONGEST_SECONDS)
        return found

    def rest(self, least: float) -> float:
        """Seconds that somebody idle should wait: till the next look is due, within reason, and ``least`` at least."""
        return max(least, min(self._next - time.monotonic(), IDLE_SECONDS))
