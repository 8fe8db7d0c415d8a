"""An override as a word of the command line: Hydra's grammar, and the quotes that it needs around plain text."""

import re
import shlex
from collections.abc import Iterable
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from ablate.tracking import redact_uri


class ConfigError(ValueError):
    """A configuration that says something impossible; the message is one sentence for the person who wrote it."""


def parse_overrides(words: Iterable[str]) -> list[Override]:
    """Hydra's override grammar; a value that is not of it, such as ``runs (1).csv``, is taken for text as it stands.

    Raises:
        ConfigError: A word is not of it, and neither is its value as text.
    """
    parser = OverridesParser.create()
    return [_parsed(parser, word) for word in words]


def _parsed(parser: OverridesParser, word: str) -> Override:
    for tried in (word, _with_quotes(word, parser)):
        try:
            return parser.parse_override(tried)
        except HydraException:
            continue
        except RecursionError:
            raise ConfigError(f"an override must not be nested so deeply, got {shown(word)}.") from None
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


def as_text(override: Override) -> Any:
    """The value of an override, in the letters that were typed where it is a number or a truth: ``1e3``, not 1000."""
    value = override.value()
    return said(override) if isinstance(value, int | float) else value


def said(override: Override) -> str:
    """What stands behind the first ``=``."""
    return str(override.input_line).partition("=")[2]
