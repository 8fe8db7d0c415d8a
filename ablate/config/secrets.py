"""Passwords in the addresses of records and queue: kept in the environment, and out of what is written to disk."""

import os
import re

from ablate.config.compose import compose, read_leaf, read_unresolved
from ablate.config.overrides import ConfigError, Override, Words, override_of, parse_overrides
from ablate.tracking import redact_uri

VARIABLES = {"tracking.uri": "ABLATE_TRACKING_URI", "study.storage": "ABLATE_STUDY_STORAGE"}
"""Setting -> the variable that holds it where it has a password: what this process starts inherits it."""


class SecretError(ValueError):
    """A password did not come along; one sentence."""


def holds_password(address: str) -> bool:
    """Whether a password stands in it; one that an interpolation brings, ``me:${oc.env:PASSWORD}@db``, does not."""
    plain = re.sub(r"\$\{[^{}]*\}", "", address)
    user = re.search(r"://[^:/@]*:(.*)@", plain, re.DOTALL)
    return bool(user[1]) if user else redact_uri(plain) != plain


def kept(setting: str, address: str) -> str:
    """What may be written in place of an address: itself, or where it has a password the name of its variable."""
    if not holds_password(address):
        return address
    os.environ[VARIABLES[setting]] = address
    return _named(setting)


def whole(setting: str, written: str) -> str:
    """The address that ``kept`` has made this of, here or in the process that started this one.

    Raises:
        SecretError: The environment does not hold it.
    """
    if written != _named(setting):
        return written
    try:
        return os.environ[VARIABLES[setting]]
    except KeyError:
        raise SecretError(
            f"{setting} must come to a job by the variable {VARIABLES[setting]}, since it has a password, but that is "
            "not set there; let SLURM pass the environment on (--export=ALL)."
        ) from None


def _named(setting: str) -> str:
    return f"${{oc.env:{VARIABLES[setting]}}}"


def without_secrets(words: Words) -> list[Override]:
    """The overrides as Hydra may write them down: in place of an address with a password, the variable that keeps it.

    Raises:
        ConfigError: Jobs are to differ by where records or queue are kept, or the words are wrong.
    """
    overrides = parse_overrides(words)
    fixed = [override for override in overrides if not override.several]
    for override in overrides:
        if override.several and override.key.partition(".")[0] in ("tracking", "study"):
            raise ConfigError(
                f"{override.key} must be one value for all jobs of --multirun, since no run differs by it, "
                "got several; give one, and start the jobs once for each of the others."
            )
    cfg = compose(fixed)
    hidden = [setting for setting in VARIABLES if holds_password(str(read_unresolved(cfg, setting)))]
    hidden = [f"{setting}={kept(setting, str(read_leaf(cfg, setting)))}" for setting in hidden]
    return [left for override in overrides if (left := _without_secret(override))] + parse_overrides(hidden)


def _without_secret(override: Override) -> Override | None:
    """An override less an address that has a password, by itself or in a mapping; None where nothing is left."""
    for setting in VARIABLES:
        group, _, leaf = setting.partition(".")
        if override.key == setting and holds_password(override.text):
            return None
        value = override.value
        if override.key == group and isinstance(value, dict) and holds_password(str(value.get(leaf))):
            others = {key: other for key, other in value.items() if key != leaf}
            return override_of(override.line.partition("=")[0], others) if others else None
    return override
