"""Markdown pages: what is asked of every table in them, so that a row can be read at a glance."""

import re
from pathlib import Path

import pytest

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
