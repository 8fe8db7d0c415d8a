"""The variants of each axis: (axis, name) -> the spec that costs it and the layer that computes it.

Ours and a user's plugins go through the same door. A layer may be named as ``"module:attribute"``, so that a spec can
be composed, checked and costed without importing Keras.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from ablate.words import unknown

AXES = ("tokenizer", "positional", "pooling")

Spec = TypeVar("Spec", bound=type)


@dataclass(frozen=True)
class Entry:
    """One variant of an axis.

    Attributes:
        axis: One of ``AXES``.
        name: The word that selects it in YAML, on the command line and in tables.
        spec: Dataclass of the variant's own options, with its cost in closed form.
        layer: Factory of the Keras layer, or ``"module:attribute"`` to import it from when a model is built.
    """

    axis: str
    name: str
    spec: type
    layer: str | Callable[..., Any]

    def load_layer(self) -> Callable[..., Any]:
        """Returns the layer factory, importing it if it was registered by path."""
        if not isinstance(self.layer, str):
            return self.layer
        module, _, attribute = self.layer.partition(":")
        factory: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
        return factory


_entries: dict[tuple[str, str], Entry] = {}


def register(axis: str, name: str, *, layer: str | Callable[..., Any]) -> Callable[[Spec], Spec]:
    """Class decorator that adds a variant to an axis.

    Args:
        axis: ``"tokenizer"``, ``"positional"`` or ``"pooling"``.
        name: How configurations select the variant.
        layer: Layer factory, or its ``"module:attribute"`` path. See ``ablate.models.classifier`` for its signature.

    Raises:
        ValueError: The axis does not exist, or the name is taken on it by another class.
    """
    if axis not in AXES:
        raise ValueError(unknown("axis", axis, AXES))

    def add(spec: Spec) -> Spec:
        present = _entries.get((axis, name))
        if present is not None and _identity(present.spec) != _identity(spec):
            raise ValueError(
                f"{axis} {name!r} is registered already, by {'.'.join(_identity(present.spec))}; "
                f"give {'.'.join(_identity(spec))} another name."
            )
        _entries[axis, name] = Entry(axis, name, spec, layer)
        return spec

    return add


def _identity(spec: type) -> tuple[str, str]:
    """A module that is imported again defines its classes anew: they are the same by name, not by ``is``."""
    return spec.__module__, spec.__qualname__


def get(axis: str, name: str) -> Entry:
    """Returns the variant, or raises a ValueError that lists the ones there are."""
    try:
        return _entries[axis, name]
    except KeyError:
        raise ValueError(unknown(f"model.{axis}", name, names(axis))) from None


def names(axis: str) -> list[str]:
    """The registered names of an axis, in the order of their registration."""
    return [entry.name for entry in _entries.values() if entry.axis == axis]
