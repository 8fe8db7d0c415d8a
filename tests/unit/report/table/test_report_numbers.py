"""Measured numbers in words: the interval decides the digits, whatever the unit."""

import math

import pytest

from ablate.report.table.numbers import (
    Digits,
    digits,
    effect_digits,
    effect_text,
    estimate_text,
    interval_text,
    of_estimates,
    p_text,
    significant,
)
from ablate.stats.estimates import Estimate, mean_interval


def _column(*cells: list[float], percent: bool = False) -> list[str]:
    found = [mean_interval(cell) for cell in cells]
    written = of_estimates(found, percent=percent)
    return [estimate_text(each, written) for each in found]


@pytest.mark.parametrize(
    ("cells", "shown"),
    [
        pytest.param([[0.93, 0.931, 0.932], [0.94, 0.941]], ["0.9310 ± 0.0025", "0.9405 ± 0.0064"], id="fraction"),
        pytest.param([[2.1e-4, 2.3e-4, 2.2e-4], [3e-4, 3.4e-4]], ["2.20e-4 ± 0.25e-4", "3.20e-4 ± 2.54e-4"], id="loss"),
        pytest.param([[2.1e9, 2.12e9, 2.3e9]], ["2,170,000,000 ± 270,000,000"], id="bytes"),
        pytest.param([[2_100_345_678.0], [5.0]], ["2,100,345,678", "5"], id="parameters"),
        pytest.param([[1.0e-10, 1.2e-10, 1.3e-10], [2e-10]], ["1.17e-10 ± 0.38e-10", "2.00e-10"], id="tiny"),
        pytest.param([[81.0, 83.0, 84.5], [93.1, 93.2, 93.3]], ["82.83 ± 4.36", "93.20 ± 0.25"], id="points"),
        pytest.param([[0.25]], ["0.2500"], id="alone"),
        pytest.param([[1e13, 1.1e13, 1.3e13]], ["1.13e13 ± 0.38e13"], id="operations"),
    ],
)  # fmt: skip
def test_the_half_width_decides_the_digits_of_a_column(cells, shown):
    assert _column(*cells) == shown


def test_percentages_have_two_decimals_and_no_number_is_written_as_nothing():
    assert _column([68.1, 72.0, 64.2], [93.0, 93.3, 93.5], percent=True) == ["68.10 ± 9.69", "93.27 ± 0.63"]
    assert _column([99.9991, 99.9992, 99.9993], percent=True) == ["99.99920 ± 0.00025"]
    assert _column([0.5, 0.6, 0.7], [2e-10, 2.1e-10, 2.2e-10])[1] == "2.10e-10 ± 0.25e-10"


def test_an_interval_that_was_cut_off_has_both_ends():
    found = Estimate(3, 95.0, 80.0, 100.0, 4.0)
    assert estimate_text(found, digits([95.0], percent=True)) == "95.00 [80.00, 100.00]"


@pytest.mark.parametrize(
    ("low", "high", "percent", "shown"),
    [
        (0.002, 3.67, True, "[+0.002, +3.67]"),
        (-3.67, -1e-5, True, "[-3.67, -0.00001]"),
        (1e-12, 3.67, True, "[+1e-12, +3.67]"),
        (-1.27, 0.95, True, "[-1.27, +0.95]"),
        (-0.0, 2.0, True, "[0.00, +2.00]"),
        (-0.02, -1e-5, False, "[-0.020, -0.00001]"),
        (2e-12, 3e-10, False, "[+0.02e-10, +3.0e-10]"),
        (-2e8, 3e9, False, "[-200,000,000, +3,000,000,000]"),
    ],
)
def test_an_end_is_seen_to_be_on_its_side_of_0(low, high, percent, shown):
    written = effect_digits([((low + high) / 2, low, high)], percent=percent)
    assert interval_text(low, high, written) == shown


def test_effects_of_one_column_share_their_decimals():
    told = [(0.0105, 0.0071, 0.0139), (-0.2, -0.41, 0.01), (0.3, None, None)]
    written = effect_digits(told, percent=False)
    assert [effect_text(*each, written) for each in told] == ["+0.0105", "-0.2000", "+0.3000"]
    assert effect_text(0.004, 0.001, 0.007, digits([], percent=True)) == "+0.0040"


@pytest.mark.parametrize(
    ("p", "alpha", "shown"),
    [
        (0.0496, 0.05, "0.0496"),
        (0.0504, 0.05, "0.0504"),
        (0.05, 0.05, "0.050"),
        (0.04999996, 0.05, "0.04999996"),
        (0.2, 0.05, "0.200"),
        (1.0, 0.05, "1.000"),
        (0.0002, 0.05, "< 0.001"),
        (0.0002, 0.00025, "0.0002"),
        (0.00549, 0.0055, "0.005"),
        (0.00549, 0.005, "0.0055"),
    ],
)
def test_a_p_value_says_on_which_side_of_alpha_it_is(p, alpha, shown):
    assert p_text(p, alpha) == shown


def test_significant_digits_keep_whole_numbers_whole():
    assert [significant(value, 3) for value in (93.24, 1234567.0, 0.0412, 2.2e-4, 0.0, 5.0)] == [
        *("93.2", "1,234,567", "0.0412", "2.20e-4", "0", "5.00")
    ]  # fmt: skip


def test_an_end_that_no_number_of_draws_tells_has_no_power_of_ten():
    assert [Digits(6, -4)(value, signed=True) for value in (-math.inf, 2.1e-4, math.inf)] == [
        "-inf",
        "+2.10e-4",
        "+inf",
    ]
