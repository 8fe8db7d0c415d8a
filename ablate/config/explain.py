"""What is wrong with an override or a composed value, in one sentence each."""

import re
from collections.abc import Sequence
from dataclasses import is_dataclass
from enum import StrEnum
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from hydra.core.override_parser.types import Override
from omegaconf import FloatNode, IntegerNode
from omegaconf.errors import OmegaConfBaseException

from ablate.config.files import folders, group_choices, is_model, is_preset
from ablate.config.overrides import ConfigError as ConfigError
from ablate.config.overrides import as_text, exactly, quoted, said, shown
from ablate.config.overrides import parse_overrides as parse_overrides
from ablate.config.schema import GROUPS, Config, ReportConfig
from ablate.models import zoo
from ablate.words import unknown


def option_name(override: Override) -> str:
    """The option that a group's override names: a sweep's file may be called ``10.yaml`` or ``null.yaml``."""
    return said(override) if override.value() is None else str(as_text(override))


def shortened(text: str) -> str:
    """A value as a sentence may hold it: of a whole mapping its beginning."""
    return text if len(text) <= 60 else f"{text[:60]}…"


SCHEMAS: dict[str, type] = {"config": Config, "report": ReportConfig}


def opened(overrides: Sequence[Override], schema: type = Config) -> list[str]:
    """Overrides as words that Hydra takes: those that add to a mapping of free keys (``model.options``, a sweep's axes)
    may do so, text stays text (``out=1e3``), and a preset's options leave with the variant that they belong to."""
    words = []
    for override in overrides:
        line = str(override.input_line)
        if _is_text(override, schema):
            line = f"{line.partition('=')[0]}={quoted(option_name(override))}"
        plain = not line.startswith(("+", "~"))
        words.append(f"++{line}" if plain and _free(override) else line)
    return words + _left_behind(overrides)


def _is_text(override: Override, schema: type) -> bool:
    """Whether a number, or what reads like one, is meant as text: a path, or the name of an option."""
    key, value = override.key_or_group, override.value()
    if key == "sweep" and value is None and not override.is_delete():
        return True
    return isinstance(value, int | float) and (key in (*GROUPS, "sweep") or leaf_type(schema, key) is str)


def leaf_type(schema: Any, key: str) -> Any:
    """The type of a leaf; None where there is no such leaf."""
    for name in key.split("."):
        schema = without_none(get_type_hints(schema).get(name)) if is_dataclass(schema) else None
    return schema


def _left_behind(overrides: Sequence[Override]) -> list[str]:
    """Takes a preset's options away where an override replaces the variant that they belong to.

    Only what the preset itself brought: an option that was said is never taken away.
    """
    said = {override.key_or_group: override.value() for override in overrides if not override.is_sweep_override()}
    name = said.get("model")
    if not isinstance(name, str) or not is_preset(name):
        return []
    preset = zoo.parse(name).spec
    replaced = [axis for axis in preset.options if said.get(f"model.{axis}", own := getattr(preset, axis)) != own]
    return [
        f"~model.options.{axis}.{option}"
        for axis in replaced
        for option in preset.options[axis]
        if not {"model.options", f"model.options.{axis}", f"model.options.{axis}.{option}"} & said.keys()
    ]


def _free(override: Override) -> bool:
    if override.key_or_group.startswith("baseline."):  # of report; a sweep's stands in its file
        return True
    schema: Any = Config
    for name in override.key_or_group.split("."):
        if not is_dataclass(schema):
            break
        schema = without_none(get_type_hints(schema).get(name))
    return get_origin(schema) is dict


def what_is_wrong(override: Override, schema: type) -> str | None:
    """What is wrong with an override by itself, in one sentence."""
    key, value = override.key_or_group, override.value()
    if override.is_sweep_override():
        return several_values(override, schema)
    if key in (*GROUPS, "sweep") and (key in get_type_hints(schema) or (key == "recipe" and schema is Config)):
        if value is None or (isinstance(value, dict) and key == "recipe"):
            return None
        if isinstance(value, dict):
            return wrong_leaf(schema, [key], key, value)
        value = option_name(override)
        if value in group_choices(key) or (key == "model" and is_model(value)):
            return None
        if key == "model":
            return f"{unknown('model', value, group_choices(key))} Any vit_L_P, cvt_L_P or cct_L_PxC works."
        return unknown(key, value, group_choices(key))
    if key.startswith("hydra"):
        return None
    if override.is_delete():
        return None if _free(override) else f"{key} must have a value, so that it cannot be removed; write {key}=…"
    if isinstance(value, list | dict) and leaf_type(schema, key) is str:
        return (
            f"{key} must be text, got {said(override)}; where that is the text, write {exactly(key, said(override))}."
        )
    return _dotted(override) or wrong_leaf(schema, key.split("."), key, value)


