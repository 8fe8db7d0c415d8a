"""Results of a sweep, drawn: frames and Axes in, Axes filled; no Keras here.

    runs = ablate.report.pages.frames.results(frame, definition, factors)
    pareto(runs, ax, "macs", "MACs of an image", "test top-1 %")

Colours can be told apart by the colour-blind, on white and on black; markers and dashes always say the same.
"""

import ablate.report.pages.fonts  # noqa: F401  before matplotlib

# isort: split
import itertools
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import seaborn
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator, NullFormatter
from numpy.typing import NDArray
from scipy.special import stdtrit

from ablate.escaping import label as shown
from ablate.report.pages.kinds import LOOKS
from ablate.report.table.numbers import in_percent
from ablate.stats.verdicts import Kind

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[Any]
LONGEST = 72
"""Characters of a name beside the axes: a longer one would leave no room to draw in."""

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#c68a00", "#56a0d3", "#8a6d3b", "#808080")
"""Okabe and Ito's, the light ones darkened until a white page shows them."""
_DASHES = ("", (4, 2), (1, 1.5), (6, 2, 1, 2), (8, 3), (3, 1, 1, 1, 1, 1), (2, 3), (10, 2, 2, 2))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def effects(frame: "pd.DataFrame", ax: Axes, unit: str, *, margin: float | None = None) -> Axes:
    """Each level's effect against its baseline, which is the line at 0, with simultaneous intervals.

    Args:
        frame: Rows of ``ablate.report.pages.frames.contrasts``.
        ax: Axes that are filled; they want a quarter of an inch a row and a heading's row a factor.
        unit: Unit of the effects.
        margin: Smallest effect of interest; shaded.
    """
    ticks: list[str] = []
    heads: list[int] = []
    for (factor, baseline), group in frame.groupby(["factor", "baseline"], sort=False):
        heads.append(len(ticks))
        ticks.append(f"{factor} (against {baseline})")
        for row in group.itertuples():
            if row.effect == row.effect and row.effect is not None:
                _interval(ax, row.effect, row.low, row.high, len(ticks), row.kind)
            ticks.append(row.level)
    if margin is not None:
        ax.axvspan(-margin, margin, color=LOOKS[Kind.equivalent].colour, alpha=0.12, linewidth=0)
    ax.axvline(0, color="0.5", linewidth=1)
    ax.set_yticks(range(len(ticks)), _names(ticks))
    for n in heads:
        ax.get_yticklabels()[n].set_fontweight("bold")
    ax.set_ylim(len(ticks) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x")
    ax.set_xlabel(shown(f"effect on {unit}"))
    _kinds(ax, [kind for kind in LOOKS if kind in set(frame["kind"])])
    return ax


def _interval(ax: Axes, effect: float, low: float | None, high: float | None, at: int, kind: str) -> None:
    look = LOOKS[Kind(kind)]
    if low is not None and high is not None and low == low:
        ax.plot([low, high], [at, at], color=look.colour, linewidth=2, solid_capstyle="round")
    ax.plot([effect], [at], color=look.colour, marker=look.marker, markersize=7, linestyle="none")


def _kinds(ax: Axes, kinds: Sequence[Kind]) -> None:
    marks = [Line2D([], [], color=LOOKS[kind].colour, marker=LOOKS[kind].marker, label=kind) for kind in kinds]
    if marks:
        ax.legend(handles=marks, loc="lower center", bbox_to_anchor=(0.4, 1), ncols=len(marks), frameon=False,
                  columnspacing=1, handletextpad=0.3)  # fmt: skip


def learning_curves(frame: "pd.DataFrame", ax: Axes, factors: Sequence[str], label: str) -> Axes:
    """Mean of each cell after each epoch, and the range of its seeds as a band.

    Args:
        frame: Rows of ``ablate.report.pages.frames.curves``.
        ax: Axes that are filled.
        factors: Columns that make a cell: colours tell the first, dashes the others.
        label: Name of the values, with their unit.
    """
    frame = _as_text(frame, factors)
    colour, markers = _looks(frame, factors)
    dashes: dict[str, Any] = dict(zip(markers, itertools.cycle(_DASHES), strict=False))
    seaborn.lineplot(
        frame.assign(**{_REST: frame[list(factors[1:])].agg(", ".join, axis=1)}) if len(factors) > 1 else frame,
        x="epoch", y="value", ax=ax, hue=factors[0], palette=colour, style=_REST if len(factors) > 1 else None,
        dashes=dashes or True, estimator="mean", errorbar=("pi", 100), err_kws={"alpha": 0.15, "linewidth": 0},
    )  # fmt: skip
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("epoch")
    ax.set_ylabel(shown(label))
    ax.grid(axis="y")
    _legend(ax, colour, [Line2D([], [], color="0.5", linestyle=(0, dash) if dash else "-", label=name)
                         for name, dash in dashes.items()])  # fmt: skip
    return ax


def points(frame: "pd.DataFrame", ax: Axes, factors: Sequence[str], label: str) -> Axes:
    """Every run as a point, a row a cell, and each cell's mean as a bar.

    Args:
        frame: Rows of ``ablate.report.pages.frames.results``.
        ax: Axes that are filled; they want a quarter of an inch a cell.
        factors: The first one gives the colour.
        label: Name of the values, with their unit.
    """
    colour, _ = _looks(frame, factors)
    for at, (cell, group) in enumerate(frame.groupby("cell", sort=False)):
        shade = colour[group[factors[0]].iloc[0]]
        ax.plot(group["value"], [at] * len(group), color=shade, marker="o", alpha=0.6, linestyle="none", label=cell)
        ax.plot([group["value"].mean()], [at], color=shade, marker="|", markersize=16, markeredgewidth=2.5)
    names = list(frame["cell"].drop_duplicates())
    ax.set_yticks(range(len(names)), _names(names))
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(shown(label))
    ax.grid(axis="x")
    return ax


def response(frame: "pd.DataFrame", ax: Axes, along: str, factors: Sequence[str], label: str) -> Axes:
    """Mean of each cell along one factor's levels, with its 95 % interval (Student's t) over seeds.

    Levels that are numbers stand at their place, on a logarithmic scale where the largest is ten times the least.

    Args:
        frame: Rows of ``ablate.report.pages.frames.results``, one a run.
        ax: Axes that are filled.
        along: The factor on the horizontal axis.
        factors: All of them: colours tell the first that is not ``along``, which gives the colour where it is alone.
        label: Name of the values, with their unit.
    """
    hue = next((factor for factor in factors if factor != along), along)
    frame = _as_text(frame, dict.fromkeys((along, hue)))
    colour, _ = _looks(frame, [hue])
    marks = dict(zip(colour, itertools.cycle(_MARKERS), strict=False))
    student = partial(_student, percent=in_percent(label))
    numbers = _numbers(frame[along])
    if numbers is None:
        seaborn.pointplot(frame, x=along, y="value", hue=hue, palette=colour, markers=list(marks.values()), ax=ax,
                          errorbar=student, dodge=0.3 if len(colour) > 1 else False, linewidth=1.3, markersize=7,
                          capsize=0.06, legend=False)  # fmt: skip
    else:
        seaborn.lineplot(frame.assign(**{_REST: numbers}), x=_REST, y="value", hue=hue, palette=colour, style=hue,
                         markers=marks, dashes=False, ax=ax, errorbar=student, err_style="bars", legend=False,
                         err_kws={"capsize": 4})  # fmt: skip
        if numbers.min() > 0 and numbers.max() >= 10 * numbers.min():
            ax.set_xscale("log")
        ax.set_xticks(sorted(set(numbers)), [f"{number:g}" for number in sorted(set(numbers))])
        ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel(shown(along))
    ax.set_ylabel(shown(label))
    ax.grid(axis="y")
    ax.legend(handles=[Line2D([], [], color=colour[level], marker=marks[level], label=level) for level in colour],
              loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False, borderaxespad=0.3)  # fmt: skip
    return ax


def _numbers(levels: "pd.Series") -> "pd.Series | None":
    """Levels as numbers, of ``[32, 32]`` the first; None where one is a word."""
    found = levels.str.extract(r"^\[?(-?\d+(?:\.\d+)?(?:e[-+]?\d+)?)(?:, [^\]]*\])?$", expand=False)
    numbers = found.astype(float)
    return numbers if np.isfinite(numbers).all() else None


def _student(values: "pd.Series", *, percent: bool) -> tuple[float, float]:
    """Student's 95 % interval of the mean, of percentages within 0 to 100; of one value, nothing."""
    if len(values) < 2:
        return float("nan"), float("nan")
    half = stdtrit(len(values) - 1, 0.975) * values.std() / np.sqrt(len(values))
    low, high = float(values.mean() - half), float(values.mean() + half)
    return (max(0.0, low), min(100.0, high)) if percent else (low, high)


def beside(frame: "pd.DataFrame", ax: Axes, label: str) -> Axes:
    """Published numbers, a row each, and ours where there are any, with their intervals.

    Args:
        frame: Rows of one data set: ``row``, ``published``, ``verified``, ``ours``, ``low``, ``high`` and ``n``.
        ax: Axes that are filled; they want a quarter of an inch a row.
        label: Name of the values, with their unit.
    """
    rows = list(frame["row"].drop_duplicates())
    place = frame["row"].map(rows.index)
    for sure, face in ((True, "0.45"), (False, "none")):
        some = frame["verified"] == sure
        if some.any():
            ax.plot(frame["published"][some], place[some], color="0.45", marker="D", markerfacecolor=face,
                    linestyle="none", label="published" if sure else "published, not verified")  # fmt: skip
    ours = frame[frame["ours"].notna()]
    for at, low, high in zip(place[ours.index], ours["low"], ours["high"], strict=True):
        ax.plot([low, high], [at, at], color=COLOURS[1], linewidth=2)
    n = " to ".join(f"{count:.0f}" for count in dict.fromkeys((ours["n"].min(), ours["n"].max())) if count == count)
    ax.plot(ours["ours"], place[ours.index], color=COLOURS[1], marker="o", linestyle="none", label=f"ours (n = {n})")
    ax.set_yticks(range(len(rows)), _names(rows))
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlabel(shown(label))
    ax.grid(axis="x")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, borderaxespad=0.3)
    return ax


