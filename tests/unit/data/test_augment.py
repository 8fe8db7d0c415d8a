"""Augmentation: each operation against its definition, chance against its distribution."""

import io
import math
import threading
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from scipy import stats

from ablate.cli import training as verbs
from ablate.config.overrides import ConfigError
from ablate.data import Arrays, Batches, DataError, Splits
from ablate.data.augment import AugmentInterpolation, AugmentSpec, Policy, RandAugmentSpec, ResizedCropSpec
from ablate.data.augment.augmenter import Augmenter
from ablate.data.augment.images import augmented, resized_crop_box
from ablate.data.augment.mixing import cutmix_box, draw_mix, erasing_box, mixed, soft_labels
from ablate.data.augment.operations import OPERATIONS, Paint
from ablate.data.augment.policies import CIFAR10, auto_argument, draw_auto, draw_rand, rand_argument
from ablate.data.augment.sheet import contact_sheet

RNG = np.random.default_rng(7)
RGB = RNG.integers(0, 256, (12, 10, 3), np.uint8)
GREY = RNG.integers(0, 256, (12, 10), np.uint8)
PAINT = Paint(Image.Resampling.BILINEAR, (1, 2, 3))
PAPER = AugmentSpec(
    random_resized_crop=ResizedCropSpec(scale=[0.8, 1.0]),
    flip=0.5,
    rand_augment=RandAugmentSpec(ops=2),
    mixup=0.8,
    cutmix=1.0,
    erasing_probability=0.25,
)


def _applied(name, argument, pixels=RGB, paint=PAINT):
    return np.asarray(OPERATIONS[name](Image.fromarray(pixels), argument, paint))


def _images(count=64, size=8, channels=3):
    rng = np.random.default_rng(3)
    return Arrays(rng.integers(0, 256, (count, size, size, channels), np.uint8), rng.integers(0, 5, count))


def _augmenter(spec, seed=0, channels=3):
    return Augmenter(spec, seed, num_classes=5, mean=(0.5,) * channels, std=(0.25,) * channels)


# ------------------------------------------------------------------------------------------------ single operations


