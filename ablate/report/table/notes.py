"""Which notes stand below every table, and which only where they are asked for."""

from collections.abc import Iterable, Sequence


class Detail(str):
    """A note that nobody needs to read the table: it stands on the page, in the JSON and with ``notes=full``."""


def chosen(notes: Iterable[str], *, full: bool) -> Sequence[str]:
    """All notes, or those that are no details."""
    return [note for note in notes if full or not isinstance(note, Detail)]
