"""The built wheel in a clean environment, away from the checkout: what a stranger gets."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from ablate import __version__
from ablate.installation import NAME

pytestmark = pytest.mark.full

ROOT = Path(__file__).parents[2]


def _do(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    _do(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Interpreter of an environment with the wheel, which borrows its dependencies from the one that runs the tests.

    A path file is not followed into the path files of the folder that it names, so an editable ablate stays behind.
    """
    folder = tmp_path_factory.mktemp("clean")
    _do(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    own = Path(_do(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (own / "borrowed.pth").write_text("\n".join(sorted(borrowed)) + "\n")
    pip = [sys.executable, "-m", "pip", "--python", python, "install"]
    _do(*pip, "--quiet", "--no-deps", "--no-index", "--force-reinstall", wheel, cwd=folder)
    return python


def test_wheel_holds_configuration_sweeps_licence_and_types(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    want = {f"ablate/_conf/{path.relative_to(ROOT / 'conf')}" for path in (ROOT / "conf").rglob("*.yaml")}
    want |= {f"ablate/_sweeps/{path.name}" for path in (ROOT / "sweeps").glob("*.yaml")}
    want |= {str(path.relative_to(ROOT)) for path in (ROOT / "ablate").rglob("*.*") if "__pycache__" not in path.parts}
    assert want - names == set()
    assert "ablate/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert wheel.name.startswith(f"{NAME.replace('-', '_')}-{__version__}-")
    assert not [
        name for name in names if name.startswith(("tests", "conf", "sweeps")) or name.endswith((".db", ".pyc"))
    ]


def test_sdist_is_complete_and_builds_the_wheel_again(tmp_path: Path) -> None:
    _do(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path, cwd=ROOT)
    (built,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(built) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = (path for path in tmp_path.iterdir() if path.is_dir())
    for name in (
        "conf/config.yaml",
        "sweeps/pe_type.yaml",
        "tests/conftest.py",
        "Makefile",
        "constraints.txt",
        "LICENSE",
        "CITATION.cff",
    ):
        assert (unpacked / name).is_file(), name
    _do(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=unpacked)


def test_wheel_runs_from_an_empty_folder(python: Path, tmp_path: Path) -> None:
    where = _do(python, "-c", "import ablate; print(ablate.__file__)", cwd=tmp_path).strip()
    assert Path(where).is_relative_to(python.parents[1])
    shown = _do(python, "-m", "ablate", "--help", cwd=tmp_path)
    for word in ("pe_type", "mnist5k", "report"):
        assert word in shown
    assert _do(python.with_name("ablate"), "--help", cwd=tmp_path) == shown
    assert "all as recorded" in _do(python, "-m", "ablate", "verify", cwd=tmp_path).splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_wheel_trains_reports_and_takes_the_users_own_sweep(python: Path, tmp_path: Path) -> None:
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "mine.yaml").write_text(
        "question: Does it run?\n"
        "base: {data: digits, train.epochs: 1, model: tiny}\n"
        "axes: {model.pooling: [seqpool, mean]}\n"
    )
    _do(python.with_name("ablate"), "+sweep=mine", cwd=tmp_path, TF_CPP_MIN_LOG_LEVEL="3")
    table = _do(python.with_name("ablate"), "report", "mine", cwd=tmp_path)
    assert "mine: Does it run?" in table
    assert "2 of 2 points finished" in table
    assert (tmp_path / "mlflow.db").is_file()
