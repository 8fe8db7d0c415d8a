"""Where a result came from: commit, versions, machine; tags of every run."""

import importlib.metadata
import os
import platform
import subprocess
from functools import cache
from pathlib import Path

import ablate

LIBRARIES = ("keras", "tensorflow", "jax", "numpy", "optuna", "mlflow")


def provenance() -> dict[str, str]:
    """Tags that say with what a run was made; what is not installed, or not under git, has none."""
    return {**_git(), **_versions(), **_machine()}


@cache
def _git() -> dict[str, str]:
    """Commit of the checkout that the package runs from, or else of the working directory: the user's own sweeps."""
    package = Path(ablate.__file__).parent
    tracked = _ask_git(package, "ls-files", "--error-unmatch", "__init__.py") is not None
    folder = package if tracked else Path.cwd()
    commit = _ask_git(folder, "rev-parse", "HEAD")
    if not commit:
        return {}
    changes = _ask_git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"mlflow.source.git.commit": commit, "ablate.git.dirty": "true" if changes else "false"}


def _ask_git(folder: Path, *arguments: str) -> str | None:
    """Git's answer, or None: no git here, no repository, no such file."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@cache
def _versions() -> dict[str, str]:
    found = {"ablate": ablate.__version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {f"ablate.version.{name}": version for name, version in found.items()}


@cache
def _machine() -> dict[str, str]:
    return {"ablate.platform": platform.platform(), "ablate.cpu": f"{os.cpu_count()} x {_cpu()}"}


def _cpu() -> str:
    """The processor's name; Linux keeps it where platform.processor does not look."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
