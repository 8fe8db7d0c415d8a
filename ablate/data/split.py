"""Stratified splits and parts: every class gives its share, and the same seed gives the same images."""

import numpy as np
from numpy.typing import NDArray

from ablate.data.spec import Counts, DataError, DataSpec

Indices = NDArray[np.int64]

TEST_SEED = 20210412
"""Seed of the test sets that we cut ourselves (mnist5k, digits): the same whatever ``data.split_seed`` is."""

_FEWER = 1
_TIES = 26
"""Streams of the seed. With this one the split of digits at seed 0 is what it was before the seed settled ties."""


def stratified(labels: NDArray[np.int64], fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Holds out a part of every class, as many images of each as ``shares`` says.

    Args:
        labels: ``(images,)``.
        fraction: Part to hold out, 0 to 1.
        seed: Chooses the images within each class, and the classes that equal remainders make larger.

    Returns:
        Indices kept and indices held out, each in the order of the data.
    """
    generator = np.random.default_rng(seed)
    counts = np.bincount(labels)
    held = [
        generator.permutation(np.flatnonzero(labels == label))[:n]
        for label, n in enumerate(shares(counts, fraction, seed))
    ]
    out = np.zeros(len(labels), dtype=bool)
    out[np.concatenate(held)] = True
    return np.flatnonzero(~out), np.flatnonzero(out)


def shares(counts: NDArray[np.int64], fraction: float, seed: int) -> NDArray[np.int64]:
    """How many images each class holds out: its exact share, ``fraction`` of its images, rounded down or up.

    The total is ``fraction`` of all images, rounded; the largest remainders are rounded up, and of equal ones those
    that the seed chooses. Then each class of two or more images that has none gets one, so that validation judges it:
    where classes are small the total rises above the rounded one. A class keeps at least one image; so a class of one
    holds out none.

    Args:
        counts: ``(classes,)``, images of each.
        fraction: Part to hold out, 0 to 1.
        seed: Settles equal remainders.

    Returns:
        ``(classes,)``; nothing at all where the rounded total is 0.
    """
    total = round(float(counts.sum() * fraction))
    if total == 0:
        return np.zeros_like(counts)
    exact = counts * fraction
    rounded = np.floor(exact).astype(np.int64)
    # A stream of its own: the images within a class are drawn from the seed itself.
    chance = np.random.default_rng([seed, _TIES]).permutation(len(counts))
    missing = max(0, total - int(rounded.sum()))
    rounded[np.lexsort((chance, rounded - exact))[:missing]] += 1
    most = np.maximum(counts - 1, 0)
    least: NDArray[np.int64] = np.minimum(np.maximum(rounded, 1), most)
    return least


def fewer(labels: NDArray[np.int64], *, fraction: float, per_class: int | None, seed: int) -> Indices:
    """Part of every class, for training on less.

    One seed orders each class once, and every part is a start of that order: a smaller one lies within a larger one.
    A class gives its own rounded share, at least one image, so that shares never shrink as the fraction grows.

    Args:
        labels: ``(images,)``, every class up to the largest label with at least one image.
        fraction: Part of each class to take, above 0 and at most 1.
        per_class: So many of each class instead, where it is not None.
        seed: Chooses the images within each class.

    Returns:
        Indices taken, in the order of the data.

    Raises:
        DataError: A class has fewer than ``per_class``.
    """
    counts = np.bincount(labels)
    wanted = fewer_shares(counts, fraction=fraction, per_class=per_class)
    if per_class is None and fraction == 1:
        return np.arange(len(labels))
    # A stream of its own: the split draws from the seed itself.
    generator = np.random.default_rng([seed, _FEWER])
    taken = [generator.permutation(np.flatnonzero(labels == label))[:share] for label, share in enumerate(wanted)]
    return np.sort(np.concatenate(taken))


def fewer_shares(counts: NDArray[np.int64], *, fraction: float, per_class: int | None) -> NDArray[np.int64]:
    """How many images of each class ``fewer`` takes, ``(classes,)``.

    Raises:
        DataError: A class has fewer than ``per_class``.
    """
    if per_class is None:
        rounded: NDArray[np.int64] = np.floor(counts * fraction + 0.5).astype(np.int64)
        return np.maximum(rounded, 1)
    if per_class > (least := int(counts.min())):
        raise DataError(
            f"data.per_class must be at most {least}, the training images of the smallest class, got {per_class}; "
            "lower it."
        )
    return np.full_like(counts, per_class)


def training_images(counts: Counts, spec: DataSpec) -> int:
    """How many images are trained on, once validation is held out and ``data.fraction`` or ``per_class`` taken.

    Raises:
        DataError: The split cannot be made of so many images.
    """
    left = np.array(counts.train, np.int64)
    if not counts.own_validation:
        held = shares(left, spec.val_fraction, spec.split_seed)
        check_held(int(held.sum()), int(left.sum()), spec)
        left = left - held
    return int(fewer_shares(left, fraction=spec.fraction, per_class=spec.per_class).sum())


def check_held(held: int, images: int, spec: DataSpec) -> None:
    """Raises DataError where validation is wanted and too few images are there to hold one out."""
    if spec.val_fraction and not held:
        raise DataError(
            f"data.val_fraction must hold out at least one image, got {spec.val_fraction} of {images} images; "
            "raise it, or set data.val_fraction=0 with train.select=last."
        )
