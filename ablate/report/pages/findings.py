"""A sweep's analysis in words: which level helps, hurts or makes no difference, and how sure that is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.cells import cell_len

from ablate.escaping import markdown as escaped
from ablate.escaping import visible
from ablate.report.pages.grids import markdown_table
from ablate.report.table.audit import Difference
from ablate.report.table.audit import lines as audited
from ablate.report.table.marks import FLAG
from ablate.report.table.numbers import (
    Digits,
    digits,
    effect_digits,
    effect_text,
    in_percent,
    interval_text,
    p_text,
    significant,
)
from ablate.report.table.table import ALPHA, Table, confidence, direction_words, label
from ablate.stats.contrasts import IMAGES_LIMIT, Analysis, Contrast, Interval, OverImages
from ablate.stats.crossed import Scope
from ablate.stats.divergence import rates
from ablate.stats.estimates import SECOND_LOOK
from ablate.stats.model import Effect
from ablate.stats.power import MOST_SEEDS
from ablate.stats.verdicts import Kind, Verdict

OVER = {Scope.population: "over seeds and test images", Scope.these_images: "over seeds, on the same test data"}
"""What the interval of a verdict is over."""
OVER_IMAGES = "over test images, of the same trained models"

_WHOM = {
    Scope.population: "verdicts hold for other seeds and for other test images of the same kind",
    Scope.these_images: "verdicts hold for other seeds on the same test data",
}

_HOLD = "verdicts hold for "
"""How an analysis' own note on that begins."""

Column = tuple[str, Callable[[Contrast], Interval | OverImages | None]]
"""What a further interval of each contrast is over, and the interval."""


@dataclass(frozen=True)
class Verdicts:
    """An analysis, and what its reader asked for.

    Attributes:
        analysis: What the runs say.
        unit: The metric, as people read it.
        audit: What the sides of contrasts differ in besides their factor.
        alpha: Rate of false verdicts, 0 to 0.5.
        higher_is_better: Which way the metric is better; None where nobody knows.
        margin: Smallest effect of interest, in the metric's unit; None where none was given.
        full: All remarks and intervals, and not only those that everybody needs.
    """

    analysis: Analysis
    unit: str
    audit: Sequence[Difference] = ()
    alpha: float = ALPHA
    higher_is_better: bool | None = None
    margin: float | None = None
    full: bool = False


def verdicts(table: Table, *, full: bool) -> Verdicts | None:
    """A table's analysis, with how it was read; None where the design compares nothing."""
    if table.analysis is None:
        return None
    unit = label(table.metric)
    return Verdicts(table.analysis, unit, table.audit, table.alpha, table.higher_is_better, table.margin, full)


def lines(told: Verdicts) -> list[str]:
    """For a terminal: a heading, then each factor's levels against their baseline, then how that was done."""
    contrasts, columns = told.analysis.contrasts, _further(told)
    if not contrasts:
        return []
    over = [*_first(told), *(f"[{over}]" for over, _ in columns)]
    said = f" {', then '.join(over)}" if over else ""
    out = [f"verdicts on {visible(told.unit)}{_better(told)}, treatment minus baseline{said}"]
    words = [(visible(_where(each)), *cells) for each, cells in _cells(told, columns)]
    for (factor, baseline), group in groupby(
        zip(contrasts, words, strict=True), lambda each: (each[0].factor, each[0].baseline)
    ):
        rows = [row for _, row in group]
        widths = [max(cell_len(row[column]) for row in rows) for column in range(len(rows[0]))]
        out.append(f"  {visible(factor)}, against {visible(baseline)}")
        padded = ([c + " " * (width - cell_len(c)) for c, width in zip(row, widths, strict=True)] for row in rows)
        out += ["    " + "  ".join(row).rstrip() for row in padded]
    return [*out, *(f"  {visible(note)}" for note in remarks(told))]


def rows(told: Verdicts) -> list[list[str]]:
    """The contrasts as a table: its head, and a row a contrast."""
    columns, sure = _further(told), confidence(told.alpha)
    effect = " ".join([f"effect on {told.unit}{_better(told)}", *_first(told)])
    further = [f"{sure} {over}" for over, _ in columns]
    head = ["factor", "baseline", "level", "verdict", effect, *further, "p", "n", "seeds needed"]
    body = [
        [each.factor, each.baseline, _where(each), *(cell.removeprefix("p ").removeprefix("n ") for cell in cells)]
        for each, cells in _cells(told, columns)
    ]
    return [head, *body]


def markdown(told: Verdicts) -> list[str]:
    """The contrasts as a table in Markdown, and remarks below it."""
    if not told.analysis.contrasts:
        return []
    head, *body = rows(told)
    notes = (escaped(note, begins=True) for note in remarks(told))
    return [*markdown_table(head, body, len(head)), "", *(f"- {note}" for note in notes)]


# --------------------------------------------------------------------------------------------------------------- cells


def _better(told: Verdicts) -> str:
    return f" ({better})" if (better := direction_words(told.higher_is_better)) else ""


def _first(told: Verdicts) -> list[str]:
    """What the verdicts' own intervals are over, where there are any."""
    if all(each.verdict.low is None for each in told.analysis.contrasts):
        return []
    return [f"[{confidence(told.alpha)} interval {OVER[told.analysis.scope]}, simultaneous]"]


