"""When two runs are the same run: all that can change the result enters, and nothing else."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ablate.identity.code import Code, own_statements, statements
from ablate.identity.digests import digest
from ablate.identity.earlier import earlier_versions
from ablate.identity.keras_backend import versions
from ablate.identity.left_out import FILES, LEFT_OUT
from ablate.identity.named_files import content


@dataclass(frozen=True)
class Changed:
    """A default that was another one in an earlier version.

    Attributes:
        before: The first default that the leaf ever had.
        since: Version that changed it first.
    """

    before: Any
    since: str


CHANGED: Mapping[str, Changed] = {}
"""Leaf -> its first default, for each whose default has changed since.

A leaf is left out of an identity where it has its default. With a line here it goes by its first default for ever: a
run with the new one enters with its value, and a run with the first one is what it was, so no recorded run is taken for
another. A leaf that is added later needs no line: all earlier runs were what its first default says.
"""


def definition(
    leaves: Mapping[str, Any], defaults: Mapping[str, Any], *, changed: Mapping[str, Changed] = CHANGED
) -> dict[str, Any]:
    """The leaves that can change a result and differ from their default; a file stands as the digest of its content.

    Args:
        leaves: Every leaf of the run under its config name.
        defaults: The same of a run in which nothing is set. A leaf that has none enters whatever its value.
        changed: Defaults that were others once.

    Raises:
        OSError: A file cannot be read.
    """
    first = {**defaults, **{leaf: each.before for leaf, each in changed.items()}}
    kept = {key: value for key, value in leaves.items() if key not in LEFT_OUT and not _is_default(key, value, first)}
    return kept | {key: content(kept[key]) for key in FILES if kept.get(key) is not None}


def _is_default(leaf: str, value: Any, defaults: Mapping[str, Any]) -> bool:
    """By what is written of it: 1, 1.0 and true are three values."""
    return leaf in defaults and _written(value) == _written(defaults[leaf])


def _written(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def settings(leaves: Mapping[str, Any], defaults: Mapping[str, Any], *, code: Code, backend: str) -> str:
    """All of a run's identity that can be told before its data is read.

    Args:
        leaves: Every leaf of the run under its config name.
        defaults: The same of a run in which nothing is set.
        code: Where the code of the run begins.
        backend: Keras' backend, ``tensorflow`` or ``jax``.

    Raises:
        IdentityError: The code cannot be found.
        OSError: A file that a leaf names cannot be read.
    """
    parts = {"spec": definition(leaves, defaults), "code": code_version(code), "versions": versions(backend)}
    foreign = statements(code) - own_statements(code)
    return digest(parts | ({"modules": sorted(foreign)} if foreign else {}))


def known_settings(leaves: Mapping[str, Any], defaults: Mapping[str, Any], *, code: Code, backend: str) -> list[str]:
    """What ``settings`` gives, then what earlier versions called the same settings.

    Raises:
        IdentityError, OSError: As ``settings``.
    """
    before = [each.settings(leaves, defaults, code=code, backend=backend) for each in earlier_versions()]
    return [settings(leaves, defaults, code=code, backend=backend), *(name for name in before if name is not None)]


def code_version(code: Code) -> str:
    """A name for code of the package: that of the first version which computes the same, or else its own digest.

    So a run keeps its name when its code is written otherwise and declared to compute the same.

    Args:
        code: Where the code of a run begins; or that of all runs together, for one name of all that a version runs.

    Raises:
        IdentityError: The code cannot be found.
    """
    there = own_statements(code)
    return next((each.sources for each in earlier_versions() if there <= each.code), digest(sorted(there)))


def identity(settings: str, data_digest: str) -> str:
    """The run's identity.

    Args:
        settings: What ``settings`` gives.
        data_digest: Digest of the images, labels and split that were really read.
    """
    return digest({"settings": settings, "data": data_digest})


def cell(leaves: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """Digest of the settings without seeds and repeat: the same for runs that differ by chance alone."""
    kept = definition(leaves, defaults)
    return digest({key: value for key, value in kept.items() if not key.startswith("seeds.") and key != "repeat"})


def known_cells(leaves: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """What ``cell`` gives, then what earlier versions called the same settings."""
    before = [each.cell(leaves, defaults) for each in earlier_versions()]
    return [cell(leaves, defaults), *(name for name in before if name is not None)]
