"""Heartbeat: a process signs again and again for the points it holds, so that others see when it stops."""

import threading
import time
from collections.abc import Callable

MISSED = 3
"""Missing heartbeats in a row after which a worker is taken for dead."""


class Heartbeat:
    """A thread that signs every few seconds, from the moment that this is made."""

    def __init__(self, seconds: int, sign: Callable[[], None], failures: tuple[type[Exception], ...]) -> None:
        """Starts the thread.

        Args:
            seconds: Seconds between two heartbeats.
            sign: Writes a heartbeat for each point in this process's hands.
            failures: What ``sign`` raises while the storage is away; the next heartbeat is tried all the same.
        """
        self._seconds, self._sign, self._failures = seconds, sign, failures
        self._last, self._gap = time.time(), 0.0
        self._stop = threading.Event()
        threading.Thread(target=self._go_on, name="ablate-heartbeat", daemon=True).start()

    @property
    def steady(self) -> bool:
        """Whether this process has signed without a gap for long enough to judge who has not.

        A machine that wakes from sleep, or a storage that comes back, finds everybody's last heartbeat old.
        """
        now = time.time()
        return now - self._last < 2 * self._seconds and now - self._gap > (MISSED + 1) * self._seconds

    def stop(self) -> None:
        """Ends the thread before its next heartbeat."""
        self._stop.set()

    def _go_on(self) -> None:
        while not self._stop.wait(self._seconds):
            try:
                self._sign()
            except self._failures:
                continue
            now = time.time()
            if now - self._last > 2 * self._seconds:
                self._gap = now
            self._last = now
