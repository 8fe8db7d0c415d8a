"""The second interval of a contrast: over the test images, where the verdict's own is over seeds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ablate.report.table.runs import Attempt, Sides
from ablate.report.table.table import ALPHA, METRIC
from ablate.stats.contrasts import Analysis, OverImages
from ablate.stats.estimates import count_interval
from ablate.tracking.correctness import unpacked
from ablate.tracking.names import FINISHED

_SEEDS = "over seeds (other trainings, these test images; simultaneous)"
_IMAGES = "over test images (other test sets like this one, these trained models; paired bootstrap, each by itself)"
_NOT_KEPT = "not every run of both sides keeps which images of one test set it got right"


@dataclass(frozen=True)
class _Right:
    """A side's runs: of how many each image was classified right.

    Attributes:
        images: Digest of the test set.
        counts: ``(images,)``, number of runs that got each image right.
        runs: Number of runs.
    """

    images: str
    counts: NDArray[np.int64]
    runs: int


def over_images(analysis: Analysis, sides: Sequence[Sides], metric: str, *, alpha: float = ALPHA) -> Analysis:
    """Adds to each contrast its interval over test images, where there can be one, and a note on which is which.

    Args:
        analysis: What the runs say.
        sides: The runs of each contrast's treatment and baseline.
        metric: Metric of the table: only top-1 on the test set is a mean over its images.
        alpha: Intervals are of 1 - alpha.

    Raises:
        TrackingError: A run whose record of its test images cannot be read.
    """
    if not analysis.contrasts:
        return analysis
    if metric != METRIC:
        return _noted(analysis, "none over test images, which is of top-1 on the test set alone")
    known: dict[int, _Right | None] = {}  # a baseline has many contrasts
    for pair in sides:
        known |= {id(runs): _right(runs) for runs in pair if id(runs) not in known}
    found = [
        replace(each, over_images=_interval(known[id(one)], known[id(other)], alpha))
        for each, (one, other) in zip(analysis.contrasts, sides, strict=True)
    ]
    lacking = sum(each.over_images is None for each in found)
    where = "none over test images, since" if lacking == len(found) else "blank over test images where"
    return _noted(replace(analysis, contrasts=found), f"{where} {_NOT_KEPT}" if lacking else "")


def _noted(analysis: Analysis, why: str) -> Analysis:
    """Says which interval is which, and why there is none over images."""
    seeds = any(each.verdict.low is not None for each in analysis.contrasts)
    images = any(each.over_images is not None for each in analysis.contrasts)
    which = " and then ".join([*([_SEEDS] if seeds else []), *([_IMAGES] if images else [])])
    if not which:
        return analysis
    return replace(analysis, notes=[*analysis.notes, f"intervals are {which}{f': {why}' if why else ''}"])


def _right(runs: Iterable[Attempt]) -> _Right | None:
    """Right answers of the runs in the mean; None unless all tell, of the same images: else it were another effect."""
    told = [unpacked(run.record) for run in runs if run.outcome == FINISHED and run.value is not None]
    kept = [each for each in told if each is not None]
    if not kept or len(kept) < len(told) or len({images for images, _ in kept}) > 1:
        return None
    counts = np.zeros(len(kept[0][1]), np.int64)
    for _, right in kept:
        counts += right
    return _Right(kept[0][0], counts, len(kept))


def _interval(treatment: _Right | None, baseline: _Right | None, alpha: float) -> OverImages | None:
    if treatment is None or baseline is None or treatment.images != baseline.images:
        return None
    runs = (treatment.counts, treatment.runs, baseline.counts, baseline.runs)
    low, high = count_interval(*runs, confidence=1 - alpha)
    return OverImages(low, high, len(treatment.counts))
