"""What an installation may lack: the packages of its extras, and the one sentence that says how to get them.

The core plans, reports and judges; what trains, draws or runs elsewhere stands in an extra. Nothing here changes a
result.
"""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

NAME = "ablate-study"
"""Name of the distribution: on a package index, the import name belongs to another project."""

EXTRAS = {
    "keras": ("h5py", "keras", "mlxtend", "PIL", "safetensors", "sklearn", "tensorflow"),
    "figures": ("matplotlib", "seaborn"),
    "jax": ("jax",),
    "onnx": ("onnx", "onnxruntime", "tf2onnx"),
    "tfds": ("importlib_resources", "tensorflow_datasets"),
    "postgresql": ("psycopg",),
    "ray": ("ray",),
    "slurm": ("submitit",),
    "cmaes": ("cmaes",),
    "bench": ("torch", "vit_pytorch"),
}
"""Extra -> import names of the packages that it brings."""

EXTRA_OF = {package: extra for extra, packages in EXTRAS.items() for package in packages}
"""Import name -> the extra that brings it."""


class MissingPackageError(ImportError, ValueError):
    """A package of an extra is not installed; the message says which extra brings it."""


def require(what: str, *packages: str) -> None:
    """Looks for packages without importing them.

    Args:
        what: What needs them, as the sentence begins: ``"training"``.
        packages: Import names out of ``EXTRAS``.

    Raises:
        MissingPackageError: One of them is not installed.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingPackageError(missing(what, package))


@contextmanager
def needed_by(what: str) -> Iterator[None]:
    """Says of a failed import in its block which extra would bring the package; other failures pass through.

    Raises:
        MissingPackageError: A package of an extra is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRA_OF or importlib.util.find_spec(package) is not None:
            raise
        raise MissingPackageError(missing(what, package)) from error


def missing(what: str, package: str) -> str:
    """One sentence: what needs which package out of ``EXTRAS``, and the command that installs it."""
    return f"{what} needs {package}, which is not installed: {install(EXTRA_OF[package])}."


def install(extra: str) -> str:
    """The command that installs an extra; to a clone's installation pip adds what is missing."""
    return f"pip install '{NAME}[{extra}]'"
