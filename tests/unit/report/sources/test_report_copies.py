"""A log that was read twice, told from results that agree by chance."""

import numpy as np
import pytest

from ablate.config.compose import compose_report
from ablate.report import Reading, records_table, report_records
from ablate.report.sources import studies
from ablate.report.sources.copies import copied
from ablate.report.sources.foreign import from_rows

ONCE = ["a,90.1", "a,90.9", "a,90.4", "b,90.8", "b,91.3", "b,91.6"]


def _told(cells, *, further=None, seed=""):
    """What is said of cells: name -> results as written, each with cells of further columns."""
    names = [name for name, texts in cells.items() for _ in texts]
    texts = [text for of in cells.values() for text in of]
    rows = [dict(each) for each in further or [{} for _ in texts]]
    results = [(text, float(text)) for text in texts]
    columns = list(rows[0])
    return copied(rows, names, results, [f"row {n + 1}" for n in range(len(texts))], columns, seed)


def _opened(path, lines, header="model,acc"):
    path.write_text("\n".join([header, *lines]) + "\n")
    return studies.opened(None, compose_report([f"source={path}", "factor=model", "value=acc"]))


def test_a_csv_file_read_twice_says_so_above_its_verdicts(tmp_path):
    once, twice = (_opened(tmp_path / "runs.csv", ONCE * times) for times in (1, 2))
    assert once.definition["cautions"] == []
    table, _ = records_table(twice, Reading("acc"))
    (caution,) = table.cautions
    assert caution.startswith(
        "6 of 12 runs have in every digit the result of an earlier one of their cell (row 7 with row 1, row 8 with row "
        "2, row 9 with row 3 and 3 more)"
    )
    assert "remove them, or tell runs apart with seed=COLUMN" in caution
    text = report_records(twice, reading=Reading("acc"))
    assert text.index("6 of 12 runs have in every digit") < text.index("verdicts on acc")


@pytest.mark.parametrize("lines", [sorted(ONCE * 2), ONCE * 3, [*ONCE[:3] * 2, *ONCE[3:] * 2]])
def test_copies_are_found_in_any_order_and_number(tmp_path, lines):
    assert _opened(tmp_path / "runs.csv", lines).definition["cautions"]


def test_rows_that_agree_in_a_loss_as_well_are_copies_and_those_that_do_not_are_chance(tmp_path):
    header = "model,acc,loss,epochs"
    lines = ["a,90,0.311,5", "a,90,0.317,5", "a,91,0.304,5", "b,92,0.29,5", "b,92,0.28,5", "b,93,0.27,5"]
    assert _opened(tmp_path / "runs.csv", lines, header).definition["cautions"] == []
    (told,) = _opened(tmp_path / "runs.csv", [*lines, lines[1]], header).definition["cautions"]
    assert told.startswith("1 of 7 runs agree in every column with an earlier one (row 7 with row 2)")


def test_a_column_that_is_the_same_everywhere_tells_nothing():
    cells = {"a": ["90", "90", "91"], "b": ["92", "93", "92"]}
    assert _told(cells, further=[{"epochs": "5"}] * 6) == []


def test_runs_of_mlflow_are_compared_without_what_every_run_has_of_its_own():
    rows = [
        {
            "run_id": f"r{n}{again}",
            "status": "FINISHED",
            "tags.mlflow.runName": f"{n}{again}",
            "start_time": f"{again}{n}",
        }
        | {"params.lr": lr, "metrics.acc": acc, "metrics.loss": loss}
        for again in range(2)
        for n, (lr, acc, loss) in enumerate([("1", 90.25, 0.3), ("1", 90.5, 0.2), ("2", 91.0, 0.5), ("2", 92.0, 0.1)])
    ]
    found = from_rows(rows, ["params.lr"], "metrics.acc", "", {}, name="mine", source="mine", logged=True)
    assert found.definition["cautions"][0].startswith(
        "4 of 8 runs agree in every column with an earlier one (r01 with r00"
    )


def test_copies_under_other_seeds_are_asked_about():
    rows = [{"m": m, "acc": acc, "seed": n} for n, (m, acc) in enumerate([each.split(",") for each in ONCE] * 2)]
    (told,) = from_rows(rows, ["m"], "acc", "seed", {}, name="mine", source="mine").definition["cautions"]
    assert "though their seed differs: check that it was used, and that no log was read twice" in told


@pytest.mark.parametrize(
    "cells",
    [
        {"a": ["10", "10", "10"], "b": ["90.1", "90.2", "90.7"]},  # a model that collapsed
        {"a": ["nan", "nan", "90.1"], "b": ["nan", "nan", "nan"]},
        {"a": ["90.1"], "b": ["90.1"]},
        {"a": ["90", "91", "90", "92"], "b": ["90", "90", "91", "93"]},  # of 100 images
    ],
)
def test_what_may_well_be_chance_is_not_warned_of(cells):
    assert _told(cells) == []


def test_results_to_many_digits_that_agree_are_no_chance():
    assert _told({"a": ["0.93127", "0.93127", "0.94112"], "b": ["0.95", "0.9412", "0.9423"]})


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("images", [50, 100, 1000, 3000, 10000])
@pytest.mark.parametrize("runs", [2, 3, 5, 10, 20])
def test_accuracies_on_few_images_are_seldom_taken_for_copies(images, runs):
    rng = np.random.default_rng(images + runs)
    for cells in (1, 3, 6):
        told = 0
        for _ in range(200):
            rates = rng.uniform(0.6, 0.95, cells)
            found = {
                str(n): [
                    repr(float(right)) for right in rng.binomial(images, rate + 0.01 * rng.normal(size=runs)) / images
                ]
                for n, rate in enumerate(rates)
            }
            told += bool(_told(found))
        assert told / 200 <= 0.06
