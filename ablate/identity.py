"""When two runs are the same run: a digest over all that can change the result, and nothing else."""

import hashlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ablate.paths import keras_folder

LEFT_OUT = frozenset(
    {
        "data.root",
        "data.cache",
        "data.memory_limit",
        "hardware.threads",
        "augment.workers",
        "train.checkpoint_every",
        "train.checkpoint_dir",
        "seed",
    }
)
"""Leaves that say where or with how many hands, not what: the data's content enters through its own digest. ``seed``
only fills in the seeds below it, which are what counts."""

FILES = frozenset({"model.weights"})
"""Leaves that name a file: its content is what counts, wherever it lies."""

RESULT_BEARING = ("specs.py", "pickles.py", "models", "data", "training")
"""Sources whose change may change a result; a change in docs or in reporting retrains nothing."""


def definition(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """The leaves that can change a result; a file stands as the digest of its content."""
    kept = {key: value for key, value in leaves.items() if key not in LEFT_OUT}
    return kept | {key: content(kept[key]) for key in FILES if kept.get(key) is not None}


def content(path: str) -> str:
    """sha256 of a file; of an index of weights in several files, of what these hold, too.

    Raises:
        OSError: It cannot be read.
    """
    file = Path(path).expanduser()
    own = _digest_of(file)
    if not file.name.lower().endswith(".index.json"):
        return own
    return digest([own, {shard.name: _digest_of(shard) for shard in _shards(file)}])


def _shards(index: Path) -> list[Path]:
    """The files beside an index that it names, as far as they are there: who reads them says which are not."""
    try:
        names = {str(name) for name in json.loads(index.read_text("utf-8"))["weight_map"].values()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []
    files = [index.parent / name for name in sorted(names) if name == Path(name).name]
    return [file for file in files if os.path.isfile(file)]  # False, too, for a name that no file system takes


def _digest_of(file: Path) -> str:
    stat = file.stat()
    return _content(file, stat.st_mtime_ns, stat.st_size)


@cache
def _content(file: Path, changed: int, size: int) -> str:  # read once, until it changes
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def digest(content: object) -> str:
    """sha256 of the content's JSON with sorted keys, as 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


@cache
def sources() -> str:
    """Digest of the package's result-bearing modules, as they lie on disk."""
    package = Path(__file__).parent
    files = [path for name in RESULT_BEARING for path in _modules(package / name)]
    return digest({path.relative_to(package).as_posix(): path.read_text("utf-8") for path in files})


def _modules(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


@cache
def versions(backend: str) -> dict[str, str]:
    """Versions of what computes: Keras, its backend and NumPy; read from metadata, nothing is imported."""
    packages = ("keras", {"jax": "jax", "torch": "torch"}.get(backend, "tensorflow"), "numpy")
    return {name: _version(name) for name in packages}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def keras_file() -> Path:
    """Keras' file of its user's settings, which need not be there."""
    return keras_folder() / "keras.json"


def backend() -> str:
    """The backend that Keras will choose, without importing it: as it does, by environment, then by its own file."""
    if named := os.environ.get("KERAS_BACKEND"):
        return named
    try:
        return str(json.loads(keras_file().read_text("utf-8")).get("backend", "tensorflow"))
    except (OSError, ValueError, AttributeError):
        return "tensorflow"


def modules_digest(names: Iterable[str]) -> str:
    """Digest of modules outside the package that a run's variants are defined in; not of what those import."""
    files = {name: _source(name) for name in names}
    texts = {name: file.read_text("utf-8") for name, file in files.items() if file is not None and file.is_file()}
    return digest(texts) if texts else ""


def _source(module: str) -> Path | None:
    loaded = sys.modules.get(module)
    spec = None if loaded else importlib.util.find_spec(module)
    origin = getattr(loaded, "__file__", None) or (spec.origin if spec else None)
    return Path(origin) if origin else None


def settings(leaves: Mapping[str, Any], *, backend: str, modules: Iterable[str] = ()) -> str:
    """All of a run's identity that can be told before its data is read.

    Args:
        leaves: Every leaf of the RunSpec under its config name.
        backend: Keras' backend, ``tensorflow`` or ``jax``.
        modules: Those outside the package that define the model's variants.
    """
    parts = {"spec": definition(leaves), "sources": sources(), "versions": versions(backend)}
    foreign = modules_digest(modules)
    return digest(parts | ({"modules": foreign} if foreign else {}))


def identity(settings: str, data_digest: str) -> str:
    """The run's identity.

    Args:
        settings: What ``settings`` gives.
        data_digest: Digest of the images, labels and split that were really read.
    """
    return digest({"settings": settings, "data": data_digest})


def cell(leaves: Mapping[str, Any]) -> str:
    """The same for runs that differ by chance alone: seeds and repeats of one setting."""
    kept = {key: value for key, value in definition(leaves).items() if not key.startswith("seeds.") and key != "repeat"}
    return digest(kept)
