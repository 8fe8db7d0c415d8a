"""Stratified splits: every class gives its share, and the same seed gives the same images."""

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]

TEST_SEED = 20210412
"""Of the test sets that we cut ourselves (mnist5k, digits): fixed once for all, whatever ``data.split_seed`` is."""


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
