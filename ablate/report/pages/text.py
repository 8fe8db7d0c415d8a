"""A table -> words: for a terminal, Markdown, LaTeX, CSV or JSON; nothing here computes a result.

The CSV is a tidy table of rows, for a spreadsheet, with the effects of each row's levels against their baselines and
both intervals of each; verdicts are a whole sweep's and stand in the JSON, which holds all there is.
"""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from ablate.escaping import csv_row, json_text, latex, markdown, visible
from ablate.report.errors import ReportError
from ablate.report.pages import findings
from ablate.report.pages.grids import aligned, latex_tabular, markdown_table
from ablate.report.table import marks
from ablate.report.table.notes import chosen
from ablate.report.table.numbers import Digits, estimate_text, in_percent, is_cut, number_text, of_estimates
from ablate.report.table.table import COSTS, RANK, Row, Table, label

_SHOWN_COSTS = {"params": "params", "macs": "MACs", "tokens": "tokens"}


def render(table: Table, format: str, notes: Sequence[str] = (), *, full: bool = False) -> str:
    """Writes a table out.

    Args:
        table: The table that is written.
        format: ``text``, ``md``, ``latex`` (needs the package booktabs), ``csv`` (rows alone: numbers, every cost and
            the run ids) or ``json`` (all there is).
        notes: Further notes, said below the table's own.
        full: All notes in ``text``, ``md`` and ``latex``, and not only those that everybody needs; ``json`` has all.

    Raises:
        ReportError: There is no such format.
    """
    if format not in _WRITERS:
        raise ReportError(f"format must be one of {', '.join(_WRITERS)}, got {format!r}.")
    return _WRITERS[format](table, [*table.notes, *notes], full)


def form(table: Table) -> list[str]:
    """What is to be said of how numbers stand in a table's cells."""
    cut = any(row.estimate is not None and is_cut(row.estimate) for row in table.rows)
    return [_CUT] * cut


_CUT = "an interval that would leave 0 to 100 % has both ends told instead of ±, and ends there"


def _text(table: Table, notes: Sequence[str], full: bool) -> str:
    head, body = cells(table)
    lines = aligned(head, body, len(table.factors))
    title, notes = map(visible, table.title.partition("\n")[::2]), chosen([*form(table), *notes], full=full)
    warned = [f"! {visible(caution)}" for caution in table.cautions]
    blank = [""] * bool(warned)
    found = _found(table, findings.lines, full)
    return "\n".join([*title, "", *lines, "", *warned, *blank, *found, *map(visible, notes)])


def _md(table: Table, notes: Sequence[str], full: bool) -> str:
    asked, _, budget = table.title.partition("\n")
    head, body = cells(table)
    found = _found(table, findings.markdown, full)
    rows = markdown_table(head, body, len(table.factors))
    notes = chosen([*form(table), *notes], full=full)
    asked, budget, *said = (markdown(line, begins=True) for line in (asked, budget, *notes))
    warned = [part for caution in table.cautions for part in (f"> {markdown(caution, begins=True)}", "")]
    return "\n".join([f"### {asked}", "", budget, "", *rows, "", *warned, *found, *(f"- {note}" for note in said)])


def _found(table: Table, write: Callable[[findings.Verdicts], list[str]], full: bool) -> list[str]:
    """The verdicts, as ``findings.lines`` or ``findings.markdown`` writes them, and a blank line after them."""
    told = findings.verdicts(table, full=full)
    verdicts = [] if told is None else write(told)
    return [*verdicts, ""] if verdicts else []


# --------------------------------------------------------------------------------------------------------------- cells


def cells(table: Table) -> tuple[list[str], list[list[str]]]:
    """The table as people read it: its head, and a list of words a row."""
    written = of_estimates([row.estimate for row in table.rows], percent=in_percent(label(table.metric)))
    best = partial(_best, written=written)
    odd, several, read = (any(map(column, table.rows)) for column in (_odd, best, _read))
    more: list[tuple[str, Callable[[Row], str]]] = [
        *([("best of 4", best)] if several else []),
        *([("read at", _read)] if read else []),
    ]
    head = [*table.factors, label(table.metric), "n", *(name for name, _ in more), *_SHOWN_COSTS.values()]
    body = []
    for row in table.rows:
        counts = [_range(row.cost[name]) for name in _SHOWN_COSTS]
        n = str(row.estimate.n) if row.estimate else "0"
        said = [column(row) for _, column in more]
        body.append([*row.levels, _cell(row, written), n, *said, *counts, *([_odd(row)] if odd else [])])
    return head + ["not in the mean"] * odd, body


def _odd(row: Row) -> str:
    return ", ".join(f"{row.outcomes[name]} {name}" for name in (*RANK[1:], "not run") if row.outcomes.get(name))


def _best(row: Row, *, written: Digits) -> str:
    return "" if row.best_of_4 is None else number_text(row.best_of_4, written)


def _read(row: Row) -> str:
    return ", ".join(row.read)


def _cell(row: Row, written: Digits) -> str:
    estimate = row.estimate
    if estimate is None:
        return ""
    signs = marks.ON_TEST * ("test" in row.select) + marks.UNFINISHED * row.unfinished + marks.ENDED * row.ended
    return estimate_text(estimate, written) + (f" {signs}" if signs else "")


