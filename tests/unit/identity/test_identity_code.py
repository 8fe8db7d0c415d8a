"""What of the code makes a run another one: what computes it, however it is written down, and nothing else."""

import ast
import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ablate.config.compose import compose, to_config
from ablate.identity.code import PACKAGE, Code, IdentityError, modules, statements

RUNS = {
    "learnable": ["model=tiny", "data=digits"],
    "sine": ["model=tiny", "data=digits", "model.positional=sine"],
    "none": ["model=tiny", "data=digits", "model.positional=none"],
    "patches": ["model=vit_2_4", "data=digits"],
    "mean": ["model=tiny", "data=digits", "model.pooling=mean"],
    "folder": ["model=tiny", "data=folder", "data.root=somewhere", "model.positional=sine"],
    "augmented": ["model=tiny", "data=digits", "augment.flip=0.5", "augment.rand_augment.ops=2"],
}
WITH_JAX = "jax"


@pytest.fixture(scope="module")
def codes():
    found = {name: to_config(compose(words)).point().code("tensorflow") for name, words in RUNS.items()}
    return found | {WITH_JAX: to_config(compose(RUNS["learnable"])).point().code("jax")}


@pytest.fixture
def package(tmp_path):
    """A copy of the package's sources, of which nothing is imported."""
    for path in PACKAGE.rglob("*.py"):
        copy = tmp_path / "ablate" / path.relative_to(PACKAGE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    return tmp_path / "ablate"


def moved(codes, package):
    """Runs whose code is another one in the copy."""
    return {name for name, code in codes.items() if statements(code) != statements(code, package)}


def rewrite(package, change):
    """Every file that a run may reach, as ``change`` makes it of its syntax tree."""
    for path in package.rglob("*.py"):
        path.write_text(change(ast.parse(path.read_text("utf-8"))), "utf-8")


def test_code_is_the_same_with_every_docstring_and_comment_reworded(codes, package):
    def reworded(tree):
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                node.value.value = f"Said otherwise: {len(node.value.value)}.\n\nAnd at more length."
            if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is None:
                node.body.insert(0, ast.Expr(ast.Constant("A new docstring.")))
        lines = ast.unparse(ast.fix_missing_locations(tree)).splitlines()  # all comments are gone, and lines moved
        return "# A comment.\n\n" + "\n".join(f"{line}  # why" if line.endswith(":") else line for line in lines) + "\n"

    rewrite(package, reworded)
    assert not moved(codes, package)


def test_code_is_the_same_with_imports_in_another_order_and_form(codes, package):
    def reordered(tree):
        imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        others = [node for node in tree.body if node not in imports]
        single = [
            ast.ImportFrom(node.module, [alias], node.level)
            if isinstance(node, ast.ImportFrom)
            else ast.Import([alias])
            for node in imports
            for alias in node.names
        ]
        head = [others.pop(0)] if ast.get_docstring(tree) else []
        tree.body = [*head, *reversed(single), *others]
        return ast.unparse(tree)

    rewrite(package, reordered)
    assert not moved(codes, package)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("models/positional/layers.py", "models/places/learned.py"),
        ("models/numerics.py", "models/kernels.py"),
        ("models/registry.py", "words_of_models.py"),
        ("data/sources/digits.py", "data/read/small.py"),
        ("training/optimizer.py", "training/rules/adam.py"),
    ],
)
def test_code_is_the_same_where_a_file_moves_and_imports_follow(codes, package, before, after):
    old, new = (f"ablate.{name.removesuffix('.py').replace('/', '.')}" for name in (before, after))
    (package / after).parent.mkdir(exist_ok=True)
    (package / before).rename(package / after)
    (old_home, old_name), (new_home, new_name) = (name.rpartition(".")[::2] for name in (old, new))
    for path in package.rglob("*.py"):
        text = re.sub(rf"\b{re.escape(old)}\b", new, path.read_text("utf-8"))
        whole = re.compile(rf"^(\s*)from {re.escape(old_home)} import {old_name}( as \w+)?(?=\s)", re.MULTILINE)
        if found := whole.search(text):  # the module itself is imported, and named in the code
            text = whole.sub(rf"\1from {new_home} import {new_name}\2", text)
            text = text if found[2] else re.sub(rf"\b{old_name}\.(?=[A-Za-z_]+\b)(?!py)", f"{new_name}.", text)
        path.write_text(text, "utf-8")
    roots = {name: [re.sub(rf"^{re.escape(old)}:", f"{new}:", root) for root in c.roots] for name, c in codes.items()}
    for name, code in codes.items():
        assert statements(Code(tuple(roots[name]), code.apart), package) == statements(code), name