def _further(told: Verdicts) -> list[Column]:
    """Intervals beside the verdicts' own: the one over seeds alone, or else, or where all are wanted, over images."""
    seeds = any(each.over_seeds is not None for each in told.analysis.contrasts)
    images = any(each.over_images is not None for each in told.analysis.contrasts)
    out: list[Column] = []
    if seeds:
        out.append((OVER[Scope.these_images], lambda each: each.over_seeds))
    if images and (told.full or not seeds):
        out.append((OVER_IMAGES, lambda each: each.over_images))
    return out


def _cells(told: Verdicts, columns: Sequence[Column]) -> list[tuple[Contrast, list[str]]]:
    """Each contrast, and in words: kind, effect with its interval, further intervals, p, n and seeds needed."""
    touched = {index for each in told.audit for index in each.contrasts}
    contrasts, written = told.analysis.contrasts, digits_of(told.analysis.contrasts, told.unit)
    return [
        (each, _words(each, written, columns, told.alpha, flag=index in touched))
        for index, each in enumerate(contrasts)
    ]


def digits_of(contrasts: Sequence[Contrast], unit: str) -> Digits:
    """How the effects of these contrasts are written."""
    told = [(each.verdict.effect, each.verdict.low, each.verdict.high) for each in contrasts]
    return effect_digits(told, percent=in_percent(unit))


def _words(contrast: Contrast, written: Digits, columns: Sequence[Column], alpha: float, *, flag: bool) -> list[str]:
    found = contrast.verdict
    effect = "" if found.effect is None else effect_text(found.effect, found.low, found.high, written)
    if found.low is not None and found.high is not None:
        effect += f" {interval_text(found.low, found.high, written)}"
    further = [interval(contrast) for _, interval in columns]
    p = "" if found.p is None else f"p {p_text(found.p, alpha)}"
    lost = rates(contrast) if any(contrast.diverged) else ""
    return [
        f"{found.kind} {FLAG}" if flag else str(found.kind),
        effect,
        *("" if each is None else interval_text(each.low, each.high, written) for each in further),
        p,
        f"n {found.n}",
        ", ".join(filter(None, [needed(found), lost])),
    ]


def _where(contrast: Contrast) -> str:
    at = ", ".join(contrast.at.values())
    return f"{contrast.level} at {at}" if at else contrast.level


def needed(found: Verdict, side: str = "") -> str:
    """The seeds that an undecided comparison takes, in words; nothing where nobody can say.

    Args:
        found: A verdict.
        side: Words behind ``seeds``, such as `` a side``.
    """
    most, least = found.seeds_needed, found.seeds_at_least
    if most is None:
        return IMAGES_LIMIT if IMAGES_LIMIT in found.notes else ""
    least = most if least is None else min(least, most)
    if least > MOST_SEEDS:
        return f"more than {MOST_SEEDS:,} seeds{side}: the margin is too small for this spread"
    ends = [f"more than {MOST_SEEDS:,}" if count > MOST_SEEDS else f"{count:,}" for count in (least, most)]
    return f"{' to '.join(dict.fromkeys(ends))} seeds{side} decide in 4 of 5 cases"


# ------------------------------------------------------------------------------------------------------------- remarks


def remarks(told: Verdicts) -> list[str]:
    """What differs besides the factors, how verdicts were made, what needs attention, and with ``full`` all else."""
    analysis = told.analysis
    flags = [f"{FLAG} {line}" for line in audited(told.audit, analysis.contrasts)]
    undecided = any(each.verdict.kind is Kind.undecided for each in analysis.contrasts)
    whom = next((note for note in analysis.notes if note.startswith(_HOLD)), _WHOM[analysis.scope])
    notes = [note for note in analysis.notes if note != whom and (undecided or note != SECOND_LOOK)]
    made = [_made(told, whom)] if analysis.contrasts else []
    if not told.full:
        hint = [f"{line}; notes=full says more" for line in made]
        return [*flags, *hint, *(note for note in notes if not _is_detail(note))]
    terms = [
        f"{_term(each)}: F {significant(each.f, 3)}, p {p_text(each.p, told.alpha)}, by one variance for all cells"
        for each in analysis.effects
    ]
    return [*flags, *made, analysis.method, *_spread(analysis, told.unit), *terms, *notes]


def _made(told: Verdicts, whom: str) -> str:
    """One sentence on how verdicts were made: the family, alpha, whom they hold for, and the margin."""
    count = told.analysis.comparisons or sum(each.verdict.p is not None for each in told.analysis.contrasts)
    if not count:
        return "these runs allow no verdict"
    share = f"{'1 comparison at' if count == 1 else f'{count:,} comparisons share'} alpha {told.alpha:g}"
    margin = "no margin= in force, so no difference is called too small to matter"
    if told.margin is not None:
        margin = f"margin {told.margin:g}"
    return f"{share}; {whom}; {margin}"


def _is_detail(note: str) -> bool:
    """Whether a note is said elsewhere, or is no news, such as which interval is over what."""
    which = note.startswith("intervals are ")
    return note == SECOND_LOOK or which or note.endswith("runs have no result: means are over the others")


def _spread(analysis: Analysis, unit: str) -> list[str]:
    if analysis.std is None:
        return []
    extremes = analysis.stds or ()
    known = (analysis.std, *extremes)
    written = digits(known, known, percent=in_percent(unit))
    ends = " to ".join(dict.fromkeys(map(written, extremes)))
    by_cell = f", {ends} by cell" if ends else ""
    return [
        f"standard deviation of a run within its cell: {written(analysis.std)} ({analysis.df} degrees of freedom)"
        f"{by_cell}"
    ]


def _term(effect: Effect) -> str:
    return f"{'main effect' if len(effect.factors) == 1 else 'interaction'} {' x '.join(effect.factors)}"
