"""Readings at equal compute, from curves short enough to read by eye."""

import json
from typing import Any

import pandas as pd
import pytest

from ablate.report import Reading, report_records
from ablate.report.errors import ReportError
from ablate.report.sources.records import Records
from ablate.report.table import equal_compute
from ablate.report.table.equal_compute import ComputeBudget, parse, read_at, reading
from tests.unit.report.pages.test_report_frames import chain

CURVES = {"val/top1_percent": [10.0, 20.0, 30.0, 25.0], "train/seconds_per_epoch": [5.0, 1.0, 1.0, 1.0]}


def _run(level: str = "small", seed: int = 0, macs: int = 100, **more: Any) -> dict[str, Any]:
    return {
        "run_id": f"{level} {seed}",
        "status": "FINISHED",
        "tags.ablate.status": "finished",
        "tags.ablate.point": json.dumps([["model", level], ["seed", seed]]),
        "params.train.epochs": "4",
        "params.train.cooldown_epochs": "0",
        "params.train.select": "best",
        "metrics.cost.macs": float(macs),
        "metrics.data.train_images": 1000.0,
        "metrics.final.test_top1_percent": 99.0,
        **more,
    }


@pytest.mark.parametrize(
    ("at", "epoch", "value", "spent"),
    [
        ("epoch:1", 1, 10.0, 1.0),
        ("epoch:3.9", 3, 30.0, 3.0),
        ("epoch:4", 4, 25.0, 4.0),
        ("epoch:9", 4, 25.0, 4.0),
        ("macs:599999", 1, 10.0, 3e5),  # an epoch: 3 x 100 MACs x 1000 images
        ("macs:6e5", 2, 20.0, 6e5),
        ("seconds:6.5", 2, 20.0, 6.0),
        ("seconds:4.9", 0, None, 0.0),
    ],
)
def test_reading_is_the_last_epoch_that_ended_within_the_budget(
    at: str, epoch: int, value: float | None, spent: float
) -> None:
    found = reading(_run(), CURVES, parse(at))
    assert (found.epoch, found.value, found.spent) == (epoch, value, spent)
    assert found.finished == (epoch == 4) and found.ended == (at == "epoch:9")


def test_reading_knows_a_schedule_that_was_cut_short() -> None:
    run = _run(**{"params.train.epochs": "4", "params.train.cooldown_epochs": "2"})
    found = reading(run, CURVES, ComputeBudget("epoch", 9))
    assert (found.epoch, found.of, found.finished) == (4, 6, False)


@pytest.mark.parametrize("text", ["3", "epochs:3", "epoch:", "epoch:0", "macs:-1", "seconds:nan"])
def test_parse_refuses_what_is_no_budget(text: str) -> None:
    with pytest.raises(ReportError, match="at must be epoch:N, macs:N or seconds:N"):
        parse(text)


def test_read_at_says_what_a_run_lacks() -> None:
    old = _run()
    del old["metrics.data.train_images"]
    frame, curves = pd.DataFrame([old]), {"small 0": CURVES}
    with pytest.raises(ReportError, match="images=N"):
        read_at(frame, curves, parse("macs:1e6"))
    read, notes = read_at(frame, curves, parse("macs:6e5"), images=1000)
    assert read["metrics.at.val_top1_percent"].tolist() == [20.0]
    assert any("3 x MACs of a forward pass" in note for note in notes)
    with pytest.raises(ReportError, match="held out no images"):
        read_at(frame, {}, parse("epoch:1"))


def test_read_at_says_where_the_last_epochs_seconds_stand_for_all() -> None:
    run = _run(**{"metrics.train/seconds_per_epoch": 2.0})
    curves = {"small 0": {"val/top1_percent": CURVES["val/top1_percent"]}}
    read, notes = read_at(pd.DataFrame([run]), curves, parse("seconds:4"))
    assert read["tags.ablate.at.read"].tolist() == ["epoch 2 of 4"]
    assert any(note.startswith("1 runs record the seconds of their last epoch alone") for note in notes)


