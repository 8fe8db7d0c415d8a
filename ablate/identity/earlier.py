"""How versions before this one named runs, cells and studies, so that what they recorded still counts.

``f6fe46a`` was the last commit to take an identity over the text of all files and over every leaf. ``earlier.json``
has what that rule needs: the digest of its sources, its leaves in their order, the options of its variants; and as
``code`` the statements of this version that compute, bit for bit, what that commit's did. A run has an earlier name as
long as it sets nothing that was not there, and all statements that it reaches are among these. ``others`` are known to
compute something else. ``python -m ablate.tasks.classify.same_code`` writes both lists.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ablate.identity.code import Code, foreign_sources, own_statements
from ablate.identity.digests import digest
from ablate.identity.keras_backend import versions
from ablate.identity.left_out import FILES, LEFT_OUT
from ablate.identity.named_files import content

TABLE = Path(__file__).with_name("earlier.json")


@dataclass(frozen=True)
class Earlier:
    """A version whose runs count as this one's.

    Attributes:
        commit: The version's commit, its first 7 hexadecimal digits.
        sources: Digest of all files that it took for result-bearing.
        leaves: What it took of a run's settings, in its order; ``model.options`` stands for the variants' options.
        options: Variant as ``axis.name`` -> its options, in their order.
        code: Statements of this version that compute what that one did.
        others: Statements of this version that do not.
    """

    commit: str
    sources: str
    leaves: tuple[str, ...]
    options: Mapping[str, tuple[str, ...]]
    code: frozenset[str]
    others: frozenset[str]

    def definition(self, leaves: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any] | None:
        """A run's settings as that version wrote them; None where it sets what that version did not have."""
        told: dict[str, Any] = {}
        for leaf in self.leaves:
            told |= self._options(leaves) if leaf == "model.options" else {leaf: leaves.get(leaf)}
        later = leaves.keys() - told.keys() - LEFT_OUT
        if any(leaf not in defaults or leaves[leaf] != defaults[leaf] for leaf in later):
            return None
        return told | {key: content(told[key]) for key in FILES if told.get(key) is not None}

    def _options(self, leaves: Mapping[str, Any]) -> dict[str, Any]:
        """Those of a user's own variants are all taken."""
        there = [leaf.split(".") for leaf in leaves if leaf.startswith("model.options.")]
        kept = [
            (axis, name)
            for _, _, axis, name in there
            if name in self.options.get(f"{axis}.{leaves.get(f'model.{axis}')}", (name,))
        ]
        return {leaf: leaves[leaf] for axis, name in kept if (leaf := f"model.options.{axis}.{name}")}

    def settings(
        self, leaves: Mapping[str, Any], defaults: Mapping[str, Any], *, code: Code, backend: str
    ) -> str | None:
        """As ``identity.settings`` was; None for a run that is not the same run as that version's."""
        told = self.definition(leaves, defaults)
        if told is None or not own_statements(code) <= self.code:
            return None
        parts: dict[str, object] = {"spec": told, "sources": self.sources, "versions": versions(backend)}
        if foreign := {name: source.decode("utf-8", "replace") for name, source in foreign_sources(code)}:
            parts["modules"] = digest(foreign)
        return digest(parts)

    def cell(self, leaves: Mapping[str, Any], defaults: Mapping[str, Any]) -> str | None:
        """As ``identity.cell`` was; None where the run sets what that version did not have."""
        told = self.definition(leaves, defaults)
        if told is None:
            return None
        return digest({key: value for key, value in told.items() if not key.startswith("seeds.") and key != "repeat"})


@cache
def earlier_versions() -> tuple[Earlier, ...]:
    """Versions whose runs may count, the last one first."""
    table = json.loads(TABLE.read_text("utf-8"))
    return tuple(
        Earlier(
            commit,
            told["sources"],
            tuple(told["leaves"]),
            {variant: tuple(names) for variant, names in told["options"].items()},
            frozenset(told["code"]),
            frozenset(told["others"]),
        )
        for commit, told in table.items()
    )


def write(statements: frozenset[str], *, same: bool, file: Path = TABLE) -> None:
    """Writes the table's lists of statements anew.

    Args:
        statements: All that runs of this version reach.
        same: Whether those that are not in the table yet compute what earlier versions did, bit for bit.
        file: The table.
    """
    table = json.loads(file.read_text("utf-8"))
    for told in table.values():
        code = statements - set(told["others"]) if same else statements & set(told["code"])
        told["code"], told["others"] = sorted(code), sorted(statements - code)
    file.write_text(json.dumps(table, indent=1) + "\n", "utf-8")
