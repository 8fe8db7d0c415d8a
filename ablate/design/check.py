"""What a sweep's file may say, checked before anything is made of it: each key's kind, and keys that contradict."""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any

from ablate.design.sweep import RULE, Budget, Method, Pruner, Sampler, SweepError, SweepSpec, check_rule, is_int
from ablate.words import unknown

_WORDS: Mapping[str, type[StrEnum]] = {"method": Method, "sampler": Sampler, "pruner": Pruner, "budget": Budget}
_ANY = ("seeds", "repeats", "objective")  # of several kinds, which their readers check
_KEYS = (
    "question", "table", "method", "base", "axes", "baseline", "where", "seeds", "repeats", "objective", "n_trials",
    "sampler", "pruner", "budget", *RULE,
)  # fmt: skip
_LONGEST = 60
_OF_SEARCH = ("n_trials", "sampler", "pruner", "objective")
_OWN = {"seed": "seeds", "repeat": "repeats"}
_NAME = re.compile(r"[A-Za-z_]\w*(\.[\w-]+)*", re.ASCII)
_OF_THE_COMMAND = ("hydra", "tracking.uri", "tracking.spool", "study.storage", "data.cache", "engine_options")
"""What runs programs, or says where things are written: a sweep may come from somebody else."""


def check(name: str, content: Mapping[Any, Any], tables: Iterable[str]) -> None:
    """Checks a sweep's file.

    Args:
        name: Name of the sweep, which is its file's.
        content: Content of the sweep's file as it stands there, nothing resolved.
        tables: The published tables that there are.

    Raises:
        SweepError: A key is unknown, of the wrong kind, or says what the others leave no room for.
    """
    if not re.fullmatch(r"[\w.-]+", name):
        raise SweepError(f"a sweep's name must be of letters, digits, dots, dashes and underscores, got {name!r}.")
    check_keys(name, content)
    for key, value in content.items():
        _check_kind(name, key, value)
    for part in ("base", "axes"):
        _check_reach(f"{part} of sweep {name}", content.get(part, {}))
    if (table := content.get("table")) and table not in (known := list(tables)):
        raise SweepError(unknown(f"table of sweep {name}", table, known))
    for axis, levels in content.get("axes", {}).items():
        _check_alone(name, axis, levels, content["axes"])
    _check_base(name, content)
    _check_method(name, content)
    _check_baseline(name, content)
    for rule in content.get("where", []):
        _check_rule(name, rule, content)
    _check_repeats(name, content)
    declared = {key: content[key] for key in RULE if key in content}
    check_rule(name, declared, content.get("axes", {}), Method(content.get("method", Method.grid)))


