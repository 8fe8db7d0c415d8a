"""What is known of the test images: for verdicts that hold on others, and for trained models on others."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ablate.report.table.runs import Attempt
from ablate.report.table.table import ALPHA, METRIC
from ablate.stats.contrasts import Analysis, OverImages
from ablate.stats.crossed import Sampling, Scope, joined, sampling
from ablate.stats.design import Levels
from ablate.stats.estimates import count_interval
from ablate.tracking.correctness import unpacked, unpacked_clusters
from ablate.tracking.names import FINISHED

_SEEDS = "over seeds (other trainings, these test images; simultaneous)"
_BOTH = "over seeds and test images together (other trainings, other test sets like this one; simultaneous)"
_IMAGES = "over test images (other test sets like this one, these trained models; paired bootstrap, each by itself)"
_CLUSTERS = (
    "over test images (other test sets like this one, these trained models; Student's t over {:,} groups of images, "
    "each by itself)"
)
_OTHER_METRIC = "only top-1 on the test set is known image by image"
_FOREIGN = "these records do not tell which examples a run got right"
_FOR_POPULATION = "verdicts hold for other seeds and for other test images like these"
_FOR_THESE = "verdicts hold for other seeds on these test images alone, and may be otherwise on others"
_FOR_RUNS = "verdicts hold for other runs on the same test data, and may be otherwise on other data"
_NO_SPREAD = "a single test image, or a single group of them, does not tell how images differ"


@dataclass(frozen=True)
class Right:
    """A cell's runs: of how many each image was classified right.

    Attributes:
        images: Which test images: their number, and a digest of their labels.
        counts: ``(images,)``, number of runs that got each image right.
        runs: Number of runs.
        seeds: Seed -> its run, ``(images,)``; repeats of a seed as their mean.
    """

    images: str
    counts: NDArray[np.int64]
    runs: int
    seeds: Mapping[int, NDArray[np.bool_] | NDArray[np.float64]]


@dataclass(frozen=True)
class Known:
    """What a study's runs tell of their test images.

    Attributes:
        cells: Cell -> its runs; only cells of which every run tells, and of the same images.
        clusters: Test images, as ``Right`` calls them -> ``(images,)``, number of the group that each belongs to;
            without those of which no folder says it.
        lacking: Why the test images of some cell are not known, in words; empty where all are.
        foreign: Whether others made the runs, which then may be of anything.
    """

    cells: Mapping[Levels, Right] = field(default_factory=dict)
    clusters: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    lacking: str = ""
    foreign: bool = False

    @property
    def groups(self) -> int:
        """Number of groups of images."""
        return sum(len(np.unique(each)) for each in self.clusters.values())

    def sampling(self, scope: Scope, *, blocks: bool = False) -> Sampling | None:
        """What other test images would do to the cells' means; None unless that is asked for and all runs tell.

        Args:
            scope: Whom verdicts are asked to speak for.
            blocks: Whether seeds are blocks.
        """
        if scope is not Scope.population or self.lacking:
            return None
        tests: dict[str, list[Levels]] = {}
        for cell, right in self.cells.items():
            tests.setdefault(right.images, []).append(cell)
        parts = [self._of_one_test(images, cells, blocks=blocks) for images, cells in tests.items()]
        found = [part for part in parts if part is not None]
        return joined(found) if found and len(found) == len(parts) else None

    def _of_one_test(self, images: str, cells: Sequence[Levels], *, blocks: bool) -> Sampling | None:
        right = {cell: list(self.cells[cell].seeds.values()) for cell in cells}
        seeds = {cell: list(self.cells[cell].seeds) for cell in cells} if blocks else None
        return sampling(right, self.clusters.get(images), seeds=seeds)


def tested(cells: Mapping[Levels, Sequence[Attempt]], metric: str, *, foreign: bool = False) -> Known:
    """Which test images the runs of a study got right.

    Args:
        cells: Cell -> its runs; what counts are those with a result.
        metric: Metric of the table: only top-1 on the test set is a mean over its images.
        foreign: Whether others made the runs, in a way of their own.

    Raises:
        TrackingError: A run whose record of its test images cannot be read.
    """
    if foreign or metric != METRIC:
        return Known(lacking=_FOREIGN if foreign else _OTHER_METRIC, foreign=foreign)
    told = {cell: [_Told.of(run) for run in runs if _counts(run)] for cell, runs in cells.items()}
    every = [each for runs in told.values() for each in runs]
    clusters = {each.images: each.clusters for each in every if each.images and each.clusters is not None}
    missing = sum(each.images is None for each in every)
    found = {cell: right for cell, runs in told.items() if (right := _right(runs, clusters)) is not None}
    mixed = sum(cell not in found and all(each.images for each in runs) for cell, runs in told.items() if runs)
    return Known(found, clusters, _lacking(len(every), missing, mixed))


@dataclass(frozen=True)
class _Told:
    """What a run tells of its test images: which they are, which were right, and which belong together."""

    run: Attempt
    images: str | None
    right: NDArray[np.bool_]
    clusters: NDArray[np.int64] | None

    @classmethod
    def of(cls, run: Attempt) -> "_Told":
        images, right = unpacked(run.record) or (None, np.zeros(0, bool))
        return cls(run, images, right, unpacked_clusters(run.record))


def _counts(run: Attempt) -> bool:
    return run.outcome == FINISHED and run.value is not None


def _lacking(runs: int, missing: int, mixed: int) -> str:
    told = [f"{missing} of {runs} runs do not keep which test images they got right"] * bool(missing)
    told += [f"{mixed} {'row has' if mixed == 1 else 'rows have'} runs of different test images"] * bool(mixed)
    return " and ".join(told)


def _right(runs: Sequence[_Told], clusters: Mapping[str, NDArray[np.int64]]) -> Right | None:
    """A cell's runs; None unless all tell, of the same images in the same groups: else an effect were another."""
    images = runs[0].images if runs else None
    if images is None or any(each.images != images for each in runs):
        return None
    if any(each.clusters is not None and not np.array_equal(each.clusters, clusters[images]) for each in runs):
        return None
    counts, by_seed = np.zeros(len(runs[0].right), np.int64), dict[int, list[NDArray[np.bool_]]]()
    for each in runs:
        counts += each.right
        by_seed.setdefault(dict(json.loads(each.run.point)).get("seed", 0), []).append(each.right)
    seeds = {seed: bits[0] if len(bits) == 1 else np.mean(bits, axis=0) for seed, bits in by_seed.items()}
    return Right(images, counts, len(runs), seeds)


