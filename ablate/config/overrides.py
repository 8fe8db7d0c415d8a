"""An override: a word of the command line in Hydra's grammar, parsed once, with the quotes that plain text needs."""

import math
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Quote, QuotedString, RangeSweep
from hydra.errors import HydraException

from ablate.tracking import redact_uri


class ConfigError(ValueError):
    """A configuration that says something impossible; the message is one sentence for the person who wrote it."""


@dataclass(frozen=True)
class Override:
    """One override, parsed. It travels to other processes as it is.

    Attributes:
        line: The word as Hydra takes it, e.g. ``+sweep=pe_type``; text that Hydra's grammar cannot take bare is quoted.
        key: The leaf or config group, without ``+``, ``~`` and package.
        value: The value in Python's own types; with ``several``, Hydra's description of all values.
        removes: Whether it takes the key away, ``~key``.
        several: Whether it gives several values, one for each job of ``--multirun``.
    """

    line: str
    key: str
    value: Any
    removes: bool = False
    several: bool = False

    @property
    def text(self) -> str:
        """What stands behind the first ``=``."""
        return self.line.partition("=")[2]

    @property
    def option(self) -> str:
        """The option that a group's override names, in the letters that were typed: ``1e3``, not 1000.

        A sweep's file may be called ``10.yaml`` or ``null.yaml``.
        """
        return self.text if self.value is None or isinstance(self.value, int | float) else str(self.value)

    @property
    def count(self) -> int:
        """How many values it gives, at least 0; 1 where only Hydra can tell."""
        if isinstance(self.value, RangeSweep):
            return max(0, math.ceil((float(self.value.stop) - float(self.value.start)) / float(self.value.step)))
        return len(self.value.list) if isinstance(self.value, ChoiceSweep) else 1

    @property
    def choices(self) -> list[str]:
        """The values that it lists, as text; none for a range."""
        listed = self.value.list if isinstance(self.value, ChoiceSweep) else []
        return [each.text if isinstance(each, QuotedString) else str(each) for each in listed]


Words = Iterable[str | Override]
"""Overrides as they come from outside: words of the command line, or what was parsed already."""


def parse_overrides(words: Words) -> list[Override]:
    """Hydra's override grammar; a value that is not of it, such as ``runs (1).csv``, is taken for text as it stands.

    Raises:
        ConfigError: A word is not of it, and neither is its value as text.
    """
    parser = OverridesParser.create()
    return [word if isinstance(word, Override) else _parsed(parser, word) for word in words]


def override_of(key: str, value: Any) -> Override:
    """The override that gives a key a value of a YAML file.

    Raises:
        ConfigError: Hydra's grammar has no such key.
    """
    (override,) = parse_overrides([f"{key}={as_word(value)}"])
    return override


def _parsed(parser: OverridesParser, word: str) -> Override:
    for tried in (word, _with_quotes(word, parser)):
        try:
            found = parser.parse_override(tried)
        except HydraException:
            continue
        except RecursionError:
            raise ConfigError(f"an override must not be nested so deeply, got {shown(word)}.") from None
        several = bool(found.is_sweep_override())
        return Override(tried, found.key_or_group, found.value(), bool(found.is_delete()), several)
    key, equals, value = word.partition("=")
    meant = f"; where its value is text as it stands, write {exactly(key, value)}" if equals and _is_key(key) else ""
    raise ConfigError(f"an override must read key=value (Hydra's grammar), got {shown(word)}{meant}.")


def _is_key(key: str) -> bool:
    return re.fullmatch(r"(\+|\+\+|~)?[A-Za-z_][\w./@:-]*", key, re.ASCII) is not None


_SHOWN = 200


def shown(word: str) -> str:
    """A word as a sentence may hold it: not all of a long one, and no password."""
    hidden = redact_uri(word)
    return repr(hidden if len(hidden) <= _SHOWN else f"{hidden[:_SHOWN]}…")


def shortened(text: str) -> str:
    """A value as a sentence may hold it: of a whole mapping its beginning."""
    return text if len(text) <= 60 else f"{text[:60]}…"


def exactly(key: str, text: str) -> str:
    """What to type in a shell, so that a key has this text for its value."""
    hidden = redact_uri(text)
    line = f"{key}={QuotedString(hidden, Quote.double).with_quotes()}"
    return shlex.quote(line) if len(line) <= _SHOWN else f"{key}='\"…\"' with that text between the quotes"


def quoted(text: str) -> str:
    """Text in the quotes of Hydra's grammar; an interpolation in it stays one."""
    return str(QuotedString(text, Quote.single).with_quotes())


def _with_quotes(word: str, parser: OverridesParser) -> str:
    """The word with its value in quotes, or in a list or mapping those parts that need them."""
    key, _, value = word.partition("=")
    if value.startswith(("'", '"')):  # quotes that do not close: what was meant is not for us to say
        return word
    if not value.startswith(("[", "{")):
        return f"{key}={quoted(value)}"
    return f"{key}={_PARTS.sub(lambda part: _part(part[0], parser), value)}"


_PARTS = re.compile(r"""[^][{},:'"]+""")
"""What stands between the signs of a list or mapping."""


def _part(text: str, parser: OverridesParser) -> str:
    try:
        parser.parse_override(f"key={text}")
    except HydraException:
        return quoted(text.strip())
    return text


def as_word(value: Any) -> str:
    """A YAML value in Hydra's grammar."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{as_word(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(as_word(item) for item in value) + "]"
    if isinstance(value, str):
        return quoted(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
