"""Runs that others made, as a study: a CSV file of theirs, an MLflow experiment."""

import gzip
import json
import math
import re

import numpy as np
import pytest
from scipy import stats

from ablate.cli import main as cli
from ablate.config.compose import compose_report
from ablate.config.overrides import ConfigError
from ablate.report import Reading, records_table, render, report_records
from ablate.report.pages import html
from ablate.report.sources import foreign, records, studies


def _csv(path, extra=""):
    rng = np.random.default_rng(0)
    rows = [
        f"{opt},{sched},{seed},{80 + 6 * (opt == 'adamw') + rng.normal(0, 0.5):.3f}"
        for opt in ("sgd", "adamw")
        for sched in ("cosine", "step")
        for seed in (11, 12, 13, 14)
    ]
    path.write_text("optimizer,schedule,seed,accuracy\n" + "\n".join(rows) + "\n" + extra)
    return path


def _opened(*words):
    return studies.opened(None, compose_report(list(words)))


def test_runs_of_pytorch_in_a_csv_get_table_and_verdicts(tmp_path):
    path = _csv(tmp_path / "runs.csv", "adamw,step,15,nan\n")
    found = _opened(f"source={path}", "factor=[optimizer,schedule]", "value=accuracy", "seed=seed")
    text = report_records(found, reading=Reading("accuracy", margin=2.0))
    lines = [line.split() for line in text.splitlines()]
    assert ["optimizer,", "against", "sgd"] in lines
    kinds = {tuple(line[:3]): line[3] for line in lines if len(line) > 4 and line[1] == "at"}
    assert kinds[("adamw", "at", "cosine")] == "helps" and kinds[("step", "at", "sgd")] == "equivalent"
    assert "1 diverged" in text and "17 runs" in text and "epochs" not in text.splitlines()[1]


def test_a_baseline_and_a_single_factor_can_be_named(tmp_path):
    path = _csv(tmp_path / "runs.csv")
    found = _opened(f"source={path}", "factor=optimizer", "value=accuracy", "baseline.optimizer=adamw")
    assert found.definition["baseline"] == {"optimizer": "adamw"} and found.definition["seeds"] == list(range(8))
    assert "hurts" in report_records(found, reading=Reading("accuracy"))


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """Words for a store that MLflow's own client made: two rates, three seeds, a parent, runs that came to nothing."""
    import mlflow

    uri = f"sqlite:///{tmp_path_factory.mktemp('theirs')}/theirs.db"
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("theirs")

    def run(lr=None, seed=None, metrics=(), status="FINISHED"):
        run_id = client.create_run(experiment).info.run_id
        for name, value in (("lr", lr), ("seed", seed)):
            if value is not None:
                client.log_param(run_id, name, value)
        for value in metrics:
            client.log_metric(run_id, "acc", value)
        client.set_tag(run_id, "host", "one")
        client.set_terminated(run_id, status)
        return run_id

    run()  # the parent of the others
    ids = [run(lr, seed, [70 + 10 * (lr == "0.01") + 0.1 * seed]) for lr in ("0.1", "0.01") for seed in range(3)]
    run("0.1", 3, [math.nan])
    run("0.1", 4, [math.inf])
    run("0.1", 5)
    run("0.1", 6, [99.0], "FAILED")
    return [f"tracking.uri={uri}", "tracking.experiment=theirs"], ids


def _code(*words):
    with pytest.raises(SystemExit) as stop:
        cli.main(words)
    return stop.value.code


