"""A study as one self-contained HTML file: verdicts in sentences, table, figures, cost, notes, how to make it again.

Nothing in it is fetched: style and figures (SVG) stand inside, and no script is needed. Figures take their text colour
from the page, so that one drawing serves light and dark.
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ablate.escaping import html_text
from ablate.report.pages import findings, frames, sentences, text
from ablate.report.pages.drawings import MOST_ROWS, Drawing, drawings
from ablate.report.pages.kinds import rules
from ablate.report.sources.records import Records
from ablate.report.table import equal_compute, searches
from ablate.report.table.numbers import digits, significant
from ablate.report.table.rows import Reading, records_table
from ablate.report.table.table import Table, label
from ablate.tracking.names import COMMIT, CPU, DATA_DIGEST, DIRTY, PLATFORM, SECONDS, VERSION, metric_column, tag_column

if TYPE_CHECKING:
    import pandas as pd


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
    drawn = drawings(records, frame, definition, table, factors, table.margin)
    whole = _whole(records, frame, definition, table, notes, factors, drawn)
    return {"report.html": whole} | {f"figures/{each.name}.svg": each.svg for each in drawn}


def _whole(
    records: Records,
    frame: "pd.DataFrame",
    definition: Mapping[str, Any],
    table: Table,
    notes: Sequence[str],
    factors: Sequence[str],
    drawn: Sequence[Drawing],
) -> str:
    asked, _, budget = table.title.partition("\n")
    parts = [
        f"<header><p class=kicker>ablation study</p><h1>{html_text(asked)}</h1>",
        f"<p class=budget>{html_text(budget)}</p></header>",
        _section("Verdicts", _cautions(table) + _verdicts(table)),
        _section("Table", _table(table)),
        _section("Figures", f"<div class=figures>{''.join(map(_figure, drawn))}</div>" if drawn else ""),
        _section("Cost", _cost(records, table, frame, definition, factors)),
        _section("Notes and audit", _list([*text.form(table), *table.notes, *notes, *_remarks(table, definition)])),
        _section("How to reproduce", _reproduce(records, definition)),
    ]
    return _SHELL.format(title=html_text(asked), style=_STYLE + rules(), body="\n".join(part for part in parts if part))


def _remarks(table: Table, definition: Mapping[str, Any]) -> list[str]:
    """How verdicts were made, and what else differs between the sides of a contrast."""
    found = findings.verdicts(table, full=True)
    if found is None:
        return []
    told = findings.remarks(found)
    if not found.analysis.contrasts:
        return told
    return told if table.audit or definition.get("foreign") else [*told, _CLEAN]


_CLEAN = "audit: the sides of each contrast differ in nothing but the declared factor"


def _section(title: str, content: str) -> str:
    return f"<section><h2>{html_text(title)}</h2>\n{content}\n</section>" if content else ""


def _list(items: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{html_text(item)}</li>" for item in items) + "</ul>"


# ------------------------------------------------------------------------------------------------------------ verdicts


def _cautions(table: Table) -> str:
    """What a reader has to know before the verdicts."""
    return "".join(f"<p class=caution>{html_text(caution)}.</p>" for caution in table.cautions)


def _verdicts(table: Table) -> str:
    """A sentence a factor, then one a level, each of which can be quoted alone."""
    if table.analysis is None or not table.analysis.contrasts:
        return "<p>Nothing is compared: a verdict needs runs of at least two levels.</p>"
    unit, out = sentences.effect_unit(label(table.metric)), []
    say = partial(sentences.sentence, alpha=table.alpha, scope=table.analysis.scope)
    for factor, baseline, found in sentences.by_factor(table):
        rows = "".join(f"<li class={c.verdict.kind}>{html_text(say(c, unit, flags))}</li>" for c, flags in found)
        lead = html_text(sentences.headline(factor, baseline, found))
        told = f"<ul class=verdicts>{rows}</ul>"
        if len(found) > MOST_ROWS:
            told = f"<details><summary>all {len(found)} comparisons</summary>{told}</details>"
        out.append(f"<h3>{html_text(factor)}</h3><p class=lead>{lead}</p>{told}")
    return "".join(out)


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
    seconds = next((name for name in (metric_column(SECONDS), "seconds") if name in frame), None)
    if seconds is None:
        return ""
    runs = frames.results(frame, definition, factors, metric=table.metric)
    timed = runs.merge(frame[["run_id", seconds]], on="run_id")
    cells = timed.groupby([*factors], sort=False, observed=True)[seconds].agg(["mean", "sum"])
    each, every = (digits(column) for column in (cells["mean"], cells["sum"] / 60))
    body = [[*_levels(levels), each(row["mean"]), every(row["sum"] / 60)] for levels, row in cells.iterrows()]
    total = float(records.frame[seconds].astype(float).sum()) if seconds in records.frame else 0.0
    machine = " or ".join(_distinct(records.frame, tag_column(CPU))) or "a machine that nobody recorded"
    said = f"All runs together trained for {significant(total / 3600, 2)} hours on {machine}."
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
    changed = " (and changes that were not committed)" if "true" in _distinct(frame, tag_column(DIRTY)) else ""
    commit = " or ".join(_distinct(frame, tag_column(COMMIT)))
    told["commit"] = commit + changed if commit else f"not in these records{changed}"
    prefix = tag_column(VERSION)
    versions = [f"{c.removeprefix(prefix)} {' or '.join(_distinct(frame, c))}" for c in frame if c.startswith(prefix)]
    told |= {"versions": ", ".join(versions), "platform": " or ".join(_distinct(frame, tag_column(PLATFORM)))}
    told["data digest"] = " or ".join(_distinct(frame, tag_column(DATA_DIGEST)))
    lines = "".join(f"<dt>{html_text(name)}</dt><dd>{html_text(what)}</dd>" for name, what in told.items() if what)
    command = "" if definition.get("foreign") else f"<pre>python -m ablate {html_text(_again(definition))}</pre>"
    runs = ", ".join(map(str, frame["run_id"])) if len(frame) <= 200 else f"{len(frame)} of them"
    return f"{command}<dl>{lines}</dl><details><summary>run ids</summary><p class=ids>{html_text(runs)}</p></details>"


def _figure(drawing: Drawing) -> str:
    said = html_text(drawing.caption)
    return f'<figure><div role=img aria-label="{said}">{drawing.svg}</div><figcaption>{said}</figcaption></figure>'


# --------------------------------------------------------------------------------------------------------------- shell

_STYLE = """
:root { color-scheme: light dark; --page: #fff; --ink: #1d2430; --soft: #596273; --line: #dfe3ea; --card: #f6f7f9 }
@media (prefers-color-scheme: dark) { :root { --page: #14171c; --ink: #e6e9ee; --soft: #a2abb9; --line: #333a45;
  --card: #1c2027 } }
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
.caution { margin: .4rem 0; padding: .5rem .75rem; background: var(--card); border-left: 4px solid var(--ink) }
.verdicts { list-style: none; margin: 0; padding: 0 }
.verdicts li { margin: .35rem 0; padding: .1rem 0 .1rem .75rem; border-left: 4px solid }
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