def visible(seeds: Sequence[int], differences: Sequence[float], ax: Axes, unit: str) -> Axes:
    """The smallest difference that shows, over the seeds of each side, both scales logarithmic."""
    seaborn.lineplot(x=list(seeds), y=list(differences), ax=ax, color=COLOURS[0], marker="o")
    ax.set(xscale="log", yscale="log", xlabel="seeds of each side", ylabel=shown(f"smallest difference in {unit}"))
    ticks = [number for number in (2, 3, 5, 10, 20, 30, 50, 100) if min(seeds) <= number <= max(seeds)]
    ax.set_xticks(ticks, [str(number) for number in ticks])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter("{x:g}")
    ax.grid(which="both")
    return ax


def pareto(
    frame: "pd.DataFrame",
    ax: Axes,
    cost: str,
    cost_label: str,
    label: str,
    factors: Sequence[str],
    *,
    higher_is_better: bool = True,
) -> Axes:
    """Mean of each cell against what it costs; cells that no cheaper one equals are filled and joined.

    Args:
        frame: Rows of ``ablate.report.pages.frames.results``.
        ax: Axes that are filled.
        cost: A column of the frame, the less the better.
        cost_label: Name of the cost, with its unit.
        label: Name of the values, with their unit.
        factors: Colours tell the first, markers the others.
        higher_is_better: Whether more of the value is better.
    """
    frame = _as_text(frame, factors)
    colour, shape = _looks(frame, factors)
    cells = frame.groupby("cell", sort=False).agg({cost: "mean", "value": "mean", **dict.fromkeys(factors, "first")})
    best = front(cells[cost].to_numpy(), (1 if higher_is_better else -1) * cells["value"].to_numpy())
    chain = cells[best].sort_values(cost)
    ax.plot(chain[cost], chain["value"], color="0.5", linestyle="--", linewidth=1, drawstyle="steps-post", zorder=1)
    for filled, (_, row) in zip(best, cells.iterrows(), strict=True):
        shade, marker = colour[row[factors[0]]], shape.get(", ".join(row[f] for f in factors[1:]), _MARKERS[0])
        face = shade if filled else "none"
        ax.plot([row[cost]], [row["value"]], marker=marker, markersize=8, color=shade, markerfacecolor=face,
                markeredgewidth=1.5, linestyle="none")  # fmt: skip
    if len(cells) and cells[cost].max() > 10 * cells[cost].min() > 0:
        ax.set_xscale("log")
    else:
        ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.xaxis.set_major_formatter(EngFormatter(sep=" "))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel(shown(cost_label))
    ax.set_ylabel(shown(label))
    ax.grid()
    _legend(ax, colour, [Line2D([], [], color="0.5", marker=marker, linestyle="none", label=name)
                         for name, marker in shape.items()])  # fmt: skip
    return ax


