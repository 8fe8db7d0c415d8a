"""What a file of records must look like: checked once, when it is read, so that all else may trust it.

Each line is strict JSON. Whatever does not hold is told by file, line and key in one sentence.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeGuard

from ablate.design.sweep import SCOPES, Method, is_int
from ablate.escaping import visible
from ablate.tracking import param_text
from ablate.tracking.names import (
    COST,
    LEVELS,
    METRIC_COLUMN,
    PARAM_COLUMN,
    POINT,
    REDRAWN,
    SELECTED_EPOCH,
    STATUS,
    TAG_COLUMN,
    TESTED,
    metric_column,
    tag_column,
)

FORMAT, VERSION = "ablate-records", 1
MOST_BYTES = 512 * 2**20
"""Most bytes of a file: a study of 100,000 runs takes about half of it."""
_DEEPEST = 16
"""Most lists and mappings within each other: a sweep's definition has six."""
LARGEST = 1e150
"""Largest magnitude of a number: the squares of all numbers of a study can still be added."""
_MOST_ROWS = 1_000_000
_SHOWN = 60
"""Characters of a wrong value that a sentence shows."""
_METHODS = tuple(Method)


class ShapeError(ValueError):
    """What does not hold, without the file's name."""


@dataclass(frozen=True)
class Content:
    """A file's lines, checked.

    Attributes:
        head: Content of the first line: the study, and what all its runs share.
        rows: A mapping a run, with what all share; metrics that are infinite are numbers.
        curves: Run id -> metric -> its value after each epoch.
    """

    head: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    curves: Mapping[str, Mapping[str, Sequence[float | None]]]


def load(path: Path) -> Content:
    """Reads a file of records.

    Raises:
        ShapeError: It is none, or a line of it is not as it must be.
        OSError: It cannot be read.
    """
    first, *rest = _lines(path)
    head = _parsed(1, first)
    _check_head(head)
    if len(rest) != head["runs"]:
        raise ShapeError(f"it must hold {head['runs']} runs, got {len(rest)}: export it again")
    design = _Design.of(head["definition"])
    shared = _record(_Place(1, "shared"), head["shared"], own=False)
    rows: list[Mapping[str, Any]] = []
    curves: dict[str, Mapping[str, Sequence[float | None]]] = {}
    for number, line in enumerate(rest, start=2):
        place, own = _Place(number), _parsed(number, line)
        found = _mapping(place.at("curves"), own.pop("curves", None))
        row = {**shared, **_record(place, own, own=True)}
        _check_row(place, row, design)
        if row["run_id"] in curves:
            place.at("run_id").refuse("the id of no other run", row["run_id"])
        rows.append(row)
        curves[row["run_id"]] = {key: _curve(place.at("curves"), key, each) for key, each in found.items()}
    return Content(head, rows, curves)


@dataclass(frozen=True)
class _Place:
    """Where in a file something stands."""

    line: int
    key: str = ""

    def at(self, key: str) -> "_Place":
        return _Place(self.line, f"{self.key}.{key}" if self.key else key)

    def refuse(self, must: str, got: object) -> NoReturn:
        shown = repr(got) if isinstance(got, str) else json.dumps(got, default=str)
        short = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
        where, what = (visible(each)[: 4 * _SHOWN] for each in (self.key or "the whole", must))
        raise ShapeError(f"{where} in line {self.line} must be {what}, got {visible(short)}")


# --------------------------------------------------------------------------------------------------------- text, JSON