def test_code_is_the_same_where_a_definition_moves_and_its_old_home_passes_it_on(codes, package):
    old = package / "models" / "numerics.py"
    tree = ast.parse(old.read_text("utf-8"))
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    old.rename(package / "models" / "kernels.py")
    old.write_text(f"from ablate.models.kernels import {', '.join(names)}\n", "utf-8")
    assert not moved(codes, package)
    assert "ablate.models.numerics" not in modules(codes["sine"], package)


def test_code_is_the_same_beside_files_and_definitions_that_nothing_reaches(codes, package):
    (package / "models" / "unreached.py").write_text("from ablate.models import encoder\nencoder.encoder = None\n")
    for name in ("models/positional/spec.py", "models/positional/layers.py"):
        with (package / name).open("a") as file:
            file.write('\n\ndef new_one(x):\n    """A variant that is added."""\n    return x + 1\n')
    source = package / "data" / "spec.py"
    text = source.read_text("utf-8")
    added = text.replace('"digits": "', '"new": "ablate.data.sources.mnist",\n    "digits": "', 1)
    assert added != text
    source.write_text(added)
    assert not moved(codes, package)


def test_code_reaches_nothing_that_draws_records_or_reports(codes):
    rooms = {name.split(".")[1] for code in codes.values() for name in modules(code)}
    assert rooms >= {"models", "data", "training"}
    assert rooms.isdisjoint(
        {"cli", "config", "design", "identity", "proof", "report", "stats", "sweep", "tasks", "tracking"}
    )
    assert rooms.isdisjoint({"escaping", "installation", "words"}), "what is said to people changes no result"
    assert not any("ablate.data.augment.sheet" in modules(code) for code in codes.values())
    assert "ablate.data.augment.operations" in modules(codes["augmented"])


ALL = {*RUNS, WITH_JAX}
OPERATORS = {
    ("models", "ConvTokenizer"): ALL - {"patches"},
    ("models", "PatchTokenizer"): {"patches"},
    ("models", "LearnablePositional"): ALL - {"sine", "none", "folder"},
    ("models", "sine_table"): {"sine", "folder"},
    ("models", "SeqPool"): ALL - {"mean", "patches"},
    ("models", "SoftmaxAttention"): ALL,
    ("training", "AdamW"): ALL,
    ("training", "Schedule"): ALL,
    ("training.steps", "JaxStep"): {WITH_JAX},
    ("training.steps", "TensorFlowStep"): ALL - {WITH_JAX},
    ("training", "Checkpoint"): ALL,
    ("data.load", "_told"): ALL,
    ("data.sources.digits", "read"): ALL - {"folder"},
    ("data.sources.folder", "read"): {"folder"},
    ("data.augment", "posterize"): {"augmented"},
}
"""Package and definition -> the runs that compute with it."""


def defined(codes, package, within, name):
    """The file of a definition that runs reach and the specs, which only count, do not have; and its syntax tree."""
    files = {module for code in codes.values() for module in modules(code) if module.startswith(f"ablate.{within}")}
    for module in sorted(module for module in files if not module.endswith(".spec")):
        path = package.joinpath(*module.split(".")[1:]).with_suffix(".py")
        tree = ast.parse(path.read_text("utf-8"))
        if any(getattr(node, "name", None) == name for node in tree.body):
            return path, tree
    raise LookupError(f"no module of ablate.{within} that runs reach defines {name}")


