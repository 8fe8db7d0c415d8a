"""A sweep's analysis in words: which level helps, hurts or makes no difference, and how sure that is."""

from collections.abc import Sequence
from itertools import groupby

from rich.cells import cell_len

from ablate.escaping import markdown as escaped
from ablate.escaping import visible
from ablate.report.pages.grids import markdown_table
from ablate.report.table.audit import Difference
from ablate.report.table.audit import lines as audited
from ablate.report.table.marks import FLAG
from ablate.report.table.table import ALPHA, confidence
from ablate.stats.contrasts import Analysis, Contrast
from ablate.stats.model import Effect
from ablate.stats.verdicts import Kind, Verdict


def lines(analysis: Analysis, *, unit: str, audit: Sequence[Difference] = (), alpha: float = ALPHA) -> list[str]:
    """For a terminal: a heading, then each factor's levels against their baseline, then effects and how it was done."""
    if not analysis.contrasts:
        return []
    out = [f"verdicts on {visible(unit)}, treatment minus baseline{_intervals(analysis, confidence(alpha))}"]
    two = _two(analysis)
    words = [(visible(_where(each)), *_cells(each, flag, two=two)) for each, flag in _flagged(analysis, audit)]
    for (factor, baseline), group in groupby(
        zip(analysis.contrasts, words, strict=True), lambda each: (each[0].factor, each[0].baseline)
    ):
        rows = [row for _, row in group]
        widths = [max(cell_len(row[column]) for row in rows) for column in range(len(rows[0]))]
        out.append(f"  {visible(factor)}, against {visible(baseline)}")
        padded = ([c + " " * (width - cell_len(c)) for c, width in zip(row, widths, strict=True)] for row in rows)
        out += ["    " + "  ".join(row).rstrip() for row in padded]
    return [*out, *(f"  {visible(note)}" for note in remarks(analysis, audit))]


def rows(analysis: Analysis, *, unit: str, audit: Sequence[Difference] = (), alpha: float = ALPHA) -> list[list[str]]:
    """The contrasts as a table: its head, and a row a contrast."""
    two, sure = _two(analysis), confidence(alpha)
    effect = f"effect on {unit}{_interval(analysis, f' [{sure} over seeds, simultaneous]')}"
    images = [f"{sure} over test images"] * two
    head = ["factor", "baseline", "level", "verdict", effect, *images, "p", "n", "seeds needed"]
    body = [
        [
            each.factor,
            each.baseline,
            _where(each),
            *(cell.removeprefix("p ").removeprefix("n ") for cell in _cells(each, flag, two=two)),
        ]
        for each, flag in _flagged(analysis, audit)
    ]
    return [head, *body]


def markdown(analysis: Analysis, *, unit: str, audit: Sequence[Difference] = (), alpha: float = ALPHA) -> list[str]:
    """The contrasts as a table in Markdown, and remarks below it."""
    if not analysis.contrasts:
        return []
    head, *body = rows(analysis, unit=unit, audit=audit, alpha=alpha)
    told = (escaped(note, begins=True) for note in remarks(analysis, audit))
    return [*markdown_table(head, body, len(head)), "", *(f"- {note}" for note in told)]


def _interval(analysis: Analysis, words: str) -> str:
    """What is said of intervals, where there are any."""
    return words if any(each.verdict.low is not None for each in analysis.contrasts) else ""


def _intervals(analysis: Analysis, sure: str) -> str:
    """Which interval is over what, in the order of the columns."""
    seeds = _interval(analysis, f"[simultaneous {sure} interval over seeds]")
    told = [seeds] * bool(seeds) + [f"[{sure} interval over test images]"] * _two(analysis)
    return f" {', then '.join(told)}" if told else ""


def _two(analysis: Analysis) -> bool:
    """Whether a contrast has an interval over test images."""
    return any(each.over_images is not None for each in analysis.contrasts)


def _flagged(analysis: Analysis, audit: Sequence[Difference]) -> list[tuple[Contrast, bool]]:
    touched = {index for each in audit for index in each.contrasts}
    return [(each, index in touched) for index, each in enumerate(analysis.contrasts)]


def _where(contrast: Contrast) -> str:
    at = ", ".join(contrast.at.values())
    return f"{contrast.level} at {at}" if at else contrast.level


def _cells(contrast: Contrast, flag: bool, *, two: bool) -> tuple[str, ...]:
    """Kind, effect with its interval over seeds, that over images where there are any, p, n and seeds needed."""
    found = contrast.verdict
    effect = "" if found.effect is None else f"{found.effect:+.2f}"
    if found.low is not None and found.high is not None:
        effect += f" {_bracketed(found.low, found.high)}"
    second = contrast.over_images
    images = ["" if second is None else _bracketed(second.low, second.high)] * two
    p = "" if found.p is None else f"p {found.p:.3f}" if found.p >= 0.001 else "p < 0.001"
    lost = [f"{n} of {of} {side} diverged" for n, of, side in _lost(contrast) if n]
    kind = f"{found.kind} {FLAG}" if flag else str(found.kind)
    return kind, effect, *images, p, f"n {found.n}", ", ".join(filter(None, [needed(found), *lost]))


def needed(found: Verdict) -> str:
    """The seeds that an undecided comparison takes, in words; nothing where nobody can say."""
    if found.seeds_needed is None:
        return ""
    return f"{found.seeds_needed} seeds decide in 4 of 5 cases"


def _bracketed(low: float, high: float) -> str:
    return f"[{low:+.2f}, {high:+.2f}]"


def _lost(contrast: Contrast) -> list[tuple[int, int, str]]:
    return list(zip(contrast.diverged, contrast.runs, ("runs", "baseline runs"), strict=True))


def remarks(analysis: Analysis, audit: Sequence[Difference] = ()) -> list[str]:
    """What differs besides the factors, how the verdicts were made, and what else the model tells."""
    out = [*(f"{FLAG} {line}" for line in audited(audit, analysis.contrasts)), analysis.method]
    out += _spread(analysis)
    rough = "" if analysis.stds is None else ", rough: the test takes one variance"
    out += [f"{_term(each)}: F {each.f:.1f}, p {_p(each.p)}{rough}" for each in analysis.effects]
    undecided = any(each.verdict.kind is Kind.undecided for each in analysis.contrasts)
    return out + [note for note in analysis.notes if undecided or "second look" not in note]


def _spread(analysis: Analysis) -> list[str]:
    if analysis.std is None:
        return []
    if analysis.stds is not None:
        low, high = analysis.stds
        return [f"standard deviation of a run within its cell: {low:.2f} to {high:.2f}, by cell"]
    agree = ", ".join(f"{test} p {_p(p)}" for test, p in analysis.equal_variance.items())
    known = f"{analysis.df} degrees of freedom" + (f"; one variance: {agree}" if agree else "")
    return [f"standard deviation of a run within its cell: {analysis.std:.2f} ({known})"]


def _term(effect: Effect) -> str:
    return f"{'main effect' if len(effect.factors) == 1 else 'interaction'} {' x '.join(effect.factors)}"


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"