def text_of(path: Path) -> str:
    """A file's text.

    Raises:
        ShapeError: It is no file of text in UTF-8, or a very large one.
        OSError: It cannot be read.
    """
    if path.exists() and not path.is_file():
        raise ShapeError(f"it is {'a folder' if path.is_dir() else 'no file'}")
    if (size := path.stat().st_size) > MOST_BYTES:
        raise ShapeError(f"it must have at most {MOST_BYTES:,} bytes, got {size:,}")
    content = path.read_bytes()
    for start, kind in _KINDS.items():
        if content.startswith(start):
            raise ShapeError(f"it is {kind}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ShapeError(f"it is no text in UTF-8 (byte {error.start:,}): save it in that encoding") from None


def _lines(path: Path) -> list[str]:
    """The lines of a text file; not those that ``str.splitlines`` makes, since a string may hold its odder ends."""
    text = text_of(path)
    if not text:
        raise ShapeError("it is empty")
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    while len(lines) > 1 and not lines[-1].strip():
        lines.pop()
    return lines


_KINDS = {
    b"\x1f\x8b": "compressed (gzip): unpack it first",
    b"PK\x03\x04": "compressed (zip): unpack it first",
    b"\xff\xfe": "text in UTF-16: save it in UTF-8",
    b"\xfe\xff": "text in UTF-16: save it in UTF-8",
}
"""How files begin that are something else."""


def _parsed(number: int, line: str) -> dict[str, Any]:
    """A line's mapping."""
    try:
        found = _strict(line)
    except json.JSONDecodeError as error:
        raise ShapeError(f"line {number} is cut off or no JSON ({error.msg}, column {error.colno})") from None
    except RecursionError:
        raise ShapeError(f"line {number} nests more than {_DEEPEST} lists and mappings in each other") from None
    except ValueError as error:
        raise ShapeError(f"line {number} holds {error}") from None
    if not isinstance(found, dict):
        raise ShapeError("its first line is of another kind" if number == 1 else f"line {number} is no mapping")
    return found


def _strict(text: str) -> Any:
    """What JSON says, without NaN, a key twice, or anything too deep or too large.

    Raises:
        ValueError: What it holds that may not stand.
        RecursionError: It nests too deeply.
    """
    found = json.loads(
        text, parse_constant=_no_constant, parse_int=_integer, parse_float=_float, object_pairs_hook=_once
    )
    _check_depth(found)
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name}, which is no JSON")


def _integer(text: str) -> int:
    if len(text) > 20 or abs(number := int(text)) >= 2**64:
        raise ValueError(f"a whole number of more than 64 bits, {text[:24]}…")
    return number


def _float(text: str) -> float:
    number = float(text)
    if abs(number) > LARGEST:
        raise ValueError(f"a number beyond {LARGEST:g}, {text[:24]}")
    return number


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)[:_SHOWN]!r} twice")
    return found


def _check_depth(value: Any, depth: int = 0) -> None:
    """Also that text is Unicode: half of a surrogate pair is none, and no file could hold it again."""
    if depth > _DEEPEST:
        raise RecursionError
    if isinstance(value, dict):
        for key, each in value.items():
            _check_depth(key, depth)
            _check_depth(each, depth + 1)
    elif isinstance(value, list):
        for each in value:
            _check_depth(each, depth + 1)
    elif isinstance(value, str) and not value.isascii() and _SURROGATE.search(value):
        raise ValueError(f"text that is no Unicode, {value[:_SHOWN]!a}")


_SURROGATE = re.compile("[\ud800-\udfff]")


# ----------------------------------------------------------------------------------------------------------- the study


def _check_head(head: Mapping[str, Any]) -> None:
    if "format" not in head:
        raise ShapeError("its first line is of another kind")
    if head["format"] != FORMAT or head.get("version") != VERSION or isinstance(head["version"], bool):
        raise ShapeError(visible(f"{head['format']!s:.{_SHOWN}} version {head.get('version')!s:.{_SHOWN}}"))
    place = _Place(1)
    if not re.fullmatch(r"[\w.-]{1,200}", _text(place.at("study"), head.get("study"))):
        place.at("study").refuse("of at most 200 letters, digits, dots, dashes and underscores", head["study"])
    _text(place.at("started"), head.get("started"))
    _count(place.at("runs"), head.get("runs"))
    _mapping(place.at("shared"), head.get("shared"))
    _check_definition(place.at("definition"), head.get("definition"))


def _check_definition(place: _Place, given: Any) -> None:
    """What the sweep recorded of itself: keys that reports read; others may stand beside them."""
    definition = _mapping(place, given)
    kinds: dict[str, Callable[[_Place, Any], object]] = {
        **dict.fromkeys(("question", "table", "budget", "metric"), _text),
        **dict.fromkeys(("points", "runs_per_row", "left_out"), _count),
        **dict.fromkeys(("compare", "notes", "cautions"), _texts),
        **{"baseline": _mapping, "foreign": _flag, "method": _method},
        **{"margin": _margin, "alpha": _alpha, "scope": _scope},
    }
    needed = {"name": _name, "seeds": _seeds, "axes": _axes}
    for key, check in (kinds | needed).items():
        if key in definition or key in needed:
            check(place.at(key), definition.get(key))
    axes = definition["axes"]
    if "baseline" in definition and (lacking := [axis for axis in axes if axis not in definition["baseline"]]):
        place.at("baseline").refuse(f"a mapping with a level of {lacking[0]}", definition["baseline"])
    if unheard := [axis for axis in definition.get("compare", []) if axis not in axes]:
        place.at("compare").refuse(f"names of axes ({', '.join(axes)})", unheard[0])
    if "searched" in definition:
        _check_search(place, definition)
    elif not axes:
        place.at("axes").refuse("a mapping of at least one axis where nothing was searched", axes)
    _check_combinations(place, definition)


