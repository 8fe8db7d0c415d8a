"""The public face: what `import ablate` offers, what the pages say of it, and what an installation may lack."""

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import ablate
from ablate import installation
from ablate.installation import EXTRAS, MissingPackageError, needed_by, require

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
RESERVED = {"task", "study"}
"""Public names to come: a decorator and a function."""

IMPORT_NAMES = {"pillow": "PIL", "scikit-learn": "sklearn", "pyyaml": "yaml", "hydra-core": "hydra"}
THROUGH_OTHERS = {"alembic": "mlflow"}
"""Import name -> the distribution of ours that requires it."""


def _public() -> dict[str, str]:
    """Public name -> the module that it comes from, as editors and mypy read them."""
    tree = ast.parse(Path(ablate.__file__).read_text("utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    return {node.names[0].asname: node.module for node in block.body}


def _import_name(requirement: str) -> str:
    name = re.split(r"[\[<>=! ]", requirement, maxsplit=1)[0].lower()
    return IMPORT_NAMES.get(name, name.replace("-", "_"))


def test_public_names_are_those_that_editors_see():
    assert set(_public()) == set(ablate.__all__)
    assert set(ablate.__all__) <= set(dir(ablate))
    with pytest.raises(AttributeError, match=r"module 'ablate' has no attribute 'creat_model'"):
        _ = ablate.creat_model


@pytest.mark.parametrize("name", ablate.__all__)
def test_public_name_is_what_its_module_has_and_says_what_it_is(name):
    found = getattr(ablate, name)
    assert found is getattr(importlib.import_module(_public()[name]), name)
    assert found.__doc__ and not found.__doc__.startswith(f"{name}(")  # a dataclass without one has its signature


def test_public_names_are_no_submodules():
    """Importing `ablate.data` sets an attribute `data` of the package, whatever stood there."""
    submodules = {module.name for module in pkgutil.iter_modules(ablate.__path__)}
    assert {"models", "report", "__main__"} < submodules
    assert not submodules & ({*ablate.__all__} | RESERVED)


def test_public_names_are_shadowed_by_no_import():
    """None is resolved yet, so one that the package has by now was set by importing a room."""
    code = (
        "import ablate, importlib, pkgutil\n"
        "for room in pkgutil.iter_modules(ablate.__path__):\n"
        "    if room.name != '__main__':\n"
        "        importlib.import_module(f'ablate.{room.name}')\n"
        "print(sorted({*ablate.__all__} & {*vars(ablate)}), 'report' in vars(ablate))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[] True", done.stdout + done.stderr


def test_public_face_is_imported_without_what_stands_behind_it():
    code = "import sys; before = set(sys.modules); import ablate; print(*(set(sys.modules) - before))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = {name for name in out.split() if name.partition(".")[0] == "ablate"}
    assert loaded == {"ablate", "ablate.installation", "ablate.version"}
    assert {name.partition(".")[0] for name in out.split()} - {"ablate"} <= sys.stdlib_module_names
    assert len(out.split()) < 60


def test_public_names_are_what_the_pages_import():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    code = "\n".join(page.read_text("utf-8") for page in pages)
    taken = {name.strip() for line in re.findall(r"\bfrom ablate import ([\w, ]+)", code) for name in line.split(",")}
    taken |= set(re.findall(r"`ablate\.(\w+)\(", code)) | set(re.findall(r"\bablate\.(\w+)\(\"", code))
    assert {"create_model", "register", "alpha_spending"} <= taken <= set(ablate.__all__)
    assert not re.findall(r"from ablate\.\S+ import .*", code)


# ----------------------------------------------------------------------------------------------------------- extras


def test_extras_are_the_project_s_and_bring_what_they_are_said_to():
    extras = PROJECT["optional-dependencies"]
    core = {_import_name(each) for each in PROJECT["dependencies"]}
    for extra, packages in EXTRAS.items():
        assert set(packages) <= {_import_name(each) for each in extras[extra]}, extra
        assert not set(packages) & core


def test_extras_and_the_core_bring_all_that_is_imported():
    found = set()
    for path in Path(ablate.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            found |= {name.partition(".")[0] for name in names}
    core = {_import_name(each) for each in PROJECT["dependencies"]}
    brought = core | set(installation.EXTRA_OF) | {name for name, by in THROUGH_OTHERS.items() if by in core}
    assert found - sys.stdlib_module_names - {"ablate"} <= brought
    assert core <= found


def test_extras_of_the_tests_are_all_that_the_package_asks_for():
    (own,) = (each for each in PROJECT["optional-dependencies"]["test"] if each.startswith(f"{PROJECT['name']}["))
    assert set(own.partition("[")[2].rstrip("]").split(",")) >= set(EXTRAS) - {"bench"}


def test_missing_package_is_one_sentence_that_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    said = rf"^engine=ray needs ray, which is not installed: pip install '{PROJECT['name']}\[ray\]'\.$"
    with pytest.raises(MissingPackageError, match=said):
        require("engine=ray", "ray")
    with pytest.raises(ValueError, match=said), needed_by("engine=ray"):
        importlib.import_module("ray.remote_function")


def test_missing_package_of_nobody_s_and_a_broken_one_pass_through(monkeypatch):
    monkeypatch.setitem(sys.modules, "nobody", None)
    with pytest.raises(ModuleNotFoundError, match="nobody") as told, needed_by("this"):
        importlib.import_module("nobody")
    assert not isinstance(told.value, MissingPackageError)
    with pytest.raises(ModuleNotFoundError, match=r"PIL\.nothing") as told, needed_by("this"):
        importlib.import_module("PIL.nothing")
    assert not isinstance(told.value, MissingPackageError)


def test_missing_package_is_told_by_the_public_name_that_needs_it():
    code = "import sys; sys.modules['keras'] = None; import ablate; {}"
    for use in ("load_weights", "create_model"):
        call = f"ablate.{use}('cct_2_3x2_32')"
        done = subprocess.run([sys.executable, "-c", code.format(call)], capture_output=True, text=True, check=False)
        said = done.stderr.splitlines()[-1]
        assert re.search(rf"{use} needs keras, which is not installed: pip install '.*\[keras\]'\.$", said), done.stderr


# ------------------------------------------------------------------------------------------------------ the metadata


def test_citation_names_the_version_the_licence_and_the_paper():
    yaml = pytest.importorskip("yaml")
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert cited["cff-version"] == "1.2.0" and cited["message"] and cited["title"].startswith("ablate")
    assert [author["name"] for author in cited["authors"]] == [author["name"] for author in PROJECT["authors"]]
    assert cited["version"] == ablate.__version__
    assert cited["license"] == PROJECT["license"]
    assert "2104.05704" in cited["references"][0]["url"]
