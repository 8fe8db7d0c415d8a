"""Imports point one way, and what must start fast imports nothing heavy.

A room is a package, or a file beside the packages. Every import is an arrow: one inside a function, one for types alone
and one of a name that ``import_module`` is given as it stands count as well, since whoever reads the one side has to
know the other. Names that tables hold (``contract._TASK``, a variant's layer) are no imports of the file's.
"""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "ablate"

GROUND = {"version", "installation", "words", "contract", "paths", "locks", "escaping", "pickles"}
"""Files that anybody may import, and that import nothing of ours but the version."""

ENGINE = GROUND | {"identity", "provenance", "stats", "tracking", "design", "config", "report", "sweep"}
"""What a sweep of any task needs."""

RUN = {"models", "data", "training"}
"""What one run of image classification needs."""

MAY = {
    **{room: set() for room in GROUND},
    "identity": {"paths"},
    "stats": set(),
    "provenance": {"tracking", "version"},
    "tracking": GROUND,
    "design": GROUND | {"stats"},
    "models": GROUND,
    "data": GROUND,
    "training": GROUND | {"data", "identity"},
    "config": GROUND | {"design", "tracking"},
    "report": ENGINE - {"sweep", "report"},
    "sweep": ENGINE - {"sweep"},
    "tasks": ENGINE | RUN,
    "proof": GROUND | RUN | {"tasks", "identity"},
    "cli": ENGINE | RUN | {"tasks", "proof"},
    "__main__": {"cli"},
}
"""Room -> the rooms that it may import. The package's own ``__init__`` is for users, and no room imports it."""

REPORT = {
    "errors": set(),
    "sources": {"errors"},
    "table": {"errors", "sources"},
    "pages": {"errors", "sources", "table"},
    "reports": {"errors", "sources", "table", "pages"},
}
"""Part of ``ablate.report`` -> the parts that it may import."""

ONLY = {
    "mlflow": {"tracking/client.py", "tracking/model_registry.py", "tracking/writer.py"},
    "optuna": {"sweep/queue.py", "sweep/sampler.py"},
    "hydra": {"cli/job.py", "config/compose.py", "config/overrides.py"},
    "omegaconf": {"config/compose.py", "config/document.py", "config/leaves.py", "config/recorded.py"},
    "ray": {"sweep/engines.py"},
    "submitit": {"sweep/engines.py"},
}
"""Library -> the only files that import it."""

HEAVY = {
    "stats": {"keras", "tensorflow", "mlflow", "optuna", "matplotlib"},
    "report": {"keras", "tensorflow", "mlflow", "optuna"},
    "config": {"keras", "tensorflow", "mlflow", "optuna"},
}
"""Room -> libraries that no file in it imports."""


def _imports(path: Path) -> set[str]:
    return _imported(path.read_text("utf-8"), _package(path))


def _imported(source: str, package: str) -> set[str]:
    """What a file of the package imports, by full names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: 1 - node.level or None] if node.level else []
            home = ".".join([*above, *([node.module] if node.module else [])])
            found |= {f"{home}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
            found |= {each.value for each in node.args[:1] if isinstance(each, ast.Constant)}
    return found


def _name(path: Path) -> str:
    return ".".join(("ablate", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


def _package(path: Path) -> str:
    return ".".join(("ablate", *path.relative_to(PACKAGE).parent.parts))


FILES = {_name(path): path for path in PACKAGE.rglob("*.py")}


def _room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def _arrows() -> dict[str, set[str]]:
    """Module -> the modules of ours that it imports: the file itself where a name of it is taken, not its package."""
    return {module: {_file(name) for name in _imports(path)} - {"", module} for module, path in FILES.items()}


def _file(name: str) -> str:
    """The module of ours that has a name; empty for what is not ours."""
    while name and name not in FILES:
        name = name.rpartition(".")[0]
    return name


@pytest.mark.parametrize(
    "written",
    [
        "import ablate.sweep.plan",
        "from ablate.sweep import plan",
        "def later():\n    from ablate.sweep.plan import make_plan",
        "if TYPE_CHECKING:\n    from ablate.sweep.plan import Plan",
        "from ..sweep import plan",
        "from .. import sweep\nfrom ..sweep.plan import make_plan",
        "import_module('ablate.sweep.plan')",
        "importlib.import_module('ablate.sweep.plan')",
        "__import__('ablate.sweep.plan')",
    ],
)
def test_imports_are_seen_in_every_form(written):
    assert "ablate.sweep.plan" in map(_file, _imported(written, "ablate.design"))


@pytest.mark.parametrize("written", ["import ablate", "from ablate import words, create_model", "from .. import build"])
def test_imports_from_the_public_face_are_seen(written):
    assert "ablate" in map(_file, _imported(f"from ablate.words import unknown\n{written}", "ablate.design"))


def test_imports_point_down():
    rooms = {_room(module) for module in FILES} - {""}
    assert rooms == MAY.keys(), "a room that no rule is about, or a rule about a room that is gone"
    wrong = sorted(
        f"{module} imports {other}"
        for module, others in _arrows().items()
        for other in others
        if module != "ablate" and _room(other) not in MAY[_room(module)] | {_room(module)}
    )
    assert not wrong, "\n".join(wrong)


def test_imports_within_report_point_from_pages_to_tables_to_sources():
    def part(module: str) -> str:
        return module.removeprefix("ablate.report").lstrip(".").split(".")[0]

    within = {module: others for module, others in _arrows().items() if module.startswith("ablate.report.")}
    assert {part(module) for module in within} == REPORT.keys()
    wrong = sorted(
        f"{module} imports {other}"
        for module, others in within.items()
        for other in others
        if _room(other) == "report" and part(other) not in REPORT[part(module)] | {part(module)}
    )
    assert not wrong, "\n".join(wrong)


def test_imports_go_in_no_circle():
    try:
        list(graphlib.TopologicalSorter(_arrows()).static_order())
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


@pytest.mark.parametrize("library", ONLY)
def test_imports_of_a_library_that_few_know_stand_in_few_files(library):
    importers = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if any(name.split(".")[0] == library for name in _imports(path))
    }
    assert importers == ONLY[library]


@pytest.mark.parametrize("room", HEAVY)
def test_imports_of_a_room_leave_out_libraries_that_it_is_not_about(room):
    files = [path for module, path in FILES.items() if _room(module) == room]
    wrong = {f"{path.name}: {name}" for path in files for name in _imports(path) if name.split(".")[0] in HEAVY[room]}
    assert files and not wrong, wrong


def test_imports_of_design_are_of_no_library():
    files = [path for module, path in FILES.items() if _room(module) == "design"]
    named = {name.split(".")[0] for path in files for name in _imports(path)}
    assert "ablate" in named and named <= {"ablate", *sys.stdlib_module_names}


@pytest.mark.parametrize(
    "module",
    [
        "ablate",
        "ablate.cli.main",
        "ablate.config.compose",
        "ablate.sweep.plan",
        "ablate.models.zoo",
        "ablate.report",
        "ablate.proof.verify",
    ],
)
def test_imports_of_light_rooms_leave_out_the_heavy_libraries(module):
    heavy = ("tensorflow", "keras", "mlflow", "pandas", "jax")
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_imports_of_the_verbs_leave_out_what_reads_images():
    """`import ablate.data` is quick, and a name taken from it is not: `--help` and `plan` would pay for NumPy."""
    verbs = "ablate.cli.training, ablate.cli.records, ablate.cli.facts"
    code = f"import sys, {verbs}; print([m for m in ('numpy', 'PIL') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