@pytest.mark.parametrize("pixels", [RGB, GREY], ids=["colour", "grey"])
def test_augment_tables_of_values_are_what_their_definitions_say(pixels):
    wide = pixels.astype(int)
    assert np.array_equal(_applied("invert", 0, pixels), 255 - wide)
    for bits in range(9):
        assert np.array_equal(_applied("posterize", bits, pixels), wide // 2 ** (8 - bits) * 2 ** (8 - bits))
    for bits in range(1, 9):
        assert np.array_equal(_applied("posterize", bits, pixels), ImageOps.posterize(Image.fromarray(pixels), bits))
    for threshold in (0, 26, 128, 256):
        assert np.array_equal(_applied("solarize", threshold, pixels), np.where(wide < threshold, wide, 255 - wide))
    for amount in (0, 99, 110):
        expected = np.where(wide < 128, np.minimum(255, wide + amount), wide)
        assert np.array_equal(_applied("solarize_add", amount, pixels), expected)


@pytest.mark.parametrize("pixels", [RGB, GREY], ids=["colour", "grey"])
def test_augment_operations_on_the_whole_image_are_pillows(pixels):
    image = Image.fromarray(pixels)
    assert np.array_equal(_applied("autocontrast", 0, pixels), ImageOps.autocontrast(image))
    assert np.array_equal(_applied("equalize", 0, pixels), ImageOps.equalize(image))
    enhancers = {"colour": "Color", "contrast": "Contrast", "brightness": "Brightness", "sharpness": "Sharpness"}
    for name, theirs in enhancers.items():
        for factor in (0.1, 0.73, 1.0, 1.9):
            expected = getattr(ImageEnhance, theirs)(image).enhance(factor)
            assert np.array_equal(_applied(name, factor, pixels), expected), (name, factor)


def test_augment_brightness_and_contrast_blend_as_defined():
    assert np.abs(_applied("brightness", 0.5).astype(int) - RGB / 2).max() <= 1
    mean = round(np.asarray(Image.fromarray(RGB).convert("L")).mean())
    assert np.abs(_applied("contrast", 0.5).astype(int) - (mean + RGB.astype(int)) / 2).max() <= 1


def test_augment_autocontrast_reaches_both_ends_of_every_channel():
    dull = (RGB // 3 + 40).astype(np.uint8)
    result = _applied("autocontrast", 0, dull)
    assert result.min(axis=(0, 1)).tolist() == [0] * 3 and result.max(axis=(0, 1)).min() >= 254


def test_augment_translations_move_by_a_share_of_the_side_and_fill():
    left, up = _applied("translate_x", 0.2), _applied("translate_y", 0.25)
    assert np.array_equal(left[:, :-2], RGB[:, 2:]) and (left[:, -2:] == PAINT.fill).all()
    assert np.array_equal(up[:-3], RGB[3:]) and (up[-3:] == PAINT.fill).all()


@pytest.mark.parametrize("resample", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC])
def test_augment_geometry_is_pillows_with_the_given_interpolation(resample):
    image, paint = Image.fromarray(RGB), Paint(resample, (9, 8, 7))
    turned = image.rotate(-17.5, resample=resample, fillcolor=(9, 8, 7))
    assert np.array_equal(_applied("rotate", -17.5, paint=paint), turned)
    for name, matrix in {"shear_x": (1, 0.27, 0, 0, 1, 0), "shear_y": (1, 0, 0, 0.27, 1, 0)}.items():
        expected = image.transform(image.size, Image.Transform.AFFINE, matrix, resample=resample, fillcolor=(9, 8, 7))
        assert np.array_equal(_applied(name, 0.27, paint=paint), expected)


def test_augment_rotation_of_a_square_by_ninety_degrees_is_exact():
    square = RGB[:10]
    assert np.array_equal(_applied("rotate", 90, square), np.rot90(square))


# ------------------------------------------------------------------------------------------------------- magnitudes


RAND_AT_9 = {
    "rotate": 27,
    "shear_x": 0.27,
    "shear_y": 0.27,
    "translate_x": 0.405,
    "translate_y": 0.405,
    "solarize_add": 99,
    "posterize": 1,
    "solarize": 26,
    "colour": 1.81,
    "contrast": 1.81,
    "brightness": 1.81,
    "sharpness": 1.81,
}


@pytest.mark.parametrize("name", RAND_AT_9)
def test_augment_rand_argument_at_magnitude_nine_is_timms(name):
    assert rand_argument(name, 9, increasing=True, negative=False) == pytest.approx(RAND_AT_9[name])


@pytest.mark.parametrize(
    ("name", "arguments"), {"solarize": (256, 128, 0), "posterize": (4, 2, 0), "solarize_add": (0, 55, 110)}.items()
)
def test_augment_rand_argument_runs_over_timms_range(name, arguments):
    found = tuple(rand_argument(name, magnitude, increasing=True, negative=False) for magnitude in (0, 5, 10))
    assert found == arguments


def test_augment_rand_argument_has_two_sides_only_where_the_operation_has():
    for name in OPERATIONS:
        here = rand_argument(name, 9, increasing=True, negative=False)
        there = rand_argument(name, 9, increasing=True, negative=True)
        if name in ("rotate", "shear_x", "shear_y", "translate_x", "translate_y"):
            assert there == -here
        elif name in ("colour", "contrast", "brightness", "sharpness"):
            assert (here, there) == (pytest.approx(1.81), pytest.approx(0.19))
        else:
            assert there == here


@pytest.mark.parametrize(
    ("name", "magnitude", "argument"),
    [("posterize", 9, 3), ("solarize", 9, 230), ("colour", 9, 1.72), ("posterize", 0, 0), ("colour", 0, 0.1)],
)
def test_augment_rand_argument_of_the_first_definition_differs(name, magnitude, argument):
    assert rand_argument(name, magnitude, increasing=False, negative=True) == pytest.approx(argument)


def test_augment_rand_draws_every_operation_equally_often_and_half_are_applied():
    spec, generator = RandAugmentSpec(ops=2), np.random.default_rng(0)
    draws = [draw_rand(spec, generator) for _ in range(15_000)]
    counts = Counter(each.name for drawn in draws for each in drawn)
    assert set(counts) == set(OPERATIONS) and len(OPERATIONS) == 15
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3
    assert stats.binomtest(sum(counts.values()), 30_000, 0.5).pvalue > 1e-3
    assert Counter(map(len, draws))[2] / 15_000 == pytest.approx(0.25, abs=0.02)  # drawn independently of each other


def test_augment_rand_noise_on_the_magnitude_is_normal_and_cut_at_ten():
    generator = np.random.default_rng(1)
    spec = RandAugmentSpec(ops=2, probability=1.0)
    degrees = [each.argument for _ in range(20_000) for each in draw_rand(spec, generator) if each.name == "rotate"]
    magnitudes = np.abs(degrees) / 3
    assert magnitudes.max() == 10 and np.mean(magnitudes == 10) == pytest.approx(stats.norm.sf(2), abs=0.01)
    assert np.median(magnitudes) == pytest.approx(9, abs=0.05)
    assert np.quantile(magnitudes, 0.1587) == pytest.approx(8.5, abs=0.05)
    assert np.mean(np.array(degrees) < 0) == pytest.approx(0.5, abs=0.04)


def test_augment_auto_policy_has_the_papers_ranges():
    assert len(CIFAR10) == 25
    for name, most in {"rotate": 30, "shear_y": 0.3, "translate_x": 150 / 331, "colour": 1.9}.items():
        assert auto_argument(name, 9, negative=False) == pytest.approx(most)
    assert [auto_argument("posterize", m, negative=False) for m in (0, 7, 9)] == [8, 5, 4]
    assert [auto_argument("solarize", m, negative=False) for m in (0, 9)] == [256, 0]
    assert auto_argument("brightness", 9, negative=True) == pytest.approx(0.1)


def test_augment_auto_applies_each_operation_as_often_as_its_policy_says():
    generator, expected = np.random.default_rng(2), Counter()
    for pair in CIFAR10:
        for name, probability, _ in pair:
            expected[name] += probability / len(CIFAR10)
    counts = Counter(each.name for _ in range(20_000) for each in draw_auto(Policy.cifar10, generator))
    for name, share in expected.items():
        assert counts[name] / 20_000 == pytest.approx(share, abs=0.015), name


# ----------------------------------------------------------------------------------------------------- crops, flip


def test_augment_resized_crop_draws_area_evenly_and_ratio_on_a_log_scale():
    spec, generator = ResizedCropSpec(scale=[0.1, 0.6], ratio=[3 / 4, 4 / 3]), np.random.default_rng(0)
    boxes = np.array([resized_crop_box(spec, 400, 400, generator) for _ in range(4000)])
    left, top, right, bottom = boxes.T
    area, ratio = (right - left) * (bottom - top) / 400**2, (right - left) / (bottom - top)
    assert stats.kstest(area, stats.uniform(0.1, 0.5).cdf).pvalue > 1e-3
    low = math.log(3 / 4)
    assert stats.kstest(np.log(ratio), stats.uniform(low, -2 * low).cdf).pvalue > 1e-3
    assert left.min() == 0 and right.max() == 400 and top.min() == 0 and bottom.max() == 400


def test_augment_resized_crop_that_cannot_be_takes_the_middle():
    spec = ResizedCropSpec(scale=[1.0, 1.0], ratio=[2.0, 2.0])
    assert resized_crop_box(spec, 8, 8, np.random.default_rng(0)) == (0, 2, 8, 6)


def test_augment_resized_crop_looks_at_nothing_outside_its_part():
    half = np.zeros((8, 16, 3), np.uint8)
    half[:, 8:] = 255
    spec = AugmentSpec(random_resized_crop=ResizedCropSpec(scale=[0.5, 0.5], ratio=[1.0, 1.0]))
    image = Image.fromarray(half)
    results = [augmented(image, (16, 8), spec, (0, 0, 0), np.random.default_rng(seed)) for seed in range(40)]
    assert {tuple(np.unique(r)) for r in results} & {(0,), (255,)}  # a part of one colour stays of one colour


def test_augment_crop_padding_shifts_and_shows_zeros():
    image = Image.new("L", (6, 6), 200)
    shifts = Counter()
    for seed in range(500):
        result = np.asarray(augmented(image, (6, 6), AugmentSpec(crop_padding=2), 0, np.random.default_rng(seed)))
        assert set(np.unique(result)) <= {0, 200}
        shifts[(result > 0).any(axis=0).sum()] += 1
    assert set(shifts) == {4, 5, 6}
    assert shifts[6] / 500 == pytest.approx(1 / 5, abs=0.07)


def test_augment_flip_mirrors_half_of_the_images():
    arrays = _images(600)
    flipped = _augmenter(AugmentSpec(flip=0.5)).images(arrays.x, np.arange(600), epoch=0)
    mirrored = (flipped == arrays.x[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (mirrored | (flipped == arrays.x).all(axis=(1, 2, 3))).all()
    assert stats.binomtest(int(mirrored.sum()), 600, 0.5).pvalue > 1e-3


def test_augment_colour_jitter_stays_within_its_factors():
    grey = Image.new("RGB", (4, 4), (100, 100, 100))  # contrast and colour leave one flat grey alone
    spec = AugmentSpec(colour_jitter=0.4)
    values = [np.max(augmented(grey, (4, 4), spec, 0, np.random.default_rng(seed))) for seed in range(400)]
    assert 59 <= min(values) < 65 and 135 < max(values) <= 140


# ------------------------------------------------------------------------------------------------- mixing, erasing


def test_augment_mixup_blends_with_the_reversed_batch_and_so_do_labels():
    x, y = np.array([[[[10]]], [[[20]]], [[[31]]]], np.uint8), np.array([0, 1, 2])
    mix = replace(draw_mix(AugmentSpec(mixup=0.8), 1, 1, np.random.default_rng(0)), share=0.75)
    assert mixed(x, mix).ravel().tolist() == [15, 20, 26]  # 15.25, 20, 25.75 rounded to bytes
    assert soft_labels(y, 4, mix).tolist() == [[0.75, 0, 0.25, 0], [0, 1, 0, 0], [0.25, 0, 0.75, 0]]


def test_augment_mixup_share_follows_beta():
    generator = np.random.default_rng(0)
    shares = [draw_mix(AugmentSpec(mixup=0.8), 8, 8, generator).share for _ in range(4000)]
    assert stats.kstest(shares, stats.beta(0.8, 0.8).cdf).pvalue > 1e-3


def test_augment_cutmix_label_follows_what_is_really_seen():
    generator, x = np.random.default_rng(0), np.zeros((2, 9, 7, 1), np.uint8)
    x[1] = 1
    for _ in range(300):
        mix = draw_mix(AugmentSpec(cutmix=1.0), 9, 7, generator)
        assert mixed(x, mix)[0].mean() == pytest.approx(1 - mix.share)


def test_augment_cutmix_box_has_the_drawn_area_where_the_edges_leave_it():
    generator = np.random.default_rng(0)
    boxes = [cutmix_box(0.75, 32, 32, generator) for _ in range(2000)]
    areas = [(bottom - top) * (right - left) for top, bottom, left, right in boxes]
    assert max(areas) == 16 * 16  # sides of sqrt(0.25) * 32
    # Centres are even over the image: along one side 17 of 32 leave it whole, the others cut 1 to 8 pixels off.
    assert np.mean(areas) == pytest.approx(np.mean([min(32, c + 8) - max(0, c - 8) for c in range(32)]) ** 2, rel=0.03)


@pytest.mark.parametrize(
    ("changes", "cutmix", "none"),
    [
        ({}, 0.5, 0.0),
        ({"switch_probability": 0.2}, 0.2, 0.0),
        ({"mix_probability": 0.3}, 0.15, 0.7),
        ({"mixup": 0.0}, 1.0, 0.0),
        ({"cutmix": 0.0}, 0.0, 0.0),
    ],
)
def test_augment_mixing_switches_as_often_as_it_says(changes, cutmix, none):
    generator, spec = np.random.default_rng(0), replace(PAPER, **changes)
    mixes = [draw_mix(spec, 8, 8, generator) for _ in range(4000)]
    assert np.mean([mix is None for mix in mixes]) == pytest.approx(none, abs=0.03)
    assert np.mean([mix is not None and mix.box is not None for mix in mixes]) == pytest.approx(cutmix, abs=0.03)


def test_augment_mixing_ends_at_its_off_epoch_and_labels_keep_their_form():
    arrays = _images(6)
    augment = _augmenter(AugmentSpec(mixup=0.8, mix_off_epoch=2))
    one_hot = np.eye(5, dtype=np.float32)[arrays.y]
    for epoch, off in {0: False, 1: False, 2: True, 5: True}.items():
        x, y = augment(arrays.x, arrays.y, np.arange(6), epoch, batch=0)
        assert np.array_equal(x, arrays.x) == off and np.array_equal(y, one_hot) == off
        assert y.shape == (6, 5) and y.sum(axis=1) == pytest.approx(1)


def test_augment_erasing_box_draws_timms_areas_and_ratios():
    generator = np.random.default_rng(0)
    boxes = np.array([erasing_box(300, 300, generator) for _ in range(4000)])
    top, bottom, left, right = boxes.T
    height, width = bottom - top, right - left
    ratio = np.log(height / width)
    assert (height * width / 300**2).min() > 0.018 and (height * width / 300**2).max() < 0.335
    assert np.mean(height * width / 300**2) == pytest.approx((0.02 + 1 / 3) / 2, abs=0.01)
    assert np.mean(ratio) == pytest.approx(0, abs=0.05) and np.abs(ratio).max() <= math.log(1 / 0.3) + 0.05


def test_augment_erasing_puts_standard_normal_noise_into_a_quarter_of_the_images():
    arrays = Arrays(np.full((2000, 16, 16, 3), 77, np.uint8), np.zeros(2000, np.int64))
    augment = Augmenter(AugmentSpec(erasing_probability=0.25), 0, 5, (0.4, 0.5, 0.6), (0.1, 0.2, 0.3))
    x, y = augment(arrays.x, arrays.y, np.arange(2000), 0, 0)
    assert x.dtype == np.float32 and y.shape == (2000,)
    erased = (x != 77).any(axis=(1, 2, 3))
    assert stats.binomtest(int(erased.sum()), 2000, 0.25).pvalue > 1e-3
    seen = (x / 255 - (0.4, 0.5, 0.6)) / (0.1, 0.2, 0.3)
    noise = seen[(x != 77).all(axis=-1)]
    assert noise.mean(axis=0) == pytest.approx(0, abs=0.05) and noise.std(axis=0) == pytest.approx(1, abs=0.05)


# --------------------------------------------------------------------------------------------------------- batches


def _epoch(spec, epoch=0, *, seed=0, order=1, batch_size=10, start=0):
    batches = Batches(_images(), batch_size, order, _augmenter(spec, seed), workers=spec.workers)
    return list(batches.epoch(epoch, start=start))


def _same(one, other):
    return len(one) == len(other) and all(
        np.array_equal(a, b) for pair in zip(one, other, strict=True) for a, b in zip(*pair, strict=True)
    )


def test_augment_batches_do_not_depend_on_the_number_of_workers():
    one = _epoch(PAPER)
    assert all(_same(one, _epoch(replace(PAPER, workers=workers))) for workers in (2, 5))


def test_augment_batches_go_on_where_an_epoch_was_left():
    assert _same(_epoch(PAPER, 3, start=4), _epoch(PAPER, 3)[4:])


def test_augment_batches_differ_between_seeds_and_between_epochs():
    spec = AugmentSpec(rand_augment=RandAugmentSpec(ops=2), flip=0.5)
    assert not _same(_epoch(spec), _epoch(spec, seed=1))
    arrays, indices = _images(), np.arange(64)
    augment = _augmenter(spec)
    assert not np.array_equal(augment.images(arrays.x, indices, 0), augment.images(arrays.x, indices, 1))


def test_augment_batches_of_one_epoch_are_mixed_differently():
    arrays, augment = _images(8), _augmenter(AugmentSpec(mixup=0.8))
    shares = {tuple(augment(arrays.x, arrays.y, np.arange(8), 0, batch)[1].max(axis=1)) for batch in range(6)}
    assert len(shares) == 6


def test_augment_erasing_is_drawn_apart_from_what_went_before():
    blank = np.zeros((800, 8, 8, 1), np.uint8)
    blank[:, 0, 0] = 255
    x, _ = _augmenter(AugmentSpec(flip=0.5, erasing_probability=0.5), channels=1)(
        blank, np.zeros(800, np.int64), np.arange(800), 0, 0
    )
    erased = np.isin(x, (0, 255)).all(axis=(1, 2, 3)) == 0
    kept = (x[:, 0, 0, 0] == 255) | (x[:, 0, -1, 0] == 255)  # the mark was not erased, so that its side is known
    left = (x[:, 0, 0, 0] == 255)[kept]
    assert abs(np.corrcoef(left, erased[kept])[0, 1]) < 0.15


def test_augment_of_an_image_does_not_depend_on_its_place_in_the_batch():
    arrays, augment = _images(), _augmenter(replace(PAPER, mixup=0.0, cutmix=0.0))
    x, _ = augment(arrays.x, arrays.y, np.arange(64), epoch=1, batch=0)
    chosen = np.array([40, 3, 17])
    some, _ = augment(arrays.x[chosen], arrays.y[chosen], chosen, epoch=1, batch=9)
    assert np.array_equal(some, x[chosen])


def test_augment_of_nothing_leaves_images_alone():
    arrays = _images()
    x, y = _augmenter(AugmentSpec())(arrays.x, arrays.y, np.arange(64), 0, 0)
    assert x is arrays.x and y is arrays.y and not AugmentSpec().active


@pytest.mark.parametrize("channels", [1, 3])
def test_augment_keeps_shape_for_grey_and_colour(channels):
    arrays = _images(4, channels=channels)
    spec = replace(PAPER, auto_augment=Policy.cifar10, colour_jitter=0.4, crop_padding=2, erasing_probability=0.0)
    x, _ = _augmenter(spec, channels=channels)(arrays.x, arrays.y, np.arange(4), 0, 0)
    assert x.shape == arrays.x.shape and x.dtype == np.uint8 and not np.array_equal(x, arrays.x)


def test_augment_interpolation_is_the_one_that_is_asked_for():
    def turned(interpolation):
        spec = AugmentSpec(random_resized_crop=ResizedCropSpec(scale=[0.3, 0.5]), interpolation=interpolation)
        return [_augmenter(spec).images(_images().x, np.arange(64), 0)[i].tobytes() for i in range(64)]

    bilinear, bicubic, drawn = map(
        turned, (AugmentInterpolation.bilinear, AugmentInterpolation.bicubic, AugmentInterpolation.random)
    )
    kinds = [a == c or (2 if b == c else 0) for a, b, c in zip(bilinear, bicubic, drawn, strict=True)]
    assert 0 not in kinds and 15 < kinds.count(2) < 49


def _making_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def _ended(threads):
    for thread in threads:
        thread.join(timeout=10)
    return not any(thread.is_alive() for thread in threads)


def test_augment_batches_pass_on_what_a_thread_raises_and_end_it():
    arrays = _images()
    batches = Batches(arrays, 8, 0, _augmenter(PAPER))
    object.__setattr__(arrays, "x", arrays.x[:10])  # the rest of a file is gone
    with pytest.raises(IndexError):
        list(batches.epoch(0))
    assert _ended(_making_threads())


def test_augment_batches_that_are_left_early_leave_no_thread_at_work():
    batches = Batches(_images(), 8, 0, _augmenter(PAPER)).epoch(0)
    next(batches)
    threads = _making_threads()
    batches.close()
    assert threads and _ended(threads)


# ----------------------------------------------------------------------------------------------------------- specs


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"flip": 1.5}, "augment.flip must be between 0 and 1, got 1.5"),
        ({"mixup": -1.0}, "augment.mixup must be at least 0"),
        ({"crop_padding": -1}, "augment.crop_padding must be at least 0"),
        ({"workers": 0}, "augment.workers must be at least 1"),
        ({"colour_jitter": 2.0}, "augment.colour_jitter must be between 0 and 1"),
        ({"auto_augment": "cifar"}, "cifar10"),
        ({"random_resized_crop": ResizedCropSpec(scale=[0.0, 1.0])}, "0 < least <= most <= 1"),
        ({"random_resized_crop": ResizedCropSpec(scale=[0.5, 1.0], ratio=[2.0])}, "ratio must be [least, most]"),
        ({"rand_augment": RandAugmentSpec(magnitude=11)}, "magnitude must be between 0 and 10, got 11"),
        ({"rand_augment": RandAugmentSpec(ops=-1)}, "ops must be at least 0"),
        ({"rand_augment": RandAugmentSpec(std=-0.5)}, "std must be at least 0"),
        ({"rand_augment": RandAugmentSpec(probability=2)}, "rand_augment.probability must be between 0 and 1"),
    ],
)
def test_augment_spec_says_what_is_wrong(changes, words):
    with pytest.raises(DataError) as error:
        replace(AugmentSpec(), **changes).check()
    assert words in str(error.value)


