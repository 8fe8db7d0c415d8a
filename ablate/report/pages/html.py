"""A study as one self-contained HTML file: verdicts in sentences, table, figures, cost, notes, how to make it again.

Nothing in it is fetched: style and figures (SVG) stand inside, and no script is needed. Figures take their text colour
from the page, so that one drawing serves light and dark.
"""

import io
import re
import shlex
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ablate.escaping import html_text
from ablate.report.pages import findings, frames, text
from ablate.report.sources.records import Records
from ablate.report.table import audit, equal_compute, searches
from ablate.report.table.marks import FLAG
from ablate.report.table.rows import Reading, records_table
from ablate.report.table.table import ALPHA, Table, confidence, label
from ablate.stats.contrasts import Contrast
from ablate.stats.verdicts import Kind

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

WIDTH = 5.3
"""Inches of a figure: about 510 pixels, so that its text is still read when a phone shrinks it to 360."""
MOST_ROWS, MOST_CELLS, MOST_PLACES = 48, 16, 6
"""What a figure, a figure with a legend, and a sentence hold before they can no longer be read."""
MOST_DIFFERENCES = 3
"""Things that differ besides the factor, as a sentence names them; the notes have all."""
_INK, _GRID = "#010203", "#040506"  # stand for the page's own colours until the SVG is written
_CURVES = {"val/top1_percent": "validation top-1 %", "train/loss": "training loss"}
_COSTS = {"macs": "MACs of an image's forward pass", "params": "parameters"}
_KIND_WORDS = {Kind.helps: "helps", Kind.hurts: "hurts", Kind.equivalent: "makes no difference that matters",
               Kind.undecided: "is undecided"}  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """A drawing and what it says, for those who cannot see it too; ``name`` is for a file."""

    name: str
    svg: str
    caption: str


def page(records: Records, reading: Reading | None = None) -> str:
    """The whole file.

    Args:
        records: A study, with its curves.
        reading: How its runs are read.

    Raises:
        ReportError: ``reading.at`` is something else, or the runs do not say enough to read them there.
    """
    return files(records, reading)["report.html"]


def files(records: Records, reading: Reading | None = None) -> dict[str, str]:
    """The page as ``report.html``, and its figures by themselves as ``figures/NAME.svg``; see ``page``."""
    reading = reading or Reading()
    table, notes = records_table(records, reading)
    frame, definition = searches.rows(records.frame, records.definition)
    if reading.at is not None:
        frame, _ = equal_compute.read_at(frame, records.curves, equal_compute.parse(reading.at), images=reading.images)
    factors = table.factors
    if "trial" in definition["axes"]:  # the table has what it drew and reached: elsewhere its number tells it
        factors, definition = ("trial",), {**definition, "axes": {"trial": definition["axes"]["trial"]}}
    figures = _figures(records, frame, definition, table, factors, reading.margin)
    whole = _whole(records, frame, definition, table, notes, factors, figures)
    return {"report.html": whole} | {f"figures/{figure.name}.svg": figure.svg for figure in figures}


def _whole(
    records: Records,
    frame: "pd.DataFrame",
    definition: Mapping[str, Any],
    table: Table,
    notes: Sequence[str],
    factors: Sequence[str],
    figures: Sequence[Figure],
) -> str:
    asked, _, budget = table.title.partition("\n")
    parts = [
        f"<header><p class=kicker>ablation study</p><h1>{html_text(asked)}</h1>",
        f"<p class=budget>{html_text(budget)}</p></header>",
        _section("Verdicts", _verdicts(table)),
        _section("Table", _table(table)),
        _section("Figures", f"<div class=figures>{''.join(map(_figure, figures))}</div>" if figures else ""),
        _section("Cost", _cost(records, table, frame, definition, factors)),
        _section("Notes and audit", _list([*table.notes, *notes, *_remarks(table, definition)])),
        _section("How to reproduce", _reproduce(records, definition)),
    ]
    return _SHELL.format(title=html_text(asked), style=_STYLE, body="\n".join(part for part in parts if part))


