"""A file system without locks, as NFS may be: refused at once where records would be at stake, else said and gone on.

The system's own calls answer so below one folder: a library of a few lines stands before them in a process of its own.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int missing(int file) {
    char link[64], path[4096];
    const char *folder = getenv("WITHOUT_LOCKS"), *number = getenv("LOCK_ERRNO");
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (!folder || !number || length < 0) return 0;
    path[length] = 0;
    return strncmp(path, folder, strlen(folder)) ? 0 : atoi(number);
}

int flock(int file, int operation) {
    int number = missing(file);
    if (number) { errno = number; return -1; }
    return ((int (*)(int, int))dlsym(RTLD_NEXT, "flock"))(file, operation);
}

static int control(const char *name, int file, int command, void *argument) {
    int locks = command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK || command == F_OFD_SETLKW;
    int number = locks ? missing(file) : 0;
    if (number) { errno = number; return -1; }
    return ((int (*)(int, int, void *))dlsym(RTLD_NEXT, name))(file, command, argument);
}

int fcntl(int file, int command, ...) {
    va_list rest; va_start(rest, command); void *argument = va_arg(rest, void *); va_end(rest);
    return control("fcntl", file, command, argument);
}

int fcntl64(int file, int command, ...) {
    va_list rest; va_start(rest, command); void *argument = va_arg(rest, void *); va_end(rest);
    return control("fcntl64", file, command, argument);
}
"""

_TRY_ALL = """
import contextlib, errno, io, json, os, sqlite3, sys, warnings
from pathlib import Path
from ablate.design.points import Point
from ablate.sweep.queue import Study, ask
from ablate.tracking import Store, TrackingSpec, read_runs
from ablate.tracking.spool import About, Journal, left
from ablate.training.checkpoint import Checkpoint, State

warnings.simplefilter("ignore")  # filelock's own word on ENOSYS
scratch = sqlite3.connect(":memory:")
scratch.execute("create table t (x)")
made = scratch.serialize()
folder, told = Path(os.environ["WITHOUT_LOCKS"]), {}
state = State([], [], 1.0, 0.0, 0.0, [], [], [], [])

def words(act):
    try:
        return act()
    except ValueError as error:
        return str(error)

def said(heard, act):
    with contextlib.redirect_stderr(heard):
        return act()

for name in ("ENOLCK", "ENOSYS", "EOPNOTSUPP"):
    os.environ["LOCK_ERRNO"] = str(getattr(errno, name))
    place = folder / name
    place.mkdir()
    heard, database = io.StringIO(), place / "there.db"
    database.write_bytes(made)
    checkpoint = Checkpoint(place / "run", every=1)
    journal = Journal.new(place / "spool", About("http://x", "a", "r", "r"))
    told[name] = {
        "read": words(lambda: str(read_runs(TrackingSpec(uri=f"sqlite:///{database}")))),
        "asked": words(lambda: ask(f"sqlite:///{database}")),
        "queue": words(lambda: str(Study(f"sqlite:///{place}/optuna.db", "s", [Point(levels={"a": 1}, seed=0)]))),
        "records": words(lambda: str(Store(TrackingSpec(uri=f"sqlite:///{place}/mlflow.db")))),
        "checkpoint": said(heard, lambda: [
            checkpoint.load(), checkpoint.save(state), checkpoint.save(state), checkpoint.load(), checkpoint.remove()
        ]),
        "heard": heard.getvalue().splitlines(),
        "spool": words(lambda: [journal.add({"kind": "tags"}), journal.entries(), list(left(place / "spool")) and "",
                                journal.deliver(lambda entry, files: None), journal.waits]),
    }
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def without_locks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which one folder, named by WITHOUT_LOCKS, offers no locks."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("a file system without locks is stood in for by a library, which needs Linux and a C compiler")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(_SHIM)
    library = folder / "shim.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-w", "-o", library, folder / "shim.c", "-ldl"], check=True, capture_output=True
    )
    place = folder / "network"
    place.mkdir()
    return {**os.environ, "LD_PRELOAD": str(library), "WITHOUT_LOCKS": str(place), "LOCK_ERRNO": "37"}


def test_a_file_system_without_locks_is_refused_for_databases_and_no_training_is_lost_to_it(
    without_locks: dict[str, str],
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _TRY_ALL], env=without_locks, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    for name, told in json.loads(done.stdout).items():
        place = f"{without_locks['WITHOUT_LOCKS']}/{name}"
        for what, setting in (
            *(("queue", "study.storage"), ("asked", "study.storage")),
            *(("records", "tracking.uri"), ("read", "tracking.uri")),
        ):
            assert told[what].endswith(
                f"its file system offers no locks: '{place}'; as some network folders do: set {setting} to a database "
                "on a local disk, or to a server."
            ), (name, told[what])
        assert told["checkpoint"] == [None, False, False, None, None]
        (warning,) = told["heard"]
        assert "the run goes on, but no state of it is kept" in warning and f"{place}/run offers none" in warning
        assert told["spool"] == [None, [{"kind": "tags"}], [], 1, False]


@pytest.mark.full
def test_a_training_whose_states_cannot_be_locked_goes_on_and_says_so_once(
    without_locks: dict[str, str], tmp_path: Path
) -> None:
    words = ["data=digits", "model=tiny", "train.epochs=3", "train.checkpoint_every=1", "tracking.log_model=false"]
    words.append(f"train.checkpoint_dir={without_locks['WITHOUT_LOCKS']}/states")
    command = [sys.executable, "-m", "ablate", *words]
    done = subprocess.run(
        command, cwd=tmp_path, env=without_locks, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0 and "record: run" in done.stdout, done.stdout + done.stderr
    assert (done.stdout + done.stderr).count("no state of it is kept") == 1
    assert not list(Path(without_locks["WITHOUT_LOCKS"]).rglob("*.npz"))
