"""Margins in another unit than the results."""

import numpy as np
import pytest

from ablate.stats.contrasts import analyse
from ablate.stats.design import Observation
from ablate.stats.margins import is_vacuous, too_wide, usable
from ablate.stats.verdicts import Kind

FRACTIONS, PERCENT = (0.93, 0.94, 0.50), (93.1, 94.0, 93.5)
RARE = (0.12, 0.1, 0.3)  # errors of 0.1 %
LOSSES = (-0.05, 0.03, 0.01)
LIKELIHOODS = (-350.0, -342.0, -347.0)


@pytest.mark.parametrize(
    ("values", "percent", "margin", "bound"),
    [
        (FRACTIONS, False, 1, "the largest result, 0.94"),
        (FRACTIONS, False, 0.94, "the largest result"),
        (FRACTIONS, False, 0.5, "0.5, half of the scale of results from 0 to 1"),
        (FRACTIONS, False, 0.49, None),
        (FRACTIONS, True, 0.5, None),  # 0.9 % and 0.5 % do not differ by as much as they might
        (PERCENT, False, 1, None),  # runs that agree within a margin are what a margin is for
        (PERCENT, False, 94, "the largest result, 94"),
        (RARE, False, 0.05, None),
        (RARE, True, 1, "the largest result, 0.3"),
        (LOSSES, False, 0.1, None),
        (LOSSES, False, 1, "1, half of the scale of results from -1 to 1"),
        ((-0.1, 0.9), False, 1, "1, half"),  # R², correlations
        ((-1.1, 0.9), False, 1, None),
        (LIKELIHOODS, False, 10, None),
        (LIKELIHOODS, False, 350, "the largest result, 350"),
        ((-0.2, -0.3), False, 0.3, "the largest result, 0.3"),
        ((2e9, 1.9e9), False, 1e7, None),
        ((2e-10, 1.9e-10), False, 1e-11, None),
        ((2e-10, 1.9e-10), False, 1e-9, "the largest result, 2e-10"),
        ((0.0, 0.0), False, 0.1, None),
        ((), False, 1, None),
    ],
)
def test_a_margin_is_too_wide_where_results_of_this_size_cannot_differ_by_it(values, percent, margin, bound):
    got = too_wide(margin, values, percent=percent)
    assert got is None if bound is None else got is not None and got.startswith(bound)


def test_a_vacuous_margin_is_one_by_which_no_results_of_one_sign_differ():
    rng = np.random.default_rng(0)
    for _ in range(200):
        values, margin = rng.uniform(0, 1, 5) * (-1) ** rng.integers(2), float(rng.uniform(0.05, 2))
        if is_vacuous(margin, values.tolist()):
            assert np.ptp(values) < margin
    assert not is_vacuous(100.0, LOSSES)  # 0 is no end of their scale


def _runs(*sides):
    return [
        Observation((level,), n, value) for level, of in zip("ab", sides, strict=True) for n, value in enumerate(of)
    ]


def test_analyse_calls_nothing_equivalent_by_a_vacuous_margin_and_says_so():
    runs = _runs((0.93, 0.94, 0.935), (0.50, 0.52, 0.51))
    got = analyse(runs, ["f"], {"f": "a"}, margin=1)
    assert got.contrasts[0].verdict.kind is Kind.hurts
    assert [note for note in got.notes if "the margin, 1, is left out" in note]
    percent = _runs((93.1, 93.2, 93.15), (93.2, 93.1, 93.14))
    got = analyse(percent, ["f"], {"f": "a"}, margin=1)
    assert got.contrasts[0].verdict.kind is Kind.equivalent and not any("left out" in note for note in got.notes)


def test_usable_keeps_no_margin_and_one_in_the_unit():
    assert usable(None, FRACTIONS) == (None, []) and usable(0.01, FRACTIONS) == (0.01, [])
    assert usable(3.0, LOSSES) == (3.0, [])
