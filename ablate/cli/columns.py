"""Tables of text on a terminal."""

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]], *, text: int) -> list[str]:
    """Lines of a table with columns as wide as their widest cell, two blanks between them.

    Args:
        rows: Cells, those of the head first; a row may end early.
        text: How many columns hold text, which begins at their left edge; numbers end at the right edge of theirs.
    """
    columns = max(map(len, rows), default=0)
    widths = [max(len(row[n]) for row in rows if n < len(row)) for n in range(columns)]
    lines = []
    for row in rows:
        cells = [c.ljust(w) if n < text else c.rjust(w) for n, (c, w) in enumerate(zip(row, widths, strict=False))]
        lines.append("  ".join(cells).rstrip())
    return lines
