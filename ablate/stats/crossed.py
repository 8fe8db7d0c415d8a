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
) -> Sampling | None:
    """What the choice of test images adds to the uncertainty of the cells' top-1, in percentage points squared.

    It is the covariance over images of the cells' mean correctness, by the number of images. Taken off the diagonal is
    what a seed does on one image and not on another: the spread between seeds holds that already. It is estimated
    without bias from the runs of a cell; a cell of one run cannot tell it from the image's own part and keeps it, which
    makes intervals wider. Where so much is taken off that a contrast would have less than no variance, the nearest
    covariance (negative eigenvalues to 0) has none. Then each cell gets half of (3 / 1.96)² images on which it alone is
    right, so that two cells that agree on all M images are ±3/M apart, and not 0.

    With clusters, images of one cluster are added up before anything is squared, so an image that says the same as its
    neighbours counts as no further one; M is then the number of independent images that tell as much. Few images or
    clusters hardly tell their variance: it is taken larger, so that 1.96 standard errors are as many as Student's t has
    at 95 %.

    Args:
        right: Cell -> its runs, each ``(images,)``, right (1) or wrong (0) on the same images in one order; repeats
            of a seed, which are no further run, as their mean. The number of runs may differ between cells.
        clusters: ``(images,)``, number of the group that an image belongs to; None where each stands alone.

    Returns:
        None without a cell, and where there are fewer than two images or clusters, which have no spread.

    Raises:
        ValueError: A cell without a run, runs of other lengths, values outside 0 to 1, or a cluster for each of
            another number of images.

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
    deviations, interaction, unseen = np.empty((len(right), units)), np.empty(len(right)), np.empty(len(right))
    for cell, runs in enumerate(right.values()):
        each = np.asarray(np.stack(runs), np.float64)
        deviations[cell], interaction[cell] = _split(each, groups)
        unseen[cell] = RULE_OF_THREE / float(ndtri(0.975)) / independent(each.mean(axis=0), groups)
    small = (float(stdtrit(units - 1, 0.975)) / float(ndtri(0.975))) ** 2
    between = deviations @ deviations.T * (units / (units - 1))
    covariance = _nonnegative(between - np.diag(interaction)) * (small / images**2)
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


def _split(
    runs: NDArray[np.float64], groups: NDArray[np.int64] | None
) -> tuple[NDArray[np.float64], np.float64 | float]:
    """A cell's runs, ``(runs, images)`` -> deviations of its clusters, ``(clusters,)``, and the part of the sum of
    their squares that seeds and images make together."""
    mean = runs.mean(axis=0)
    deviations = summed((mean - mean.mean())[None, :], groups)[0]
    if len(runs) == 1:
        return deviations, 0.0
    runs = runs - runs.mean(axis=1, keepdims=True)
    left = summed(runs - runs.mean(axis=0), groups)
    units = left.shape[1]
    return deviations, (left**2).sum() / (len(runs) - 1) / len(runs) * (units / (units - 1))


def _nonnegative(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nearest matrix by which no contrast has less than no variance."""
    values, vectors = np.linalg.eigh(covariance)
    if values[0] >= 0:
        return covariance
    return np.asarray((vectors * np.maximum(values, 0)) @ vectors.T)