@pytest.mark.parametrize(
    "words",
    [
        ["factor=params.lr", "value=metrics.acc", "seed=params.seed", "baseline.params.lr=0.1"],
        ["factor=lr", "value=acc", "seed=seed", "baseline.lr=0.1"],
    ],
)
def test_runs_of_any_mlflow_experiment_are_reported_by_the_command_line(theirs, words, capsys):
    store, ids = theirs
    assert _code("report", *store, *words, "format=json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["metric"] == "acc" and told["factors"] == ["lr"]
    assert [(row["levels"]["lr"], row["estimate"]["n"]) for row in told["rows"]] == [("0.1", 3), ("0.01", 3)]
    assert [row["run_ids"] for row in told["rows"]] == [ids[:3], ids[3:]]
    outcomes = {name: count for name, count in told["rows"][0]["outcomes"].items() if count}
    assert outcomes == {"finished": 3, "diverged": 2, "no result": 1, "failed": 1}
    (contrast,) = told["analysis"]["contrasts"]
    assert (contrast["level"], contrast["baseline"], contrast["verdict"]["kind"]) == ("0.01", "0.1", "helps")
    assert "1 of 11 runs of the experiment have no params.lr and are left out" in told["notes"]


@pytest.mark.parametrize("name", ["lr", "params.lr"])
def test_columns_of_an_experiment_to_compare_can_be_named(theirs, name, capsys):
    words = ["report", *theirs[0], "factor=[lr,host]", "value=acc", "seed=seed"]
    assert _code(*words, f"compare={name}", "format=json") == 0
    assert {each["factor"] for each in json.loads(capsys.readouterr().out)["analysis"]["contrasts"]} == {"lr"}
    assert _code(*words, "compare=rate") == 2
    assert "an axis in compare must be one of params.lr, tags.host; got 'rate'" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["compare=schedule", "compare=[schedule]"])
def test_columns_of_a_csv_to_compare_can_be_named(tmp_path, word, capsys):
    path = _csv(tmp_path / "runs.csv")
    words = ["report", f"source={path}", "factor=[optimizer,schedule]", "value=accuracy", "seed=seed", "format=json"]
    told = {}
    for more in ([], [word], ["compare=[optimizer,schedule]"]):
        assert _code(*words, *more) == 0
        told[len(told)] = json.loads(capsys.readouterr().out)["analysis"]["contrasts"]
    assert {each["factor"] for each in told[1]} == {"schedule"} and told[0] == told[2]
    both, alone = (next(each for each in told[n] if each["factor"] == "schedule")["verdict"] for n in (0, 1))
    assert alone["high"] - alone["low"] < both["high"] - both["low"]


def test_column_with_a_name_of_ours_can_be_compared_by_it(tmp_path):
    (tmp_path / "runs.csv").write_text("epoch,model,acc\n" + "".join(
        f"{epoch},{model},{50 + seed}\n" for epoch in (1, 2) for model in "ab" for seed in range(3)
    ))  # fmt: skip
    found = _opened(f"source={tmp_path / 'runs.csv'}", "factor=[epoch,model]", "value=acc")
    table, _ = records_table(found, Reading("acc", compare=["epoch"]))
    assert {each.factor for each in table.analysis.contrasts} == {"epoch (factor)"}


def test_runs_of_an_mlflow_experiment_with_one_seed_twice_are_named(theirs, capsys):
    store, ids = theirs
    assert _code("report", *store, "factor=host", "value=acc", "seed=seed") == 2
    assert f"got {ids[0]} and {ids[3]} of tags.host one, params.seed 0" in (said := capsys.readouterr().err)
    assert "e.g. factor=[tags.host,params.lr], or leave out seed=params.seed" in said
    assert _code("report", *store, "factor=rate", "value=acc") == 2
    assert "must have the columns rate, got run_id, status, " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "error", "sentence"),
    [
        (["factor=opt", "value=accuracy"], records.RecordsError, "must have the columns opt, got optimizer, schedule"),
        (["factor=optimizer"], ConfigError, "need factor= and value="),
        (["value=accuracy"], ConfigError, "need factor= and value="),
        (["factor=optimizer", "value=accuracy", "baseline.optimizer=adam"], records.RecordsError, "one of sgd, adamw"),
    ],
)
def test_a_wrong_column_or_level_is_one_sentence(tmp_path, words, error, sentence):
    with pytest.raises(error, match=sentence):
        _opened(f"source={_csv(tmp_path / 'runs.csv')}", *words)


def test_a_source_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(records.RecordsError, match="source must be a CSV file of runs"):
        _opened(f"source={tmp_path}/none.csv", "factor=a", "value=b")


def _written(path, text):
    path.write_text(text)
    return f"source={path}"


_TWO_RATES = "model,lr,seed,acc\n" + "".join(
    f"{model},{lr},{seed},{value + seed}\n"
    for model, lr, value in (("a", 0.1, 80), ("a", 0.01, 90), ("b", 0.1, 95), ("b", 0.01, 85))
    for seed in range(3)
)


