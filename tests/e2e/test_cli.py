"""The real command line: what it lists, and what a wrong word is told."""

import contextlib
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from ablate.config.compose import compose, to_config
from ablate.models import save_weights
from ablate.models.classifier import build


def ablate(*words, cwd, timeout=300, encoding=None, **env):
    """Runs ``python -m ablate`` in a folder of its own, as a user would."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
    return subprocess.run(
        [sys.executable, "-m", "ablate", *words],
        cwd=cwd, env=clean | env, capture_output=True, text=True, timeout=timeout,
        encoding=encoding,
    )  # fmt: skip


def test_help_lists_verbs_groups_axes_and_sweeps(tmp_path):
    result = ablate("--help", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for word in ("report", "models", "mnist5k", "cct_7_3x1", "seqpool", "pe_type", "Which family still needs"):
        assert word in result.stdout


def test_models_lists_parameters_and_macs_of_a_pattern(tmp_path):
    result = ablate("models", "cct_7_3x1_32*", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    row = next(line for line in result.stdout.splitlines() if line.split()[:1] == ["cct_7_3x1_32"])
    assert "3,760,139" in row and "1,181,616,640" in row
    assert "vit_" not in result.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["fly"], "verb must be one of train, plan, report, export, import, "),
        (["reprot", "pe_type"], "Did you mean report"),
        (["modle=cct_2_3x2"], "Did you mean model?"),
        (["model=cct_2_3y2"], "Any vit_L_P, cvt_L_P, cct_L_PxC, cct_keras_L_PxC, [seed_]manifold_vit_L_P, "),
        (["data=mnist5"], "data must be one of"),
        (["model.positonal=none"], "Did you mean positional?"),
        (["model.positional=sinus"], "model.positional must be one of learnable, sine, none"),
        (["train.epochs=many"], "train.epochs must be of type int, got 'many'"),
        (["train.select=first"], "train.select must be one of best, last"),
        (["train.epochs 3"], "verb must be one of"),
        (["+sweep=pe_typ"], "Did you mean pe_type?"),
        (["+sweep=pe_type", "train.lr=high"], "train.lr must be of type float"),
        (["model.heads=3"], "model.dim must be divisible by model.heads"),
        (["data=folder"], "data.root must name a folder or a zip"),
        (["data=folder", "data.root=nowhere"], "nowhere"),
        (["plugins=[no_such_module]"], "no_such_module"),
        (["+sweep=pe_type", "model.positional=sinus"], "model.positional must be one of learnable, sine, none"),
        (["+sweep=pe_type", "sweep.seeds=0"], "count of at least 1"),
        (["report", "nothing_here"], "there are no records at sqlite:///mlflow.db"),
        (["report"], "name of a sweep"),
        (["models", "a", "b"], "got 'b' as well"),
        (["models", "cct_7_3x_32"], "Did you mean cct_7_3x"),
        (
            ["verify", "gold"],
            "a part of verify must be one of published, variants, golden, training, manifold, manifold_golden; got",
        ),
    ],
)
def test_wrong_words_are_told_the_right_ones_in_one_sentence_with_exit_code_2(tmp_path, words, expected):
    result = ablate(*words, cwd=tmp_path)
    assert result.returncode == 2, result.stdout + result.stderr
    assert expected in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr


def test_plan_lists_points_and_costs_and_trains_nothing(tmp_path):
    result = ablate("plan", "+sweep=pe_type", "model.positional=none", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    rows = [line.split() for line in result.stdout.splitlines() if line.strip().startswith(("vit_2_4 ", "cct_2_3x2 "))]
    assert rows == [
        ["vit_2_4", "none", "202,250", "11,212,032", "50"],
        ["cct_2_3x2", "none", "274,379", "25,779,200", "49"],
    ]
    assert "9 runs of 4 epochs" in result.stdout
    assert not list(tmp_path.iterdir())


def test_light_commands_start_in_under_two_seconds_of_processor_time(tmp_path):
    """Not a benchmark: a generous bound that an import of TensorFlow (7 s) or MLflow cannot meet."""
    for words in (["--help"], ["models"], ["plan", "+sweep=pe_type"]):
        before = os.times()
        ablate(*words, cwd=tmp_path)
        after = os.times()
        assert after.children_user - before.children_user < 4.0, words


def test_cfg_shows_the_configuration_and_trains_nothing(tmp_path):
    start = time.monotonic()
    result = ablate("model=cvt_5_4", "--cfg", "job", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "tokenizer: patch" in result.stdout and "layers: 5" in result.stdout
    assert not (tmp_path / "mlflow.db").exists()
    assert time.monotonic() - start < 60


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder closed even to root")
def test_a_working_directory_that_cannot_be_written_to_is_one_sentence():
    result = ablate("model=tiny", "data=digits", cwd="/proc", PYTHONPATH=str(Path(__file__).parents[2]))
    assert result.returncode == 2
    assert result.stderr.startswith("ablate: the working directory must be one that can be written to")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("encoding", ["ascii", "cp936"])
def test_a_terminal_of_any_encoding_can_be_printed_to(tmp_path, encoding):
    for words in (["--help"], ["plan", "+sweep=pe_type", "train.lr=[0.1]"], ["report", "nothing_here"]):
        result = ablate(*words, cwd=tmp_path, encoding=encoding, PYTHONIOENCODING=encoding)
        assert result.returncode == (0 if words == ["--help"] else 2) and "codec" not in result.stderr
    assert "python -m ablate [VERB [NAME]] key=value" in ablate("--help", cwd=tmp_path, PYTHONIOENCODING="ascii").stdout


SWEEP = """
question: Is ± read as plus or minus?
base: {model: tiny, data: digits, data.per_class: 20, train.epochs: 1}
axes: {model.positional: [learnable, none]}
seeds: 2
"""


@pytest.mark.full
def test_a_sweep_ends_on_record_when_its_reader_leaves_and_its_table_is_read_in_ascii(tmp_path):
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "mine.yaml").write_text(SWEEP, "utf-8")
    command = [sys.executable, "-m", "ablate", "+sweep=mine"]
    env = os.environ | {"PYTHONIOENCODING": "ascii"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=tmp_path, env=env, text=True, **streams) as running:
        assert running.stdout.readline() == "sweep mine: Is +/- read as plus or minus?\n"
        running.stdout.close()
        assert "the work goes on" in running.stderr.read()
    assert running.returncode == 0
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        assert database.execute("select status, count(*) from runs group by status").fetchall() == [("FINISHED", 5)]
    again = ablate("+sweep=mine", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert again.returncode == 0 and "mean +/- 95 % interval" in again.stdout, again.stderr


NAMED = """
question: Is 中 → ± read as plus or minus?
base: {model: tiny, data: digits, data.per_class: 20, train.epochs: 1, model.weights: two.safetensors}
axes: {model.weights_key: [größe, 名]}
seeds: 2
"""


@pytest.mark.full
@pytest.mark.timeout(600)
def test_workers_and_what_reads_their_records_need_no_utf8(tmp_path):
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "mine.yaml").write_text(NAMED, "utf-8")
    model = build(to_config(compose(["model=tiny"])).model, (8, 8, 1), 10)
    save_weights(model, tmp_path / "one.safetensors")
    state = load_file(tmp_path / "one.safetensors")
    both = {f"{key}.{name}": (1 + n) * array for n, key in enumerate(("größe", "名")) for name, array in state.items()}
    save_file(both, tmp_path / "two.safetensors")
    slurm = ["engine=slurm", "engine_options={cluster:local}", "fresh=true"]
    for encoding, words, said in (
        ("ascii", ["+sweep=mine", "workers=2"], "mean +/- 95 % interval"),
        ("cp936", ["+sweep=mine", "workers=2", *slurm], "mean ± 95 % interval"),
        ("ascii", ["report", "mine"], "mean +/- 95 % interval"),
        ("cp1252", ["report", "mine"], "mean ± 95 % interval"),
        ("ascii", ["export", "mine"], "4 runs of study"),
        ("ascii", ["report", "mine.jsonl", "format=html"], "</html>"),
        ("cp936", ["report", "mine.jsonl", "format=md", "out=mine.md"], ""),
        ("ascii", ["import", "mine.jsonl"], "0 runs of study"),
        ("cp1252", ["tables", "records=.", "out=tables"], "pages in tables"),
    ):
        env = {"PYTHONIOENCODING": encoding, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        result = ablate(*words, cwd=tmp_path, encoding=encoding, **env)
        assert result.returncode == 0 and said in result.stdout, (words, result.stdout, result.stderr)
        assert "Traceback" not in result.stdout + result.stderr and "codec" not in result.stdout + result.stderr
    logs = [path.read_bytes() for path in (tmp_path / "outputs").rglob("*") if path.suffix in (".log", ".out", ".err")]
    assert len(logs) >= 6 and not any(b"Traceback" in log or b"codec" in log for log in logs)
    labels = [rb"gr\xf6\xdfe s1: val ", "名 s1: val ".encode("cp936")]  # the jobs' screens print the points' names
    assert all(any(label in log for log in logs) for label in labels), logs
    assert "mean ± 95 % interval" in (tmp_path / "mine.md").read_text("utf-8")


ASKED = """
import sys
from ablate.cli import main as cli
try:
    cli.main(sys.argv[1:])
except SystemExit as stop:
    print(stop.code, [name for name in ("keras", "tensorflow") if name in sys.modules])
"""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tracking.uri=http://127.0.0.1:9"], "must answer"),
        (["+sweep=pe_type", "tracking.uri=http://127.0.0.1:9"], "must answer"),
        (
            ["tracking.uri=sqlite:////proc/none/mlflow.db"],
            "store sqlite:////proc/none/mlflow.db must be usable",
        ),
        (["+sweep=pe_type", "study.storage=sqlite:////proc/none/queue.db"], "study.storage must be a database that"),
    ],
)
def test_a_store_or_queue_that_is_not_there_is_told_before_tensorflow_is_imported(tmp_path, words, said):
    command = [sys.executable, "-c", ASKED, *words, "model.dropout=0.1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert said in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stdout.splitlines()[-1] == "2 []"
    assert not list(tmp_path.glob("*.db"))
