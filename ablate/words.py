"""What is said of a name that does not exist."""

import difflib
from collections.abc import Iterable


def unknown(what: str, got: object, choices: Iterable[str]) -> str:
    """One sentence for a name that does not exist: what was got, what there is, and the nearest."""
    there = list(choices)
    near = difflib.get_close_matches(str(got), there, n=3, cutoff=0.6)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"{what} must be one of {', '.join(there)}; got {str(got)!r}.{hint}"