def over_images(
    analysis: Analysis,
    known: Known,
    places: Sequence[tuple[Levels, Levels]],
    *,
    scope: Scope,
    sampled: bool,
    alpha: float = ALPHA,
) -> Analysis:
    """Adds to each contrast its interval over test images for the trained models, where there can be one, and says whom
    verdicts speak for and which interval is which.

    Args:
        analysis: What the runs say.
        known: What is known of the test images.
        places: The cells of each contrast's treatment and of its baseline.
        scope: Whom verdicts were asked to speak for.
        sampled: Whether the analysis was given what other test images would do.
        alpha: Intervals are of 1 - alpha.
    """
    if not analysis.contrasts:
        return analysis
    found = [
        replace(each, over_images=_interval(known, *sides, alpha))
        for each, sides in zip(analysis.contrasts, places, strict=True)
    ]
    analysis = replace(analysis, contrasts=found)
    notes = [*analysis.notes, _whom(known, scope, sampled=sampled), _which(analysis, known, scope)]
    return replace(analysis, notes=[note for note in notes if note])


def _interval(known: Known, treatment: Levels, baseline: Levels, alpha: float) -> OverImages | None:
    one, other = known.cells.get(treatment), known.cells.get(baseline)
    if one is None or other is None or one.images != other.images:
        return None
    clusters = known.clusters.get(one.images)
    low, high = count_interval(one.counts, one.runs, other.counts, other.runs, confidence=1 - alpha, clusters=clusters)
    return OverImages(low, high, len(one.counts))


def _whom(known: Known, scope: Scope, *, sampled: bool) -> str:
    """Whom verdicts speak for, and why for these images alone."""
    these = _FOR_RUNS if known.foreign else _FOR_THESE
    if scope is Scope.these_images:
        return f"{these}: scope=these_images asks for that"
    if known.lacking:
        return f"{these}, since {known.lacking}"
    if not sampled:
        return f"{these}, since {_NO_SPREAD}"
    counted = f", counted by their {known.groups:,} groups, a folder each" if known.clusters else ""
    return f"{_FOR_POPULATION}{counted}"


def _which(analysis: Analysis, known: Known, scope: Scope) -> str:
    """Which interval is which, and where there is none over images."""
    if known.foreign:
        return ""
    verdicts = any(each.verdict.low is not None for each in analysis.contrasts)
    alone = any(each.over_seeds is not None for each in analysis.contrasts)
    lacking = sum(each.over_images is None for each in analysis.contrasts)
    first = _SEEDS if analysis.scope is Scope.these_images else _BOTH
    last = _CLUSTERS.format(known.groups) if known.clusters else _IMAGES
    images = lacking < len(analysis.contrasts)
    which = " and then ".join([*([first] * verdicts), *([_SEEDS] * alone), *([last] * images)])
    where = f": {'blank for some' if images else 'none'} over test images" if lacking else ""
    asked = where and known.lacking and scope is Scope.these_images  # else told with the verdicts
    return f"intervals are {which}{where}{f', since {known.lacking}' if asked else ''}" if which else ""