def test_augment_of_two_channels_is_refused():
    with pytest.raises(DataError, match="grey or colour"):
        Augmenter(AugmentSpec(flip=0.5), 0, 2, (0.5, 0.5), (0.2, 0.2))


# ----------------------------------------------------------------------------------------------------------- sheet


@pytest.mark.parametrize("channels", [1, 3])
def test_augment_sheet_shows_the_image_and_what_comes_of_it(channels):
    arrays = _images(20, channels=channels)
    moments = (0.5,) * channels
    splits = Splits(arrays, arrays.take(np.arange(0)), arrays, tuple("abcde"), moments, moments, "")
    sheet = Image.open(io.BytesIO(contact_sheet(splits, AugmentSpec(flip=1.0), 0, images=3, epochs=2)))
    tiles = np.asarray(sheet.convert("RGB"))
    first, then = tiles[2:98, 2:98], tiles[2:98, 108:204]
    assert sheet.size == (3 * 98 + 10, 3 * 98 + 2)
    assert np.array_equal(first[::12, ::12], np.broadcast_to(arrays.x[0], (8, 8, 3)))
    assert np.array_equal(then, first[:, ::-1])


def test_augment_sheet_is_written_where_out_says_and_asks_for_it(tmp_path):
    out = tmp_path / "sheet.png"
    assert verbs.sheet(["data=digits", "augment=paper", f"out={out}"]) == 0
    assert Image.open(out).format == "PNG"
    with pytest.raises(ConfigError, match="sheet needs out=PATH"):
        verbs.sheet(["data=digits"])
    with pytest.raises(ConfigError, match="out must name a file that can be written"):
        verbs.sheet(["data=digits", f"out={out}/sheet.png"])
