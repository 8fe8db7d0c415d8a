"""What the choice of test images adds to a cell's uncertainty, and that verdicts over seeds and images hold."""

import numpy as np
import pytest
from scipy.special import ndtr

from ablate.stats.contrasts import analyse
from ablate.stats.crossed import Scope, joined, sampling
from ablate.stats.design import Observation
from ablate.stats.estimates import example_interval, independent

A, B, C = ("a",), ("b",), ("c",)
FLOOR = 100**2 * (3 / 1.959964) ** 2 / 2
"""Variance of a cell by the rule of three, times the square of the number of images, in points squared."""


def _contrast(found, first=A, second=B):
    one, other = found.places[first], found.places[second]
    return found.covariance[one, one] + found.covariance[other, other] - 2 * found.covariance[one, other]


def _runs(rng, top1, runs, images):
    return [rng.random(images) < top1 for _ in range(runs)]


def test_cells_that_agree_on_all_images_are_three_by_the_number_of_images_apart():
    right = np.random.default_rng(0).random(1000) < 0.8
    found = sampling({A: [right] * 3, B: [right] * 5})
    assert 1.959964 * np.sqrt(_contrast(found)) == pytest.approx(100 * 3 / 1000, rel=1e-5)
    assert (found.images, found.clusters) == (1000, None)
    clusters = np.arange(1000) // 10
    for agreed in (np.repeat(right[:100], 10), np.ones(1000, bool)):  # copies; and nothing that tells
        found = sampling({A: [agreed], B: [agreed]}, clusters)
        assert 1.959964 * np.sqrt(_contrast(found)) == pytest.approx(100 * 3 / 100, rel=1e-5)
        assert (found.images, found.clusters) == (1000, 100)
    found = sampling({A: [right], B: [right]}, clusters)  # images of a cluster are not alike
    assert 1.959964 * np.sqrt(_contrast(found)) == pytest.approx(100 * 3 / 1000, rel=0.4)


def test_single_runs_have_the_variance_of_a_paired_mean():
    rng = np.random.default_rng(1)
    one, other = rng.random((2, 5000)) < [[0.8], [0.6]]
    difference = 100 * (one.astype(float) - other)
    want = difference.var(ddof=1) / 5000
    assert _contrast(sampling({A: [one], B: [other]})) == pytest.approx(want + 2 * FLOOR / 5000**2, rel=2e-3)


def test_what_a_seed_does_on_one_image_alone_is_not_counted_twice():
    """All images are alike, and each run errs where it will: only seeds differ, which their spread tells."""
    rng = np.random.default_rng(2)
    found = sampling({A: _runs(rng, 0.7, 4, 2000), B: _runs(rng, 0.7, 9, 2000), C: _runs(rng, 0.7, 1, 2000)})
    own = 100**2 * 0.7 * 0.3 / 2000  # of a run's top-1, by its images
    assert _contrast(found) < 0.1 * own / 4
    assert _contrast(found, A, C) == pytest.approx(own, rel=0.1), "one run cannot tell, and is taken for the worst"


def test_what_a_block_does_on_an_image_is_taken_off_both_sides():
    """A seed's data makes the same images hard in both cells: differences within seeds do not hold it."""
    rng, images, n = np.random.default_rng(9), 20_000, 3
    own, hard = 0.2 * rng.choice([-1, 1], images), 0.25 * rng.choice([-1, 1], (n, images))
    right = {cell: list(rng.random((n, images)) < 0.5 + hard + (cell == A) * own) for cell in (A, B)}
    want = 100**2 * 0.2**2 / images
    assert _contrast(sampling(right, seeds={A: [0, 1, 2], B: [0, 1, 2]})) == pytest.approx(want, rel=0.15)
    assert _contrast(sampling(right)) < 0.5 * want, "the spread of each cell's own seeds holds more"
    some = sampling({A: right[A][:2], B: right[B]}, seeds={A: [4, 0], B: [0, 1, 2]})
    assert np.linalg.eigvalsh(some.covariance)[0] > 0


def test_without_common_seeds_blocks_take_off_each_cells_own():
    rng = np.random.default_rng(10)
    right = {A: _runs(rng, 0.7, 3, 500), B: _runs(rng, 0.6, 4, 500)}
    found = sampling(right, seeds={A: [0, 1, 2], B: [3, 4, 5, 6]})
    np.testing.assert_allclose(found.covariance, sampling(right).covariance)


