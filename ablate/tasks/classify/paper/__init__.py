"""Published tables, row by row, with source and whether they were verified; README.md says what they are."""

import csv
from importlib.resources import files

TABLES = (
    *("table1", "costs", "imagenet", "readme_history", "flowers102", "longer_training", "nlp"),
    *("independent_replications", "pe_ablation", "vit_to_cct_steps", "recipes"),
)
"""What has been published; `expected` is ours."""


def rows(table: str) -> list[dict[str, str]]:
    """The rows of a table by column, as printed.

    Args:
        table: One of `TABLES`, or ``"expected"``.
    """
    return list(csv.DictReader((files(__name__) / f"{table}.csv").read_text("utf-8").splitlines()))