def check_keys(name: str, content: Mapping[Any, Any]) -> None:
    """Raises SweepError for a key that there is not."""
    for number, key in enumerate(content, 1):
        if key not in _KEYS:  # not shown: the file may be no sweep, but a link to secrets
            near = difflib.get_close_matches(str(key), _KEYS, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise SweepError(
                f"a key of sweep {name} must be one of {', '.join(_KEYS)}; its key {number} is none.{hint}"
            )


def _check_kind(name: str, key: str, value: Any) -> None:
    if key in _WORDS and value not in list(_WORDS[key]):
        raise SweepError(unknown(f"{key} of sweep {name}", value, _WORDS[key]))
    kinds: dict[str, tuple[str, Callable[[Any], bool]]] = {
        "question": ("text", lambda each: isinstance(each, str)),
        "table": ("text", lambda each: isinstance(each, str)),
        "base": ("a mapping of settings", _is_mapping),
        "axes": ("a mapping of axes", _is_mapping),
        "baseline": ("a mapping of axes to levels", _is_mapping),
        "where": ("a list of entries {when: …, reason: …}", lambda each: isinstance(each, list)),
        "n_trials": ("an integer of at least 1", lambda each: is_int(each) and each >= 1),
    }
    if key in kinds and not kinds[key][1](value):
        raise SweepError(f"{key} of sweep {name} must be {kinds[key][0]}, got {value!r}.")


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def _check_reach(where: str, settings: Mapping[str, Any], above: str = "") -> None:
    """Raises SweepError for a key that is none of a run, or that only the person at the command line may set."""
    for key, value in settings.items():
        if not isinstance(key, str) or not _NAME.fullmatch(key):
            raise SweepError(
                f"{where} must set runs by plain names such as train.lr, got {str(key)[:_LONGEST]!r}; what belongs to "
                "Hydra goes on the command line."
            )
        whole = f"{above}{key}"
        if any(f"{whole}.".startswith(f"{kept}.") for kept in _OF_THE_COMMAND):
            raise SweepError(f"{where} must leave {whole[:_LONGEST]} to the command line, which knows this machine.")
        if isinstance(value, dict) and whole in ("tracking", "study", "data"):
            _check_reach(where, value, f"{whole}.")


_NAMED = re.compile(r"\$\{([\w.]+)\}", re.ASCII)


def _check_alone(name: str, axis: str, node: Any, axes: Mapping[str, Any]) -> None:
    """Raises SweepError for a level that follows what differs between points: it is put together once for all."""
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for each in inner:
        _check_alone(name, axis, each, axes)
    for leaf in _NAMED.findall(node) if isinstance(node, str) else ():
        for other in (*axes, "seed", "repeat", "seeds"):
            if other != axis and (f"{leaf}.".startswith(f"{other}.") or other.startswith(f"{leaf}.")):
                raise SweepError(
                    f"a level of axis {axis} of sweep {name} must be the same at every point, got ${{{leaf}}}, which "
                    f"differs with {other}; write values, or move both with method: zip."
                )


def _check_base(name: str, content: Mapping[str, Any]) -> None:
    for key, value in content.get("base", {}).items():
        if key in _OWN:
            raise SweepError(f"base of sweep {name} must leave {key} to its {_OWN[key]}: write {_OWN[key]}: [1, 2].")
        levels = content["axes"].get(key)  # of a range it is what holds where the range is not drawn
        unheard = isinstance(levels, list) and value not in levels
        if unheard or key.partition(".")[0] == "sweep":
            what = "an axis" if unheard else "the sweep's own"
            raise SweepError(f"base of sweep {name} must set what all points share, got {key}, which is {what}.")


def _check_method(name: str, content: Mapping[str, Any]) -> None:
    """What belongs to searches alone would go unheard elsewhere, and the other way round."""
    method = Method(content.get("method", Method.grid))
    foreign = [key for key in content if key in (("repeats",) if method.searches else _OF_SEARCH)]
    foreign += [key for key in ("where", "baseline") if method == Method.optuna and content.get(key)]
    if foreign:
        others = "grid, one_factor or zip" if method.searches else "optuna or tuned"
        others = "grid, one_factor, zip or tuned" if foreign[0] in ("where", "baseline") else others
        raise SweepError(f"{foreign[0]} of sweep {name} must come with method {others}, got it with method {method}.")


def _check_baseline(name: str, content: Mapping[str, Any]) -> None:
    for axis, level in content.get("baseline", {}).items():
        _check_level(f"baseline of sweep {name}", axis, level, content["axes"])


def _check_rule(name: str, rule: Any, content: Mapping[str, Any]) -> None:
    whole = isinstance(rule, dict) and set(rule) == {"when", "reason"} and _is_mapping(rule["when"])
    if not whole or not isinstance(rule["reason"], str) or not rule["reason"].strip():
        raise SweepError(
            f"where in sweep {name} must list entries {{when: {{axis: level}}, reason: …}}, each with its reason, "
            f"got {rule!r}."
        )
    for axis, levels in rule["when"].items():
        for level in levels if isinstance(levels, list) and levels not in _levels(content["axes"], axis) else [levels]:
            _check_level(f"where in sweep {name}", axis, level, content["axes"])


def _levels(axes: Mapping[str, Any], axis: str) -> list[Any]:
    levels = axes.get(axis)
    return levels if isinstance(levels, list) else []


def _check_level(where: str, axis: str, level: Any, axes: Mapping[str, Any]) -> None:
    if axis not in axes:
        raise SweepError(unknown(f"an axis in {where}", axis, axes))
    if not isinstance(axes[axis], list):
        raise SweepError(f"an axis in {where} must be a list of levels, got {axis}, which is a range.")
    if level not in axes[axis]:
        raise SweepError(unknown(f"{axis} in {where}", level, map(str, axes[axis])))


def _check_repeats(name: str, content: Mapping[str, Any]) -> None:
    if not isinstance(repeats := content.get("repeats"), dict):
        return
    there = SweepSpec(name, seeds=content.get("seeds", 1)).seed_list()
    if unheard := [seed for seed in repeats if seed not in there]:
        raise SweepError(f"repeats of sweep {name} must name seeds of it, got {unheard[0]!r}; its seeds are {there}.")
