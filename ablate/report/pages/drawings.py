"""The figures of a study's page, as SVG that takes its colours from the page it stands in."""

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ablate.report.pages import findings, frames
from ablate.report.sources.records import Records
from ablate.report.table.table import Table, confidence, direction_words, label
from ablate.tracking.names import TRAIN_LOSS, VAL_TOP1_CURVE

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

WIDTH = 5.3
"""Inches of a figure: about 510 pixels, so that its text is still read when a phone shrinks it to 360."""
MOST_ROWS, MOST_CELLS = 48, 16
"""What a figure, and a figure with a legend, hold before they can no longer be read."""
_INK, _GRID = "#010203", "#040506"  # stand for the page's own colours until the SVG is written
_CURVES = {VAL_TOP1_CURVE: "validation top-1 %", TRAIN_LOSS: "training loss"}
_COSTS = {"macs": "MACs of an image's forward pass", "params": "parameters"}


@dataclass(frozen=True)
class Drawing:
    """A figure, and what it shows in words, for those who cannot see it too.

    Attributes:
        name: Name of a file that holds it, without its ending.
        svg: The figure as SVG, without a prologue.
        caption: One sentence on what it shows.
    """

    name: str
    svg: str
    caption: str


def drawings(
    records: Records,
    frame: "pd.DataFrame",
    definition: Mapping[str, Any],
    table: Table,
    factors: Sequence[str],
    margin: float | None,
) -> list[Drawing]:
    """The figures of a study: effects, runs, learning curves, and means against what they cost, where there are any.

    Args:
        records: The study, with its curves.
        frame: Runs of the study, as the table reads them.
        definition: Record of the study's sweep, as the table reads it.
        table: Table of the study.
        factors: Columns that tell the study's cells apart.
        margin: Smallest effect of interest, in the metric's unit; None shades nothing.
    """
    from ablate.report.pages import figures

    unit, better = label(table.metric), table.higher_is_better
    most = f"cells, those with the {'lowest' if better is False else 'highest'} means"
    runs = frames.results(frame, definition, factors, metric=table.metric)
    out = []
    if table.analysis is not None and table.analysis.contrasts:
        every = frames.contrasts(table.analysis)
        largest = every["effect"].astype(float).abs().sort_values(ascending=False, kind="stable").index[:MOST_ROWS]
        effects = every.loc[sorted(largest)]
        rows = len(effects) + effects.groupby(["factor", "baseline"]).ngroups
        said = "Effect of each level against its factor's baseline, with simultaneous "
        said += f"{confidence(table.alpha)} intervals {findings.OVER[table.analysis.scope]}"
        said += f"; {toward}" if (toward := direction_words(better)) else ""
        said += _some(len(effects), len(every), "comparisons, those with the largest effects")
        out.append(
            draw("effects", lambda ax: figures.effects(effects, ax, unit, margin=margin), 1.1 + 0.27 * rows, said)
        )
    if runs.empty or not factors:
        return out
    cells = runs.groupby("cell", sort=False)["value"].mean()
    cells = cells.sort_values(ascending=better is False, kind="stable")
    listed, few = (runs[runs["cell"].isin(cells.index[:many])] for many in (MOST_ROWS, MOST_CELLS))
    rows = listed["cell"].nunique()
    said = f"Each finished run, and the mean of its cell (bar){_some(rows, len(cells), most)}"
    out.append(draw("runs", lambda ax: figures.points(listed, ax, factors, unit), 0.9 + 0.27 * rows, said))
    for name, shown in _CURVES.items():
        told = frames.curves(records, few, name)
        if not told.empty and told["epoch"].max() > 1:
            fill = _curve(told, factors, shown)
            said = f"{shown.capitalize()} after each epoch: mean of the seeds, band their range"
            said += _some(few["cell"].nunique(), len(cells), most)
            out.append(draw(name.replace("/", "_"), fill, 3.6, said))
    for name, shown in _COSTS.items():
        if better is not None and name in runs and runs[name].nunique() > 1:
            chosen = _cheapest_and_best(runs, name, higher_is_better=better)
            said = f"Mean {unit} against {shown}; filled: no cell is as good for less"
            said += _some(chosen["cell"].nunique(), len(cells), "cells, first those that are filled")
            fill = _front(chosen, name, shown, unit, factors, higher_is_better=better)
            out.append(draw(name, fill, 3.8, said))
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


def draw(name: str, fill: "Callable[[Axes], object]", height: float, caption: str) -> Drawing:
    """A figure as SVG whose text is text, in the colours of the page that it stands in.

    Args:
        name: Name of a file that holds the figure, without its ending.
        fill: Draws into the Axes.
        height: Height of the figure, inches.
        caption: One sentence on what the figure shows.
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
        fill(canvas.subplots())
        buffer = io.StringIO()
        canvas.savefig(buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator"), None))
    return Drawing(name, _inline(buffer.getvalue()), caption)


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
