"""Seeds crossed with test images: what the choice of test images adds to the uncertainty of a cell's mean.

A run's top-1 is a mean over test images, and every run of every cell is tested on the same ones. So three things move
a cell's mean: the seed, the image, and what the two do together (this seed is wrong on this image). The spread between
the runs of a cell holds the first and the third; here is the second.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit  # scipy.stats' functions, without the 1.3 s of its import

from ablate.stats.design import Levels
from ablate.stats.estimates import RULE_OF_THREE, grouped, independent, summed


class Scope(StrEnum):
    """Whom a verdict speaks for."""

    population = "population"
    these_images = "these_images"


@dataclass(frozen=True)
class Sampling:
    """What other test images would do to the mean results of cells.

    Attributes:
        places: Cell -> its number, from 0.
        covariance: ``(cells, cells)``, of the errors of the cells' means that come from the choice of test images
            alone, in the unit of the results squared; what differs between seeds is not in it.
        images: Number of test images.
        clusters: Number of groups of images that belong together; None where each image stands alone.
    """

    places: Mapping[Levels, int]
    covariance: NDArray[np.float64]
    images: int
    clusters: int | None = None


def sampling(
    right: Mapping[Levels, Sequence[NDArray[np.bool_] | NDArray[np.float64]]],
    clusters: NDArray[np.int64] | None = None,
    *,
    seeds: Mapping[Levels, Sequence[int]] | None = None,
) -> Sampling | None:
    """What the choice of test images adds to the uncertainty of the cells' top-1, in percentage points squared.

    It is the covariance over images of the cells' mean correctness, by the number of images. Taken off the diagonal is
    what a seed does on one image and not on another: the spread between seeds holds that already. It is estimated
    without bias from the runs of a cell; a cell of one run cannot tell it from the image's own part and keeps it, which
    makes intervals wider. Where seeds are blocks, the spread that counts is of differences within seeds, and what a
    seed does on an image in two cells alike is not in it: that is taken off what the two share.

    Where so much is taken off that a contrast would have less than no variance, the nearest covariance (negative
    eigenvalues to 0) has none. Then each cell gets half of (3 / 1.96)² images on which it alone is right, so that two
    cells that agree on all M images are ±3/M apart, and not 0.

    With clusters, images of one cluster are added up before anything is squared, so an image that says the same as its
    neighbours counts as no further one; M is then the number of independent images that tell as much. Few images or
    clusters hardly tell their variance: it is taken larger, so that 1.96 standard errors are as many as Student's t has
    at 95 %.

    Args:
        right: Cell -> its runs, each ``(images,)``, right (1) or wrong (0) on the same images in one order; repeats
            of a seed, which are no further run, as their mean. The number of runs may differ between cells.
        clusters: ``(images,)``, number of the group that an image belongs to; None where each stands alone.
        seeds: Cell -> the seed of each of its runs, where seeds are blocks; else None.

    Returns:
        None without a cell, and where there are fewer than two images or clusters, which have no spread.

    Raises:
        ValueError: A cell without a run, runs of other lengths, values outside 0 to 1, a cluster for each of another
            number of images, or seeds of another number of runs.

    Source:
        Crossed random effects: Owen 2007, The pigeonhole bootstrap, Annals of Applied Statistics 1 (2), 386-411.
        Clusters: Miller 2024, Adding error bars to evals, arXiv:2411.00640, section 2.2. Agreement: Hanley and
        Lippman-Hand 1983, JAMA 249 (13), 1743-1745.
    """
    images = _checked_images(right)
    groups = None if clusters is None else grouped(clusters, images)
    units = images if groups is None else int(groups.max(initial=-1)) + 1
    if not right or units < 2:
        return None
    deviations, unseen, left = np.empty((len(right), units)), np.empty(len(right)), []
    for cell, runs in enumerate(right.values()):
        each = np.asarray(np.stack(runs), np.float64)
        mean = each.mean(axis=0)
        deviations[cell] = summed((mean - mean.mean())[None, :], groups)[0]
        unseen[cell] = RULE_OF_THREE / float(ndtri(0.975)) / independent(mean, groups)
        left.append(_left(each, groups, whole=seeds is not None))
    both = _own(left, right) if seeds is None else _shared(left, [_checked_seeds(seeds, cell, right) for cell in right])
    small = (float(stdtrit(units - 1, 0.975)) / float(ndtri(0.975))) ** 2
    covariance = _nonnegative(deviations @ deviations.T - both) * (units / (units - 1) * small / images**2)
    covariance += np.diag(unseen**2 / 2)
    places = {cell: number for number, cell in enumerate(right)}
    return Sampling(places, 100**2 * covariance, images, None if groups is None else units)


def joined(parts: Sequence[Sampling]) -> Sampling:
    """Cells of several test sets, at least one: the choice of one set's images says nothing of another's.

    Returns:
        All their cells, with the number of images, and of clusters, of the set that has fewest.
    """
    cells = [cell for part in parts for cell in part.places]
    covariance = np.zeros((len(cells), len(cells)))
    start = 0
    for part in parts:
        end = start + len(part.places)
        covariance[start:end, start:end] = part.covariance
        start = end
    clusters = [part.clusters for part in parts if part.clusters is not None]
    places = {cell: number for number, cell in enumerate(cells)}
    return Sampling(places, covariance, min(part.images for part in parts), min(clusters, default=None))


def _checked_images(right: Mapping[Levels, Sequence[NDArray[np.bool_] | NDArray[np.float64]]]) -> int:
    """Number of images, which is that of every run."""
    lengths = set()
    for cell, runs in right.items():
        if not len(runs):
            raise ValueError(f"every cell must have a run, got none of {', '.join(cell)}; leave the cell out.")
        for run in runs:
            if run.ndim != 1 or (run.size and not (run.min() >= 0 and run.max() <= 1)):
                raise ValueError(f"a run must be (images,) of right (1) and wrong (0), got one of {', '.join(cell)}.")
            lengths.add(len(run))
    if len(lengths) > 1:
        raise ValueError(f"all runs must be of the same images, got runs of {sorted(lengths)} images.")
    return lengths.pop() if lengths else 0


def _checked_seeds(
    seeds: Mapping[Levels, Sequence[int]],
    cell: Levels,
    right: Mapping[Levels, Sequence[NDArray[np.bool_] | NDArray[np.float64]]],
) -> Sequence[int]:
    of = seeds.get(cell, ())
    if len(set(of)) != len(right[cell]) or len(of) != len(right[cell]):
        raise ValueError(f"each of {len(right[cell])} runs of {', '.join(cell)} must have a seed of its own, got {of}.")
    return of


def _left(runs: NDArray[np.float64], groups: NDArray[np.int64] | None, *, whole: bool) -> NDArray[np.float64]:
    """What is left of a cell's runs, ``(runs, images)``, without the part of each run and each image: by clusters,
    ``(runs, clusters)``, or if not ``whole`` its sum of squares, ``(1, 1)``."""
    runs = runs - runs.mean(axis=1, keepdims=True)
    left = summed(runs - runs.mean(axis=0), groups)
    return left if whole else np.array([[(left**2).sum()]])


def _own(
    left: Sequence[NDArray[np.float64]], right: Mapping[Levels, Sequence[NDArray[np.bool_] | NDArray[np.float64]]]
) -> NDArray[np.float64]:
    """What seeds and images make together in the sums of squares of the cells' means, ``(cells, cells)``: each cell's
    own, since its seeds are no other cell's."""
    runs = np.array([len(each) for each in right.values()])
    return np.diag([float(each[0, 0]) for each in left] / (np.maximum(1, runs - 1) * runs))


def _shared(left: Sequence[NDArray[np.float64]], seeds: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """The same where cells share seeds: of two cells, what those do that both have, if these are two or more."""
    sums, common = np.zeros((len(left), len(left))), np.zeros((len(left), len(left)))
    for seed in sorted({seed for of in seeds for seed in of}):
        cells = [cell for cell, of in enumerate(seeds) if seed in of]
        there = np.stack([left[cell][seeds[cell].index(seed)] for cell in cells])
        sums[np.ix_(cells, cells)] += there @ there.T
        common[np.ix_(cells, cells)] += 1
    runs = np.array([len(of) for of in seeds])
    told = np.where(common > 1, sums / np.maximum(1, common - 1), 0.0)
    return np.asarray(told * common / np.outer(runs, runs))


def _nonnegative(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nearest matrix by which no contrast has less than no variance."""
    values, vectors = np.linalg.eigh(covariance)
    if values[0] >= 0:
        return covariance
    return np.asarray((vectors * np.maximum(values, 0)) @ vectors.T)