@pytest.mark.parametrize("place", OPERATORS, ids=":".join)
def test_code_is_another_where_it_reaches_another_operator(codes, package, place):
    path, tree = defined(codes, package, *place)
    definition = next(node for node in tree.body if getattr(node, "name", None) == place[1])
    operations = [node for node in ast.walk(definition) if isinstance(node, ast.BinOp)]
    operation = next(node for node in operations if not isinstance(node.op, ast.BitOr))  # of types
    operation.op = ast.Sub() if isinstance(operation.op, ast.Add) else ast.Add()
    path.write_text(ast.unparse(tree), "utf-8")
    assert moved(codes, package) == OPERATORS[place]


@pytest.fixture
def small(tmp_path):
    """A package of one's own writing, and its code from ``start:run``."""

    def write(**files):
        folder = tmp_path / f"case{next(numbers)}" / "ablate"
        folder.mkdir(parents=True)
        for name, text in {"__init__": "", **files}.items():
            (folder / f"{name}.py").write_text(text)
        return statements(Code(("ablate.start:run",)), folder)

    numbers = itertools.count()
    return write


BEGIN = "from ablate.parts import first\n\ndef run(x):\n    return first(x)\n"


@pytest.mark.parametrize(
    ("parts", "other"),
    [
        ("def first(x):\n    return x + 1\n", "def first(x):\n    return x + 2\n"),
        ("def first(x):\n    return x + 1\n", "def first(x):\n    return x + 1.0\n"),
        ("def first(x):\n    return x + 1\n", "def first(x):\n    return x + True\n"),
        ("def first(x, by=1):\n    return x + by\n", "def first(x, by=2):\n    return x + by\n"),
        ("import math as m\ndef first(x):\n    return m.pi\n", "import cmath as m\ndef first(x):\n    return m.pi\n"),
        (
            "from math import floor as f\ndef first(x):\n    return f(x)\n",
            "from math import ceil as f\ndef first(x):\n    return f(x)\n",
        ),
        ("S = {}\ndef first(x):\n    return S\n", "S = {}\nS['x'] = 1\ndef first(x):\n    return S\n"),
        (
            "import math\ndef first(x):\n    return x\n",
            "import math\nmath.pi = 3\ndef first(x):\n    return x\n",
        ),
        (
            "from functools import singledispatch\n@singledispatch\ndef first(x):\n    return x\n",
            "from functools import singledispatch\n@singledispatch\ndef first(x):\n    return x\n"
            "@first.register\ndef _(x: int):\n    return -x\n",
        ),
        (
            "def first(x):\n    import ablate.more\n    return ablate.more.A\n",
            "def first(x):\n    import ablate.more\n    return ablate.more.B\n",
        ),
        (
            "class C:\n    x: int = 1\ndef first(x):\n    return C()\n",
            "class C:\n    x: float = 1\ndef first(x):\n    return C()\n",
        ),
        ("def first(x):\n    return f'{x:.2f}'\n", "def first(x):\n    return f'{x:.3f}'\n"),
    ],
)
def test_code_is_another_where_something_that_counts_differs(small, parts, other):
    more = "A = 1\nB = 2\n"
    assert small(start=BEGIN, parts=parts, more=more) != small(start=BEGIN, parts=other, more=more)


@pytest.mark.parametrize(
    ("parts", "other"),
    [
        ("def first(x):\n    return x + 1\n", "def first(x: int) -> int:\n    'Doc.'\n    return (x + 1)  # why\n"),
        ("def first(x):\n    return x\n", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import more\n"
         "__all__ = ['first']\ndef first(x):\n    y: int\n    return x\n"),
        ("from ablate.more import A\ndef first(x):\n    return A\n",
         "from ablate import more\ndef first(x):\n    return more.A\n"),
        ("from ablate.more import A\ndef first(x):\n    return A\n", "A = 1\ndef first(x):\n    return A\n"),
        ("from ablate.more import A\ndef first(x):\n    return A\n",
         "def first(x):\n    from ablate.more import A\n    return A\n"),
        ("def first(x):\n    return f'a{x}b'\n", "def first(x):\n    return ('a' f'{x}' 'b')\n"),
        ("def first(x):\n    return x\n", "def second(x):\n    return x\ndef first(x):\n    return x\n"
         "if __name__ == '__main__':\n    print(first(1))\n"),
    ],
)  # fmt: skip
def test_code_is_the_same_where_only_its_writing_differs(small, parts, other):
    more = "A = 1\n"
    assert small(start=BEGIN, parts=parts, more=more) == small(start=BEGIN, parts=other, more=more)