def _records() -> Records:
    runs = [_run("small", seed) for seed in (0, 1)] + [_run("large", seed, macs=200) for seed in (0, 1)]
    curves = {
        run["run_id"]: {**CURVES, "val/top1_percent": [10.0 + n, 20.0, 30.0, 25.0 + n]} for n, run in enumerate(runs)
    }
    definition = {
        "name": "size",
        "axes": {"model": ["small", "large"]},
        "baseline": {"model": "small"},
        "seeds": [0, 1],
        "points": 4,
    }
    return Records("size-1", definition, "", pd.DataFrame(runs), curves, "size.jsonl")


def test_report_at_equal_macs_reads_the_larger_model_earlier_and_marks_it() -> None:
    text = report_records(_records(), reading=Reading(at="macs:1.2e6"))
    small, large = (line for line in text.splitlines() if line.startswith(("small ", "large ")))
    assert "25.50 ± 6.35" in small and "epoch 4 of 4" in small and "°" not in small
    assert "20.00 ± 0.00 °" in large and "epoch 2 of 4" in large
    assert "read at 1.2e+06 training MACs" in text
    assert "° read before the schedule had ended" in text
    assert "none selected" in text and "99.00" not in text


@pytest.mark.parametrize(
    ("at", "largest"), [("epoch:99", "epoch:4"), ("macs:1e15", "macs:1200000"), ("seconds:30", "seconds:8")]
)
def test_report_at_refuses_what_no_run_reaches_and_names_what_all_do(at: str, largest: str) -> None:
    with pytest.raises(ReportError, match=f"all 4 runs had ended .* that all of them share is at={largest}\\.$"):
        report_records(_records(), reading=Reading(at=at))
    text = report_records(_records(), reading=Reading(at=f"{largest}"))
    assert "§" not in text and "against small" in text


def test_report_at_marks_runs_that_had_ended_and_gives_no_verdict_across_them() -> None:
    text = report_records(_records(), reading=Reading(at="macs:2.4e6"))
    small, large = (line for line in text.splitlines() if line.startswith(("small ", "large ")))
    assert "25.50 ± 6.35 §" in small and "epoch 4 of 4 (ended)" in small and "§" not in large
    assert "ended" not in large
    assert "§ 2 of 4 runs had ended before it and spent less" in text
    assert "the largest budget that all runs share is at=macs:1200000" in text
    assert "against small" not in text and "verdicts on" not in text


def test_report_at_leaves_a_run_blank_that_had_not_ended_an_epoch() -> None:
    text = report_records(_records(), "csv", Reading(at="seconds:1"))
    assert [line.split(",")[2] for line in text.splitlines()[1:]] == ["0", "0"]
    assert "2 runs" not in text


def test_report_without_at_reports_the_test_set() -> None:
    assert "99.00" in report_records(_records())


def test_shared_budget_is_what_the_cheapest_finished_run_spent():
    study = chain({"2": [50], "1": [70.0]})
    curves = {"r20": {equal_compute.CURVE: [1.0, 2.0]}, "r10": {equal_compute.CURVE: [1.0, 2.0, 3.0]}}
    study = Records(study.study, study.definition, "", study.frame, curves, "")
    assert equal_compute.shared(study, "epoch").amount == 2
    assert equal_compute.shared(study, "macs").amount == 3 * 10 * 100 * 2
    assert equal_compute.shared(study, "macs", images=7).amount == 3 * 10 * 100 * 2  # what runs record counts
    assert equal_compute.readable(study) == ["epoch", "macs"]
    old = Records("", study.definition, "", study.frame.drop(columns=equal_compute.IMAGES), curves, "")
    assert equal_compute.readable(old) == ["epoch"]
    assert equal_compute.shared(old, "macs", images=7).amount == 3 * 10 * 7 * 2
    with pytest.raises(ReportError, match="at=epoch needs finished runs"):
        equal_compute.shared(Records("", study.definition, "", study.frame, {}, ""), "epoch")
