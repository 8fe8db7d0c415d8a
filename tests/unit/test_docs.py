"""Pages and docstrings: tables that can be read at a glance, and names of modules and files that there are."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from ablate.tracking import names

ROOT = Path(__file__).parents[2]
FOLDERS = ("ablate", "analysis", "benchmarks", "conf", "docs", "sweeps", "tests")
PAGES = sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])
LONGEST, LONGEST_ROW = 200, 300


def _rows(text: str) -> list[tuple[int, str]]:
    """Line number and text of each row of each table; what is shown as code has no tables."""
    rows, code = [], False
    for number, line in enumerate(text.splitlines(), 1):
        code ^= line.lstrip().startswith("```")
        if not code and line.lstrip().startswith("|"):
            rows.append((number, line.strip()))
    return rows


def _cells(text: str) -> list[tuple[int, str]]:
    """Line number and text of each cell of each table."""
    return [
        (number, cell.strip())
        for number, row in _rows(text)
        for cell in re.split(r"(?<!\\)\|", re.sub(r"^\||(?<!\\)\|$", "", row))
    ]


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        (r"| a \| b | c |", [(1, r"a \| b"), (1, "c")]),
        ("words\n\n  | a | |\n| b \\|", [(3, "a"), (3, ""), (4, "b \\|")]),
        ("```\n| code |\n```\n| a |\n", [(4, "a")]),
    ],
)
def test_docs_cells_end_at_bare_pipes_alone(text, cells):
    assert _cells(text) == cells


def test_docs_have_no_cell_that_is_too_long_to_read_at_a_glance():
    cells = [(page.relative_to(ROOT), *cell) for page in PAGES for cell in _cells(page.read_text("utf-8"))]
    assert len(PAGES) > 30 and len(cells) > 2000
    long = [f"{page}:{line}: {len(cell)} characters: {cell[:50]}…" for page, line, cell in cells if len(cell) > LONGEST]
    assert not long, f"cells have at most {LONGEST} characters; explain below the table:\n" + "\n".join(long)


def test_docs_have_no_row_that_is_too_long_to_read_at_a_glance():
    rows = [(page.relative_to(ROOT), *row) for page in PAGES for row in _rows(page.read_text("utf-8"))]
    assert len(rows) > 500
    long = [f"{page}:{line}: {len(row)} characters: {row[:50]}…" for page, line, row in rows if len(row) > LONGEST_ROW]
    assert not long, f"rows have at most {LONGEST_ROW} characters; explain below the table:\n" + "\n".join(long)


TAGS = tuple(word for word in vars(names).values() if isinstance(word, str) and word.startswith("ablate."))
"""What a record says: words that look like names of modules."""

RESOLVERS = ("ablate.unique", "ablate.weights")
"""What a file of settings may compute, as ``${ablate.unique:}``."""

DOTTED = re.compile(r"(?<![\w./${-])ablate(?:\.[A-Za-z_]\w*)+")
ROOMS = "|".join(sorted(path.name for path in (ROOT / "ablate").iterdir() if path.is_dir()))
FILE = re.compile(
    rf"(?<![\w./<])((?:ablate|analysis|benchmarks|docs|tests)/[\w./-]+\.[a-z]\w*|(?:{ROOMS})/[\w/]+\.py)\b"
)
"""Files of settings and sweeps are left out: those that pages name may be the reader's own."""

LEFT_OUT = ("CHANGELOG.md", "docs/tables/", "docs/migrating.md", "tests/assets/")
"""Pages of what was, of numbers, of other people's code, and of an earlier commit's."""


def _said(path: Path) -> Iterator[tuple[int, str]]:
    """Line number and text of what a file says to people: a page's lines; a program's docstrings and comments."""
    text = path.read_text("utf-8")
    if path.suffix != ".py":
        yield from enumerate(text.splitlines(), 1)
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield from enumerate(node.value.value.splitlines(), node.lineno)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


@cache
def _bound(path: Path) -> set[str]:
    """Names that a module binds."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def _is_there(dotted: str) -> bool:
    """Whether a dotted name leads to a module, or to what a module binds."""
    place, (first, *rest) = ROOT, dotted.split(".")
    for part in (first, *rest):
        if (place / part).is_dir():
            place /= part
        elif (place / f"{part}.py").is_file():
            place = place / f"{part}.py"
        else:
            return part in _bound(place / "__init__.py" if place.is_dir() else place)
    return True


def _stale(line: str) -> list[str]:
    """Names of modules and files in a line that there are not; a capital letter stands for a name to be put in."""
    names = [name for name in DOTTED.findall(line) if not name.startswith((*TAGS, *RESOLVERS)) and not _is_there(name)]
    files = [file for file in FILE.findall(line) if not re.search(r"\b[A-Z]{2,}\b", file)]
    return names + [file for file in files if not ((ROOT / file).exists() or (ROOT / "ablate" / file).exists())]


@pytest.mark.parametrize(
    ("line", "stale"),
    [
        ("`ablate.stats.verdicts.alpha_spending` and ablate.models.spec, ablate.create_model", []),
        ("the tags ablate.study and ablate.redrawn.STUDY; ${ablate.unique:}", []),
        (
            "`ablate.specs.ModelSpec`, ablate.stats.verdicts.no_such_name.",
            ["ablate.specs.ModelSpec", "ablate.stats.verdicts.no_such_name"],
        ),
        ("`models/spec.py`, `tests/unit/test_docs.py`, data/sources/NAME.py, conf/data/mine.yaml", []),
        (
            "`models/specs.py`, docs/gone.md, ablate/rendering.py",
            ["models/specs.py", "docs/gone.md", "ablate/rendering.py"],
        ),
    ],
)
def test_docs_names_that_are_gone_are_found(line, stale):
    assert _stale(line) == stale


def test_docs_name_modules_and_files_that_there_are():
    programs = [
        file for folder in ("ablate", "analysis", "benchmarks", "tests") for file in (ROOT / folder).rglob("*.py")
    ]
    settings = [file for folder in ("conf", "sweeps") for file in (ROOT / folder).rglob("*.yaml")]
    files = [file for file in (*PAGES, *programs, *settings) if not str(file.relative_to(ROOT)).startswith(LEFT_OUT)]
    stale = [
        f"{file.relative_to(ROOT)}:{number}: {name}"
        for file in files
        for number, line in _said(file)
        for name in _stale(line)
    ]
    assert len(files) > 300 and not stale, "name what there is:\n" + "\n".join(stale)
