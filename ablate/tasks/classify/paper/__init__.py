"""Published tables, row by row, with source and whether they were verified; README.md says what they are."""

import csv
from collections.abc import Mapping
from importlib.resources import files

TABLES = (
    *("table1", "costs", "imagenet", "readme_history", "flowers102", "longer_training", "nlp"),
    *("independent_replications", "pe_ablation", "vit_to_cct_steps", "recipes", "manifold"),
)
"""What has been published; `expected` is ours."""
YES, NO, CONTRADICTED, DIFFERS = "yes", "no", "contradicted", "differs"
"""Words of the column ``verified``; README.md says what each means."""
_TRANSCRIPTION = "transcription"
_COSTS = {"params_M", "MACs_G"}


class PaperError(ValueError):
    """A row of a published table does not say how sure its numbers are; one sentence."""


def rows(table: str) -> list[dict[str, str]]:
    """The rows of a table by column, as printed.

    Args:
        table: One of `TABLES`, or ``"expected"``.

    Raises:
        PaperError: A row's columns on its verification contradict each other.
    """
    found = list(csv.DictReader((files(__name__) / f"{table}.csv").read_text("utf-8").splitlines()))
    for number, row in enumerate(found, start=2):
        if table in TABLES and (wrong := _wrong(row)):
            raise PaperError(f"{table}.csv, line {number}: {wrong}.")
    return found


def second(row: Mapping[str, str], column: str) -> str:
    """What the second source of a row prints for a result, with its digits; empty where it has none.

    Args:
        row: A row of `rows`.
        column: Column with a result, such as ``CIFAR-10_top1_pct``.
    """
    return row.get(column.replace("top1", "second"), "") if "top1" in column else ""


def cost_verified(row: Mapping[str, str]) -> bool:
    """Whether somebody held a row's parameters and MACs against their source, or a second source prints the same."""
    return row["verified"] == YES or bool(row.get("costs_second"))


def _wrong(row: Mapping[str, str]) -> str:
    """What is wrong with a row's columns on its verification; empty where they agree."""
    verified, where = row["verified"], row.get("second", "")
    if not row["source"]:
        return "source must name where the row is printed, but is empty; name it"
    if verified not in (YES, NO, CONTRADICTED, DIFFERS):
        return f"verified must be {YES}, {NO}, {CONTRADICTED} or {DIFFERS}, got {verified!r}; use one of them"
    if row.get("costs_second") and not any(row.get(column) for column in _COSTS):
        return "costs_second must belong to parameters or MACs, but the row has none; empty it"
    pairs = {column: (row[column], value) for column in row if (value := second(row, column))}
    if bool(where) != bool(pairs):
        return f"second must name a source exactly where a second value stands, got {where!r} and {sorted(pairs)}"
    if missing := [column for column, (mine, _) in pairs.items() if not mine]:
        return f"a second value must stand beside a first one, but {', '.join(missing)} is empty; fill or empty both"
    same = all(mine == other for mine, other in pairs.values())
    transcribed = where.startswith(_TRANSCRIPTION)
    fitting = {
        YES: same and not transcribed,
        NO: not pairs or (same and transcribed),
        CONTRADICTED: bool(pairs) and not same and not transcribed,
        DIFFERS: bool(pairs) and not same and transcribed,
    }
    if not fitting[verified]:
        wanted = next(word for word, fits in fitting.items() if fits)
        return f"verified must be {wanted} by the second values, got {verified}; mend it or them"
    return ""
