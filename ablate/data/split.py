"""Stratified splits and parts: every class gives its share, and the same seed gives the same images."""

import math

import numpy as np
from numpy.typing import NDArray

from ablate.data.spec import DataError

Indices = NDArray[np.int64]

TEST_SEED = 20210412
"""Of the test sets that we cut ourselves (mnist5k, digits): fixed once for all, whatever ``data.split_seed`` is."""

_FEWER = 1


def stratified(labels: NDArray[np.int64], fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Holds out a part of every class.

    The total is ``fraction`` of the images, rounded; classes share it in proportion, the largest remainders first.
    A class keeps at least one image.

    Args:
        labels: ``(images,)``.
        fraction: Part to hold out, 0 to 1.
        seed: Chooses the images within each class.

    Returns:
        Indices kept and indices held out, each in the order of the data.
    """
    generator = np.random.default_rng(seed)
    counts = np.bincount(labels)
    held = [
        generator.permutation(np.flatnonzero(labels == label))[:n] for label, n in enumerate(_shares(counts, fraction))
    ]
    out = np.zeros(len(labels), dtype=bool)
    out[np.concatenate(held)] = True
    return np.flatnonzero(~out), np.flatnonzero(out)


def _shares(counts: NDArray[np.int64], fraction: float) -> NDArray[np.int64]:
    exact = counts * fraction
    shares = np.floor(exact).astype(np.int64)
    missing = round(float(counts.sum() * fraction)) - int(shares.sum())
    # A stable sort: of equal remainders the lower label comes first, on every platform.
    shares[np.argsort(-(exact - shares), kind="stable")[: max(0, missing)]] += 1
    kept: NDArray[np.int64] = np.minimum(shares, np.maximum(counts - 1, 0))
    return kept


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
    if per_class is not None and per_class > (least := int(counts.min())):
        raise DataError(
            f"data.per_class must be at most {least}, the training images of the smallest class, got {per_class}; "
            "lower it."
        )
    if per_class is None and fraction == 1:
        return np.arange(len(labels))
    # A stream of its own: the split draws from the seed itself.
    generator = np.random.default_rng([seed, _FEWER])
    taken = []
    for label, count in enumerate(counts):
        share = per_class if per_class is not None else max(1, math.floor(count * fraction + 0.5))
        taken.append(generator.permutation(np.flatnonzero(labels == label))[:share])
    return np.sort(np.concatenate(taken))