def _remarks(table: Table, definition: Mapping[str, Any]) -> list[str]:
    """How verdicts were made, and what else differs between the sides of a contrast."""
    if table.analysis is None:
        return []
    told = findings.remarks(table.analysis, table.audit)
    if not table.analysis.contrasts:
        return told
    return told if table.audit or definition.get("foreign") else [*told, _CLEAN]


_CLEAN = "audit: the sides of each contrast differ in nothing but the declared factor"


def _section(title: str, content: str) -> str:
    return f"<section><h2>{html_text(title)}</h2>\n{content}\n</section>" if content else ""


def _list(items: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{html_text(item)}</li>" for item in items) + "</ul>"


# ------------------------------------------------------------------------------------------------------------ verdicts


def _verdicts(table: Table) -> str:
    """A sentence a factor, then one a level, each of which can be quoted alone."""
    if table.analysis is None or not table.analysis.contrasts:
        return "<p>Nothing is compared: a verdict needs runs of at least two levels.</p>"
    unit, out, say = _points(label(table.metric)), [], partial(sentence, alpha=table.alpha)
    for factor, baseline, found in _by_factor(table):
        rows = "".join(f"<li class={c.verdict.kind}>{html_text(say(c, unit, flags))}</li>" for c, flags in found)
        lead = html_text(_led(factor, baseline, found))
        told = f"<ul class=verdicts>{rows}</ul>"
        if len(found) > MOST_ROWS:
            told = f"<details><summary>all {len(found)} comparisons</summary>{told}</details>"
        out.append(f"<h3>{html_text(factor)}</h3><p class=lead>{lead}</p>{told}")
    return "".join(out)


def said(table: Table) -> list[str]:
    """One sentence on each factor of a table, which can be quoted alone; none where nothing is compared."""
    return [_led(factor, baseline, found) for factor, baseline, found in _by_factor(table)]


_Flagged = tuple[Contrast, Sequence[audit.Difference]]


def _by_factor(table: Table) -> list[tuple[str, str, list[_Flagged]]]:
    """Factor, baseline, and its contrasts, each with what its sides differ in besides."""
    if table.analysis is None:
        return []
    flags: dict[int, list[audit.Difference]] = {}
    for each in table.audit:
        for index in each.contrasts:
            flags.setdefault(index, []).append(each)
    flagged = [(each, flags.get(index, [])) for index, each in enumerate(table.analysis.contrasts)]
    groups = groupby(flagged, lambda each: (each[0].factor, each[0].baseline))
    return [(factor, baseline, list(group)) for (factor, baseline), group in groups]


def _led(factor: str, baseline: str, found: Sequence[_Flagged]) -> str:
    return summary(factor, baseline, [each for each, _ in found], [each for each, flags in found if flags])


def summary(factor: str, baseline: str, contrasts: Sequence[Contrast], flagged: Sequence[Contrast] = ()) -> str:
    """One sentence on a factor: which level does what, and where that is.

    Args:
        factor: Its name.
        baseline: The level that others are held against.
        contrasts: Of this factor.
        flagged: Those of them whose sides differ in more than the factor: marked.
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
        return f"{_KIND_WORDS[kind]}{marks[0]}"
    places = [f"{', '.join(each.at.values())}{mark}" for each, mark in zip(some, marks, strict=True)]
    if len(some) == of:
        return f"{_KIND_WORDS[kind]}{max(marks)} everywhere ({of} comparisons)"
    listed = len(places) <= MOST_PLACES
    where = f"at {' / '.join(places)}" if listed else f"in {len(places)} of {of} comparisons{max(marks)}"
    return f"{_KIND_WORDS[kind]} {where}"


def sentence(
    contrast: Contrast, unit: str, differences: Sequence[audit.Difference] = (), *, alpha: float = ALPHA
) -> str:
    """One comparison, with effect, interval and n.

    Args:
        contrast: The comparison.
        unit: Of its effect.
        differences: What its sides differ in besides the factor: marks the verdict, and stands in the sentence.
        alpha: Its interval is of 1 - alpha.
    """
    found = contrast.verdict
    at = f", at {', '.join(f'{name} = {level}' for name, level in contrast.at.items())}," if contrast.at else ""
    who = f"{contrast.factor} = {contrast.level} instead of {contrast.baseline}{at}"
    kind = _KIND_WORDS[found.kind] + (f" {FLAG}" if differences else "")
    more = _besides(contrast, differences)
    if found.effect is None:
        return f"{who} {kind}: there are not enough results (n = {_n(contrast)}){more}."
    sure = ""
    if found.low is not None and found.high is not None:
        seeds = f"{confidence(alpha)} simultaneous interval over seeds {_signed(found.low)} to {_signed(found.high)}"
        sure = f" ({seeds}; n = {_n(contrast)})"
    if (images := contrast.over_images) is not None:
        sure += f", over {images.images:,} test images {_signed(images.low)} to {_signed(images.high)}"
    needed = f"; {found.seeds_needed} seeds a side decide in 4 of 5 cases" if found.seeds_needed else ""
    lost = sum(contrast.diverged)
    diverged = f"; {lost} of {sum(contrast.runs)} runs diverged" if lost else ""
    return f"{who} {kind}: {_signed(found.effect)} {unit}{sure}{needed}{diverged}{more}."


def _n(contrast: Contrast) -> str:
    """Runs with a result behind a verdict: of the level and of its baseline, where these are not as many."""
    level, baseline = (runs - lost for runs, lost in zip(contrast.runs, contrast.diverged, strict=True))
    return f"{level} and {baseline}" if level != baseline else f"{contrast.verdict.n} a side"


def _besides(contrast: Contrast, differences: Sequence[audit.Difference]) -> str:
    """The end of a sentence: what else differs, one thing each, the first few in full."""
    if not differences:
        return ""
    listed = [f"{each.kind} ({each.treatment} against {each.baseline})" for each in differences[:MOST_DIFFERENCES]]
    rest = len(differences) - len(listed)
    told = ", ".join([*listed, *([f"{rest} more"] if rest else [])])
    return f"; {FLAG} not only {contrast.factor} differs: {told}"


def _points(unit: str) -> str:
    """A difference of percentages is in percentage points."""
    return f"percentage points of {unit.removesuffix(' %')}" if unit.endswith(" %") else unit


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")


# ------------------------------------------------------------------------------------------------- table, cost, origin


def _table(table: Table) -> str:
    head, body = text.cells(table)
    return _html_table(head, body, len(table.factors))


def _html_table(head: Sequence[str], body: Iterable[Sequence[str]], words: int) -> str:
    """A table that scrolls by itself where the page is narrow; the columns after the first ``words`` are numbers."""

    def row(cells: Sequence[str], tag: str) -> str:
        marks = ["" if n < words else " class=number" for n in range(len(cells))]
        told = (f"<{tag}{mark}>{html_text(cell)}</{tag}>" for cell, mark in zip(cells, marks, strict=True))
        return f"<tr>{''.join(told)}</tr>"

    rows = "".join(row(cells, "td") for cells in body)
    return f"<div class=wide tabindex=0><table><thead>{row(head, 'th')}</thead><tbody>{rows}</tbody></table></div>"


def _cost(
    records: Records, table: Table, frame: "pd.DataFrame", definition: Mapping[str, Any], factors: Sequence[str]
) -> str:
    """Seconds of a run by cell, and what the study took in all."""
    seconds = next((name for name in ("metrics.final.seconds", "seconds") if name in frame), None)
    if seconds is None:
        return ""
    runs = frames.results(frame, definition, factors, metric=table.metric)
    timed = runs.merge(frame[["run_id", seconds]], on="run_id")
    cells = timed.groupby([*factors], sort=False, observed=True)[seconds].agg(["mean", "sum"])
    body = [[*_levels(levels), f"{row['mean']:,.0f}", f"{row['sum'] / 60:,.1f}"] for levels, row in cells.iterrows()]
    total = float(records.frame[seconds].astype(float).sum()) if seconds in records.frame else 0.0
    machine = " or ".join(_distinct(records.frame, "tags.ablate.cpu")) or "a machine that nobody recorded"
    said = f"All runs together trained for {total / 3600:.2f} hours on {machine}."
    return f"<p>{html_text(said)}</p>" + _html_table([*factors, "seconds a run", "minutes of all"], body, len(factors))


def _levels(index: Any) -> list[str]:
    return [str(each) for each in index] if isinstance(index, tuple) else [str(index)]


def _distinct(frame: "pd.DataFrame", column: str) -> list[str]:
    return [str(value) for value in frame[column].dropna().unique()] if column in frame else []


def _again(definition: Mapping[str, Any]) -> str:
    """The command's words, as a shell takes them: a name may be of a file that anybody wrote."""
    return f"+sweep={shlex.quote(definition['name'])}"


def _reproduce(records: Records, definition: Mapping[str, Any]) -> str:
    frame = records.frame
    told = {"study": records.study, "started": records.started, "records": records.source}
    changed = " (and changes that were not committed)" if "true" in _distinct(frame, "tags.ablate.git.dirty") else ""
    commit = " or ".join(_distinct(frame, "tags.mlflow.source.git.commit"))
    told["commit"] = commit + changed if commit else f"not in these records{changed}"
    prefix = "tags.ablate.version."
    versions = [f"{c.removeprefix(prefix)} {' or '.join(_distinct(frame, c))}" for c in frame if c.startswith(prefix)]
    told |= {"versions": ", ".join(versions), "platform": " or ".join(_distinct(frame, "tags.ablate.platform"))}
    told["data digest"] = " or ".join(_distinct(frame, "tags.ablate.data.digest"))
    lines = "".join(f"<dt>{html_text(name)}</dt><dd>{html_text(text)}</dd>" for name, text in told.items() if text)
    command = "" if definition.get("foreign") else f"<pre>python -m ablate {html_text(_again(definition))}</pre>"
    runs = ", ".join(map(str, frame["run_id"])) if len(frame) <= 200 else f"{len(frame)} of them"
    return f"{command}<dl>{lines}</dl><details><summary>run ids</summary><p class=ids>{html_text(runs)}</p></details>"


# ------------------------------------------------------------------------------------------------------------- figures


def _figures(
    records: Records,
    frame: "pd.DataFrame",
    definition: Mapping[str, Any],
    table: Table,
    factors: Sequence[str],
    margin: float | None,
) -> list[Figure]:
    from ablate.report.pages import figures

    unit, better = label(table.metric), table.higher_is_better
    most = f"cells, those with the {'highest' if better else 'lowest'} means"
    runs = frames.results(frame, definition, factors, metric=table.metric)
    out = []
    if table.analysis is not None and table.analysis.contrasts:
        every = frames.contrasts(table.analysis)
        largest = every["effect"].astype(float).abs().sort_values(ascending=False, kind="stable").index[:MOST_ROWS]
        effects = every.loc[sorted(largest)]
        rows = len(effects) + effects.groupby(["factor", "baseline"]).ngroups
        said = "Effect of each level against its factor's baseline, with simultaneous "
        said += f"{confidence(table.alpha)} intervals over seeds"
        said += _some(len(effects), len(every), "comparisons, those with the largest effects")
        out.append(
            drawn("effects", lambda ax: figures.effects(effects, ax, unit, margin=margin), 1.1 + 0.27 * rows, said)
        )
    if runs.empty or not factors:
        return out
    cells = runs.groupby("cell", sort=False)["value"].mean()
    cells = cells.sort_values(ascending=not better, kind="stable")
    listed, few = (runs[runs["cell"].isin(cells.index[:many])] for many in (MOST_ROWS, MOST_CELLS))
    rows = listed["cell"].nunique()
    said = f"Each finished run, and the mean of its cell (bar){_some(rows, len(cells), most)}"
    out.append(drawn("runs", lambda ax: figures.points(listed, ax, factors, unit), 0.9 + 0.27 * rows, said))
    for name, shown in _CURVES.items():
        told = frames.curves(records, few, name)
        if not told.empty and told["epoch"].max() > 1:
            draw = _curve(told, factors, shown)
            said = f"{shown.capitalize()} after each epoch: mean of the seeds, band their range"
            said += _some(few["cell"].nunique(), len(cells), most)
            out.append(drawn(name.replace("/", "_"), draw, 3.6, said))
    for name, shown in _COSTS.items():
        if name in runs and runs[name].nunique() > 1:
            chosen = _cheapest_and_best(runs, name, higher_is_better=better)
            said = f"Mean {unit} against {shown}; filled: no cell is as good for less"
            said += _some(chosen["cell"].nunique(), len(cells), "cells, first those that are filled")
            draw = _front(chosen, name, shown, unit, factors, higher_is_better=better)
            out.append(drawn(name, draw, 3.8, said))
    return out


def _some(shown: int, of: int, which: str) -> str:
    """The end of a caption: what a figure leaves out, if anything."""
    return "." if shown == of else f"; {shown} of {of} {which}."


def _cheapest_and_best(runs: "pd.DataFrame", cost: str, *, higher_is_better: bool) -> "pd.DataFrame":
    """Runs of the cells on the Pareto front, then of the best others, as many cells as a legend can tell apart."""
    from ablate.report.pages import figures

    cells = runs.groupby("cell", sort=False).agg({cost: "mean", "value": "mean"})
    gain = (1 if higher_is_better else -1) * cells["value"]
    cells = cells.assign(gain=gain, behind=~figures.front(cells[cost].to_numpy(), gain.to_numpy()))
    chosen = cells.sort_values(["behind", "gain"], ascending=[True, False], kind="stable").index[:MOST_CELLS]
    return runs[runs["cell"].isin(chosen)]


def _curve(told: "pd.DataFrame", factors: Sequence[str], label: str) -> "Callable[[Axes], object]":
    from ablate.report.pages import figures

    return lambda ax: figures.learning_curves(told, ax, factors, label)


def _front(
    runs: "pd.DataFrame", cost: str, cost_label: str, unit: str, factors: Sequence[str], *, higher_is_better: bool
) -> "Callable[[Axes], object]":
    from ablate.report.pages import figures

    return lambda ax: figures.pareto(runs, ax, cost, cost_label, unit, factors, higher_is_better=higher_is_better)


def drawn(name: str, draw: "Callable[[Axes], object]", height: float, caption: str) -> Figure:
    """A figure as SVG whose text is text, in the colours of the page that it stands in.

    Args:
        name: Of the figure as a file.
        draw: What fills the Axes.
        height: Inches.
        caption: What it shows.
    """
    import matplotlib
    from matplotlib.figure import Figure as Canvas

    settings: Any = {
        **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK),
        **{"grid.color": _GRID, "svg.fonttype": "none", "svg.hashsalt": caption, "font.size": 10.5},
        **{"axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6, "legend.fontsize": 10},
    }
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # The reader's fonts draw the text, and names that are wider than the figure can still be read.
        for said in ("Glyph .* missing from font", "constrained_layout not applied"):
            warnings.filterwarnings("ignore", said)
        canvas = Canvas(figsize=(WIDTH, height), layout="constrained")
        draw(canvas.subplots())
        buffer = io.StringIO()
        canvas.savefig(buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator"), None))
    return Figure(name, _inline(buffer.getvalue()), caption)


def _inline(svg: str) -> str:
    """What may stand in HTML: no prologue, no names of groups (each figure has the same), the page's colours."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    body = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", body)
    body = re.sub(r"font: (\d+|bold) ([\d.]+)px [^;\"]*", r"font-weight: \1; font-size: \2px", body)
    return (
        body.replace(_INK, "currentColor")
        .replace(_GRID, "var(--line, #ccc)")
        .replace("<svg ", '<svg font-family="system-ui, sans-serif" ', 1)
    )


def _figure(figure: Figure) -> str:
    said = html_text(figure.caption)
    return f'<figure><div role=img aria-label="{said}">{figure.svg}</div><figcaption>{said}</figcaption></figure>'


# --------------------------------------------------------------------------------------------------------------- shell

_STYLE = """
:root { color-scheme: light dark; --page: #fff; --ink: #1d2430; --soft: #596273; --line: #dfe3ea; --card: #f6f7f9;
  --helps: #00724f; --hurts: #b34700; --equivalent: #005f99; --undecided: #626a75 }
@media (prefers-color-scheme: dark) { :root { --page: #14171c; --ink: #e6e9ee; --soft: #a2abb9; --line: #333a45;
  --card: #1c2027; --helps: #3ecf9d; --hurts: #ff9a5c; --equivalent: #6bb8f0; --undecided: #a8b0bb } }
* { box-sizing: border-box }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, "Segoe UI", Roboto,
  "Helvetica Neue", "Liberation Sans", "DejaVu Sans", sans-serif; overflow-wrap: anywhere }
main { max-width: 1180px; margin: 0 auto; padding: 2rem 1rem 4rem }
header { border-bottom: 1px solid var(--line); padding-bottom: 1rem }
.kicker { margin: 0; color: var(--soft); font-size: .8rem; letter-spacing: .08em; text-transform: uppercase }
h1 { margin: .2rem 0 .6rem; font-size: clamp(1.3rem, 3.4vw, 2rem); line-height: 1.25 }
h2 { margin: 2.4rem 0 .6rem; font-size: 1.25rem }
h3 { margin: 1.4rem 0 .2rem; font-size: 1.05rem }
p, li, dd { max-width: 76ch }
.budget, figcaption, .ids { color: var(--soft); font-size: .9rem }
.lead { margin: .2rem 0 .6rem; font-weight: 600 }
.verdicts { list-style: none; margin: 0; padding: 0 }
.verdicts li { margin: .35rem 0; padding: .1rem 0 .1rem .75rem; border-left: 4px solid var(--undecided) }
.verdicts .helps { border-color: var(--helps) } .verdicts .hurts { border-color: var(--hurts) }
.verdicts .equivalent { border-color: var(--equivalent) }
.wide { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px }
table { border-collapse: collapse; width: 100%; font-size: .92rem; overflow-wrap: normal }
th, td { padding: .45rem .8rem; text-align: left; white-space: nowrap }
thead { background: var(--card) } tbody tr { border-top: 1px solid var(--line) }
.number { text-align: right; font-variant-numeric: tabular-nums }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); gap: 1rem;
  align-items: start }
figure { margin: 0; padding: 1rem; background: var(--card); border-radius: 8px; min-width: 0 }
figure svg { display: block; width: 100%; height: auto; overflow: visible; font-family: inherit }
figcaption { margin-top: .5rem }
pre { padding: .8rem 1rem; background: var(--card); border-radius: 8px; overflow-x: auto }
dl { display: grid; grid-template-columns: minmax(6rem, max-content) 1fr; gap: .25rem 1rem } dt { color: var(--soft) }
dd { margin: 0; min-width: 0 } .ids { font-family: ui-monospace, monospace; font-size: .78rem }
@media (max-width: 600px) { figure { padding: .6rem .4rem } }
@media print { figure, tr { break-inside: avoid } }
"""
_SHELL = """<!doctype html>
<html lang=en>
<head>
<meta charset=utf-8>
<meta name=viewport content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel=icon href="data:,">
<style>{style}</style>
</head>
<body><main>
{body}
</main></body>
</html>"""
