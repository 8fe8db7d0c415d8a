"""Names that people and files choose, written so that no format takes them for markup: one function a format.

A name is a level, an axis, a class, a metric, a reason, a question: anything that a sweep's file, a record file, a CSV
file or a tracking store may say. The doors through which it leaves, and what each is given to:

========================================================  =========================================
door                                                      function
========================================================  =========================================
terminal: ``report.pages.text``, ``sweep.screen``,        ``visible``; ``terminal`` for whole texts
``cli.main`` (errors)
log lines: ``sweep.output.LogFormatter``                  ``terminal``
CSV: ``report.pages.text``                                ``csv_row``
JSON: ``report.pages.text``                               ``json_text``
Markdown: ``report.pages.text`` and ``.findings``,        ``markdown``, ``markdown_cell`` and
``tasks.classify``'s ``published_text`` and ``card``      ``markdown_code``
LaTeX: ``report.pages.text``                              ``latex``
HTML: ``report.pages.html``                               ``html_text``
figures, SVG: ``report.pages.figures``,                   ``label``
``tasks.classify.token_maps``
a shell, in ``report.pages.html`` (how to make it again)  ``shlex.quote``, then ``html_text``
========================================================  =========================================
"""

import html
import re
from collections.abc import Sequence
from typing import Any

_UNSEEN = (
    r"\x00-\x1f\x7f-\x9f"  # control characters: ESC begins what a terminal obeys, U+009B as well
    r"\u2028\u2029"  # ends of lines
    r"\u202a-\u202e\u2066-\u2069"  # turn the direction of the text after them
    r"\ud800-\udfff\ufffe\uffff"  # no characters: no file can hold them
)
_HIDDEN = re.compile(f"[{_UNSEEN}]")
_HIDDEN_BUT_LINES = re.compile(rf"(?!\n)[{_UNSEEN}]")
_SHORT = {"\n": r"\n", "\t": r"\t", "\r": r"\r"}


def visible(text: str) -> str:
    r"""One line without what cannot be seen: control characters and the like as ``\x1b`` or ``\u202e``."""
    return _HIDDEN.sub(_spelt, text)


def terminal(text: str) -> str:
    """Lines without what cannot be seen, as ``visible`` shows it; their ends are kept."""
    return _HIDDEN_BUT_LINES.sub(_spelt, text)


