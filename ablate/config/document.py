"""A sweep's file as YAML: read with limits, and without anything that would reach beyond the settings of its runs.

A sweep may come from somebody else. What is wrong in it is told by line and column, not by its content: the file may be
a link to one that is nobody's business.
"""

import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from ablate.design.sweep import SweepError

MOST_BYTES = 100_000
MOST_VALUES = 20_000
"""Most keys and values of a file, aliases written out: nine lines can stand for a billion."""

MOST_DEPTH = 20
MOST_DIGITS = 40
_PREFIX = "tag:yaml.org,2002:"
_KINDS = ("str", "int", "float", "bool", "null", "map", "seq", "merge", "timestamp")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the quick one, where it was built


def load(path: Path, parts: Iterable[str]) -> Any:
    """A sweep's file as plain values, its interpolations unresolved; None where it holds no mapping.

    Args:
        path: The file.
        parts: What a run consists of, which interpolations may name: ``${train.lr}``.

    Raises:
        SweepError: It cannot be read, is no YAML, is too large, or reaches beyond its runs.
    """
    text = _text(path)
    try:
        _check_depth(path, text)
        root = yaml.compose(text, Loader=_LOADER)
        if not isinstance(root, yaml.MappingNode):
            return None
        _Check(path, parts).size(root, 1)
        return OmegaConf.to_container(OmegaConf.load(io.StringIO(text)))
    except SweepError:
        raise
    except yaml.MarkedYAMLError as error:
        raise SweepError(f"{path} must be YAML, but {_place(error.problem_mark)}{_problem(error)}.") from None
    except yaml.YAMLError:
        raise SweepError(f"{path} must be YAML, but it holds a character that YAML does not allow.") from None
    except Exception as error:  # of the YAML library and of OmegaConf, whose words may hold what stands in the file
        raise SweepError(f"{path} must be YAML with plain values, but: {type(error).__name__}.") from None


def written_out(text: str) -> int:
    """How many keys and values a YAML file stands for, its aliases written out. Only its events are read, in turn.

    Raises:
        yaml.YAMLError: It is no YAML.
    """
    known: dict[str, int] = {}
    open_: list[tuple[str | None, int]] = [(None, 0)]
    for event in yaml.parse(text, Loader=_LOADER):
        anchor = getattr(event, "anchor", None)
        if isinstance(event, yaml.CollectionStartEvent):
            open_.append((anchor, 1))
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, size = open_.pop()
        elif isinstance(event, yaml.AliasEvent):
            anchor, size = None, known.get(event.anchor, 1)
        else:
            size = int(isinstance(event, yaml.ScalarEvent))
        if anchor is not None:
            known[anchor] = size
        open_[-1] = open_[-1][0], open_[-1][1] + size
    return open_[0][1]


def _text(path: Path) -> str:
    if not path.is_file():  # a pipe would be waited for, a device never end
        raise SweepError(f"{path} must be a file, got a folder, a pipe, a device or a link that leads nowhere.")
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise SweepError(f"{path} must have at most {MOST_BYTES:,} bytes, got {path.stat().st_size:,}.")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise SweepError(f"{path} must be a file that can be read, but: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise SweepError(f"{path} must be YAML in UTF-8, but byte {error.start} is none of it.") from None


def _check_depth(path: Path, text: str) -> None:
    """Before anything recursive reads it."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_DEPTH:
            raise _too_deep(path, event.start_mark)


def _too_deep(path: Path, mark: Any) -> SweepError:
    return SweepError(f"{path} must be nested at most {MOST_DEPTH} deep, but {_place(mark)}it goes on.")


class _Check:
    """Goes through a document as it stands in the file; a part that aliases repeat is looked at once."""

    def __init__(self, path: Path, parts: Iterable[str]) -> None:
        self._path = path
        self._own = re.compile(rf"\$\{{(?:(?:{'|'.join(parts)})(?:\.\w+)*|ablate\.\w+:[\w./-]*)\}}", re.ASCII)
        self._known: dict[int, tuple[int, int]] = {}

    def size(self, node: Any, depth: int) -> tuple[int, int]:
        """How many values it stands for, and how deep they go."""
        if id(node) in self._known:
            size, height = self._known[id(node)]
        else:
            if depth > MOST_DEPTH:  # an alias of what it stands in goes on for ever
                raise _too_deep(self._path, node.start_mark)
            size, height = self._known[id(node)] = self._measured(node, depth)
        if depth + height > MOST_DEPTH + 1:
            raise _too_deep(self._path, node.start_mark)
        return size, height

    def _measured(self, node: Any, depth: int) -> tuple[int, int]:
        if node.tag.removeprefix(_PREFIX) not in _KINDS:
            raise SweepError(f"{self._path} must hold plain values, but {_place(node.start_mark)}a tag stands.")
        if isinstance(node, yaml.ScalarNode):
            self._check_text(node)
            return 1, 1
        pairs = isinstance(node, yaml.MappingNode)
        inner = [each for pair in node.value for each in pair] if pairs else node.value
        size, height = 1, 1
        for each in inner:
            more, deep = self.size(each, depth + 1)
            size, height = size + more, max(height, 1 + deep)
            if size > MOST_VALUES:
                raise SweepError(
                    f"{self._path} must hold at most {MOST_VALUES:,} values, aliases written out, but "
                    f"{_place(each.start_mark)}there are more."
                )
        return size, height

    def _check_text(self, node: Any) -> None:
        if node.tag == f"{_PREFIX}int" and len(node.value) > MOST_DIGITS:
            raise SweepError(
                f"{self._path} must hold numbers of at most {MOST_DIGITS} digits, but {_place(node.start_mark)}stands "
                "a longer one."
            )
        rest = self._own.sub("", node.value)
        if "${" not in rest and rest != node.value and ("$" in rest or "\\${" in node.value):
            raise SweepError(  # a "$" beside what another setting holds may be the beginning of an interpolation
                f"{self._path} must interpolate settings of its runs alone, such as ${{train.lr}}, but "
                f"{_place(node.start_mark)}stands one beside a further $ or behind a backslash; leave that out."
            )
        if "${" in rest:
            name = re.match(r"[\w.]{0,40}", rest.partition("${")[2], re.ASCII)
            raise SweepError(
                f"{self._path} must interpolate settings of its runs alone, such as ${{train.lr}}, but "
                f"{_place(node.start_mark)}stands ${{{name[0] if name else ''}…; what reads the environment or is kept "
                "elsewhere goes on the command line."
            )


def _place(mark: Any) -> str:
    return "" if mark is None else f"in line {mark.line + 1}, column {mark.column + 1}, "


def _problem(error: yaml.MarkedYAMLError) -> str:
    """What the YAML library found, less what it quotes of the file; ``'<block end>'`` and its like are its own."""
    told = error.problem or "it is none"
    told = f"{error.context} {told}" if error.context and told.startswith("but ") else told
    told = re.sub(r"'[^']*'", lambda found: found[0] if found[0].startswith("'<") else "…", " ".join(told.split()))
    return re.sub(r"(duplicate key|alias|anchor|tag|directive) .*", r"\1", told)
