"""What is printed: readable in any encoding, and no reason for work to end."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

from ablate.sweep import output
from ablate.sweep.output import make_readable, unbroken


def _printed(text, encoding):
    make_readable()
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="ablate.readable")
    stream.write(text)
    stream.flush()
    return stream.buffer.getvalue()


def test_what_a_terminal_lacks_is_spelt_out_and_what_it_has_is_left_alone():
    text = "68.13 ± 9.99 \N{MULTIPLICATION SIGN} † caf\xe9 \udcff"
    assert _printed(text, "ascii") == rb"68.13 +/- 9.99 x * caf\xe9 \udcff"
    assert _printed(text[:-1], "utf-8") == text[:-1].encode()
    assert _printed("±\N{MULTIPLICATION SIGN}†", "latin-1") == b"\xb1\xd7*"
    assert _printed("± § é", "cp936").decode("cp936") == "± § é" and _printed("\xb2", "cp936") == rb"\xb2"


def test_every_sign_that_is_spelt_out_is_spelt_in_ascii():
    assert all(plain.isascii() and plain for plain in output.PLAIN.values())


class _Closed(io.StringIO):
    def write(self, text):
        raise BrokenPipeError(32, "Broken pipe")


def test_work_goes_on_when_its_reader_leaves_and_the_stream_is_given_back(monkeypatch, capsys):
    closed = _Closed()
    monkeypatch.setattr(sys, "stdout", closed)
    with unbroken():
        print("a line")
        from ablate.sweep.screen import SweepScreen

        with SweepScreen(2, 0) as screen:
            screen.say("a line of the screen")
    assert sys.stdout is closed
    assert "the work goes on" in capsys.readouterr().err


UNFORESEEN = """
import sys
from pathlib import Path
from ablate.cli import main as cli
def broken(command):
    raise {error}
cli.VERBS["models"] = cli.Verb(broken, "", "x")
cli.main(["models", *sys.argv[1:]])
"""


def _ends(error, tmp_path, **streams):
    command = [sys.executable, "-c", UNFORESEEN.format(error=error), "x"]
    env = {"TMPDIR": str(tmp_path), "PATH": "/usr/bin"}
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, env=env, **streams)


@pytest.mark.parametrize("error", ["RuntimeError('at\\nlength')", "RecursionError('deep')", "MemoryError()",
                                   "OSError(5, 'Input/output error')", "AssertionError()"])  # fmt: skip
def test_what_nobody_foresaw_is_one_sentence_and_its_traceback_a_file(error, tmp_path):
    done = _ends(error, tmp_path)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
    (trace,) = tmp_path.glob("ablate-error-*.txt")
    kind = error.partition("(")[0]
    assert done.stderr.startswith(f"ablate: {kind}") and str(trace) in done.stderr
    assert "Traceback" in trace.read_text() and "in broken" in trace.read_text()


def test_what_nobody_foresaw_shows_no_password(tmp_path):
    done = _ends("RuntimeError('postgresql://me:s3cret@db/x')", tmp_path)
    (trace,) = tmp_path.glob("ablate-error-*.txt")
    assert "s3cret" not in done.stderr and "postgresql://me:s3cret" not in trace.read_text().splitlines()[-1]


def test_a_sentence_shows_no_password_that_was_never_on_the_command_line(tmp_path):
    done = _ends("ValueError('it must answer, but postgresql://me:s3cret@db/x')", tmp_path)
    assert done.returncode == 2 and done.stderr == "ablate: it must answer, but postgresql://me:***@db/x\n"


def test_a_folder_that_takes_no_traceback_leaves_the_place_in_the_sentence(tmp_path, monkeypatch, capsys):
    from ablate.cli import main as cli

    def broken(command):
        raise RuntimeError("at length")

    monkeypatch.setitem(cli.VERBS, "models", cli.Verb(broken, ""))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(SystemExit) as stop:
        cli.main(["models"])
    told = capsys.readouterr().err
    assert stop.value.code == 1 and "test_sweep_output.py, line" in told and len(told.splitlines()) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_below_the_output_is_one_sentence(tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ablate", "models", "cct_2*"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert done.stderr == "ablate: standard output must be one that can be written, but: No space left on device.\n"


def test_a_reader_that_has_read_enough_is_told_nothing():
    command = [sys.executable, "-m", "ablate", "models"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        running.stdout.close()
        assert running.stderr.read() == "" and running.wait() == 1


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_was_closed_beforehand_is_no_error(closed, tmp_path):
    for words, code in (("--cfg job", 0), ("nonsense", 2)):
        line = f'exec "$0" -m ablate {words} {closed}'
        done = subprocess.run(["sh", "-c", line, sys.executable], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == code and "Traceback" not in done.stderr
        assert "Error" not in done.stderr