def test_two_rows_of_one_cell_and_seed_are_refused_by_name(tmp_path):
    source = _written(tmp_path / "runs.csv", _TWO_RATES)
    said = (
        r"got row 1 and row 4 of model a, seed 0: name what else differs, e.g. factor=\[model,lr\], or leave out seed"
    )
    with pytest.raises(records.RecordsError, match=said):
        _opened(source, "factor=model", "value=acc", "seed=seed")
    for words in (["factor=[model,lr]", "seed=seed"], ["factor=model"]):
        table, _ = records_table(_opened(source, "value=acc", *words), Reading("acc"))
        assert sum(row.estimate.n for row in table.rows) == 12


@pytest.mark.parametrize(
    ("seeds", "numbers"),
    [
        (("1", "x"), [0, 1]),  # a rank may be a seed's own number
        (("7", "-3"), [7, -3]),
        (("1.0", "2.0"), [1, 2]),
        (("01", "1"), [0, 1]),
        (("²", "inf"), [0, 1]),
        ((str(2**64), str(2**64 + 1)), [2**64, 2**64 + 1]),
    ],
)
def test_seeds_are_numbers_only_where_all_are_whole_and_distinct(seeds, numbers):
    rows = [{"model": model, "seed": seed, "acc": "80"} for model in "ab" for seed in seeds]
    found = foreign.from_rows(rows, ["model"], "acc", "seed", {}, name="a", source="a.csv")
    assert [dict(json.loads(point))["seed"] for point in found.frame["tags.ablate.point"]] == 2 * numbers
    table, _ = records_table(found, Reading("acc"))
    assert [row.estimate.n for row in table.rows] == [2, 2]


def test_a_factor_may_be_called_like_a_part_of_our_points_but_not_be_the_seed(tmp_path):
    source = _written(tmp_path / "runs.csv", "seed,trial,acc\n0,a,80\n0,a,81\n1,a,82\n1,a,83.5\n0,b,80\n1,b,81\n")
    words = (source, "value=acc", "baseline.seed=1")
    found = _opened(*words, "factor=[seed,trial]")
    table, _ = records_table(found, Reading("acc"))
    assert table.factors == ("seed (factor)", "trial (factor)")
    assert {row.levels: row.estimate.n for row in table.rows} == {
        ("0", "a"): 2, ("1", "a"): 2, ("0", "b"): 1, ("1", "b"): 1
    }  # fmt: skip
    assert "Against seed (factor) = 1: 0 " in html.page(found, Reading("acc"))
    with pytest.raises(records.RecordsError, match="must name different columns, got seed twice"):
        _opened(*words, "factor=seed", "seed=seed")


def test_a_run_without_a_result_has_not_diverged(tmp_path):
    lines = ["a,80", "a,81", "a,", "b,82", "b,nan", "b,-inf"]
    found = _opened(_written(tmp_path / "runs.csv", "model,acc\n" + "\n".join(lines)), "factor=model", "value=acc")
    table, _ = records_table(found, Reading("acc"))
    outcomes = [{name: count for name, count in row.outcomes.items() if count} for row in table.rows]
    assert outcomes == [{"finished": 2, "no result": 1}, {"finished": 1, "diverged": 2}]
    assert table.analysis.contrasts[0].runs == (3, 2)
    assert "3 of 6 points finished, 2 diverged, 1 no result" in render(table, "text")


def test_results_with_a_percent_sign_are_read_if_all_have_one(tmp_path):
    path = tmp_path / "runs.csv"
    found = _opened(_written(path, "model,acc\na,80.5%\na,\nb, 82 %\n"), "factor=model", "value=acc")
    assert list(found.frame["metrics.acc"].dropna()) == [80.5, 82.0]
    with pytest.raises(records.RecordsError, match=r"in every row or in none, got 80.5% in row 1 and 0.82 in row 2"):
        _opened(_written(path, "model,acc\na,80.5%\nb,0.82\n"), "factor=model", "value=acc")


