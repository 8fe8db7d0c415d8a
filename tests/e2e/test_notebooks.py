"""Notebooks: the two forms hold the same code, and each runs headlessly on a model that is trained here."""

import ast
from pathlib import Path

import pytest

from tests.e2e.test_cli import ablate

jupytext = pytest.importorskip("jupytext", reason="the extra `test` brings jupytext")

FOLDER = Path(__file__).parents[2] / "analysis"
TEXTS = sorted(FOLDER.glob("*.py"))
pytestmark = pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.stem)


def _cells(path):
    return [(cell.cell_type, cell.source, cell.metadata.get("tags", [])) for cell in jupytext.read(path).cells]


def test_notebook_holds_what_its_text_says(text):
    assert _cells(text.with_suffix(".ipynb")) == _cells(text)


def test_notebook_defines_no_function_and_has_one_cell_of_parameters(text):
    defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
    assert not [node for node in ast.walk(ast.parse(text.read_text("utf-8"))) if isinstance(node, defined)]
    assert [tags for *_, tags in _cells(text) if tags] == [["parameters"]]


def test_notebook_was_run_from_its_first_cell_to_its_last_without_noise(text):
    cells = [cell for cell in jupytext.read(text.with_suffix(".ipynb")).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output.get("name") == "stderr" or output.output_type == "error"]


@pytest.mark.full
def test_notebook_runs_on_a_run_and_on_a_model_file(text, tmp_path):
    import papermill

    trained = ablate(
        "model=tiny", "data=digits", "train.epochs=2", "train.lr=3e-3", "train.batch_size=64", cwd=tmp_path
    )
    assert trained.returncode == 0, trained.stderr
    (model,), source = tmp_path.glob("**/artifacts/model.keras"), text.with_suffix(".ipynb")
    of_run = {"tracking_uri": f"sqlite:///{tmp_path}/mlflow.db"}
    of_file = {"model_file": str(model), "words": ["model=tiny", "data=digits"]}
    for number, parameters in enumerate((of_run, of_file)):
        out = tmp_path / f"{number}.ipynb"
        papermill.execute_notebook(source, out, parameters, kernel_name="python3", cwd=tmp_path, progress_bar=False)
        done = jupytext.read(out)
        figures = [o for cell in done.cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
        assert len(figures) >= 3
        assert "4x4 tokens, seqpool" in str(done)


@pytest.mark.full
def test_notebook_names_what_is_missing(text, tmp_path):
    import papermill

    with pytest.raises(papermill.PapermillExecutionError, match="there are no records at sqlite:///"):
        papermill.execute_notebook(
            text.with_suffix(".ipynb"), None, {"tracking_uri": f"sqlite:///{tmp_path}/none.db"},
            kernel_name="python3", cwd=tmp_path, progress_bar=False,
        )  # fmt: skip
