"""The paper's ablations, and what finished runs are worth to later sweeps: at a tiny budget, read from their tables."""

import csv
import io

import pytest

from ablate.tracking import TrackingSpec, list_studies, read_runs
from tests.e2e.test_cli import ablate

SMALL = "base: {model: tiny, data: digits, train.epochs: 1, tracking.log_model: false}\n"


def _runs(folder):
    runs = read_runs(TrackingSpec(uri=f"sqlite:///{folder}/mlflow.db"), parts=("tags", "params"))
    return runs[runs["tags.ablate.role"] == "run"]


def _table(folder, name):
    result = ablate("report", name, "format=csv", cwd=folder)
    assert result.returncode == 0, result.stderr
    return list(csv.DictReader(io.StringIO(result.stdout)))


def _write(folder, name, text):
    (folder / "sweeps").mkdir(exist_ok=True)
    (folder / "sweeps" / f"{name}.yaml").write_text(SMALL + text)


@pytest.mark.full
def test_a_finished_run_serves_every_sweep_that_needs_it_and_counts_once_in_each(tmp_path):
    _write(tmp_path, "first", "axes: {model.pooling: [seqpool, mean]}\nseeds: 1\nrepeats: {0: 2}")
    _write(tmp_path, "second", "axes: {model.positional: [learnable, none], model.pooling: [seqpool]}\nseeds: 2")
    assert ablate("+sweep=first", cwd=tmp_path).returncode == 0
    assert len(_runs(tmp_path)) == 4  # two levels, one seed, run twice each
    assert "already finished: 1 of 4 points" in ablate("plan", "+sweep=second", cwd=tmp_path).stdout
    done = ablate("+sweep=second", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    runs = _runs(tmp_path)
    assert len(runs) == 7 and "finished already, by run" in done.stdout
    first, second = _table(tmp_path, "first"), _table(tmp_path, "second")
    assert [row["n"] for row in first] == ["1", "1"] and [row["n"] for row in second] == ["2", "2"]
    shared = set(" ".join(row["run_ids"] for row in first).split()) & set(second[0]["run_ids"].split())
    assert len(shared) == 1 and second[0]["not_run"] == "0"

    again = ablate("+sweep=second", "fresh=true", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert len(_runs(tmp_path)) == 11
    assert not set(_table(tmp_path, "second")[0]["run_ids"].split()) & set(runs["run_id"])


TINY = {"data": "digits", "train.epochs": "1", "train.batch_size": "256", "tracking.log_model": "false", "workers": "1"}
PAPER = {  # sweep -> (overrides that keep it tiny, rows of its table, runs behind a row)
    "pe_type": (["model=cct_2_3x1", "seed=0"], 3, 1),
    "pooling": (["model=vit_2_4", "seed=0"], 3, 1),
    "tokenizer": (["seed=0"], 4, 1),
    "depth": (["model.layers=1", "model.dim=32", "seed=0"], 1, 1),
    "kernel": (["model=cvt_2_4", "seed=0", "data.image_size=28"], 3, 1),
    "convs": (["model.dim=32", "seed=0"], 3, 1),
    "variants": (["model=cct_2_3x2", "seed=0"], 1, 1),
    "data_size": (["model=vit_2_4", "data.per_class=20", "train.batch_size=64", "seed=0"], 1, 1),
    "resolution": (["model.positional=none", "seed=0", "model.dim=32"], 4, 1),
    "augmentation": (["model=cvt_2_4", "seed=0"], 3, 1),
    "augmentation_parts": (["model=tiny", "seed=0"], 7, 1),
    "noise_floor": (["model=tiny"], 1, 10),
    "attention": (["model=vit_2_4", "model.dim=32", "seed=0"], 9, 1),
    "block": (["model.dim=32", "seed=0"], 9, 1),
    "positional_all": (["model=vit_2_4", "model.dim=32", "seed=0"], 7, 1),
}


def test_every_sweep_of_ours_names_its_question_and_composes():
    from ablate.config.files import sweep_files
    from ablate.sweep.plan import make_plan
    from ablate.tasks.classify.paper import TABLES

    own_files = {"finetune"}  # of weights and images, which the command line has to name
    for name in set(sweep_files()) - own_files:
        plan = make_plan([f"+sweep={name}"])
        assert plan.sweep.question.endswith("?") and plan.points, name
        assert plan.sweep.table in ("", *TABLES), name


@pytest.mark.full
@pytest.mark.parametrize("name", PAPER)
def test_a_sweep_of_the_papers_fills_its_table(name, tmp_path):
    words, rows, runs = PAPER[name]
    given = {word.split("=")[0] for word in words}
    small = [f"{key}={value}" for key, value in TINY.items() if key not in given]
    done = ablate(f"+sweep={name}", *small, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout
    table = _table(tmp_path, name)
    assert [row["n"] for row in table] == [str(runs)] * rows, table
    for row in table:
        assert (
            0 < float(row["mean"]) < 100 and int(row["params"]) > 0 and int(row["macs"]) > 0 and row["not_run"] == "0"
        )
    if name in ("pooling", "depth", "kernel", "convs", "resolution"):
        assert len({(row["params"], row["macs"]) for row in table}) == rows  # what is varied costs differently
    if name == "noise_floor":
        assert "4 repeats of model=tiny seed=0" in ablate("report", name, cwd=tmp_path).stdout


SEARCH = """
question: Which rate, and which pooling?
method: {method}
n_trials: {trials}
seeds: {seeds}
{more}
axes:
  model.pooling: [seqpool, mean]
  train.lr: {{low: 1.0e-3, high: 3.0e-2, log: true}}
"""


@pytest.mark.full
def test_tuned_gives_every_level_its_trials_and_tables_its_winner_on_fresh_seeds(tmp_path):
    _write(tmp_path, "fair", SEARCH.format(method="tuned", trials=2, seeds=2, more=""))
    assert ablate("+sweep=fair", "workers=2", cwd=tmp_path).returncode == 0
    assert len(_runs(tmp_path)) == 2 * 2 + 2 * 2
    assert [(row["pooling"], row["n"]) for row in _table(tmp_path, "fair")] == [("seqpool", "2"), ("mean", "2")]
    said = ablate("report", "fair", cwd=tmp_path).stdout
    assert "seqpool was tuned to train.lr=" in said and "2 trials of each level, none of which is in a mean" in said
    assert ablate("+sweep=fair", cwd=tmp_path).returncode == 0 and len(_runs(tmp_path)) == 8


@pytest.mark.full
def test_a_search_that_is_resumed_counts_every_trial_once_and_tables_the_best(tmp_path):
    _write(tmp_path, "best", SEARCH.format(method="optuna", trials=3, seeds=1, more="pruner: median"))
    assert ablate("+sweep=best", cwd=tmp_path).returncode == 0
    assert ablate("+sweep=best", cwd=tmp_path).returncode == 0
    assert len(_runs(tmp_path)) == 3
    values = [float(row["val_top1_percent"]) for row in _table(tmp_path, "best")]
    assert values == sorted(values, reverse=True) and len(values) == 3


@pytest.mark.full
def test_a_trial_that_draws_what_another_had_drawn_is_not_trained_again(tmp_path):
    few = "method: optuna\nsampler: random\nn_trials: 5\naxes: {model.pooling: [seqpool, mean]}"
    _write(tmp_path, "few", few)
    done = ablate("+sweep=few", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    runs = _runs(tmp_path)
    trained = runs["params.model.pooling"].nunique()
    assert len(runs) == len(_table(tmp_path, "few")) == trained <= 2
    assert done.stdout.count("which serves here too") == 5 - trained
    said = f"5 trials ({5 - trained} drawn again and not trained twice, {trained} finished)"
    assert said in ablate("report", "few", cwd=tmp_path).stdout
    assert list_studies(TrackingSpec(uri=f"sqlite:///{tmp_path}/mlflow.db"))[0].finished == 5
    again = ablate("+sweep=few", cwd=tmp_path)
    assert again.returncode == 0 and len(_runs(tmp_path)) == trained


@pytest.mark.full
def test_a_front_holds_no_trial_that_another_one_beats(tmp_path):
    both = "objective: [final.val_top1_percent, {metric: cost.macs, direction: minimize}]\nsampler: nsga2"
    _write(tmp_path, "front", SEARCH.format(method="optuna", trials=5, seeds=1, more=both))
    done = ablate("+sweep=front", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = [(float(row["val_top1_percent"]), -int(row["macs"])) for row in _table(tmp_path, "front")]
    assert found and not any(one != two and one[0] >= two[0] and one[1] >= two[1] for one in found for two in found)
