"""The screen of a sweep: rows on a terminal, plain lines elsewhere."""

import io

from rich.console import Console

from ablate.sweep.screen import SweepScreen


def _screen(terminal):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120, highlight=False, color_system=None)
    return SweepScreen(10, 4, workers=2, console=console), console


def _told(screen):
    screen.of(0).start("cct none s0")
    screen.of(1).start("cvt none s1")
    screen.of(0).epoch("epoch 3/10 val 80.1 %")
    screen.of(1).end("failed: no memory", failed=True)


def test_a_terminal_shows_each_workers_point_epoch_and_metric_and_what_is_left():
    screen, console = _screen(terminal=True)
    _told(screen)
    console.print(screen._render())
    rows = [" ".join(line.split()) for line in console.file.getvalue().splitlines()]
    assert "[5/10] cvt none s1: failed: no memory" in rows
    assert "worker 0 cct none s0 epoch 3/10 val 80.1 %" in rows
    assert "worker 1 waits" in rows
    assert any("5/10 1 failed" in row and "left" in row for row in rows)


def test_elsewhere_there_are_plain_lines_alone():
    screen, console = _screen(terminal=False)
    with screen:
        _told(screen)
    assert console.file.getvalue().strip() == "[5/10] cvt none s1: failed: no memory"


def test_an_attempt_that_is_repeated_counts_no_point_twice():
    screen, console = _screen(terminal=False)
    for _ in range(8):
        screen.of(0).start("p")
        screen.of(0).end("done", failed=False)
    assert console.file.getvalue().splitlines()[-1] == "[10/10] p: done"
