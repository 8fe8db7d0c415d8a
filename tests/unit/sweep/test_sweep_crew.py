"""Workers of this machine, as processes that do next to nothing: the dead are replaced, a bounded number of times."""

import os
import signal
from collections import Counter

import pytest

from ablate.contract import Stopped
from ablate.sweep import crew
from ablate.sweep.crew import SUBSTITUTES, Crew

pytestmark = pytest.mark.timeout(300)


class _Screen:
    """What a sweep's screen is told, kept."""

    def __init__(self):
        self.lines, self.ended = [], Counter()

    def of(self, number):
        return _Row(self, number)

    def say(self, line):
        self.lines.append(line)


class _Row:
    def __init__(self, screen, number):
        self._screen, self._number = screen, number

    def start(self, label):
        pass

    def end(self, outcome, *, failed):
        self._screen.ended[self._number] += 1


def _dies_until(number, folder, deaths, ends_first, mouth):
    """Ends a point and dies, so many times; then it finds nothing more to do."""
    lives = len(list(folder.glob(f"{number}-*")))
    (folder / f"{number}-{lives}").touch()
    if ends_first:
        mouth.send(("end", {"outcome": "done", "failed": False}))
    if number == 0 and lives < deaths:
        os.kill(os.getpid(), signal.SIGKILL)


def _crew(folder, deaths, *, ends_first=False, needed=True):
    screen = _Screen()
    made = Crew(_dies_until, lambda number: (number, folder, deaths, ends_first), screen, lambda: needed)
    made.work(2)
    return screen, Counter(path.name.split("-")[0] for path in folder.iterdir())


def test_a_worker_that_dies_is_replaced_and_the_line_says_so(tmp_path):
    screen, lives = _crew(tmp_path, 1)
    assert lives == {"0": 2, "1": 1}
    assert screen.lines == [
        "worker 0 died with exit code -9; its point goes back into the queue, and substitute 1 of 3 starts."
    ]


def test_substitutes_that_die_one_after_the_other_come_to_an_end(tmp_path):
    screen, lives = _crew(tmp_path, 100)
    assert lives["0"] == 1 + SUBSTITUTES and len(screen.lines) == 1 + SUBSTITUTES
    assert screen.lines[-1].endswith("and others go on.")


def test_a_worker_that_gets_on_between_its_deaths_is_always_replaced(tmp_path):
    screen, lives = _crew(tmp_path, SUBSTITUTES + 2, ends_first=True)
    assert lives["0"] == SUBSTITUTES + 3 and screen.ended[0] == SUBSTITUTES + 3


def test_nobody_replaces_a_worker_for_whom_nothing_is_left(tmp_path):
    assert _crew(tmp_path, 100, needed=False)[1] == {"0": 1, "1": 1}


def _waits_for(folder, wanted, mouth):
    came = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: came.append(number))
    mouth.send(("start", {"label": "ready"}))
    while not came:
        signal.pause()
    (folder / signal.Signals(came[0]).name).touch()


@pytest.mark.parametrize(("error", "told"), [(Stopped("by SIGTERM"), "SIGTERM"), (KeyboardInterrupt(), "SIGINT")])
def test_a_leader_that_is_stopped_stops_its_workers_in_kind(tmp_path, error, told):
    screen = _Screen()

    def stop(number):
        raise error

    screen.of = stop
    with pytest.raises(type(error)):
        Crew(_waits_for, lambda number: (tmp_path, told), screen, lambda: True).work(1)
    assert [path.name for path in tmp_path.iterdir()] == [told]


def test_workers_that_do_not_stop_are_killed_in_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(crew, "STOP_SECONDS", 0.5)
    screen = _Screen()

    def stop(number):
        raise Stopped("by SIGTERM")

    screen.of = stop
    made = Crew(_never_stops, lambda number: (), screen, lambda: True)
    with pytest.raises(Stopped):
        made.work(1)
    process = made._processes[0]
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def _never_stops(mouth):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    mouth.send(("start", {"label": "ready"}))
    while True:
        signal.pause()