def _check_search(place: _Place, definition: Mapping[str, Any]) -> None:
    if definition.get("method") not in (searches := [method for method in Method if method.searches]):
        place.at("method").refuse(f"{' or '.join(searches)} where searched stands", definition.get("method"))
    if not _mapping(place.at("searched"), definition["searched"]):
        place.at("searched").refuse("a mapping of at least one axis", {})
    for key, check in {"sampler": _text, "pruner": _text, "n_trials": _count}.items():
        check(place.at(key), definition.get(key))
    for number, each in enumerate(_list(place.at("objectives"), definition.get("objectives"), least=1)):
        here = place.at(f"objectives.{number}")
        _name(here.at("metric"), _mapping(here, each).get("metric"))
        _flag(here.at("maximize"), each.get("maximize"))


def _check_combinations(place: _Place, definition: Mapping[str, Any]) -> None:
    axes = definition["axes"]
    if "combinations" not in definition:
        if math.prod(map(len, axes.values())) > _MOST_ROWS:
            place.at("axes").refuse(f"of at most {_MOST_ROWS:,} combinations", list(map(len, axes.values())))
        return
    for number, each in enumerate(_list(place.at("combinations"), definition["combinations"])):
        here = place.at(f"combinations.{number}")
        if len(_list(here, each)) != len(axes):
            here.refuse(f"a list of {len(axes)} levels, one of each axis", each)


# --------------------------------------------------------------------------------------------------------------- a run

_COUNTS = (metric_column(COST), metric_column("data."), metric_column(SELECTED_EPOCH))
"""Metrics that are counts, which no infinity is."""
_INFINITE = ("inf", "-inf", "nan")
_LONGEST = 1e9  # seconds, 31 years: what is added to a date must still be one


@dataclass(frozen=True)
class _Design:
    """What a run's point may say.

    Attributes:
        levels: Axis -> its levels, as tables show them.
        combinations: Combinations of levels that may be there, each as JSON; None where every one may be.
        searched: Points are trials, whose levels are drawn.
    """

    levels: Mapping[str, Sequence[str]]
    combinations: Set[str] | None
    searched: bool

    @classmethod
    def of(cls, definition: Mapping[str, Any]) -> "_Design":
        levels = {axis: [param_text(level) for level in levels] for axis, levels in definition["axes"].items()}
        listed = definition.get("combinations")
        combinations = None if listed is None else {json.dumps(each) for each in listed}
        return cls(levels, combinations, definition.get("method") == "optuna" and "searched" in definition)


def _record(place: _Place, given: Mapping[str, Any], *, own: bool) -> dict[str, Any]:
    """Entries of a run, or of all runs; infinities, which JSON has as text, as numbers."""
    return {key: _entry(place.at(key), key, value, own=own) for key, value in given.items()}


_KEY = re.compile(r"(metrics|params|tags)\.([\w.: -]+)(/[\w.: -]+)*")
"""Names that MLflow keeps: ``import`` is not to find out half-way that there is one that it does not."""


def _entry(place: _Place, key: str, value: Any, *, own: bool) -> Any:
    if key not in ("status", "run_id", "seconds") and not (_KEY.fullmatch(key) and len(key) <= 250):
        place.refuse(f"{PARAM_COLUMN}…, {METRIC_COLUMN}…, {TAG_COLUMN}…, status, seconds, run_id or curves", key)
    if key.startswith(METRIC_COLUMN):
        return _metric(place, value, finite=key.startswith(_COUNTS))
    if key == "run_id":
        return _name(place, value) if own else place.refuse("of one run, in its own line", value)
    if key == "seconds":
        seconds = _metric(place, value, finite=True)
        return seconds if 0 <= seconds <= _LONGEST else place.refuse(f"from 0 to {_LONGEST:g}", value)
    return _text(place, value)


def _metric(place: _Place, value: Any, *, finite: bool) -> float:
    if value in _INFINITE and isinstance(value, str) and not finite:
        return float(value)
    return value if _is_number(value) else place.refuse("a number", value)


