"""Verdicts in sentences, each of which can be quoted alone: one on a factor, one on each of its levels."""

from collections.abc import Sequence, Set
from itertools import groupby

from ablate.report.pages.findings import OVER, digits_of, needed
from ablate.report.pages.kinds import LOOKS
from ablate.report.table.audit import Difference
from ablate.report.table.marks import FLAG
from ablate.report.table.numbers import Digits, effect_text, ends
from ablate.report.table.table import ALPHA, Table, confidence
from ablate.stats.contrasts import Contrast
from ablate.stats.crossed import Scope
from ablate.stats.divergence import rates
from ablate.stats.verdicts import Kind

MOST_PLACES = 6
"""Combinations of other factors that a sentence lists before it can no longer be read."""
MOST_DIFFERENCES = 3
"""Things that differ besides the factor, as a sentence names them; the notes have all."""


def summaries(table: Table) -> list[str]:
    """One sentence on each factor of a table, which can be quoted alone; none where nothing is compared."""
    return [headline(factor, baseline, found) for factor, baseline, found in by_factor(table)]


Flagged = tuple[Contrast, Sequence[Difference]]
"""A contrast, and what its sides differ in besides its factor."""


def by_factor(table: Table) -> list[tuple[str, str, list[Flagged]]]:
    """Factor, baseline, and its contrasts, each with what its sides differ in besides."""
    if table.analysis is None:
        return []
    flags: dict[int, list[Difference]] = {}
    for each in table.audit:
        for index in each.contrasts:
            flags.setdefault(index, []).append(each)
    flagged = [(each, flags.get(index, [])) for index, each in enumerate(table.analysis.contrasts)]
    groups = groupby(flagged, lambda each: (each[0].factor, each[0].baseline))
    return [(factor, baseline, list(group)) for (factor, baseline), group in groups]


def headline(factor: str, baseline: str, found: Sequence[Flagged]) -> str:
    """``summary`` of a factor's contrasts, those marked whose sides differ in more than it."""
    return summary(factor, baseline, [each for each, _ in found], [each for each, flags in found if flags])


def summary(factor: str, baseline: str, contrasts: Sequence[Contrast], flagged: Sequence[Contrast] = ()) -> str:
    """One sentence on a factor: which level does what, and where that is.

    Args:
        factor: Name of the factor.
        baseline: The level that others are held against.
        contrasts: Contrasts of this factor.
        flagged: Contrasts whose sides differ in more than the factor: marked.
    """
    told, marked = [], {id(each) for each in flagged}
    for level, group in groupby(sorted(contrasts, key=lambda each: each.level), lambda each: each.level):
        found = list(group)
        by_kind = [(kind, [each for each in found if each.verdict.kind is kind]) for kind in Kind]
        words = [_where(kind, some, len(found), marked) for kind, some in by_kind if some]
        told.append(f"{level} {' and '.join(words)}")
    more = f" ({FLAG} not only {factor} differs)" if flagged else ""
    return f"Against {factor} = {baseline}: {'; '.join(told)}{more}."


def _where(kind: Kind, some: Sequence[Contrast], of: int, marked: Set[int]) -> str:
    marks = [f" {FLAG}" if id(each) in marked else "" for each in some]
    if of == 1:
        return f"{LOOKS[kind].words}{marks[0]}"
    places = [f"{', '.join(each.at.values())}{mark}" for each, mark in zip(some, marks, strict=True)]
    if len(some) == of:
        return f"{LOOKS[kind].words}{max(marks)} everywhere ({of} comparisons)"
    listed = len(places) <= MOST_PLACES
    where = f"at {' / '.join(places)}" if listed else f"in {len(places)} of {of} comparisons{max(marks)}"
    return f"{LOOKS[kind].words} {where}"


def sentence(
    contrast: Contrast,
    unit: str,
    differences: Sequence[Difference] = (),
    *,
    alpha: float = ALPHA,
    scope: Scope = Scope.these_images,
) -> str:
    """One comparison, with effect, intervals and n.

    Args:
        contrast: The comparison.
        unit: Unit of the effect.
        differences: Differences of the sides besides the factor: they mark the verdict, and stand in the sentence.
        alpha: Rate of false verdicts, 0 to 0.5: the interval is of 1 - alpha.
        scope: Whom the verdict speaks for.
    """
    found = contrast.verdict
    at = f", at {', '.join(f'{name} = {level}' for name, level in contrast.at.items())}," if contrast.at else ""
    who = f"{contrast.factor} = {contrast.level} instead of {contrast.baseline}{at}"
    kind = LOOKS[found.kind].words + (f" {FLAG}" if differences else "")
    more = _besides(contrast, differences)
    if found.effect is None:
        return f"{who} {kind}: there are not enough results (n = {_n(contrast)}){more}."
    written, sure = digits_of([contrast], unit), ""
    if found.low is not None and found.high is not None:
        own = f"{confidence(alpha)} simultaneous interval {OVER[scope]}, {_span(found.low, found.high, written)}"
        sure = f" ({own}; n = {_n(contrast)})"
    if (seeds := contrast.over_seeds) is not None:
        sure += f", over seeds on these test images {_span(seeds.low, seeds.high, written)}"
    if (images := contrast.over_images) is not None:
        sure += f", over {images.images:,} test images {_span(images.low, images.high, written)}"
    seeds_needed = f"; {words}" if (words := needed(found, " a side")) else ""
    diverged = f"; {rates(contrast)}" if any(contrast.diverged) else ""
    effect = _minus(effect_text(found.effect, found.low, found.high, written))
    return f"{who} {kind}: {effect} {unit}{sure}{seeds_needed}{diverged}{more}."


def _n(contrast: Contrast) -> str:
    """Runs with a result behind a verdict: of the level and of its baseline, where these are not as many."""
    level, baseline = (runs - lost for runs, lost in zip(contrast.runs, contrast.diverged, strict=True))
    return f"{level} and {baseline}" if level != baseline else f"{contrast.verdict.n} a side"


def _besides(contrast: Contrast, differences: Sequence[Difference]) -> str:
    """The end of a sentence: what else differs, one thing each, the first few in full."""
    if not differences:
        return ""
    listed = [f"{each.kind} ({each.treatment} against {each.baseline})" for each in differences[:MOST_DIFFERENCES]]
    rest = len(differences) - len(listed)
    told = ", ".join([*listed, *([f"{rest} more"] if rest else [])])
    return f"; {FLAG} not only {contrast.factor} differs: {told}"


def effect_unit(unit: str) -> str:
    """A difference of percentages is in percentage points."""
    return f"percentage points of {unit.removesuffix(' %')}" if unit.endswith(" %") else unit


def _span(low: float, high: float, written: Digits) -> str:
    return " to ".join(map(_minus, ends(low, high, written)))


def _minus(number: str) -> str:
    """A number with a minus sign, where a hyphen stands for it."""
    return number.replace("-", "\N{MINUS SIGN}")
