"""Imports point one way, and what must start fast imports nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "ablate"
FORBIDDEN = {
    "registry": {"ablate.*"},
    "paths": {"ablate.*"},
    "pickles": {"ablate.*"},
    "specs": {"ablate.* -ablate.registry"},
    "data": {"ablate.* -ablate.data -ablate.registry -ablate.specs -ablate.paths -ablate.pickles -ablate.escaping"},
    "training": {"ablate.* -ablate.training -ablate.data -ablate.registry -ablate.paths -ablate.locks"},
    "profile": {"ablate.* -ablate.specs"},
    "tracking": {
        "ablate.* -ablate.tracking -ablate.provenance -ablate.databases -ablate.paths -ablate.schemas -ablate.locks"
    },
    "databases": {"ablate.* -ablate.locks -ablate.paths"},
    "locks": {"ablate.*"},
    "workers": {"ablate.*"},
    "schemas": {"ablate.* -ablate.databases", "mlflow", "optuna"},
    "provenance": {"ablate.*"},
    "stats": {"ablate.*", "keras", "tensorflow", "mlflow", "optuna", "matplotlib"},
    "escaping": {"ablate.*"},
    "figures": {"keras", "tensorflow", "mlflow", "optuna", "ablate.* -ablate.escaping -ablate.fonts"},
    "fonts": {"ablate.*", "matplotlib"},
    "report": {
        *("keras", "tensorflow", "mlflow", "optuna", "ablate.training", "ablate.sweep"),
        "ablate.models.* -ablate.models.zoo",
    },
    "secrets": {"ablate.* -ablate.tracking"},
    "words": {"ablate.* -ablate.tracking"},
    "reference": {"ablate.*"},
    "paper": {"ablate.*"},
    "verify": {
        *("keras", "tensorflow", "jax"),
        "ablate.* -ablate.paper -ablate.reference -ablate.models -ablate.registry -ablate.specs -ablate.parity",
    },
    "parity": {"ablate.* -ablate.models -ablate.reference -ablate.training"},
    "models": {"ablate.* -ablate.models -ablate.specs -ablate.registry -ablate.reference -ablate.pickles"},
}
ONLY = {
    "mlflow": {"tracking/client.py", "tracking/registry.py", "tracking/writer.py"},
    "optuna": {"sweep/study.py", "sweep/search.py"},
}


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def _files(room: str) -> list[Path]:
    path = PACKAGE / room
    return sorted(path.rglob("*.py")) if path.is_dir() else [PACKAGE / f"{room}.py"]


def _matches(name: str, rule: str) -> bool:
    head, *allowed = rule.split(" -")
    root = head.removesuffix(".*")
    inside = name == root or name.startswith(f"{root}.")
    if head.endswith(".*"):
        inside = name.startswith(f"{root}.")
    return inside and not any(name == a or name.startswith(f"{a}.") for a in allowed)


@pytest.mark.parametrize("room", FORBIDDEN)
def test_imports_point_one_way(room):
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in _files(room)
        for name in _imports(path)
        for rule in FORBIDDEN[room]
        if _matches(name, rule)
    ]
    assert not wrong, wrong


@pytest.mark.parametrize("library", ONLY)
def test_imports_of_a_tracker_or_sampler_stand_in_few_files(library):
    importers = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if any(name.split(".")[0] == library for name in _imports(path))
    }
    assert importers == ONLY[library]


@pytest.mark.parametrize(
    "module",
    ["ablate.cli", "ablate.config", "ablate.sweep.plan", "ablate.models.zoo", "ablate.report", "ablate.verify"],
)
def test_imports_of_light_rooms_leave_out_the_heavy_libraries(module):
    heavy = ("tensorflow", "keras", "mlflow", "pandas", "jax")
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_imports_of_the_verbs_leave_out_what_reads_images():
    """`import ablate.data` is quick, and a name taken from it is not: `--help` and `plan` would pay for NumPy."""
    code = "import sys, ablate.verbs; print([m for m in ('numpy', 'PIL') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
