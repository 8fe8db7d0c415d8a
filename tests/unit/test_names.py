"""One name means one thing: no class twice in the package, and no file twice but where there is one a variant."""

import ast
from collections import defaultdict
from pathlib import Path

import ablate

PACKAGE = Path(ablate.__file__).parent

ONE_A_VARIANT = {"__init__", "spec", "layers"}
"""Files that stand in many folders, since each folder is told the same way."""

VERBS = {"records"}
"""A file of the command line's that is called as what its verbs are about: the format of a file of records."""


def _classes(path: Path) -> list[str]:
    """Classes of a file, and its type aliases, which are written as classes are."""
    tree = ast.parse(path.read_text("utf-8"))
    aliases = [
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id[0].isupper() and not target.id.isupper()
    ]
    return [*aliases, *(node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef))]


def _double(named: list[tuple[str, Path]]) -> dict[str, list[str]]:
    places = defaultdict(list)
    for name, path in named:
        places[name].append(path.relative_to(PACKAGE).as_posix())
    return {name: sorted(files) for name, files in places.items() if len(files) > 1}


def test_names_of_classes_mean_one_thing_each():
    found = _double([(name, path) for path in PACKAGE.rglob("*.py") for name in _classes(path)])
    assert not found


def test_names_of_files_mean_one_thing_each():
    found = _double([(path.stem, path) for path in PACKAGE.rglob("*.py") if path.stem not in ONE_A_VARIANT | VERBS])
    assert not found
