"""Intervals of percentages, cut off where no percentage lies."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ablate.stats.contrasts import Analysis, Contrast, Interval
from ablate.stats.estimates import Estimate


def is_percentage(metric: str, definition: Mapping[str, Any]) -> bool:
    """Whether a metric lies between 0 and 100: top-1 of ours, and what a file writes with percent signs, all within."""
    return metric.endswith("top1_percent") or bool(definition.get("percent"))


def cut_estimate(estimate: Estimate) -> Estimate:
    """A mean whose interval ends at 0 and at 100 per cent."""
    if estimate.low is None or estimate.high is None:
        return estimate
    return replace(estimate, low=max(0.0, estimate.low), high=min(100.0, estimate.high))


def cut_analysis(analysis: Analysis) -> Analysis:
    """Contrasts whose intervals end at -100 and at 100 percentage points."""
    return replace(analysis, contrasts=[_cut_contrast(each) for each in analysis.contrasts])


def _cut_contrast(contrast: Contrast) -> Contrast:
    found, seeds = contrast.verdict, contrast.over_seeds
    if found.low is not None and found.high is not None:
        found = replace(found, low=_within(found.low), high=_within(found.high))
    return replace(
        contrast,
        verdict=found,
        over_seeds=None if seeds is None else Interval(_within(seeds.low), _within(seeds.high)),
    )


def _within(points: float) -> float:
    return min(100.0, max(-100.0, points))
