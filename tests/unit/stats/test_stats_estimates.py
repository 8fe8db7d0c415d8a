"""Numbers that can be checked by hand or against scipy.stats."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats

from ablate.stats.estimates import Estimate, best_of, example_interval, mean_interval


def test_mean_interval_of_three_is_the_textbook_one() -> None:
    # t(0.975, 2 degrees of freedom) = 4.302653; std of 1, 2, 3 is 1.
    got = mean_interval([1, 2, 3])
    assert (got.n, got.mean, got.std) == (3, 2.0, 1.0)
    assert got.half == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert got.low == pytest.approx(2 - 4.302653 / math.sqrt(3), rel=1e-6)


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_mean_interval_equals_scipy_stats(confidence: float) -> None:
    values = np.random.default_rng(0).normal(90, 3, 7)
    want = scipy.stats.t.interval(confidence, 6, values.mean(), scipy.stats.sem(values))
    got = mean_interval(values, confidence=confidence)
    assert (got.low, got.high) == pytest.approx(want, rel=1e-12)


def test_mean_interval_of_one_run_has_no_interval() -> None:
    assert mean_interval([96.5]) == Estimate(n=1, mean=96.5)
    assert mean_interval([96.5]).half is None


def test_mean_interval_of_equal_runs_has_no_width() -> None:
    got = mean_interval([50.0, 50.0])
    assert (got.low, got.high, got.std) == (50.0, 50.0, 0.0)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_mean_interval_refuses_what_has_no_mean(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"needs at least one value|must be finite"):
        mean_interval(values)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_mean_interval_refuses_a_confidence_that_is_no_probability(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1"):
        mean_interval([1, 2], confidence=confidence)


def test_stats_imports_no_scipy_stats() -> None:
    code = "import sys, ablate.stats as s; s.mean_interval([1, 2]); sys.exit('scipy.stats' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_best_of_is_the_mean_over_every_draw() -> None:
    values = [90.0, 93.0, 91.5, 92.0, 88.0]
    for draws in range(1, 6):
        want = np.mean([max(each) for each in itertools.combinations(values, draws)])
        assert best_of(values, draws) == pytest.approx(want, rel=1e-12)
    for wrong, draws in (([1.0, 2.0, 3.0], 2), (values, 6), ([1.0, 2.0, 3.0, math.nan], 2)):
        with pytest.raises(ValueError, match=r"at least 4|draws must be"):
            best_of(wrong, draws)


def test_example_interval_covers_the_sampling_of_images() -> None:
    rng, covered = np.random.default_rng(2), 0
    for _ in range(200):
        hard = rng.random(400)  # some images are hard for both sides
        t, b = (rng.random((3, 400)) < np.clip(top1 + 0.3 * (hard - 0.5), 0, 1) for top1 in (0.75, 0.70))
        low, high = example_interval(t, b)
        covered += low <= 5.0 <= high
    assert 0.90 <= covered / 200 <= 0.985
    assert example_interval(np.ones((2, 50)), np.ones((3, 50))) == pytest.approx((-6.0, 6.0)), "3 of 50"
    with pytest.raises(ValueError, match="same images"):
        example_interval(np.ones((2, 50)), np.ones((2, 40)))
    with pytest.raises(ValueError, match="right"):
        example_interval(np.full((2, 50), 0.5), np.ones((2, 50)))


@pytest.mark.parametrize("runs", [(1, 1), (3, 3), (2, 3)])
def test_example_interval_is_what_drawn_test_sets_come_to(runs: tuple[int, int]) -> None:
    from scipy import stats

    rng = np.random.default_rng(runs[1])
    t, b = (rng.random((n, 300)) < top1 for n, top1 in zip(runs, (0.9, 0.8), strict=True))
    difference = 100 * (t.mean(axis=0) - b.mean(axis=0))
    drawn = stats.bootstrap((difference,), np.mean, n_resamples=40_000, method="percentile", rng=rng)
    assert example_interval(t, b) == pytest.approx(tuple(drawn.confidence_interval), abs=100 / 300)


def test_example_interval_of_one_image_and_of_many() -> None:
    assert example_interval([[1]], [[0]]) == (-100.0, 100.0), "one image says nothing of others"
    one = np.zeros((1, 10_000))
    one[0, 0] = 1  # drawn Poisson-like: 0 to 3 times in 95 of 100 test sets
    want = 0.01 - math.hypot(0.01, 0.03), 0.01 + math.hypot(0.02, 0.03)
    assert example_interval(one, np.zeros((1, 10_000))) == pytest.approx(want)


@pytest.mark.parametrize("clusters", [None, np.arange(500) // 5])
def test_example_interval_grows_from_three_by_the_number_of_images(clusters: np.ndarray | None) -> None:
    units, copies = 500 if clusters is None else 100, np.repeat(np.random.default_rng(3).random(100) < 0.7, 5)
    sides = np.stack([copies, copies])
    low, high = example_interval(*sides[:, None], clusters=clusters)
    assert (low, high) == pytest.approx((-300 / units, 300 / units))
    wider = example_interval(*sides[:, None], confidence=0.99, clusters=clusters)
    assert wider[1] == pytest.approx(-100 * math.log(0.01) / units, rel=2e-3)
    widths = [high - low]
    for images in (1, 2, 4, 8):
        sides[0, -images:] = ~copies[-images:]
        low, high = example_interval(*sides[:, None], clusters=clusters)
        widths.append(high - low)
    assert widths == sorted(widths) and widths[1] < 1.5 * widths[0]
