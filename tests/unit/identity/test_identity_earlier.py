"""Runs and studies that an earlier version recorded count as today's as long as the code computes what it did."""

import ast
import json
import shutil
from dataclasses import replace

import pytest

from ablate import identity
from ablate.config.compose import compose, to_config
from ablate.identity.code import PACKAGE, own_statements, statements
from ablate.identity.earlier import TABLE, earlier_versions, write
from ablate.sweep.plan import make_plan
from ablate.tasks.classify.same_code import reached
from tests.assets.f6fe46a.make import ALONE
from tests.assets.restore import recorded, restore

(F6FE46A,) = earlier_versions()


@pytest.fixture
def versions(monkeypatch):
    """Those of the records, whatever is installed: they are part of an identity."""
    monkeypatch.setattr("ablate.identity.earlier.versions", lambda backend: recorded()["versions"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return restore(tmp_path_factory.mktemp("earlier"))


def test_table_of_earlier_versions_knows_the_code_at_hand():
    """As long as it does, whoever changes code says whether results are still the same."""
    unknown = reached() - F6FE46A.code - F6FE46A.others
    assert not unknown, (
        f"{len(unknown)} statements that runs reach are not in {TABLE.name}: if all results are bit for bit what they "
        "were (make test passes, tests/golden among them), run `python -m ablate.tasks.classify.same_code`; if not, "
        "add the word differs, and runs of earlier versions that reach a new statement count no more."
    )


def test_table_names_the_sources_of_the_records():
    assert F6FE46A.commit == recorded()["commit"][:7] and F6FE46A.sources == recorded()["sources"]


def names(spec, table=F6FE46A):
    return table.settings(spec.leaves(), spec.defaults(), code=spec.code("tensorflow"), backend="tensorflow")


def test_earlier_settings_and_cell_are_those_that_were_recorded(versions):
    (alone,) = [run for run in recorded()["runs"] if run["role"] == "run" and "study" not in run]
    spec = to_config(compose(list(ALONE))).point()
    assert names(spec) == alone["settings"]
    assert identity.identity(names(spec), alone["data.digest"]) == alone["identity"]
    assert F6FE46A.cell(spec.leaves(), spec.defaults()) == alone["cell"]
    told = identity.known_settings(spec.leaves(), spec.defaults(), code=spec.code("tensorflow"), backend="tensorflow")
    assert told[1:] == [alone["settings"]] != told[:1]


@pytest.mark.parametrize("sweep", ["pooling_small", "positional_small", "search_small"])
def test_study_that_an_earlier_version_began_goes_on(folder, monkeypatch, versions, sweep):
    monkeypatch.chdir(folder)
    plan = make_plan([f"+sweep={sweep}"])
    assert plan.study in {run.get("study") for run in recorded()["runs"]}
    kept = {run["settings"] for run in recorded()["runs"] if run.get("study") == plan.study and "settings" in run}
    if sweep != "search_small":  # whose points are drawn when they start
        assert kept <= {names(planned.spec) for planned in plan.points}
    (folder / "mlflow.db").rename(folder / "away.db")
    try:
        assert make_plan([f"+sweep={sweep}"]).study != plan.study
    finally:
        (folder / "away.db").rename(folder / "mlflow.db")


def test_run_has_no_earlier_name_once_it_reaches_other_code(versions):
    sine, learnable = (to_config(compose(["model=tiny", "data=digits", f"model.positional={name}"])).point()
                       for name in ("sine", "learnable"))  # fmt: skip
    of_sine = own_statements(sine.code("tensorflow")) - own_statements(learnable.code("tensorflow"))
    changed = replace(F6FE46A, code=F6FE46A.code - of_sine)
    assert names(sine, changed) is None and names(sine) is not None
    assert names(learnable, changed) == names(learnable) is not None


def test_run_has_an_earlier_name_as_long_as_it_sets_nothing_new():
    spec = to_config(compose(["model=tiny", "data=digits"])).point()
    new = {"train.lookahead": 0, "model.options.pooling.later": False}
    told = F6FE46A.definition({**spec.leaves(), **new}, {**spec.defaults(), **new})
    assert told == F6FE46A.definition(spec.leaves(), spec.defaults()) is not None
    assert F6FE46A.definition({**spec.leaves(), **new, "train.lookahead": 5}, {**spec.defaults(), **new}) is None


def test_code_of_an_earlier_commit_is_other_where_an_operator_differs(tmp_path):
    """The table would not hide a change: a layer of another operator is in neither of its lists."""
    shutil.copytree(PACKAGE, tmp_path / "ablate", ignore=shutil.ignore_patterns("reference", "__pycache__"))
    path = tmp_path / "ablate" / "models" / "numerics.py"
    tree = ast.parse(path.read_text("utf-8"))
    next(node for node in ast.walk(tree) if isinstance(node, ast.BinOp)).op = ast.Mod()
    path.write_text(ast.unparse(tree), "utf-8")
    code = to_config(compose(["model=tiny", "data=digits"])).point().code("tensorflow")
    assert statements(code) <= F6FE46A.code
    assert not statements(code, tmp_path / "ablate") <= F6FE46A.code | F6FE46A.others


def test_table_is_written_for_code_that_is_the_same_and_for_code_that_differs(tmp_path):
    table = tmp_path / "earlier.json"
    table.write_text(json.dumps({"a": {"code": ["1", "2"], "others": ["3"]}}))
    write(frozenset({"1", "3", "4"}), same=False, file=table)
    assert json.loads(table.read_text()) == {"a": {"code": ["1"], "others": ["3", "4"]}}
    write(frozenset({"1", "3", "4", "5"}), same=True, file=table)
    assert json.loads(table.read_text()) == {"a": {"code": ["1", "5"], "others": ["3", "4"]}}