def _spelt(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    return _SHORT.get(character, f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def sentence(text: str) -> str:
    """Prose on one line: ends of lines become spaces."""
    return " ".join(text.splitlines())


# ------------------------------------------------------------------------------------------------------------- formats

_SIGNS = "=+\\-@\uff1d\uff0b\uff0d\uff20"  # and their full-width forms
_BEFORE = r"(?:[^\S\t]|[\"'\ufeff\u200b-\u200f\u2060])*"  # what a spreadsheet may take away, or does not show
_FORMULA = re.compile(rf"(?:^|(?<=[,;|\t]))(?={_BEFORE}[{_SIGNS}])")
_PUT_BEFORE = re.compile(_FORMULA.pattern.replace("(?=", "'(?=", 1))
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_PLAIN = re.compile(r"[\w\s.,;:%/+-]*")  # calls nothing, and reaches no other file


def csv_row(cells: Sequence[Any]) -> list[Any]:
    """A line of CSV for ``csv.writer``, of which no spreadsheet makes a formula, whether it splits at commas,
    semicolons, tabs or bars; numbers stay.

    Only a number with a sign at the beginning of a line that holds more than plain words is made text: where commas
    part no cells, ``-1,5*f(x)`` is a formula.
    """
    row = [csv_cell(cell) if isinstance(cell, str) else cell for cell in cells]
    if str(row[0]).startswith(("+", "-")) and not all(_PLAIN.fullmatch(str(cell)) for cell in row):
        row[0] = f"'{row[0]}"
    return row


def csv_cell(text: str) -> str:
    """Text that a spreadsheet takes for text, however it splits it: an apostrophe stands before each formula.

    Numbers stay.
    """
    seen = visible(text)
    return seen if _NUMBER.fullmatch(seen) else _FORMULA.sub("'", seen)


def csv_text(cell: str) -> str:
    """A cell as it was before ``csv_row`` or ``csv_cell`` put apostrophes into it."""
    return _PUT_BEFORE.sub("", cell)


_UNSEEN_IN_JSON = re.compile(r"[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def json_text(dumped: str) -> str:
    """What ``json.dumps`` gives, the same data: characters that a terminal obeys by their numbers."""
    return _UNSEEN_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", dumped)


_MARKDOWN = re.compile(
    r"\\(?=[!-/:-@\[-`{-~]|$)"  # before punctuation, which it would take the meaning of
    r"|[`$]"
    r"|<(?=[A-Za-z/!?])"  # a tag, or a link in angle brackets; "p < 0.001" is none
    r"|\](?=[(\[:])"  # a link's text, or the name of one, ends here: without the bracket it is none
    r"|&(?=#?\w+;)"
    r"|[*~](?=\S)|(?<![^\W_])_(?=\S)"  # emphasis begins; within a word it does not
)
_BEGINNING = re.compile(
    r"^#(?=#*(\s|$))|(?<=\s)#+$"  # a heading, and its end
    r"|^>|^[-+*](?=[\s-]|$)"  # a quote, a list, a line
)
_NUMBERED = re.compile(r"^(\d{1,9})([.)])(?=\s|$)")


def markdown(text: str, *, begins: bool = False) -> str:
    """Text of Markdown (GitHub's) that is shown as it stands.

    Args:
        text: Within a line.
        begins: It stands at the beginning of a line, a heading or a list's item.
    """
    escaped = _MARKDOWN.sub(r"\\\g<0>", visible(text))
    return _NUMBERED.sub(r"\1\\\2", _BEGINNING.sub(r"\\\g<0>", escaped)) if begins else escaped


def markdown_cell(text: str) -> str:
    """Text of a cell in a Markdown table, where a bar ends the cell, that is shown as it stands."""
    return markdown(text).replace("|", r"\|")


def markdown_code(text: str) -> str:
    """Text as code within a line of Markdown; its own backticks need a longer fence."""
    seen = visible(text)
    if "`" not in seen:
        return f"`{seen}`"
    fence = "`" * (1 + max(map(len, re.findall("`+", seen))))
    return f"{fence} {seen} {fence}"


_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$"},
    **{"|": r"\textbar{}", "*": "{*}"},  # a row's end takes a star after it for its own
    **{
        "±": r"$\pm$",
        "\u2212": "$-$",
        "\u00d7": r"$\times$",
        "†": r"$\dagger$",
        "‡": r"$\ddagger$",
        "°": r"$^{\circ}$",
        "§": r"\S{}",
    },
    **{"[": "{[}", "]": "{]}", "…": r"\ldots{}", "²": "$^2$", "\u03b1": r"$\alpha$"},
}
_LATEX_SPECIAL = re.compile("|".join(map(re.escape, _LATEX)))


def latex(text: str) -> str:
    """Text as LaTeX prints it; what it has no sign for becomes a question mark."""
    plain = _LATEX_SPECIAL.sub(lambda found: _LATEX[found[0]], visible(text))
    return plain.encode("latin-1", "replace").decode("latin-1")


def html_text(value: object) -> str:
    """Text, or an attribute's value within quotes."""
    return html.escape(visible(str(value)), quote=True)


def label(text: str, most: int | None = None) -> str:
    """Text in a figure: no mathematics, which matplotlib would read between two dollar signs.

    Args:
        text: Words of the figure, e.g. the name of a level.
        most: Characters; a longer one loses its middle. None for no limit.
    """
    seen = visible(text)
    if most is not None and len(seen) > most:
        seen = f"{seen[: most - most // 3]}…{seen[len(seen) - most // 3 + 1 :]}"
    return seen.replace("$", r"\$")
