"""Provenance: commit, versions and machine that a result came from, as tags of every run."""

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from ablate.tracking.names import COMMIT, CPU, DIRTY, PLATFORM, VERSION
from ablate.version import __version__

LIBRARIES = ("keras", "tensorflow", "jax", "numpy", "optuna", "mlflow")


def provenance() -> dict[str, str]:
    """Tags that say with what a run was made; what is not installed, or not under git, has none."""
    return {**_git(), **_versions(), **_machine()}


@cache
def _git() -> dict[str, str]:
    """Commit of the checkout that the package runs from, or else of the working directory: the user's own sweeps."""
    package = Path(__file__).parent
    tracked = _ask_git(package, "ls-files", "--error-unmatch", "__init__.py") is not None
    folder = package if tracked else Path.cwd()
    commit = _ask_git(folder, "rev-parse", "HEAD")
    if not commit:
        return {}
    asked = ("status", "--porcelain", "--untracked-files=no", "--ignore-submodules=dirty")
    changes = _ask_git(folder, *asked, settings=_no_filters(folder))
    return {COMMIT: commit, DIRTY: "true" if changes else "false"}


_NO_PROGRAMS = {"core.fsmonitor": "false", "core.hooksPath": os.devnull}
"""A folder that came from elsewhere brings its own ``.git/config``, whose programs git would run to answer us."""


def _no_filters(folder: Path) -> dict[str, str]:
    """Settings that take the repository's own content filters away; those of the user's own configuration stay."""
    scopes = [_ask_git(folder, "config", scope, "--includes", "--name-only", "-z", "--get-regexp", r"^filter\.")
              for scope in ("--local", "--worktree")]  # fmt: skip
    keys = {key for told in scopes if told for key in told.split("\0") if key}
    filters = {key.rpartition(".")[0] for key in keys}
    off = {"clean": "", "smudge": "", "process": "", "required": "false"}
    return {f"{name}.{key}": value for name in sorted(filters) for key, value in off.items()}


def _ask_git(folder: Path, *arguments: str, settings: Mapping[str, str] | None = None) -> str | None:
    """Git's answer, or None: no git here, no repository, no such file. No program that the repository names is run."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=os.environ | _without_programs(settings or {}), capture_output=True,
            encoding="utf-8", errors="surrogateescape", timeout=20, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _without_programs(settings: Mapping[str, str]) -> dict[str, str]:
    """Git's environment: no index is written (a hook would hear of it), no missing object fetched, settings beside."""
    own = {"GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none"}
    given = os.environ.get("GIT_CONFIG_COUNT", "")
    first = int(given) if given.isdecimal() else 0  # the user's own, such as safe.directory, stay
    pairs = list((_NO_PROGRAMS | dict(settings)).items())
    for number, (key, value) in enumerate(pairs, first):  # not by -c, where a key may hold no "="
        own |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return own | {"GIT_CONFIG_COUNT": str(first + len(pairs))}


@cache
def _versions() -> dict[str, str]:
    found = {"ablate": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {f"{VERSION}{name}": version for name, version in found.items()}


@cache
def _machine() -> dict[str, str]:
    return {PLATFORM: platform.platform(), CPU: f"{os.cpu_count()} x {_cpu()}"}


def _cpu() -> str:
    """The processor's name; Linux keeps it where platform.processor does not look."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
