"""Splits, digest, normalisation, batches: what holds for every source."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from ablate.data import Arrays, Batches, DataError, DataSpec, describe, load
from ablate.data.arrays import digest, moments
from ablate.data.described import training_images
from ablate.data.resize import fit_all
from ablate.data.split import fewer, shares, stratified


def _key(arrays):
    return {image.tobytes() for image in arrays.x}


@pytest.fixture(scope="module")
def digits():
    return load(DataSpec(source="digits"))


def test_mnist5k_is_split_3600_400_1000_with_every_class_alike():
    splits = load(DataSpec())
    assert [np.bincount(part.y).tolist() for part in (splits.train, splits.val, splits.test)] == [
        [360] * 10,
        [40] * 10,
        [100] * 10,
    ]
    assert splits.input_shape == (28, 28, 1)
    assert (splits.mean, splits.std) == ((0.1307,), (0.3081,))
    # The digits are MNIST's own: their mean is the published one within the sampling error of 3,600 images.
    assert moments(splits.train.x)[0][0] == pytest.approx(0.1307, abs=0.005)
    assert splits.train.x.max() == 255
    assert not (_key(splits.train) & _key(splits.test) or _key(splits.train) & _key(splits.val))


def test_digits_use_the_whole_grey_scale_and_measure_their_own_moments(digits):
    assert digits.train.x.min() == 0 and digits.train.x.max() == 255
    scaled = digits.train.x / 255
    assert digits.mean == pytest.approx((scaled.mean(),)) and digits.std == pytest.approx((scaled.std(),))
    assert len(digits.train) + len(digits.val) + len(digits.test) == 1797


@pytest.mark.parametrize("source", ["digits", "mnist5k"])
def test_split_seed_moves_validation_and_never_the_test_set(source):
    one, other = (load(DataSpec(source=source, split_seed=seed)) for seed in (0, 1))
    assert not np.array_equal(other.val.x, one.val.x)
    assert np.array_equal(other.test.x, one.test.x)
    assert other.digest != one.digest


def test_split_is_the_same_again(digits):
    assert load(DataSpec(source="digits")).digest == digits.digest


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.37])
def test_stratified_gives_the_rounded_part_and_each_class_its_share(fraction):
    labels = np.repeat(np.arange(3), [10, 33, 57])
    kept, held = stratified(labels, fraction, 5)
    assert sorted([*kept, *held]) == list(range(100))
    assert len(held) == round(100 * fraction)
    assert np.all(np.abs(np.bincount(labels[held], minlength=3) - np.bincount(labels) * fraction) < 1)


def test_stratified_leaves_a_lone_image_of_a_class_for_training():
    kept, _ = stratified(np.array([0, 0, 0, 0, 1]), 0.8, 0)
    assert kept[-1] == 4


@pytest.mark.parametrize(
    ("leaves", "digest"),
    [
        ({"source": "mnist5k"}, "a62fdbff52c81f68765824438717a2863dc4ab93d4384ba2b611df6aaaceddb3"),
        ({"source": "mnist5k", "split_seed": 3}, "4e8cb40e58315d0b1806fd14a6d111c017c66a9f3d9c164882f41546066f3ae4"),
        ({"source": "mnist5k", "fraction": 0.25}, "d56f8865a4666cd99a27d5f16ef71e93da883a85915b96f0efee0226f368703c"),
        ({"source": "digits"}, "78953879f8c61fd4bacb7fcd99e674a9ee6d2c50fcec8fa0626895248459becd"),
        ({"source": "digits", "val_fraction": 0.2}, "215524d1b45c73ba7be95f491e29daf47ebdeb977a12f8a5a52c46c5d3079523"),
    ],
)
def test_split_of_shipped_data_is_what_the_records_were_made_with(leaves, digest):
    assert load(DataSpec(**leaves)).digest == digest


@given(
    counts=st.lists(st.integers(1, 300), min_size=1, max_size=40),
    fraction=st.floats(0.001, 0.999),
    seed=st.integers(0, 2**32),
)
def test_shares_are_the_exact_ones_rounded_and_reach_every_class_that_keeps_an_image(counts, fraction, seed):
    counts = np.array(counts)
    held, exact, total = shares(counts, fraction, seed), counts * fraction, round(float(counts.sum() * fraction))
    assert np.array_equal(held, shares(counts, fraction, seed))
    assert np.all(held <= np.maximum(counts - 1, 0))
    if total == 0:
        assert held.sum() == 0
        return
    assert np.all(held[counts >= 2] >= 1)
    assert np.all((np.abs(held - exact) < 1) | (held == counts - 1))
    if np.all(np.floor(exact) >= 1) and np.all(np.ceil(exact) < counts):
        assert held.sum() == total  # no class was raised to one image, and none kept its last


@given(counts=st.lists(st.integers(20, 300), min_size=2, max_size=30, unique=True), seed=st.integers(0, 99))
def test_shares_without_a_tie_are_the_largest_remainders_whatever_the_seed(counts, seed):
    counts, fraction = np.array(counts), 0.1 + 0.1 / 7
    exact = counts * fraction
    remainders = exact - np.floor(exact)
    assume(len(set(remainders.tolist())) == len(counts))
    missing = round(float(counts.sum() * fraction)) - int(np.floor(exact).sum())
    up = set(np.argsort(-remainders)[:missing].tolist())
    assert set(np.flatnonzero(shares(counts, fraction, seed) > np.floor(exact)).tolist()) == up


def test_shares_settle_ties_by_the_seed_and_fairly():
    drawn = np.array([shares(np.full(100, 15), 0.1, seed) for seed in range(200)])
    assert np.all(drawn.sum(axis=1) == 150) and set(drawn.ravel().tolist()) == {1, 2}
    # Of 200 draws 100 +- 7 (one standard deviation of a coin) go to each class; the lowest labels got all of them once.
    assert np.all(np.abs((drawn == 2).sum(axis=0) - 100) < 35)


def test_stratified_gives_each_of_many_small_classes_a_validation_image():
    labels = np.repeat(np.arange(100), 5)
    kept, held = stratified(labels, 0.1, 0)
    assert np.bincount(labels[held]).tolist() == [1] * 100 and np.bincount(labels[kept]).tolist() == [4] * 100


@pytest.mark.parametrize(
    "leaves",
    [
        {},
        {"source": "digits"},
        {"source": "digits", "val_fraction": 0.37, "split_seed": 4, "fraction": 0.3},
        {"source": "digits", "val_fraction": 0, "per_class": 7},
        {"source": "digits", "fraction": 0.001},
    ],
)
def test_training_images_are_counted_without_reading_any(leaves, monkeypatch):
    spec = DataSpec(**leaves)
    images = len(load(spec).train)
    monkeypatch.setattr("ablate.data.sources.digits.numbers", lambda *args, **kwargs: pytest.fail("read"))
    monkeypatch.setattr("ablate.data.sources.mnist5k.numbers", lambda *args, **kwargs: pytest.fail("read"))
    assert training_images(spec) == images


def test_val_fraction_of_zero_gives_no_validation_images():
    splits = load(DataSpec(source="digits", val_fraction=0))
    assert len(splits.val) == 0 and len(splits.train) == 1438


def test_image_size_resizes_every_part_and_is_described():
    spec = DataSpec(source="digits", image_size=[12, 10])
    assert describe(spec) == ((12, 10, 1), 10)
    splits = load(spec)
    assert splits.input_shape == (12, 10, 1) and splits.test.x.shape[1:] == (12, 10, 1)


def test_resize_averages_where_it_shrinks():
    board = (np.indices((8, 8)).sum(axis=0) % 2 * 255).astype(np.uint8)[None, :, :, None]
    assert np.abs(fit_all(board, DataSpec(image_size=[2, 2])).astype(int) - 127).max() <= 2


@pytest.mark.parametrize(
    ("shape", "size", "crop_pct", "scaled", "corner"),
    [
        ((300, 400), (224, 224), 0.9, (248, 330), (12, 53)),
        ((400, 300), (224, 224), 1.0, (298, 224), (37, 0)),
        ((100, 200), (60, 30), 0.5, (120, 240), (30, 105)),
        ((8, 8), (8, 8), 0.5, (16, 16), (4, 4)),
    ],
)
def test_crop_pct_scales_the_shorter_side_and_cuts_the_middle(shape, size, crop_pct, scaled, corner):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    spec = DataSpec(image_size=list(size), crop_pct=crop_pct, interpolation="bicubic")
    whole = np.asarray(Image.fromarray(image).resize(scaled[::-1], Image.Resampling.BICUBIC))
    middle = whole[corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]]
    assert np.array_equal(fit_all(image[None], spec)[0], middle)


@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_interpolation_is_pillows(name):
    image = np.random.default_rng(0).integers(0, 256, (9, 12, 1), dtype=np.uint8)
    wanted = Image.fromarray(image[:, :, 0]).resize((20, 5), Image.Resampling[name.upper()])
    assert np.array_equal(fit_all(image[None], DataSpec(image_size=[5, 20], interpolation=name))[0, :, :, 0], wanted)


def test_channels_repeat_grey_and_take_the_luma_of_colour():
    colour = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), dtype=np.uint8)
    grey = fit_all(colour, DataSpec(channels=1))
    assert grey.shape == (2, 5, 4, 1)
    assert np.abs(grey[..., 0] - colour @ [0.299, 0.587, 0.114]).max() <= 1
    assert np.array_equal(fit_all(grey, DataSpec(channels=3)), np.repeat(grey, 3, axis=3))


def test_channels_keep_what_is_published_where_it_still_holds(digits):
    spec = DataSpec(channels=3)
    assert describe(spec) == ((28, 28, 3), 10)
    splits = load(spec)
    assert splits.mean == (0.1307,) * 3 and splits.input_shape == (28, 28, 3)
    assert load(DataSpec(source="digits", channels=3)).mean == digits.mean * 3


def test_fraction_is_stratified_seeded_and_nested(digits):
    parts = {f: load(DataSpec(source="digits", fraction=f)) for f in (0.05, 0.1, 0.35, 0.7)}
    for small, large in itertools.pairwise(parts.values()):
        assert _key(small.train) < _key(large.train) < _key(digits.train)
    for fraction, part in parts.items():
        assert np.all(np.abs(np.bincount(part.train.y) - np.bincount(digits.train.y) * fraction) <= 0.5)
        assert np.array_equal(part.val.x, digits.val.x) and np.array_equal(part.test.x, digits.test.x)
    assert len({part.digest for part in [*parts.values(), digits]}) == 5
    other = load(DataSpec(source="digits", fraction=0.1, split_seed=1))
    assert _key(other.train) != _key(parts[0.1].train)


def test_fewer_keeps_one_image_of_the_rarest_class_and_never_shrinks():
    labels = np.repeat(np.arange(3), [1, 7, 90])
    before = set()
    for percent in range(1, 101):
        taken = set(fewer(labels, fraction=percent / 100, per_class=None, seed=0).tolist())
        assert before <= taken and len({labels[i] for i in taken}) == 3
        before = taken
    assert len(before) == 98


def test_per_class_takes_so_many_of_each_and_is_nested(digits):
    few, more = (load(DataSpec(source="digits", per_class=n)) for n in (5, 20))
    assert np.bincount(few.train.y).tolist() == [5] * 10 and _key(few.train) < _key(more.train)
    with pytest.raises(DataError, match=r"data.per_class must be at most 12\d, .*smallest class, got 500"):
        load(DataSpec(source="digits", per_class=500))


def test_own_moments_of_the_spec_win():
    splits = load(DataSpec(source="digits", mean=[0.5], std=[0.25]))
    assert (splits.mean, splits.std) == ((0.5,), (0.25,))


def test_digest_sees_pixels_labels_shape_and_class_names():
    x, y = np.arange(8, dtype=np.uint8).reshape(2, 2, 2, 1), np.array([0, 1])
    changed = [
        digest(["a", "b"], {"train": Arrays(x, y)}),
        digest(["a", "c"], {"train": Arrays(x, y)}),
        digest(["a", "b"], {"test": Arrays(x, y)}),
        digest(["a", "b"], {"train": Arrays(x, y[::-1])}),
        digest(["a", "b"], {"train": Arrays(x.reshape(2, 1, 4, 1), y)}),
        digest(["a", "b"], {"train": Arrays(x + np.uint8(1), y)}),
    ]
    assert len(set(changed)) == len(changed)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (DataSpec(source="mnist6k"), "data.source must be one of .*Did you mean mnist5k"),
        (DataSpec(source="digits", root="x"), "data.root must be null"),
        (DataSpec(source="folder"), "data.root must name a folder or a zip"),
        (DataSpec(source="digits", image_size=[8]), "data.image_size must be"),
        (DataSpec(source="digits", val_fraction=1.0), "data.val_fraction must be"),
        (DataSpec(source="digits", val_fraction=1e-6), "data.val_fraction must hold out"),
        (DataSpec(source="digits", split_seed=-1), "data.split_seed must be"),
        (DataSpec(source="digits", std=[0.0]), "data.std must be above 0"),
        (DataSpec(source="digits", class_level=0), "data.class_level must be at least 1"),
        (DataSpec(source="digits", fraction=0.0), "data.fraction must be above 0"),
        (DataSpec(source="digits", per_class=0), "data.per_class must be at least 1"),
        (DataSpec(source="digits", per_class=3, fraction=0.5), "must not both be set, got 3 and 0.5"),
        (DataSpec(source="digits", channels=2), "data.channels must be 1 .* 3"),
        (DataSpec(source="digits", crop_pct=0.9), "data.crop_pct must come with data.image_size"),
        (DataSpec(source="digits", crop_pct=1.5, image_size=[8, 8]), "data.crop_pct must be above 0"),
        (DataSpec(source="digits", memory_limit=-1), "data.memory_limit must be at least 0"),
        (DataSpec(source="digits", mean=[0.1, 0.1, 0.1]), "data.mean must have 1 values"),
    ],
)
def test_spec_that_cannot_be_is_refused(spec, message):
    with pytest.raises(DataError, match=message):
        load(spec)


def test_batches_cover_an_epoch_once_and_keep_images_with_their_labels(digits):
    batches = Batches(digits.train, 100, seed=3)
    drawn = list(batches.epoch(0))
    assert [len(y) for _, y in drawn] == [100] * 12 + [94] and len(batches) == 13
    labels = {(image.tobytes(), label) for image, label in zip(digits.train.x, digits.train.y, strict=True)}
    assert {(image.tobytes(), label) for x, y in drawn for image, label in zip(x, y, strict=True)} == labels


def test_batches_follow_seed_and_epoch_alone(digits):
    def order(seed, epoch):
        return np.concatenate([y for _, y in Batches(digits.train, 64, seed).epoch(epoch)]).tolist()

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(1, 1)
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 0)


def test_batch_larger_than_the_data_is_refused(digits):
    with pytest.raises(DataError, match=r"train.batch_size must be .* got 2000 for 1294 images"):
        Batches(digits.train, 2000, 0)
