"""The rule of a study's verdicts: what its sweep declared before there was a result, unless the reader says other."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ablate.design.sweep import RULE
from ablate.report.errors import ReportError
from ablate.words import unknown


def declared(
    definition: Mapping[str, Any], said: Mapping[str, Any], factors: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """The rule by which a study's table is made.

    Args:
        definition: The study's record of itself, with those of ``margin``, ``alpha``, ``scope`` and ``compare`` that
            its sweep declared.
        said: The same keys, as the reader says them; None leaves a key to the record.
        factors: The study's axes, as its table names them.

    Returns:
        The keys that either says, ``compare`` as axes of the definition; and a sentence for each key in which the
        reader differs from what was declared.

    Raises:
        ReportError: ``compare`` names no axis.
    """
    given = {key: value for key, value in said.items() if value is not None}
    if "compare" in given:
        given["compare"] = [_axis(name, definition["axes"], factors) for name in given["compare"]]
    planned = {key: definition[key] for key in RULE if definition.get(key)}
    notes = [
        f"{key} is {_shown(given[key])}, and the sweep was planned with {_shown(planned[key])}"
        for key in RULE
        if key in given and key in planned and _alike(given[key]) != _alike(planned[key])
    ]
    return planned | given, notes


def _axis(name: str, axes: Mapping[str, Any], factors: Sequence[str]) -> str:
    """The axis that is meant by its own name, by the table's name for it, or by its last words."""
    named: Sequence[Callable[[str, str], bool]] = (
        lambda axis, factor: name == axis,
        lambda axis, factor: name == factor,
        lambda axis, factor: axis.removesuffix(" (factor)").endswith(f".{name}") or axis == f"{name} (factor)",
    )
    for is_meant in named:
        found = [axis for axis, factor in zip(axes, factors, strict=True) if is_meant(axis, factor)]
        if len(found) == 1:
            return found[0]
    raise ReportError(unknown("an axis in compare", name, axes))


def _alike(value: Any) -> Any:
    return set(value) if isinstance(value, list) else value


def _shown(value: Any) -> str:
    return " and ".join(value) if isinstance(value, list) else f"{value:g}" if isinstance(value, float) else str(value)
