"""Makes all beside it by the code of f6fe46a: ``python tests/assets/f6fe46a/make.py``, in a clone that has this commit.

Every command is one that a user would type, run in an empty working directory against a checkout of the commit itself.
What a run measures, its id and its times are others each time: after a new making, commit the folder as a whole.
"""

import contextlib
import gzip
import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

COMMIT = "f6fe46a016ecde17abe90638be1b3e22f26e7f9d"
HERE = Path(__file__).resolve().parent
WORK = Path("/tmp/ablate-asset")
"""A folder with the same name on every machine: MLflow keeps whole paths (``tests/assets/restore.py`` changes them)."""

ALONE = (
    "model=tiny", "model.dim=16", "model.heads=4", "model.pooling=mean", "model.positional=sine", "model.dropout=0.1",
    "data=digits", "data.fraction=0.5", "data.split_seed=1", "augment.flip=0.5", "augment.mixup=0.8",
    "train.epochs=3", "train.batch_size=32", "train.lr=2e-3", "train.ema_decay=0.9", "train.label_smoothing=0.05",
    "train.select=last", "hardware.deterministic=true", "seed=3",
)  # fmt: skip
FINISHED, SEARCH, INTERRUPTED = "pooling_small", "search_small", "positional_small"
THROUGH = 3
"""Points of the interrupted sweep that are through when the next one is stopped: two by another sweep's runs."""
EPOCHS = 3
"""Of the point that is stopped, at least: its twelve take about half a second."""

_IDENTITY = """
import json
from pathlib import Path
from hashlib import sha256
from ablate import identity
package = Path(identity.__file__).parent
files = [path for name in identity.RESULT_BEARING for path in identity._modules(package / name)]
print(json.dumps({
    "result_bearing": list(identity.RESULT_BEARING),
    "left_out": sorted(identity.LEFT_OUT),
    "files": {path.relative_to(package.parent).as_posix(): sha256(path.read_bytes()).hexdigest() for path in files},
    "sources": identity.sources(),
    "versions": identity.versions(identity.backend()),
}))
"""


def main() -> None:
    """Makes the folder's content anew."""
    with tempfile.TemporaryDirectory() as scratch:
        checkout = Path(scratch) / "checkout"
        clone = _do("git", "rev-parse", "--show-toplevel", cwd=HERE).strip()
        _do("git", "clone", "--quiet", "--shared", "--no-checkout", clone, str(checkout), cwd=HERE)
        _do("git", "checkout", "--quiet", "--detach", COMMIT, cwd=checkout)
        _make(_environment(checkout))


