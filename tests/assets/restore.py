"""A working directory as an earlier commit of ablate left it, laid down in a folder of a test.

No module of ablate is imported: the files are what that commit wrote, whatever the package has become since.
"""

import gzip
import json
import os
import shutil
import sqlite3
import sys
import tarfile
from collections.abc import Mapping
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ASSETS = Path(__file__).parent / "f6fe46a"
WRITTEN_IN = Path("/tmp/ablate-asset")
"""Where they were written: MLflow keeps whole paths, and reports tell them."""


def restore(folder: Path) -> Path:
    """Lays records, queue, artifacts, the state of an interrupted run and the sweeps' files down in a folder.

    Args:
        folder: An empty one, or one that is still to be made.

    Returns:
        The folder, which is then what a user's working directory was.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("mlflow", "optuna"):
        dump = gzip.decompress((ASSETS / f"{name}.sql.gz").read_bytes()).decode()
        with closing(sqlite3.connect(folder / f"{name}.db")) as database:
            database.executescript(_moved(dump, folder))
    with tarfile.open(ASSETS / "mlartifacts.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    for name in ("checkpoints", "sweeps"):
        shutil.copytree(ASSETS / name, folder / name)
    for records in ASSETS.glob("*.jsonl"):
        shutil.copy(records, folder)
    return folder


def _moved(dump: str, folder: Path) -> str:
    """The dump with the folder's paths and URIs in the place of those it was written with."""
    for before, now in ((WRITTEN_IN.as_uri(), folder.as_uri()), (str(WRITTEN_IN), str(folder))):
        dump = dump.replace(before, now.replace("'", "''"))
    return dump


def expected(name: str, folder: Path) -> str:
    """What that commit printed, as it would have in ``folder``.

    Args:
        name: Of a file in ``expected/``.
        folder: That the assets were restored in.
    """
    return (ASSETS / "expected" / name).read_text("utf-8").replace(str(WRITTEN_IN), str(folder.absolute()))


def recorded() -> dict[str, Any]:
    """``sources.json``: the commit's sources and versions, and the identity of each run."""
    told: dict[str, Any] = json.loads((ASSETS / "sources.json").read_text("utf-8"))
    return told


def environment(folder: Path, versions: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables of a command that is to take the recorded runs for its own.

    The versions of Keras, TensorFlow and NumPy are part of a run's identity. Where others are installed, their metadata
    are put behind those of the recorded ones, of which nothing but name and version is there: the command computes by
    what is installed, and calls it by the recorded versions. So the same runs are known again on every machine; what
    is trained there may differ in its last bits, as between two machines.

    Args:
        folder: Takes the metadata, beside what lies there.
        versions: By package; None takes the recorded ones.
    """
    told: Mapping[str, str] = recorded()["versions"] if versions is None else versions
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW", "KERAS", "WEIGHTS"))}
    kept |= {"KERAS_BACKEND": "tensorflow", "MLFLOW_DISABLE_TELEMETRY": "true"}
    kept["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # a report names mlflow
    for package, wanted in told.items():
        if _installed(package) != wanted:
            metadata = folder / "versions" / f"{package}-{wanted}.dist-info" / "METADATA"
            metadata.parent.mkdir(parents=True, exist_ok=True)
            metadata.write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {wanted}\n", "utf-8")
            paths = [str(folder / "versions"), os.environ.get("PYTHONPATH", "")]
            kept["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return kept


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
