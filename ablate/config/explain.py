"""What is wrong with an override, and what Hydra's and OmegaConf's errors mean, in one sentence each."""

import re
from collections.abc import Iterable
from typing import get_type_hints

from ablate.config.files import folders, group_choices, groups
from ablate.config.leaves import has_free_keys, leaf_type, wrong_value
from ablate.config.overrides import Override, exactly, shortened, shown
from ablate.contract import task
from ablate.words import unknown


def wrong_override(override: Override, schema: type) -> str | None:
    """What is wrong with an override by itself, in one sentence; None where nothing is.

    Args:
        override: One override of a command line or of a sweep's ``base``.
        schema: The dataclass of the whole configuration.
    """
    key, value = override.key, override.value
    if override.several:
        return several_values(override, schema)
    if key in (*groups(), "sweep") and (key in get_type_hints(schema) or schema is task().config):
        return _wrong_option(override, schema)
    if key.startswith("hydra"):
        return None
    if override.removes:
        kept = f"{key} must have a value, so that it cannot be removed; write {key}=…"
        return None if has_free_keys(schema, key) else kept
    if isinstance(value, list | dict) and leaf_type(schema, key) is str:
        return f"{key} must be text, got {override.text}; where that is the text, write {exactly(key, override.text)}."
    return _dotted(override) or wrong_value(schema, key, value)


def _wrong_option(override: Override, schema: type) -> str | None:
    """What is wrong with the option of a group, or with a mapping of settings in its place."""
    group, value = override.key, override.value
    of_many = group not in get_type_hints(schema)  # its files hold settings of several groups
    if value is None or (isinstance(value, dict) and of_many):
        return None
    if isinstance(value, dict):
        return wrong_value(schema, group, value)
    option, choices, forms = override.option, group_choices(group), task().forms(group)
    if option in choices or task().preset(group, option) is not None:
        return None
    further = f" Any {', '.join(forms[:-1])} or {forms[-1]} works." if forms else ""
    return unknown(group, option, choices) + further


def several_values(override: Override, schema: type) -> str:
    """What is said of several values where one is meant: a sweep is another thing, and so is text with a comma."""
    key, text = override.key, override.text
    meant = f", or where it is one text {exactly(key, text)}" if leaf_type(schema, key) is str else ""
    return f"{key} must be one value, got {shown(override.line)}; write a sweep (docs/sweeps.md){meant}."


def lacks_sweep(override: Override, overrides: Iterable[Override]) -> str | None:
    """What is said of an override that changes a sweep's file where none is named; None where there is nothing to say.

    Args:
        override: The override that is looked at, one of ``overrides``.
        overrides: All overrides of the command.
    """
    named = any(other.key == "sweep" and not isinstance(other.value, dict) for other in overrides)
    if override.key.partition(".")[0] != "sweep" or named:
        return None
    return f"{override.key} must come with a sweep whose file it changes: add +sweep=NAME."


_OF_AXES = ("levels", "low", "high", "step", "log", "when")


def _dotted(override: Override) -> str | None:
    """An axis whose name has dots, which Hydra takes for mappings in each other."""
    key, text = override.key, override.text
    parts = key.split(".")
    if parts[0] != "sweep" or parts[1:2] not in (["axes"], ["baseline"]) or len(parts) < 4 or parts[3] in _OF_AXES:
        return None
    head, name = ".".join(parts[:2]), ".".join(parts[2:])
    return f"{key} must stand in braces, since the axis has dots in its name: write '{head}={{{name}:{text}}}'."


def sentence(error: BaseException) -> str:
    """An error of Hydra's or OmegaConf's in one sentence, with the key that it is about."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    text = re.sub(r"(?<=Value ')(.*)(?=' of type ')", lambda value: shortened(value[1]), text)
    if len(lines) > 1 and text.endswith("raised while composing config:"):
        text = _of_file(text, lines[1:])
    elif error.__cause__ is not None:  # "Error merging override": the reason stands in what it came from
        text = f"{text}: {sentence(error.__cause__)}"
    if (key := getattr(error, "full_key", None)) and str(key) not in text:
        text = f"{key}: {text}"
    return text if text.endswith(".") else f"{text}."


def _of_file(head: str, lines: list[str]) -> str:
    """What ails a file of settings: Hydra says ``In 'model/mine': … composing config:``, then reason and key."""
    name = head.split("'")[1] if head.startswith("In '") else "config"
    files = [path for folder in folders("conf") if (path := folder / f"{name}.yaml").is_file()]
    keys = [line.removeprefix("full_key: ") for line in lines if line.startswith("full_key: ")]
    if not files or name == "config":
        return f"{keys[0]}: {lines[0]}" if keys else lines[0]
    return f"{files[0]} must hold settings that there are, but {keys[0] if keys else 'in it'}: {lines[0]}"
