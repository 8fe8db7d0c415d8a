"""Slots of a model, and the variants of each: (slot, name) -> the spec that costs it and the layer that computes it.

Ours and a user's plugins go through the same door. A layer may be named as ``"module:attribute"``, so that a spec can
be composed, checked and costed without importing Keras.
"""

import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from enum import StrEnum
from typing import Any, TypeVar

from ablate.models.plugins import is_own
from ablate.words import unknown

Spec = TypeVar("Spec", bound=type)


class Stage(StrEnum):
    """Where a slot stands.

    Attributes:
        tokens: Around the encoder, once: from an image to tokens, and from tokens to one vector.
        block: In each block of the encoder.
        head: After the features, once.
    """

    tokens = "tokens"
    block = "block"
    head = "head"


@dataclass(frozen=True)
class Slot:
    """A place of a model that one of several variants fills; a leaf of `ablate.models.spec.ModelSpec` has its name.

    Attributes:
        name: The word in YAML, on the command line and in tables.
        stage: Where it stands, which says what a layer factory is called with (`ablate.models.classifier`).
        default: The variant of a block where another variant is only in some blocks.
        base: Class that every variant's spec extends.
    """

    name: str
    stage: Stage
    default: str
    base: type


@dataclass(frozen=True)
class Entry:
    """One variant of a slot.

    Attributes:
        slot: Name of the slot.
        name: The word that selects it in YAML, on the command line and in tables.
        spec: Dataclass of the variant's own options, with its cost in closed form.
        layer: Factory of the Keras layer, or ``"module:attribute"`` to import it from when a model is built.
    """

    slot: str
    name: str
    spec: type[Any]
    layer: str | Callable[..., Any]

    def load_layer(self) -> Callable[..., Any]:
        """Returns the layer factory, importing it if it was registered by path."""
        if not isinstance(self.layer, str):
            return self.layer
        module, _, attribute = self.layer.partition(":")
        factory: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
        return factory


_PATH = re.compile(r"\w+(\.\w+)*:\w+")
_slots: dict[str, Slot] = {}
_entries: dict[tuple[str, str], Entry] = {}


def slot(name: str, *, stage: Stage, default: str) -> Callable[[Spec], Spec]:
    """Class decorator that makes a slot of the base class of its variants' specs.

    Args:
        name: The word that selects a variant, and a leaf of the model.
        stage: Where the slot stands.
        default: Name of the variant that stands in blocks which another one leaves out.
    """

    def add(base: Spec) -> Spec:
        _slots[name] = Slot(name, stage, default, base)
        return base

    return add


def slots() -> Mapping[str, Slot]:
    """All slots by name, from an image to its class."""
    return _slots


def register(slot: str, name: str, *, layer: str | Callable[..., Any]) -> Callable[[Spec], Spec]:
    """Class decorator that adds a variant to a slot.

    Args:
        slot: ``"tokenizer"``, ``"positional"``, ``"pooling"``, ``"attention"``, ``"norm"``, ``"activation"``,
            ``"mlp"`` or ``"head"``.
        name: How configurations select the variant.
        layer: Layer factory, or its ``"module:attribute"`` path. See ``ablate.models.classifier`` for its signature.

    Raises:
        ValueError: There is no such slot, the name is taken on it by another class, the class is no spec of the
            slot or has an option without a default, or the layer is neither a factory nor its path.
    """
    if slot not in _slots:
        raise ValueError(unknown("slot", slot, _slots))

    def add(spec: Spec) -> Spec:
        _require_spec(slot, name, spec)
        if not (_PATH.fullmatch(layer) if isinstance(layer, str) else callable(layer)):
            raise ValueError(f"the layer of {slot} {name!r} must be a factory or module:attribute, got {layer!r}.")
        present = _entries.get((slot, name))
        if present is not None and _identity(present.spec) != _identity(spec):
            raise ValueError(
                f"{slot} {name!r} is registered already, by {'.'.join(_identity(present.spec))}; "
                f"give {'.'.join(_identity(spec))} another name."
            )
        _entries[slot, name] = Entry(slot, name, spec, layer)
        return spec

    return add


def _require_spec(slot: str, name: str, spec: Any) -> None:
    """Raises ValueError for a class whose cost would fail when it is asked for."""
    base: Any = _slots[slot].base
    if not isinstance(spec, type) or not issubclass(spec, base):
        got = getattr(spec, "__qualname__", repr(spec))
        raise ValueError(f"the spec of {slot} {name!r} must extend ablate.{base.__name__}, got {got}.")
    if wrong := base.misdeclared.__func__(spec):
        raise ValueError(f"of the spec of {slot} {name!r}, {wrong}.")
    needed = [each.name for each in fields(spec) if each.default is MISSING and each.default_factory is MISSING]
    if needed:
        raise ValueError(f"options of {slot} {name!r} must have defaults, got none for {', '.join(needed)}.")
    for method in ("params", "macs"):
        given = list(inspect.signature(getattr(spec, method)).parameters)
        if len(given) not in (2, 3):
            raise ValueError(
                f"{method} of {slot} {name!r} must take (self, model, geometry), got ({', '.join(given)}); "
                "a Geometry has grid, tokens and input_shape (docs/architecture.md)."
            )


def _identity(spec: type) -> tuple[str, str]:
    """A module that is imported again defines its classes anew: they are the same by name, not by ``is``."""
    return spec.__module__, spec.__qualname__


def get(slot: str, name: str) -> Entry:
    """Returns the variant, or raises a ValueError that lists the ones there are."""
    try:
        return _entries[slot, name]
    except (KeyError, TypeError):  # a list is no key
        raise ValueError(unknown(f"model.{slot}", name, names(slot))) from None


def own_modules(entry: Entry) -> list[str]:
    """Modules outside the package that define a variant; none for ours."""
    factory = getattr(entry.layer, "func", entry.layer)  # of a functools.partial
    layer = factory.partition(":")[0] if isinstance(factory, str) else factory.__module__
    return [name for name in dict.fromkeys((entry.spec.__module__, layer)) if is_own(name)]


def plugins() -> list[str]:
    """Modules outside the package that define variants, the ones loaded first in front."""
    return list(dict.fromkeys(name for entry in _entries.values() for name in own_modules(entry)))


def names(slot: str) -> list[str]:
    """The registered names of a slot, in the order of their registration."""
    return [entry.name for entry in _entries.values() if entry.slot == slot]
