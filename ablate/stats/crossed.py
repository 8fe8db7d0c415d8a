"""Seeds crossed with test images: what the choice of test images adds to the uncertainty of a cell's mean."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from ablate.stats.design import Levels


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
