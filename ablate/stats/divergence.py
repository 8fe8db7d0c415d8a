"""Runs that diverged: how often on each side of a comparison, and which verdicts that forbids.

A mean is over the runs that are left. Where many diverged, these are the lucky ones, and their mean flatters the side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import Field, replace
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np

from ablate.stats.verdicts import Kind, Verdict

MAX_DIVERGED = 0.2
"""Share of a side's runs that may diverge, by default: one of five."""


class Compared(Protocol):
    """What ``Contrast`` says of a comparison."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def level(self) -> str: ...
    @property
    def at(self) -> Mapping[str, str]: ...
    @property
    def verdict(self) -> Verdict: ...
    @property
    def diverged(self) -> tuple[int, int]: ...
    @property
    def runs(self) -> tuple[int, int]: ...
    @property
    def divergence_p(self) -> float | None: ...


C = TypeVar("C", bound=Compared)


def require_share(max_diverged: float) -> None:
    """Raises ValueError for a share that is none."""
    if not 0 <= max_diverged <= 1:
        raise ValueError(
            f"max_diverged must lie between 0 and 1, a share of a side's runs, got {max_diverged}; {MAX_DIVERGED} is "
            "usual."
        )


def with_divergence(contrasts: Sequence[C], max_diverged: float = MAX_DIVERGED) -> list[C]:
    """Contrasts whose rates of divergence are compared, and whose verdicts they do not flatter.

    A level that diverged more often than ``max_diverged`` is neither ``helps`` nor ``equivalent``; beside such a
    baseline no level is ``hurts`` or ``equivalent``. The mean that is left can only be too good: what it says against
    its own side stands.

    Args:
        contrasts: All contrasts of an analysis, with the runs of both sides and how many diverged.
        max_diverged: Share of a side's runs up to which its mean is taken as it is, 0 to 1.
    """
    chances = rate_p_values([(each.diverged, each.runs) for each in contrasts])
    told = [replace(each, divergence_p=p) for each, p in zip(contrasts, chances, strict=True)]
    return [replace(each, verdict=_held(each, max_diverged)) for each in told]


def rate_p_values(counts: Sequence[tuple[tuple[int, int], tuple[int, int]]]) -> list[float | None]:
    """p of one rate of divergence on both sides, by Fisher's exact test, adjusted by Holm; None where nothing diverged.

    Only comparisons with a diverged run share the alpha. The test is conditional on how many diverged on both sides
    together, and where that is none it cannot find anything.

    Args:
        counts: For each comparison, how many runs of the level and of its baseline diverged, and how many there are.

    Source:
        Fisher 1935, The Logic of Inductive Inference, Journal of the Royal Statistical Society 98; Holm 1979,
        Scandinavian Journal of Statistics 6 (2).
    """
    told = [number for number, (lost, _) in enumerate(counts) if sum(lost)]
    if not told:
        return [None] * len(counts)
    from scipy.stats import fisher_exact

    raw = []
    for number in told:
        lost, runs = counts[number]
        raw.append(float(fisher_exact([lost, [of - gone for gone, of in zip(lost, runs, strict=True)]]).pvalue))
    found = dict(zip(told, _adjusted(raw), strict=True))
    return [found.get(number) for number in range(len(counts))]


def _adjusted(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order of the given ones."""
    order = np.argsort(p, kind="stable")
    found = np.empty(len(p))
    found[order] = np.minimum(1, np.maximum.accumulate(np.asarray(p, float)[order] * np.arange(len(p), 0, -1)))
    return [float(each) for each in found]


def divergence_notes(contrasts: Sequence[Compared], max_diverged: float = MAX_DIVERGED) -> list[str]:
    """One sentence on the comparisons of which a side diverged too often and left results; none where none did."""
    told = [each for each in contrasts if each.verdict.effect is not None and any(_too_often(each, max_diverged))]
    if not told:
        return []
    named = "; ".join(f"{_where(each)}: {rates(each)}" for each in told[:_NAMED])
    more = f"; and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
    return [
        f"more than {100 * max_diverged:.3g} % of a side's runs diverged (max_diverged={max_diverged:g}), and the mean "
        "of the rest flatters that side: such a level is neither helps nor equivalent, and beside such a baseline "
        f"nothing is hurts or equivalent ({named}{more})"
    ]


_NAMED = 3


def rates(contrast: Compared) -> str:
    """How many runs of both sides diverged, in words, and the p-value of one rate."""
    (lost, gone), (runs, of) = contrast.diverged, contrast.runs
    p = "" if contrast.divergence_p is None else f": Fisher p {contrast.divergence_p:.2g}"
    return f"{lost} of {runs} runs diverged, baseline {gone} of {of}{p}"


def _where(contrast: Compared) -> str:
    at = ", ".join(contrast.at.values())
    return f"{contrast.level} at {at}" if at else contrast.level


def _too_often(contrast: Compared, most: float) -> tuple[bool, bool]:
    """Whether the level diverged more often than it may, and whether its baseline did."""
    level, baseline = (lost > 0 and lost / of > most for lost, of in zip(contrast.diverged, contrast.runs, strict=True))
    return level, baseline


def _held(contrast: Compared, most: float) -> Verdict:
    """The verdict, undecided where the rates forbid it."""
    level, baseline = _too_often(contrast, most)
    forbidden = {Kind.helps: level, Kind.hurts: baseline}
    found = contrast.verdict
    if not forbidden.get(found.kind, level or baseline):
        return found
    who = " and of ".join(["the level"] * level + ["its baseline"] * baseline)
    note = f"{rates(contrast)}; with more than {100 * most:.3g} % of {who} the mean of the rest is too good to judge by"
    return replace(found, kind=Kind.undecided, seeds_needed=None, seeds_at_least=None, notes=(*found.notes, note))
