"""Passwords in the addresses of records and queue: kept in the environment, and out of what is written to disk."""

import os
import re

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
