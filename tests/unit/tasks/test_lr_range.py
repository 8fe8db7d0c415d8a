"""The range test: what it makes of curves whose shape is known, and one real run."""

import csv
import math

import numpy as np
import pytest

from ablate.cli import training as verbs
from ablate.tasks.classify import lr_range
from ablate.tasks.classify.lr_range import Ramp, RangeError


def _valley(rates):
    """Falls fastest at 1e-3 by the rate's logarithm, and rises without bound from 1e-1 on."""
    for rate in rates:
        yield 1 + 1 / (1 + (rate / 1e-3) ** 2) + (rate / 0.3) ** 4


def test_range_test_finds_the_steepest_descent_and_the_minimum_and_stops_at_divergence():
    curve = lr_range.measure(Ramp(400, 1e-6, 10.0), _valley)
    assert curve.diverged and curve.fell and curve.rates[-1] < 1.5
    assert math.log10(curve.steepest) == pytest.approx(-3, abs=0.1)
    exact = np.geomspace(1e-6, 1.0, 2000)
    assert math.log10(curve.minimum) == pytest.approx(math.log10(exact[np.argmin(list(_valley(exact)))]), abs=0.2)


def test_range_test_ends_at_a_loss_that_is_no_number():
    curve = lr_range.measure(Ramp(100), lambda rates: (math.nan if rate > 1e-2 else 2 - rate for rate in rates))
    assert curve.diverged and curve.rates[-1] <= 1e-2 and np.isfinite(curve.smoothed).all()
    with pytest.raises(
        RangeError, match=r"the loss must be a number at the lowest rates, but at step 1 was none; lower"
    ):
        lr_range.measure(Ramp(100), lambda rates: (math.inf for _ in rates))


def test_range_test_suggests_nothing_where_the_loss_does_not_fall():
    generator = np.random.default_rng(0)
    curve = lr_range.measure(Ramp(100), lambda rates: iter(generator.normal(2.3, 0.1, 100)))
    assert not curve.fell and not curve.diverged
    assert "nothing is suggested" in lr_range.told(curve)[-1]


def test_range_test_says_that_nothing_diverged():
    curve = lr_range.measure(Ramp(100, 1e-6, 1e-2), _valley)
    assert "raise high to see" in lr_range.told(curve)[-1]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["steps=5"], r"steps must be at least 20 and at most 1,000,000, got 5\."),
        (["steps=abc"], r"steps must be a whole number, got 'abc'\."),
        (["low=true"], r"low must be a number, got True\."),
        (["low=0"], r"low must be above 0 and below high, got low=0 and high=10\."),
        (["low=1", "high=0.1"], r"low must be above 0 and below high, got low=1 and high=0\.1\."),
        (["high=.inf"], r"high must be a number|low must be above 0 and below high"),
        (["out=3"], r"out must name a folder, got 3\."),
        (["stepz=30"], r"stepz"),
    ],
)
def test_range_test_that_makes_no_sense_is_one_sentence(words, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        verbs.lr_range(["data=digits", "model=tiny", *words])
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.full
def test_range_test_of_a_model_falls_then_diverges_and_writes_what_it_saw(tmp_path, capsys):
    words = ["data=digits", "model=tiny", "train.select=last", "steps=100", "low=1e-5", "high=100"]
    assert verbs.lr_range([*words, f"out={tmp_path / 'new'}"]) == 0
    text = capsys.readouterr().out
    assert "the loss diverged and stopped there" in text and "steepest descent at" in text
    with open(tmp_path / "new" / "lr_range.csv", encoding="utf-8") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    smoothed = np.array([row["smoothed"] for row in rows])
    assert 20 < len(rows) < 100 and rows[0]["lr"] == 1e-5 and [row["step"] for row in rows[:2]] == [1, 2]
    assert smoothed[0] == pytest.approx(math.log(10), abs=0.2)
    assert smoothed.min() < 0.8 * smoothed[0] and smoothed[-1] > 2 * smoothed.min()
    assert 1e-4 < rows[int(smoothed.argmin())]["lr"] < 1
    assert (tmp_path / "new" / "lr_range.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RangeError, match=r"out must name a folder that can be written to, but .*file: File exists"):
        lr_range.write(lr_range.measure(Ramp(20), _valley), tmp_path / "file")
