"""Words in rows and columns, as a terminal, Markdown and LaTeX take them."""

from collections.abc import Sequence

from rich.cells import cell_len

from ablate.escaping import latex, markdown_cell, visible


def aligned(head: Sequence[str], body: Sequence[Sequence[str]], factors: int) -> list[str]:
    """Lines for a terminal: columns under their heads, those after the first ``factors`` to the right."""
    lines = [[visible(cell) for cell in line] for line in [head, *body]]
    widths = [max(cell_len(line[n]) for line in lines) for n in range(len(head))]

    def write(line: Sequence[str]) -> str:
        blanks = [" " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True)]
        pairs = enumerate(zip(line, blanks, strict=True))
        return "  ".join(cell + blank if n < factors else blank + cell for n, (cell, blank) in pairs).rstrip()

    return [write(lines[0]), "  ".join("-" * width for width in widths), *map(write, lines[1:])]


def markdown_table(head: Sequence[str], body: Sequence[Sequence[str]], left: int) -> list[str]:
    """Lines of a Markdown table, its first ``left`` columns to the left and numbers to the right."""
    rule = ["---" if n < left else "---:" for n in range(len(head))]
    lines = [list(map(markdown_cell, line)) for line in [head, *body]]
    return ["| " + " | ".join(line) + " |" for line in [lines[0], rule, *lines[1:]]]


def latex_tabular(head: Sequence[str], body: Sequence[Sequence[str]], left: int) -> list[str]:
    """Lines of a booktabs table."""
    columns = "".join("l" if n < left else "r" for n in range(len(head)))
    lines = [rf"{' & '.join(map(latex, row))} \\" for row in [head, *body]]
    return [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule",
            r"\end{tabular}"]  # fmt: skip