@pytest.mark.parametrize("cluster", [None, 8])
def test_the_variance_over_images_is_unbiased(cluster):
    rng, images, found = np.random.default_rng(3), 800, []
    for _ in range(400):
        clusters = None if cluster is None else np.arange(images) // cluster
        shared = 0 if cluster is None else 0.2 * rng.choice([-1, 1], images // cluster)[clusters]
        image = 0.2 * rng.choice([-1, 1], images)
        runs = {cell: _runs(rng, 0.5 + (cell == A) * (image + shared), n, images) for cell, n in ((A, 3), (B, 6))}
        alone = [independent(np.mean(each, axis=0), clusters) for each in runs.values()]
        found.append(_contrast(sampling(runs, clusters)) - FLOOR * sum(1 / m**2 for m in alone))
    want = 100**2 * (0.2**2 / images + (0 if cluster is None else 0.2**2 * cluster / images))
    assert np.mean(found) == pytest.approx(want, rel=0.05)


def test_images_that_say_the_same_count_once():
    rng = np.random.default_rng(4)
    right = {A: _runs(rng, 0.8, 3, 300), B: _runs(rng, 0.7, 2, 300)}
    copied = {cell: [np.repeat(run, 5) for run in runs] for cell, runs in right.items()}
    alone, together = sampling(right), sampling(copied, np.repeat(np.arange(300), 5) * 7)
    np.testing.assert_allclose(together.covariance, alone.covariance, rtol=1e-9)
    assert _contrast(sampling(copied)) < 0.3 * _contrast(alone)
    np.testing.assert_allclose(sampling(right, np.arange(300)[::-1]).covariance, alone.covariance, rtol=1e-9)


def test_no_contrast_has_less_variance_than_the_rule_of_three_gives():
    rng = np.random.default_rng(5)
    right = {(str(cell),): _runs(rng, 0.6, 2, 60) for cell in range(8)}
    found = sampling(right)
    for _ in range(50):
        weights = rng.normal(size=8)
        weights -= weights.mean()
        assert weights @ found.covariance @ weights >= weights @ weights * FLOOR / 60**2 * (1 - 1e-9)


def test_repeats_of_a_seed_enter_as_their_mean():
    first, second = np.random.default_rng(6).random((2, 100)) < 0.7
    found = sampling({A: [(first + second.astype(float)) / 2], B: [first]})
    assert found.covariance.shape == (2, 2)
    assert list(found.places) == [A, B]


def test_cells_of_different_test_sets_share_nothing():
    rng = np.random.default_rng(8)
    one = sampling({A: _runs(rng, 0.8, 3, 300), B: _runs(rng, 0.8, 3, 300)})
    other = sampling({C: _runs(rng, 0.6, 3, 500)}, np.arange(500) // 5)
    found = joined([one, other])
    assert list(found.places) == [A, B, C] and (found.images, found.clusters) == (300, 100)
    assert (found.covariance[:2, :2] == one.covariance).all() and found.covariance[2, 2] == other.covariance[0, 0]
    assert (found.covariance[:2, 2] == 0).all() and (found.covariance[2, :2] == 0).all()


def test_what_has_no_spread_over_images_says_nothing():
    assert sampling({}) is None
    assert sampling({A: [np.ones(1, bool)]}) is None
    assert sampling({A: [np.ones(5, bool)]}, np.zeros(5, int)) is None


@pytest.mark.parametrize(
    ("right", "clusters", "said"),
    [
        ({A: []}, None, "every cell must have a run, got none of a"),
        ({A: [np.ones(5, bool)], B: [np.ones(6, bool)]}, None, r"the same images, got runs of \[5, 6\] images"),
        ({A: [np.full(5, 2.0)]}, None, "right .1. and wrong .0."),
        ({A: [np.ones((5, 1))]}, None, "must be .images,."),
        ({A: [np.ones(5, bool)]}, np.zeros(4, int), "a number for each of 5 images"),
    ],
)
def test_sampling_says_what_it_was_given_wrongly(right, clusters, said):
    with pytest.raises(ValueError, match=said):
        sampling(right, clusters)


@pytest.mark.parametrize("seeds", [{A: [0]}, {A: [0, 0]}, {}])
def test_sampling_wants_a_seed_for_each_run(seeds):
    with pytest.raises(ValueError, match="each of 2 runs of a must have a seed of its own"):
        sampling({A: [np.ones(5, bool)] * 2}, seeds=seeds)


def test_an_interval_over_images_counts_clusters():
    rng = np.random.default_rng(7)
    one, other = (np.repeat(rng.random((2, 400)) < top1, 5, axis=1) for top1 in (0.8, 0.7))
    clusters = np.arange(2000) // 5
    low, high = example_interval(one, other, clusters=clusters)
    alone = example_interval(one[:, ::5], other[:, ::5])
    assert (low, high) == pytest.approx(alone, abs=0.4)
    narrow = example_interval(one, other)
    assert high - low > 2 * (narrow[1] - narrow[0])


# ----------------------------------------------------------------------------------- coverage, by simulated studies


def _study(rng, images, seeds, *, abilities, spread, cluster=1):
    """Bits of architectures: probit of ability, seed, image, image x architecture, cluster and its architecture's.

    The truth is the expected difference of the second and the first over new seeds and images, in points.
    """
    which = np.arange(images) // cluster
    groups = which[-1] + 1
    shared = spread["image"] * rng.standard_normal(images) + spread["cluster"] * rng.standard_normal(groups)[which]
    right = {}
    for name, ability in zip("abcdef", abilities, strict=False):
        own = spread["own"] * rng.standard_normal(images) + spread["kind"] * rng.standard_normal(groups)[which]
        seed = spread["seed"] * rng.standard_normal(seeds)[:, None]
        chances = ndtr((ability + shared + own + seed).astype(np.float32))
        right[name,] = list(rng.random((seeds, images), np.float32) < chances)
    scale = np.sqrt(1 + sum(each**2 for each in spread.values()))
    return right, 100 * float(ndtr(abilities[1] / scale) - ndtr(abilities[0] / scale)), which


def _judged(right, clusters=None, *, scope=Scope.population):
    bits = [(cell, seed, run) for cell, runs in right.items() for seed, run in enumerate(runs)]
    runs = [Observation(cell, seed, 100 * run.mean()) for cell, seed, run in bits]
    images = sampling(right, clusters) if scope is Scope.population else None
    return [each.verdict for each in analyse(runs, ["model"], {"model": "a"}, sampling=images).contrasts]


DESIGNS = (
    {"seed": 0.05, "image": 1.6, "own": 0.9, "cluster": 0.0, "kind": 0.0},  # images decide
    {"seed": 0.15, "image": 0.8, "own": 0.3, "cluster": 0.0, "kind": 0.0},  # seeds decide
    {"seed": 0.0, "image": 0.4, "own": 0.0, "cluster": 0.0, "kind": 0.0},  # each run flips by itself
)


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("images", [1000, 10_000])
@pytest.mark.parametrize("seeds", [3, 5, 10, 20])
def test_intervals_over_seeds_and_images_cover_what_new_ones_give(images, seeds):
    rng, covered, studies = np.random.default_rng([images, seeds, 11]), [], 400
    for spread in DESIGNS:
        for number in range(studies):
            abilities = ((1.2, 1.2), (1.1, 1.4))[number % 2]
            right, truth, _ = _study(rng, images, seeds, abilities=abilities, spread=spread)
            (found,) = _judged(right)
            covered.append(found.low <= truth <= found.high)
    share = 100 * np.mean(covered)
    print(f"{images} images, {seeds} seeds: {share:.1f} % of {len(covered)} intervals cover")
    error = 100 * np.sqrt(0.95 * 0.05 / len(covered))
    assert 93.5 - 2 * error <= share <= 96.5 + 2 * error


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("models", "seeds"), [(2, 3), (2, 20), (6, 5)])
def test_architectures_that_are_equal_on_new_data_are_not_told_apart(models, seeds):
    """By seeds alone they are, and the more seeds the oftener."""
    rng, told = np.random.default_rng([models, seeds, 12]), {scope: [] for scope in Scope}
    for _ in range(1000):
        right, truth, _ = _study(rng, 1000, seeds, abilities=models * [0.9], spread=DESIGNS[0])
        assert truth == 0
        for scope, kinds in told.items():
            kinds.append(any(each.kind in ("helps", "hurts") for each in _judged(right, scope=scope)))
    rates = {scope: 100 * np.mean(kinds) for scope, kinds in told.items()}
    print(f"{models} models, {seeds} seeds: {', '.join(f'{rate:.1f} % by {scope}' for scope, rate in rates.items())}")
    assert rates[Scope.population] <= 6
    assert seeds < 20 or rates[Scope.these_images] > 20


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seeds", [3, 10])
def test_intervals_by_clusters_cover_what_new_ones_give(seeds):
    spread = {"seed": 0.05, "image": 0.8, "own": 0.3, "cluster": 1.0, "kind": 0.5}
    rng, covered = np.random.default_rng([seeds, 13]), {"clusters": [], "images": []}
    for number in range(1000):
        abilities = ((1.2, 1.2), (1.1, 1.4))[number % 2]
        right, truth, which = _study(rng, 2000, seeds, abilities=abilities, spread=spread, cluster=20)
        for name, clusters in (("clusters", which), ("images", None)):
            (found,) = _judged(right, clusters)
            covered[name].append(found.low <= truth <= found.high)
    shares = {name: 100 * np.mean(each) for name, each in covered.items()}
    print(f"{seeds} seeds, 100 groups: {', '.join(f'{share:.1f} % cover by {name}' for name, share in shares.items())}")
    assert 93 <= shares["clusters"] <= 97 and shares["images"] < 85