def _check_row(place: _Place, row: Mapping[str, Any], design: _Design) -> None:
    """What only a whole run tells."""
    for key in ("run_id", "status", tag_column(STATUS)):
        if key not in row:
            place.at(key).refuse("there", None)
    if tag_column(POINT) in row:
        _check_point(place.at(tag_column(POINT)), row[tag_column(POINT)], design)
    if tag_column(LEVELS) in row:
        _mapping(place.at(tag_column(LEVELS)), _inner(place.at(tag_column(LEVELS)), row[tag_column(LEVELS)]))
    tested = row.get(tag_column(TESTED))
    if tested is not None and not re.fullmatch(r"[1-9]\d{0,8}:.*", tested, re.DOTALL):
        place.at(tag_column(TESTED)).refuse("a number of images, a colon and their digest", tested)
    for key, text in row.items():
        if key.startswith(tag_column(REDRAWN)):
            for trial in _list(place.at(key), _inner(place.at(key), text)):
                _count(place.at(key), trial)


def _check_point(place: _Place, text: str, design: _Design) -> None:
    """Levels that the definition knows: each row of a table is made of them."""
    pairs = _list(place, _inner(place, text))
    if not all(isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) for pair in pairs):
        place.refuse("a list of pairs [axis, level]", text)
    levels = dict(pairs)
    if len(levels) < len(pairs):
        place.refuse("a list that names each axis once", text)
    if not is_int(levels.get("seed")):
        place.refuse("a list with the pair [seed, a whole number]", text)
    for key in ("repeat", "trial"):
        if key in levels:
            _count(place.at(key), levels[key])
    if design.searched and "trial" not in levels:
        place.refuse("a list with the pair [trial, its number]", text)
    if "trial" not in levels:
        _check_levels(place, levels, design)


def _check_levels(place: _Place, levels: Mapping[str, Any], design: _Design) -> None:
    for axis, known in design.levels.items():
        if axis not in levels or param_text(levels[axis]) not in known:
            place.at(axis).refuse(f"one of {', '.join(each[:_SHOWN] for each in known[:9])}", levels.get(axis))
    combination = [levels[axis] for axis in design.levels]
    if design.combinations is not None and json.dumps(combination) not in design.combinations:
        place.refuse("one of the combinations in line 1", combination)


def _inner(place: _Place, text: str) -> Any:
    """JSON within a text."""
    try:
        return _strict(text)
    except (ValueError, RecursionError):
        place.refuse("JSON", text)


def _curve(place: _Place, metric: str, given: Any) -> Sequence[float | None]:
    if not _KEY.fullmatch(metric_column(metric)):
        place.refuse("a mapping of metrics' names", metric)
    values = _list(place.at(metric), given)
    if not all(value is None or _is_number(value) for value in values):
        place.at(metric).refuse("a list of numbers, null for what is none", given)
    return values


# --------------------------------------------------------------------------------------------------------------- kinds


def _mapping(place: _Place, value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else place.refuse("a mapping", value)


def _list(place: _Place, value: Any, *, least: int = 0) -> list[Any]:
    if not isinstance(value, list) or len(value) < least:
        place.refuse("a list that is not empty" if least else "a list", value)
    return value


def _text(place: _Place, value: Any) -> str:
    return value if isinstance(value, str) else place.refuse("text", value)


def _name(place: _Place, value: Any) -> str:
    return value if isinstance(value, str) and value.strip() else place.refuse("text that is not empty", value)


def _texts(place: _Place, value: Any) -> list[str]:
    return [_text(place, each) for each in _list(place, value)]


def _flag(place: _Place, value: Any) -> bool:
    return value if isinstance(value, bool) else place.refuse("true or false", value)


def _is_number(value: Any) -> TypeGuard[float]:
    return is_int(value) or isinstance(value, float)


def _count(place: _Place, value: Any) -> None:
    if not is_int(value) or value < 0:
        place.refuse("a whole number of at least 0", value)


def _method(place: _Place, value: Any) -> None:
    if value not in _METHODS:
        place.refuse(f"one of {', '.join(_METHODS)}", value)


def _margin(place: _Place, value: Any) -> None:
    if not (_is_number(value) and value > 0):
        place.refuse("a number above 0", value)


def _alpha(place: _Place, value: Any) -> None:
    if not (_is_number(value) and 0 < value < 0.5):
        place.refuse("a number between 0 and 0.5", value)


def _scope(place: _Place, value: Any) -> None:
    if value not in SCOPES:
        place.refuse(f"one of {', '.join(SCOPES)}", value)


def _seeds(place: _Place, value: Any) -> list[int]:
    seeds = _list(place, value, least=1)
    return seeds if all(map(is_int, seeds)) else place.refuse("a list of whole numbers", value)


def _axes(place: _Place, value: Any) -> dict[str, Any]:
    axes = _mapping(place, value)
    for axis, levels in axes.items():
        _name(place, axis)
        _list(place.at(axis), levels)
    return axes
