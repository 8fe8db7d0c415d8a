"""What is said of a search's trials, from their records alone."""

import json

import pandas as pd

from ablate.report.table import searches

DEFINITION = {
    "name": "front",
    "method": "optuna",
    "axes": {"trial": []},
    "searched": ["train.lr"],
    "objectives": [{"metric": "final.val_top1_percent", "maximize": True}],
    "n_trials": 3,
    "sampler": "tpe",
    "pruner": "none",
    "seeds": [0],
}


def _run(number: int, trial: int, status: str, **more: object) -> dict[str, object]:
    point = json.dumps([["trial", trial], ["seed", 0]], separators=(",", ":"))
    mlflow = {"killed": "KILLED"}.get(status, "FINISHED")
    return {"run_id": f"r{number}", "status": mlflow, "tags.ablate.status": status, "tags.ablate.point": point} | more


def test_searches_count_a_trial_by_its_best_attempt_in_whatever_order_they_come() -> None:
    value = {"metrics.final.val_top1_percent": 50.0}
    runs = [
        *(_run(0, 0, "finished", **value), _run(1, 0, "killed")),
        *(_run(2, 1, "killed"), _run(3, 1, "finished", **value)),
        *(_run(4, 2, "killed"), _run(5, 2, "superseded")),
    ]
    frame, definition = searches.rows(pd.DataFrame(runs), DEFINITION)
    assert sorted(frame["run_id"]) == ["r0", "r3"]
    assert definition["notes"][0].startswith("2 of 2 finished trials")
    assert definition["notes"][1].startswith("3 trials (2 finished, 1 killed)")


def test_searches_count_trials_that_drew_what_another_had_drawn() -> None:
    value = {"metrics.final.val_top1_percent": 50.0, "tags.ablate.study": "front-1"}
    again = {"tags.ablate.redrawn.front-1": "[1, 2]", "tags.ablate.redrawn.other-1": "[5]"}
    _, definition = searches.rows(pd.DataFrame([_run(0, 0, "finished", **value, **again)]), DEFINITION)
    assert definition["notes"][1].startswith("3 trials (2 drawn again and not trained twice, 1 finished)")


def test_searches_count_a_trial_that_failed_before_it_was_served_once() -> None:
    value = {"metrics.final.val_top1_percent": 50.0, "tags.ablate.study": "front-1"}
    runs = [_run(0, 1, "failed"), _run(1, 0, "finished", **value, **{"tags.ablate.redrawn.front-1": "[1,2]"})]
    runs.append(_run(2, 2, "finished", **value))
    _, definition = searches.rows(pd.DataFrame(runs), DEFINITION)
    assert definition["notes"][1].startswith("3 trials (1 drawn again and not trained twice, 2 finished)")


def test_searches_write_what_trials_reached_by_its_unit_and_size() -> None:
    names = ("final.val_top1_percent", "val/loss", "cost.macs")
    reached = [(50.0, 3.14159e-4, 1e6), (50.123, 2.5e-4, 2_500_000.0), (60.5, 4e-4, 3e9)]
    runs = [
        _run(n, n, "finished", **{f"metrics.{name}": value for name, value in zip(names, values, strict=True)})
        for n, values in enumerate(reached)
    ]
    objectives = [{"metric": name, "maximize": name == names[0]} for name in names]
    _, definition = searches.rows(pd.DataFrame(runs), {**DEFINITION, "objectives": objectives})
    assert {tuple(levels[2:]) for levels in definition["combinations"]} == {
        ("50.00", "3.142e-4", "1,000,000"),
        ("50.12", "2.500e-4", "2,500,000"),
        ("60.50", "4.000e-4", "3,000,000,000"),
    }
