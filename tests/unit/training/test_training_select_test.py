"""Choosing on the test set exists under that name only, and every table says so."""

import csv
import io

from ablate.report import render
from tests.unit.report.tables import full, table_of


def test_rows_whose_epoch_the_test_set_chose_are_marked_in_every_format():
    runs = [run | {"params.train.select": "test"} if "none" in run["tags.ablate.point"] else run for run in full()]
    table = table_of(runs)
    for format in ("text", "md"):
        text = render(table, format)
        rows = [line for line in text.splitlines() if "±" in line and "interval" not in line]
        assert rows and all(("†" in row) == ("none" in row) for row in rows), text
        assert "best TEST accuracy" in text and "† the test set chose the epoch" in text
    lines = list(csv.DictReader(io.StringIO(render(table, "csv"))))
    assert {line["select"] for line in lines} == {"test", "best"}


def test_honest_rows_bear_no_mark():
    assert "†" not in render(table_of(full()), "text")
