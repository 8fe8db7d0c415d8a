"""When two runs are the same run: a digest over all that can change the result, and nothing else."""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

LEFT_OUT = frozenset({"data.root", "data.cache", "data.memory_limit", "hardware.threads"})
"""Leaves that say where or with how many hands, not what: the data's content enters through its own digest."""

RESULT_BEARING = ("specs.py", "models", "data", "training")
"""Sources whose change may change a result; a change in docs or in reporting retrains nothing."""


def definition(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """The leaves that can change a result."""
    return {key: value for key, value in leaves.items() if key not in LEFT_OUT}


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


def identity(leaves: Mapping[str, Any], data_digest: str, *, backend: str) -> str:
    """The run's identity.

    Args:
        leaves: Every leaf of the RunSpec under its config name.
        data_digest: Digest of the images, labels and split that were really read.
        backend: Keras' backend, ``tensorflow`` or ``jax``.
    """
    parts = {"spec": definition(leaves), "data": data_digest, "sources": sources(), "versions": versions(backend)}
    return digest(parts)
