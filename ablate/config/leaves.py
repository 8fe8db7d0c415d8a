"""Values held against the types of a schema's leaves, one sentence each: where OmegaConf would convert in silence."""

from collections.abc import Iterator
from dataclasses import is_dataclass
from enum import StrEnum
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from omegaconf import FloatNode, IntegerNode
from omegaconf.errors import OmegaConfBaseException

from ablate.config.overrides import shortened
from ablate.words import unknown


def leaf_type(schema: Any, key: str) -> Any:
    """The type of a leaf; None where there is no such leaf."""
    for name in key.split("."):
        schema = without_none(get_type_hints(schema).get(name)) if is_dataclass(schema) else None
    return schema


def has_free_keys(schema: Any, key: str) -> bool:
    """Whether the key is a mapping whose keys are the user's, or one of these, e.g. ``model.options.tokenizer``."""
    for name in key.split("."):
        if not is_dataclass(schema):
            break
        schema = without_none(get_type_hints(schema).get(name))
    return get_origin(schema) is dict


def wrong_value(schema: type, key: str, value: Any) -> str | None:
    """What is wrong with a value of the command line or of a sweep's level, where a number may stand for text.

    Args:
        schema: The dataclass of the whole configuration.
        key: Dotted name of a leaf, or of a part with several leaves, which takes a mapping.
        value: In Python's own types; an interpolation, ``${…}``, is right wherever it stands.

    Returns:
        One sentence; None where nothing is wrong.
    """
    return _wrong_at(schema, key.split("."), key, value)


def _wrong_at(schema: Any, path: list[str], key: str, value: Any) -> str | None:
    if not is_dataclass(schema):
        return None
    hints = get_type_hints(schema)
    if path[0] not in hints:
        parent = ".".join(key.split(".")[: -len(path)])
        return unknown(f"a key of {parent}" if parent else "a key", path[0], hints)
    kind = without_none(hints[path[0]])
    if len(path) > 1:
        return _wrong_at(kind, path[1:], key, value)
    if value is None and type(None) in get_args(hints[path[0]]):
        return None
    if isinstance(value, str) and "${" in value:  # what it stands for is known when all is composed
        return None
    if is_dataclass(kind) and isinstance(value, dict):
        problems = (_wrong_at(kind, [str(name)], f"{key}.{name}", item) for name, item in value.items())
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


def wrong_in_file(schema: type, key: str, value: Any) -> str | None:
    """As ``wrong_value``, of a value in a file of settings: there a number in quotes is text, and text is no number."""
    hint = leaf_type(schema, key)
    if isinstance(value, dict) and is_dataclass(hint):
        return next(filter(None, (wrong_in_file(schema, f"{key}.{name}", item) for name, item in value.items())), None)
    if hint is None or value is None or value == "???" or (isinstance(value, str) and "${" in value):
        return None
    if get_origin(hint) is list and isinstance(value, list):
        (kind,) = get_args(hint)
        return next(filter(None, (_of_other_type(f"each of {key}", kind, item) for item in value)), None)
    return wrong_value(schema, key, value) or _of_other_type(key, hint, value)


def _of_other_type(key: str, kind: Any, value: Any) -> str | None:
    if kind is str and not isinstance(value, str):
        return f"{key} must be text, got {value!r}; put the text in quotes."
    if kind in (int, float) and (isinstance(value, bool | str) or not isinstance(value, int | float)):
        return f"{key} must be a number, got {value!r}; write a number without quotes."
    if kind is int and isinstance(value, float):
        return f"{key} must be a whole number, got {value!r}."
    return None


def mistyped(node: Any, prefix: str = "") -> Iterator[str]:
    """A sentence for each leaf that is another one's value, of another type: OmegaConf lets ``${seed}`` be a path.

    Args:
        node: A composed configuration as its dataclass.
        prefix: What its leaves' names begin with, with the dot.
    """
    for name, hint in get_type_hints(type(node)).items():
        value, kind = getattr(node, name), without_none(hint)
        if is_dataclass(value):
            yield from mistyped(value, f"{prefix}{name}.")
        elif (plain := get_origin(kind) or kind) in (str, int, float, bool, list, dict):
            optional = type(None) in get_args(hint)
            if not (isinstance(value, plain) or (value is None and optional)):
                yield f"{prefix}{name} must be of type {plain.__name__}, got {shortened(repr(value))}."
