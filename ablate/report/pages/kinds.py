"""How each kind of verdict is said and drawn: a new kind needs its entry here, and nothing else under ``pages``."""

from typing import NamedTuple

from ablate.stats.verdicts import Kind


class Look(NamedTuple):
    """A kind of verdict on paper and on a screen; colours are hexadecimal RGB.

    Attributes:
        words: The predicate of a sentence whose subject is a level.
        colour: Colour in a figure.
        marker: Matplotlib's marker in a figure.
        light: Colour on a light page.
        dark: Colour on a dark page.
    """

    words: str
    colour: str
    marker: str
    light: str
    dark: str


LOOKS = {
    Kind.helps: Look("helps", "#009e73", "^", "#00724f", "#3ecf9d"),
    Kind.hurts: Look("hurts", "#d55e00", "v", "#b34700", "#ff9a5c"),
    Kind.equivalent: Look("makes no difference that matters", "#0072b2", "s", "#005f99", "#6bb8f0"),
    Kind.undecided: Look("is undecided", "#808080", "o", "#626a75", "#a8b0bb"),
}
"""In the order of a figure's legend."""


def rules() -> str:
    """CSS of a page: a rule for each kind, in its colour on a light page and on a dark one."""
    light = "\n".join(f".verdicts .{kind} {{ border-color: {look.light} }}" for kind, look in LOOKS.items())
    dark = "\n".join(f".verdicts .{kind} {{ border-color: {look.dark} }}" for kind, look in LOOKS.items())
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n"