def _environment(checkout: Path) -> dict[str, str]:
    """The checkout's package before an installed one, its interpreter's programs on PATH, nothing of the user's own."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW", "KERAS", "WEIGHTS"))}
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "MLFLOW_DISABLE_TELEMETRY": "true"}
    where = {"CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
    return {**kept, **quiet, **where, "PYTHONPATH": str(checkout), "PATH": programs}


def _make(environment: dict[str, str]) -> None:
    WORK.mkdir()  # fails where there is one: it may be somebody's
    try:
        shutil.copytree(HERE / "sweeps", WORK / "sweeps")
        _train(environment)
        _write_expected(environment)
        _write_sources(environment)
        _pack()
    finally:
        shutil.rmtree(WORK)


def _train(environment: dict[str, str]) -> None:
    _ablate(f"+sweep={FINISHED}", environment=environment)
    _ablate(f"+sweep={SEARCH}", environment=environment)
    _ablate(*ALONE, environment=environment)
    command = [sys.executable, "-m", "ablate", f"+sweep={INTERRUPTED}"]
    with subprocess.Popen(command, cwd=WORK, env=environment) as process:
        while not (_through() == THROUGH and _epochs() >= EPOCHS):
            if process.poll() is not None:
                raise SystemExit("the sweep must be stopped within its fourth point, but it ended before: try again")
            time.sleep(0.005)
        process.send_signal(signal.SIGTERM)
        code = process.wait()
    states = list(WORK.glob("checkpoints/*/state.npz"))
    if code != 143 or _through() != THROUGH or len(states) != 1:
        raise SystemExit(f"the sweep must be stopped within its fourth point, but: exit code {code}: try again")


def _through() -> int:
    """Points of the interrupted sweep that are through: its own runs, and those of another that serve it."""
    return _count(
        """select count(*) from tags shown join tags status using (run_uuid)
        where shown.key like ? and status.key = 'ablate.status' and status.value = 'finished'""",
        f"ablate.shown.{INTERRUPTED}-%",
    )


def _epochs() -> int:
    """Epochs that the run in training has ended."""
    return _count(
        """select coalesce(max(step), 0) from metrics join runs using (run_uuid)
        where key = 'train/loss' and status = ?""",
        "RUNNING",
    )


def _count(question: str, value: str) -> int:
    """A number of the store, which another process is writing to."""
    with _open(WORK / "mlflow.db") as database, contextlib.suppress(sqlite3.OperationalError):
        return int(database.execute(question, (value,)).fetchone()[0])
    return 0


@contextlib.contextmanager
def _open(file: Path):
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        yield database


def _write_expected(environment: dict[str, str]) -> None:
    """What f6fe46a prints of its own records: by the store, and by the file that it exports."""
    folder = HERE / "expected"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for sweep in (FINISHED, SEARCH, INTERRUPTED):
        records = f"{sweep}.jsonl"
        _ablate("export", sweep, f"out={records}", environment=environment)
        shutil.copy(WORK / records, HERE / records)
        for ending, form in {"txt": "text", "json": "json"}.items():
            for origin, name in {"store": sweep, "records": records}.items():
                told = _ablate("report", name, f"format={form}", environment=environment)
                (folder / f"{sweep}.{origin}.{ending}").write_text(told, "utf-8")
    for sweep in (FINISHED, SEARCH, INTERRUPTED, "alone_again"):
        (folder / f"{sweep}.plan.txt").write_text(_ablate("plan", f"+sweep={sweep}", environment=environment), "utf-8")


def _write_sources(environment: dict[str, str]) -> None:
    """Of what the identity at that commit is made, and the identity of every run, as its record has it."""
    told = json.loads(_do(sys.executable, "-c", _IDENTITY, cwd=WORK, environment=environment))
    with _open(WORK / "mlflow.db") as database:
        runs = database.execute("select run_uuid, name from runs order by start_time, run_uuid").fetchall()
        told["runs"] = [_run(database, run_id, name) for run_id, name in runs]
    text = json.dumps({"commit": COMMIT, **told}, indent=1, ensure_ascii=False)
    (HERE / "sources.json").write_text(text + "\n", "utf-8")


def _run(database: sqlite3.Connection, run_id: str, name: str) -> dict[str, object]:
    tags = dict(database.execute("select key, value from tags where run_uuid = ?", (run_id,)))
    leaves = dict(database.execute("select key, value from params where run_uuid = ? order by key", (run_id,)))
    keys = ("role", "study", "point", "status", "identity", "settings", "cell", "data.digest", "sources", "backend")
    told = {key: tags[f"ablate.{key}"] for key in keys if f"ablate.{key}" in tags}
    serves = {key.removeprefix("ablate.serves."): tags[key] for key in sorted(tags) if key.startswith("ablate.serves.")}
    return {"run": run_id, "name": name, **told, "serves": serves, "leaves": leaves}


def _pack() -> None:
    for name in ("mlflow", "optuna"):
        dump = _dumped(WORK / f"{name}.db")
        (HERE / f"{name}.sql.gz").write_bytes(gzip.compress(dump.encode(), 9, mtime=0))
    with tarfile.open(HERE / "mlartifacts.tar.xz", "w:xz", preset=9) as archive:
        for path in sorted((WORK / "mlartifacts").rglob("*")):
            if path.is_file():
                archive.addfile(*_member(path))
    shutil.rmtree(HERE / "checkpoints", ignore_errors=True)
    for state in WORK.glob("checkpoints/*/state.npz"):
        (HERE / state.relative_to(WORK)).parent.mkdir(parents=True)
        shutil.copyfile(state, HERE / state.relative_to(WORK))


def _dumped(file: Path) -> str:
    """The database as SQL, which gives every table back as it was."""
    with _open(file) as database, contextlib.closing(sqlite3.connect(":memory:")) as again:
        dump = "\n".join(database.iterdump()) + "\n"
        again.executescript(dump)
        for (table,) in database.execute("select name from sqlite_master where type = 'table'").fetchall():
            rows = [each.execute(f'select * from "{table}"').fetchall() for each in (database, again)]
            if rows[0] != rows[1]:
                raise SystemExit(f"the dump of {file} must hold its table {table} as it is, and does not")
    return dump


def _member(path: Path) -> tuple[tarfile.TarInfo, io.BytesIO]:
    """A file without owner and times."""
    content = path.read_bytes()
    entry = tarfile.TarInfo(path.relative_to(WORK).as_posix())
    entry.size = len(content)
    return entry, io.BytesIO(content)


def _ablate(*words: str, environment: dict[str, str]) -> str:
    return _do(sys.executable, "-m", "ablate", *words, cwd=WORK, environment=environment)


def _do(*command: str, cwd: Path, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


if __name__ == "__main__":
    main()