@pytest.mark.parametrize(
    ("text", "words", "sentence"),
    [
        ("model,acc\na,80\nb,eighty\n", [], "acc must be a number in every row, got 'eighty' in row 2"),
        ("model,acc\na,80,5\nb,81\n", [], "row 1 of .* must have a cell a column, got more"),
        ("model,acc\na,80\nb,81\n", ["baseline.modle=b"], "baseline must name a level of model, got one of modle"),
        ("model,acc\n", [], "must hold runs and factor name a column, got 0 rows"),
    ],
)
def test_a_table_that_cannot_be_read_is_one_sentence(tmp_path, text, words, sentence):
    with pytest.raises(records.RecordsError, match=sentence):
        _opened(_written(tmp_path / "runs.csv", text), "factor=model", "value=acc", *words)


_RISING = "model,seed,error\n" + "".join(f"{m},{s},{10 + 10 * (m == 'b') + s / 10}\n" for m in "ab" for s in range(4))


@pytest.mark.parametrize(
    ("words", "kind", "best"), [([], "hurts", 10.0), (["higher_is_better=true"], "helps", 10.3)]
)  # fmt: skip
def test_less_of_an_error_is_better_unless_somebody_says_otherwise(tmp_path, capsys, words, kind, best):
    source = _written(tmp_path / "runs.csv", _RISING)
    words = ["report", source, "factor=model", "value=error", "seed=seed", *words]
    assert _code(*words, "format=json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["analysis"]["contrasts"][0]["verdict"]["kind"] == kind
    assert told["rows"][0]["best_of_4"] == pytest.approx(best)
    for format in ("text", "md", "latex", "html"):
        assert _code(*words, f"format={format}") == 0
        said = capsys.readouterr().out
        assert ("lower is better" in said) == (kind == "hurts") != ("higher is better" in said)
        assert {"helps": "hurts", "hurts": "helps"}[kind] not in said.partition("</style>")[2 * (format == "html")]


@pytest.mark.parametrize("metric", ["result", "1-acc", "accuracy_time"])
def test_a_verdict_asks_for_the_direction_of_a_metric_whose_name_says_none(tmp_path, capsys, metric):
    source = _written(tmp_path / "runs.csv", _RISING.replace("error", metric))
    words = ["report", source, "factor=model", f"value={metric}", "seed=seed"]
    assert _code(*words) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and f"the name {metric} does not say" in said and "higher_is_better=false" in said
    for better, kind in (("true", "helps"), ("false", "hurts")):
        assert _code(*words, f"higher_is_better={better}", "format=json") == 0
        told = json.loads(capsys.readouterr().out)
        assert told["analysis"]["contrasts"][0]["verdict"]["kind"] == kind


def test_a_table_without_verdicts_asks_for_no_direction(tmp_path, capsys):
    source = _written(tmp_path / "runs.csv", "model,result\n" + "".join(f"a,{n}\n" for n in range(5)))
    for format in ("text", "json", "html"):
        assert _code("report", source, "factor=model", "value=result", f"format={format}") == 0
        assert "is better" not in capsys.readouterr().out.replace("higher_is_better", "")


def test_notes_are_short_unless_they_are_asked_for_in_full(tmp_path, capsys):
    words = ["report", _written(tmp_path / "runs.csv", _RISING), "factor=model", "value=error", "seed=seed"]
    assert _code(*words) == 0
    short = capsys.readouterr().out.splitlines()
    assert _code(*words, "notes=full") == 0
    full = capsys.readouterr().out.splitlines()
    rows = [n for n, line in enumerate(short) if line.startswith("    b ")]
    assert len([line for line in short[rows[-1] + 1 :] if line]) == 2
    assert any("not audited" in line for line in full) and any("main effect" in line for line in full)
    assert _code(*words, "notes=all") == 2


def test_alpha_is_that_of_every_interval_and_of_the_verdicts(tmp_path, capsys):
    rows = "".join(f"{m},{s},{80 + (m == 'b') + v}\n" for m in "ab" for s, v in enumerate((0.0, 0.5, -0.5, 0.1)))
    words = ["report", _written(tmp_path / "runs.csv", "model,seed,acc\n" + rows), "factor=model", "value=acc"]
    told = {}
    for alpha in (0.05, 0.006):
        assert _code(*words, f"alpha={alpha}", "format=json") == 0
        told[alpha] = json.loads(capsys.readouterr().out)
    kinds = [each["analysis"]["contrasts"][0]["verdict"]["kind"] for each in told.values()]
    assert kinds == ["helps", "undecided"]
    values = [80.0, 80.5, 79.5, 80.1]
    half = stats.t.ppf(1 - 0.006 / 2, 3) * np.std(values, ddof=1) / 2
    assert told[0.006]["rows"][0]["estimate"]["high"] == pytest.approx(np.mean(values) + half, abs=1e-6)
    std, low = told[0.006]["analysis"]["std"], told[0.006]["analysis"]["contrasts"][0]["verdict"]["low"]
    pooled, single = (1 - stats.t.ppf(1 - 0.006 / 2, df) * std / 2**0.5 for df in (6, 3))
    assert single < low < pooled  # sides of four runs each, which may differ in spread
    for format in ("text", "md", "latex", "json", "html"):
        assert _code(*words, "alpha=0.006", f"format={format}") == 0
        said = capsys.readouterr().out
        assert re.search(r"99\.4 \\?%", said) and not re.search(r"95 \\?%", said), format
    for wrong in ("0", "0.5", "nan"):
        assert _code(*words, f"alpha={wrong}") == 2
        assert f"alpha must lie between 0 and 0.5, got {wrong}" in capsys.readouterr().err


def _best(found, metric="acc"):
    table, notes = records_table(found, Reading(metric))
    return [(*row.levels, row.estimate.n) for row in table.rows], [*table.notes, *notes]


@pytest.mark.parametrize(
    ("levels", "cells"),
    [
        (("1e-4", "0.0001", "1E-04", " 0.0001"), [("1e-4", 4)]),
        (("1", "1.0", "+1", "1e0"), [("1", 4)]),
        (("True", "true", "TRUE", "false"), [("True", 3), ("false", 1)]),
        (("nan", "NaN", "", "none"), [("nan", 3), ("none", 1)]),
        (("01", "1", "1.", "001"), [("01", 1), ("1", 2), ("001", 1)]),
        (
            ("adam", "Adam", "0.1", "0.10000000000000001"),
            [("adam", 1), ("Adam", 1), ("0.1", 1), ("0.10000000000000001", 1)],
        ),
        (("1e999999999999", "1e1", "10", "1_0"), [("1e999999999999", 1), ("1e1", 2), ("1_0", 1)]),
        (("-0", "0", "0.0", "-.5"), [("-0", 3), ("-.5", 1)]),
    ],
)
def test_spellings_of_one_level_are_one_level_shown_as_the_first(tmp_path, levels, cells):
    rows = "".join(f"{level},{80 + n}\n" for n, level in enumerate(levels))
    found = _opened(_written(tmp_path / "runs.csv", f"lr,acc\n{rows}"), "factor=lr", "value=acc")
    assert _best(found)[0] == cells


def test_a_baseline_and_a_seed_are_known_by_value_too(tmp_path):
    source = _written(tmp_path / "runs.csv", "lr,seed,acc\n1e-3,1,80\n1e-4,1,81\n0.001,2.0,82\n0.0001,2,83\n")
    found = _opened(source, "factor=lr", "value=acc", "seed=seed", "baseline.lr=0.0001")
    assert found.definition["baseline"] == {"lr": "1e-4"} and found.definition["seeds"] == [1, 2]
    source = _written(tmp_path / "runs.csv", "lr,seed,acc\n1e-3,1,80\n0.001,1.0,81\n")
    with pytest.raises(records.RecordsError, match="runs of one cell must differ in seed, got row 1 and row 2"):
        _opened(source, "factor=lr", "value=acc", "seed=seed")


_WORDS_OF_TRACKERS = [
    ("State", "finished", ["crashed", "failed", "killed", "running"]),  # W&B
    ("Status", "FINISHED", ["FAILED", "KILLED", "RUNNING", "SCHEDULED"]),  # MLflow's UI
    ("status", "FINISHED", ["FAILED", "KILLED", "RUNNING", "SCHEDULED"]),  # mlflow.search_runs
    ("state", "COMPLETE", ["PRUNED", "FAIL", "RUNNING", "TrialState.WAITING"]),  # Optuna's trials_dataframe
    ("sys/state", "Inactive", ["Active"]),  # Neptune
    ("sys/failed", "False", ["True"]),
]


@pytest.mark.parametrize(("column", "fine", "others"), _WORDS_OF_TRACKERS)
def test_runs_that_a_tracker_says_did_not_finish_are_left_out_and_named(tmp_path, column, fine, others):
    lines = [f"{model},0,{fine},8{seed}" for model in "ab" for seed in range(3)]
    lines[2:2] = [f"a,0,{word},{'n/a' if n else 10}" for n, word in enumerate(others)]
    source = _written(tmp_path / "runs.csv", f"model,x,{column},acc\n" + "\n".join([*lines, "b,0,,85"]))
    cells, notes = _best(_opened(source, "factor=model", "value=acc"))
    assert cells == [("a", 3), ("b", 4)]
    (told,) = (note for note in notes if "did not finish" in note)
    assert told.startswith(
        f"{len(others)} of {7 + len(others)} runs did not finish, as {column} says, and are left out: row 3 ("
    )
    assert all(f"row {3 + n} (" in told for n in range(len(others)))


def test_a_run_that_crashed_and_was_started_again_is_one_run(tmp_path):
    source = _written(tmp_path / "runs.csv", "lr,seed,State,acc\n1,1,crashed,\n1,1,finished,81\n2,1,finished,82\n")
    found = _opened(source, "factor=lr", "value=acc", "seed=seed")
    assert (
        list(found.frame["run_id"]) == ["row 2", "row 3"]
        and "1 of 3 runs did not finish" in found.definition["notes"][0]
    )


def test_a_column_of_states_that_is_asked_for_or_means_something_else_leaves_nothing_out(tmp_path):
    rows = "running,1,80\ncrashed,1,81\nrunning,0,82\n"
    source = _written(tmp_path / "runs.csv", "state,x,acc\n" + rows)
    assert _best(_opened(source, "factor=state", "value=acc"))[0] == [("running", 2), ("crashed", 1)]
    source = _written(tmp_path / "runs.csv", "state,x,acc\nOhio,1,80\nUtah,1,81\n")
    assert _best(_opened(source, "factor=x", "value=acc"))[0] == [("1", 2)]
    source = _written(tmp_path / "runs.csv", "state,x,acc\n" + rows)
    with pytest.raises(records.RecordsError, match="must hold runs that finished, got 3 runs of which state says none"):
        _opened(source, "factor=x", "value=acc")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"model;acc\na;80,5\nb;81,0\n", "must have commas between its cells, got semicolons"),
        (b"model\tacc\na\t80.5\n", "must have commas between its cells, got tabs"),
        (b'model,acc\na,"80,5"\nb,"81,0"\n', "acc must have a decimal point in every row, got '80,5' in row 1"),
        ("model,acc\na,80\n".encode("utf-16"), "it is text in UTF-16: save it in UTF-8"),
        (gzip.compress(b"model,acc\na,80\n", mtime=0), "it is compressed .gzip.: unpack it first"),
        ("model,acc\njürgen,80\n".encode("latin-1"), "it is no text in UTF-8"),
        (b"model,acc,acc\na,80,81\n", "must have each column once, got acc 2 times"),
        (b'model,acc\n"a,80\nb,81\n', "source must be a CSV file of runs, got .*: unexpected end of data"),
        (b"model,acc\na,1e200\n", r"acc must be at most 1e\+150 in every row, got 1e200 in row 1"),
    ],
)
def test_a_table_in_another_dialect_is_one_sentence(tmp_path, content, said):
    (tmp_path / "runs.csv").write_bytes(content)
    with pytest.raises(records.RecordsError, match=said):
        _opened(f"source={tmp_path / 'runs.csv'}", "factor=model", "value=acc")


def test_a_table_with_a_byte_order_mark_reads_as_one_without(tmp_path):
    (tmp_path / "runs.csv").write_bytes("model,acc\r\na,80\r\nb,81\r\n".encode("utf-8-sig"))
    assert _best(_opened(f"source={tmp_path / 'runs.csv'}", "factor=model", "value=acc"))[0] == [("a", 1), ("b", 1)]