def several_values(override: Override, schema: type = Config) -> str:
    key, line = override.key_or_group, shown(str(override.input_line))
    meant = f", or where it is one text {exactly(key, said(override))}" if leaf_type(schema, key) is str else ""
    return f"{key} must be one value, got {line}; write a sweep (docs/sweeps.md){meant}."


def of_no_sweep(override: Override, overrides: Sequence[Override]) -> str | None:
    """What is said of a sweep where none is named."""
    key = override.key_or_group
    named = any(other.key_or_group == "sweep" and not isinstance(other.value(), dict) for other in overrides)
    if key.partition(".")[0] != "sweep" or named:
        return None
    return f"{key} must come with a sweep whose file it changes: add +sweep=NAME."


_OF_AXES = ("levels", "low", "high", "step", "log", "when")


def _dotted(override: Override) -> str | None:
    """An axis whose name has dots, which Hydra takes for mappings in each other."""
    key, said = override.key_or_group, override.input_line.partition("=")[2]
    parts = key.split(".")
    if parts[0] != "sweep" or parts[1:2] not in (["axes"], ["baseline"]) or len(parts) < 4 or parts[3] in _OF_AXES:
        return None
    head, name = ".".join(parts[:2]), ".".join(parts[2:])
    return f"{key} must stand in braces, since the axis has dots in its name: write '{head}={{{name}:{said}}}'."


def wrong_leaf(schema: Any, path: list[str], key: str, value: Any) -> str | None:
    if not is_dataclass(schema):
        return None
    hints = get_type_hints(schema)
    if path[0] not in hints:
        parent = ".".join(key.split(".")[: -len(path)])
        return unknown(f"a key of {parent}" if parent else "a key", path[0], hints)
    kind = without_none(hints[path[0]])
    if len(path) > 1:
        return wrong_leaf(kind, path[1:], key, value)
    if value is None and type(None) in get_args(hints[path[0]]):
        return None
    if isinstance(value, str) and "${" in value:  # what it stands for is known when all is composed
        return None
    if is_dataclass(kind) and isinstance(value, dict):
        problems = (wrong_leaf(kind, [str(name)], f"{key}.{name}", item) for name, item in value.items())
        return next(filter(None, problems), None)
    if isinstance(kind, type) and issubclass(kind, StrEnum) and value not in list(kind):
        return unknown(key, value, list(kind))
    if (is_dataclass(kind) or get_origin(kind) is dict) and not isinstance(value, dict) and value is not None:
        return _plain_for_many(kind, key, value)
    if get_origin(kind) is list and not isinstance(value, list):
        return f"{key} must be a list, e.g. {key}=[{value}], got {value!r}."
    if isinstance(value, str) and "\0" in value:
        return f"{key} must be text without NUL, got {value!r}."
    if kind is bool and not isinstance(value, bool):
        return f"{key} must be true or false, got {value!r}."
    if kind in (int, float) and not _converts(kind, value):
        return f"{key} must be of type {kind.__name__}, got {value!r}."
    return None


def _plain_for_many(kind: Any, key: str, value: Any) -> str:
    """A value for what has several by name."""
    if key == "seeds":
        return f"seeds must be set one by one (seeds.init …), got {value}; write sweep.seeds={value}, or seed=3 to pin."
    if is_dataclass(kind):
        names = ", ".join(f"{key}.{name}" for name in get_type_hints(kind))
        return f"{key} must be set by its keys, {names}; got {value!r}."
    name = "model" if key == "baseline" else "NAME"
    return f"{key} must say of which it is, got {value!r}; write {key}.{name}={value}."


def without_none(hint: Any) -> Any:
    """``X | None`` -> ``X``."""
    if get_origin(hint) in (Union, UnionType):
        return next(kind for kind in get_args(hint) if kind is not type(None))
    return hint


_NODES: dict[type, Any] = {int: IntegerNode, float: FloatNode}


def _converts(kind: type, value: Any) -> bool:
    if value in (None, "???"):  # which says that a value is missing
        return False
    try:
        _NODES[kind](value=value)
    except OmegaConfBaseException:
        return False
    return True


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