def _range(values: Sequence[int]) -> str:
    ends = dict.fromkeys((values[0], values[-1])) if values else {}
    return " to ".join(f"{value:,}" for value in ends)


# --------------------------------------------------------------------------------------------------------------- LaTeX


def _latex(table: Table, notes: Sequence[str], full: bool) -> str:
    asked, _, budget = table.title.partition("\n")
    head, body = cells(table)
    lines = [r"% needs \usepackage[utf8]{inputenc} and \usepackage{booktabs}", r"\begin{table}", r"\centering"]
    lines += [rf"\caption{{{latex(asked)} {latex(budget)}.}}", *latex_tabular(head, body, len(table.factors))]
    lines += _small(table.cautions)
    told = findings.verdicts(table, full=full)
    if told is not None and told.analysis.contrasts:
        rows, remarks = findings.rows(told), findings.remarks(told)
        lines += [r"\par\medskip", *latex_tabular(rows[0], rows[1:], len(rows[0])), *_small(remarks)]
    return "\n".join([*lines, *_small(chosen([*form(table), *notes], full=full)), r"\end{table}"])


def _small(notes: Sequence[str]) -> list[str]:
    return [rf"\par\footnotesize {latex(note)}." for note in notes]


# --------------------------------------------------------------------------------------------------------- CSV and JSON


_NUMBERS = ("n", "mean", "low", "high", "std")


def _csv(table: Table, notes: Sequence[str], full: bool) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    outcomes = (*RANK[1:], "not run")
    heads = [outcome.replace(" ", "_") for outcome in outcomes]
    readings = any(row.read for row in table.rows)
    more = ["read_at"] * readings
    effects = _effects(table)
    more += [f"{factor}_{name}" for factor in effects for name in _EFFECTS]
    named = [*table.factors, "metric", *_NUMBERS, "best_of_4", *COSTS, *heads, "select"]
    writer.writerow(csv_row([*named, *more, "run_ids"]))
    for row in table.rows:
        estimate = row.estimate
        values = [getattr(estimate, name) for name in _NUMBERS] if estimate else [0, "", "", "", ""]
        costs = [" ".join(map(str, row.cost[name])) for name in COSTS]
        counts = [row.outcomes.get(name, 0) for name in outcomes]
        read = ["; ".join(row.read)] * readings
        against = [value for of in effects.values() for value in of.get(row.levels, ("",) * len(_EFFECTS))]
        rest = [" ".join(row.select), *read, *against, " ".join(row.run_ids)]
        writer.writerow(csv_row([*row.levels, table.metric, *values, row.best_of_4, *costs, *counts, *rest]))
    return out.getvalue().rstrip("\n")


_EFFECTS = ("effect", "low", "high", "seeds_low", "seeds_high", "images_low", "images_high")
"""Columns on a level against its factor's baseline: effect, intervals of the verdict, over seeds and over images."""


def _effects(table: Table) -> dict[str, dict[tuple[str, ...], tuple[float | None, ...]]]:
    """Factor -> a row's levels -> the columns ``_EFFECTS``; axes that move together are one factor."""
    found: dict[str, dict[tuple[str, ...], tuple[float | None, ...]]] = {}
    rows = {", ".join(row.levels): row.levels for row in table.rows}
    for each in table.analysis.contrasts if table.analysis is not None else ():
        levels = {**each.at, each.factor: each.level}
        at = tuple(levels[factor] for factor in table.factors) if each.factor in table.factors else rows[each.level]
        own, images = each.verdict, each.over_images
        seeds = each.over_seeds or own  # where nothing else is known, the verdict's own is over seeds
        over_images = (images.low, images.high) if images is not None else (None, None)
        found.setdefault(each.factor, {})[at] = (own.effect, own.low, own.high, seeds.low, seeds.high, *over_images)
    return found


def _json(table: Table, notes: Sequence[str], full: bool) -> str:
    return json_text(json.dumps(content(table, notes), indent=1, ensure_ascii=False, allow_nan=False))


def content(table: Table, notes: Sequence[str]) -> dict[str, Any]:
    """All of a table in JSON's own types: numbers to 9 significant digits, None for what is not known."""
    rows = [{**asdict(row), "levels": dict(zip(table.factors, row.levels, strict=True))} for row in table.rows]
    analysis = None if table.analysis is None else asdict(table.analysis)
    whole: dict[str, Any] = _plain(
        {
            "title": table.title,
            "factors": table.factors,
            "metric": table.metric,
            "alpha": table.alpha,
            "higher_is_better": table.higher_is_better,
            "margin": table.margin,
            "rows": rows,
            "analysis": analysis,
            "cautions": table.cautions,
            "audit": [asdict(each) for each in table.audit],
            "notes": notes,
        }
    )
    return whole


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, (bool, int)):
        return value
    number = float(f"{float(value):.9g}")
    return number if abs(number) < float("inf") else None


_WRITERS: dict[str, Callable[[Table, Sequence[str], bool], str]] = {
    "text": _text,
    "md": _md,
    "latex": _latex,
    "csv": _csv,
    "json": _json,
}
"""Format -> what writes it, from the table, all notes, and whether all are wanted."""