@pytest.mark.parametrize(
    "parts",
    [
        "from ablate.more import *\ndef first(x):\n    return f(x)\n",
        "from math import *\nfrom ablate.more import *\nfirst = f\n",
        "from ablate.more import *\n",
        "import sys\nif sys.version_info > (3,):\n    from ablate.more import f as first\n",
    ],
)
def test_code_follows_a_name_through_a_star_and_an_import_under_a_condition(small, parts):
    one, other = (f"def f(x):\n    return x + {n}\nfirst = f\n" for n in (1, 2))
    assert small(start=BEGIN, parts=parts, more=one) != small(start=BEGIN, parts=parts, more=other)


def test_code_is_another_where_a_package_does_something_as_it_is_imported(small):
    files = {"start": BEGIN, "parts": "def first(x):\n    return x\n"}
    assert small(**files) != small(__init__="import math\nmath.pi = 3\n", **files)


def test_code_follows_a_name_to_another_function_of_the_same_name(small):
    files = {"one": "def first(x):\n    return x\n", "two": "def first(x):\n    return -x\n"}
    both = "from ablate import one, two\n\ndef run(x):\n    return one.first(x), two.first(x), first(x)\n"
    assert small(start=f"from ablate.one import first\n{both}", **files) != small(
        start=f"from ablate.two import first\n{both}", **files
    )


def test_code_that_is_not_there_is_one_sentence(small, tmp_path):
    with pytest.raises(IdentityError, match=r"^the source of ablate\.parts must lie in .*; install ablate with its"):
        small(start=BEGIN)
    with pytest.raises(IdentityError, match=r"^ablate\.parts must define nothing, where a run's code begins"):
        statements(Code(("ablate.parts:nothing",)), _written(tmp_path, parts="x = 1\n"))


def _written(folder, **files):
    (folder / "ablate").mkdir()
    for name, text in files.items():
        (folder / "ablate" / f"{name}.py").write_text(text)
    return folder / "ablate"


def test_code_of_a_plugin_counts_whole_and_what_it_takes_from_the_package(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    plugin = tmp_path / "a_plugin_of_mine.py"
    told = []
    for text in (
        "x = 1\n",
        "x = 2\n",
        '"""Doc."""\n\nx = 2  # why\n',
        "from ablate.models.numerics import gelu\nx = gelu\n",
    ):
        plugin.write_text(text)
        told.append(statements(Code(("a_plugin_of_mine",))))
    assert told[0] != told[1] == told[2] != told[3]
    assert modules(Code(("a_plugin_of_mine",))) == {"a_plugin_of_mine", "ablate.models.numerics"}


def _runs(python):
    """Whether it is an interpreter and no shim of one that is not installed."""
    return subprocess.run([python, "--version"], capture_output=True, check=False).returncode == 0


@pytest.mark.full
@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_code_is_the_same_in_every_version_of_python(codes, version):
    """A digest by another interpreter, which needs nothing but the files: syntax trees differ between versions."""
    kept = sorted(Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob(f"versions/{version}*/bin/python"))
    found = [python for python in (*kept, shutil.which(f"python{version}")) if python and _runs(python)]
    if not found:
        pytest.skip(f"no Python {version} here")
    python = found[0]
    code = codes["augmented"]
    told = (
        "from ablate.identity.code import Code, statements\n"
        f"print(*sorted(statements(Code({code.roots!r}, frozenset({sorted(code.apart)!r})))))"
    )
    out = subprocess.run(
        [python, "-c", told], cwd=PACKAGE.parent, capture_output=True, text=True, check=True, env={"PATH": "/usr/bin"}
    ).stdout
    assert out.split() == sorted(statements(code))


def test_code_is_found_by_an_interpreter_without_keras(codes):
    """In a process, as `plan` asks for it: no import of what computes."""
    code = "import sys, ablate.identity; print([m for m in ('keras', 'tensorflow', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    assert all(Path(PACKAGE, "identity", name).is_file() for name in ("code.py", "syntax.py"))