def front(cost: Array, value: Array) -> Array:
    """Which points no other beats: none is as cheap and as good, and better in one of both.

    Args:
        cost: ``(points,)``, the less the better.
        value: ``(points,)``, the more the better.

    Returns:
        ``(points,)`` bool.
    """
    no_worse = (cost[:, None] <= cost) & (value[:, None] >= value)
    better = (cost[:, None] < cost) | (value[:, None] > value)
    beaten: Array = np.any(no_worse & better, axis=0)
    return np.logical_not(beaten)


_REST = "\n"
"""A column for what figures add to a frame: no factor has this name, since a name is one line where it is drawn."""


def _as_text(frame: "pd.DataFrame", factors: Iterable[str]) -> "pd.DataFrame":
    """Levels as a figure may say them."""
    return frame.assign(**{factor: frame[factor].map(shown) for factor in factors})


def _names(texts: Iterable[str]) -> list[str]:
    return [shown(text, LONGEST) for text in texts]


def _looks(frame: "pd.DataFrame", factors: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Colour of each level of the first factor, marker of each combination of the others."""
    first = list(frame[factors[0]].drop_duplicates())
    rest = frame[list(factors[1:])].drop_duplicates()
    others = list(rest.agg(", ".join, axis=1)) if len(factors) > 1 and len(rest) else []
    colours = {level: COLOURS[n % len(COLOURS)] for n, level in enumerate(first)}
    return colours, {levels: _MARKERS[n % len(_MARKERS)] for n, levels in enumerate(others)}


def _legend(ax: Axes, colours: Mapping[str, str], others: Sequence[Line2D]) -> None:
    """Above the axes, where it hides no point: colours, then what tells the other factors."""
    marks = [*(Line2D([], [], color=colour, linewidth=4, label=level) for level, colour in colours.items()), *others]
    columns = min(3, len(marks)) or 1
    ax.legend(handles=marks, loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, frameon=False, borderaxespad=0.3)
