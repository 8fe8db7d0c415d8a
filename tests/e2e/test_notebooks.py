"""Notebooks: the two forms hold the same code, and each runs headlessly, on the records here and on a sweep's store."""

import ast
import itertools
import resource
from pathlib import Path

import pytest

from ablate.report.sources import records
from ablate.report.sources.studies import to_store
from ablate.tracking import TrackingSpec
from tests.e2e.test_cli import ablate

jupytext = pytest.importorskip("jupytext", reason="the extra `test` brings jupytext")

FOLDER = Path(__file__).parents[2] / "analysis"
TEXTS = sorted(FOLDER.glob("*.py"))
INSIDE = FOLDER / "seqpool.py"
"""Looks inside a model; the others read records."""
each = pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.stem)
each_of_records = pytest.mark.parametrize(
    "text", [text for text in TEXTS if text != INSIDE], ids=lambda path: path.stem
)


def _cells(path):
    return [(cell.cell_type, cell.source, cell.metadata.get("tags", [])) for cell in jupytext.read(path).cells]


def _outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def _figures(notebook):
    return [output for output in _outputs(notebook) if "image/png" in output.get("data", {})]


def _said(notebook):
    """Text of all outputs, tables among them, pictures left out; what is printed on end may arrive in parts."""
    told = []
    for cell in notebook.cells:
        for printed, outputs in itertools.groupby(cell.get("outputs", []), key=lambda each: each.get("name")):
            if printed:
                told.append("".join(output["text"] for output in outputs))
            else:
                data = [output.get("data", {}) for output in outputs]
                told += [each.get("text/markdown") or each.get("text/plain") for each in data]
    return told


def _run(text, out, parameters, cwd):
    import papermill

    papermill.execute_notebook(
        text.with_suffix(".ipynb"), out, parameters, kernel_name="python3", cwd=cwd, progress_bar=False
    )
    return jupytext.read(out)


@each
def test_notebook_holds_what_its_text_says(text):
    assert _cells(text.with_suffix(".ipynb")) == _cells(text)


@each
def test_notebook_defines_no_function_and_has_one_cell_of_parameters(text):
    defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
    assert not [node for node in ast.walk(ast.parse(text.read_text("utf-8"))) if isinstance(node, defined)]
    assert [tags for *_, tags in _cells(text) if tags] == [["parameters"]]


@each
def test_notebook_was_run_from_its_first_cell_to_its_last_without_noise(text):
    notebook = jupytext.read(text.with_suffix(".ipynb"))
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert _figures(notebook)
    assert not [o for o in _outputs(notebook) if o.get("name") == "stderr" or o.output_type == "error"]


@pytest.mark.full
@each_of_records
def test_notebook_says_what_the_records_here_say_within_30_seconds(text, tmp_path):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = _run(text, tmp_path / "out.ipynb", {}, FOLDER)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    kept = jupytext.read(text.with_suffix(".ipynb"))
    assert _said(done) == _said(kept), "records or functions have changed: make notebooks"
    assert len(_figures(done)) == len(_figures(kept))
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 30  # of a core, other work left out


@each_of_records
def test_notebook_reads_what_its_parameters_name_alone(text):
    cells = _cells(text)
    (parameters,) = (source for _, source, tags in cells if tags == ["parameters"])
    named = [target.id for node in ast.parse(parameters).body for target in node.targets]
    assert named[:3] == ["records", "tracking_uri", "study"]
    code = "\n".join(source for kind, source, tags in cells if kind == "code" and not tags)
    assert "studies = gather(records, tracking_uri, study)\n" in code and "docs/records" not in code


@pytest.mark.full
@pytest.mark.parametrize("name", ["pareto", "tokenizer"])  # a search, and points side by side
def test_notebook_takes_a_store_and_a_name_without_an_edit(name, tmp_path):
    (path,) = (FOLDER.parent / "docs" / "records").glob(f"{name}-mnist5k.jsonl")
    where = TrackingSpec(uri=f"sqlite:///{tmp_path}/mlflow.db", spool=str(tmp_path / "spool"))
    assert to_store(records.read(path), where)
    own = {"tracking_uri": where.uri, "study": name, "records": ["nothing-*.jsonl"]}
    text = FOLDER / f"{name}.py"
    done, kept = _run(text, tmp_path / "out.ipynb", own, FOLDER), jupytext.read(text.with_suffix(".ipynb"))
    assert 0 < len(_figures(done)) <= len(_figures(kept))
    told = "\n".join(_said(done))
    assert f"| {name}-" in told or f"{name} on mnist5k: early training" in told


@pytest.mark.full
def test_notebook_of_a_model_runs_on_a_run_and_on_a_model_file(tmp_path):
    trained = ablate(
        "model=tiny", "data=digits", "train.epochs=2", "train.lr=3e-3", "train.batch_size=64", cwd=tmp_path
    )
    assert trained.returncode == 0, trained.stderr
    (model,) = tmp_path.glob("**/artifacts/model.keras")
    of_run = {"tracking_uri": f"sqlite:///{tmp_path}/mlflow.db"}
    of_file = {"model_file": str(model), "words": ["model=tiny", "data=digits"]}
    for number, parameters in enumerate((of_run, of_file)):
        done = _run(INSIDE, tmp_path / f"{number}.ipynb", parameters, tmp_path)
        assert len(_figures(done)) >= 3
        assert "4x4 tokens, seqpool" in str(done)


@pytest.mark.full
@pytest.mark.parametrize(
    ("text", "parameters", "said"),
    [
        (INSIDE, {"tracking_uri": "sqlite:///none.db"}, "there are no records at sqlite:///"),
        (FOLDER / "curves.py", {"records": ["none-*.jsonl"]}, "records must name files that python -m ablate export"),
    ],
)
def test_notebook_names_what_is_missing(text, parameters, said, tmp_path):
    import papermill

    with pytest.raises(papermill.PapermillExecutionError, match=said):
        _run(text, tmp_path / "out.ipynb", parameters, tmp_path)
