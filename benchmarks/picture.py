"""Pictures of what was measured: bars beside a goal, and bars of parts."""

from pathlib import Path
from typing import Any

from ablate.report.pages.figures import COLOURS


def bars(panels: dict[str, dict[str, float]], path: Path, goals: dict[str, float] | None = None) -> None:
    """A panel an entry, a bar a value with its number, a line at the panel's goal.

    Args:
        panels: What the numbers are -> name -> number.
        path: A PNG file.
        goals: Panel -> goal.
    """
    rows = max(len(each) for each in panels.values())
    figure, axes = _figure(len(panels), (4.6 * len(panels), 1.0 + 0.34 * rows))
    for ax, (what, found) in zip(axes, panels.items(), strict=True):
        drawn = ax.barh(list(found), list(found.values()), color=COLOURS[0], height=0.62)
        ax.bar_label(
            drawn, [f"{value:,.3g}" if value < 1000 else f"{value:,.0f}" for value in found.values()], padding=3
        )
        goal = (goals or {}).get(what)
        if goal is not None:
            ax.axvline(goal, color=COLOURS[1], linewidth=1.5)
        ax.set_xlabel(what if goal is None else f"{what} (line: goal {goal:g})")
        ax.margins(x=0.16)
        ax.set_ylim(rows - 0.5, -0.5)
    _save(figure, path)


def stacked(rows: dict[str, dict[str, float]], path: Path, xlabel: str) -> None:
    """A bar a row, its parts in colours, the same part in the same colour.

    Args:
        rows: Name -> part -> number.
        path: A PNG file.
        xlabel: What the numbers are.
    """
    figure, (ax,) = _figure(1, (9.5, 1.6 + 0.5 * len(rows)))
    parts = list(dict.fromkeys(part for row in rows.values() for part in row))
    left = dict.fromkeys(rows, 0.0)
    for index, part in enumerate(parts):
        widths = [row.get(part, 0.0) for row in rows.values()]
        style = {"color": COLOURS[index % len(COLOURS)], "hatch": "//" if index >= len(COLOURS) else None}
        ax.barh(list(rows), widths, left=list(left.values()), label=part, height=0.62, edgecolor="white", **style)
        left = {name: left[name] + width for name, width in zip(rows, widths, strict=True)}
    ax.set_xlabel(xlabel)
    ax.invert_yaxis()
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    _save(figure, path)


def _figure(panels: int, size: tuple[float, float]) -> tuple[Any, list[Any]]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, panels, figsize=size, squeeze=False)
    return figure, list(axes[0])


def _save(figure: Any, path: Path) -> None:
    from matplotlib import pyplot

    for ax in figure.axes:
        ax.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
