"""The words of the record stand in one file: elsewhere in the package they are names, and tests spell them out."""

import ast
import re
from pathlib import Path

import ablate
from ablate.tracking import names

PACKAGE = Path(ablate.__file__).parent
WORDS = {name: value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)}
TAGS = {value for value in WORDS.values() if value.startswith(("ablate.", "mlflow.", "level."))}
METRICS = {value for value in WORDS.values() if value.startswith(("final.", "cost.", "train/", "val/", "test/"))}
COLUMNS = tuple(value for name, value in WORDS.items() if name.endswith("_COLUMN"))
OUTCOMES = {names.RUNNING, *names.MLFLOW_STATUS, names.MLFLOW_RUNNING, *names.MLFLOW_STATUS.values()}

MODULES = {names.MLFLOW, names.DATA}  # which is also how modules' names begin
PREFIXES = tuple(word for word in sorted((TAGS | METRICS) - MODULES) if word.endswith("."))
WHOLE = re.compile(
    "|".join(rf"(?<![\w.]){re.escape(word)}(?!\w)" for word in sorted(TAGS | METRICS) if word[-1] != ".")
)

ELSEWHERE = {
    "design/search.py": "what a search may select by; design imports no tracking",
    "design/sweep.py": "what a search selects by where its file names nothing; design imports no tracking",
    "training/history.py": "a training's own words for how it ended; training imports no tracking",
    "training/loop.py": "a training's own words for how it ended; training imports no tracking",
}
"""Files that say words of the record themselves, and why."""
OTHER_OUTCOMES = {
    "report/sources/foreign.py": "words by which others' tables say how a run ended",
    "sweep/crew.py": "keys of the messages that a worker sends",
    "sweep/leader.py": "names of a queue's counts",
    "sweep/queue.py": "names of a queue's counts",
}
"""Files in which a word that is also an outcome stands for something else, and for what."""


def _literals(path: Path) -> list[str]:
    """Texts of a file, bytes and pieces of f-strings included and docstrings left out."""
    tree = ast.parse(path.read_text("utf-8"))
    docs = {
        node.value for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    found = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and node not in docs]
    return [
        each if isinstance(each, str) else each.decode("latin-1") for each in found if isinstance(each, str | bytes)
    ]


def _says_a_word(text: str, *, outcomes: bool = True) -> bool:
    return bool(WHOLE.search(text)) or text.startswith((*COLUMNS, *PREFIXES)) or (outcomes and text in OUTCOMES)


def test_names_are_the_only_place_that_spells_a_word_of_the_record():
    wrong = [
        f"{name}: {text}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if (name := path.relative_to(PACKAGE).as_posix()) not in {"tracking/names.py", *ELSEWHERE}
        for text in _literals(path)
        if _says_a_word(text, outcomes=name not in OTHER_OUTCOMES)
    ]
    assert not wrong, "\n".join(wrong)


def test_names_say_each_word_once():
    assert len(set(WORDS.values())) == len(WORDS)


def test_names_are_spelled_by_every_file_that_may_do_so():
    for name in ELSEWHERE | OTHER_OUTCOMES:
        assert any(map(_says_a_word, _literals(PACKAGE / name))), name
