"""A user's variants are built when a sweep is planned or one run starts; what cannot be is told in a sentence.

A sweep that trains does not ask: a point that fails is recorded with its reason, and the others are finished.
Keras is imported where there is something to build; a model of our variants alone is not built.
"""

import json
from collections.abc import Iterable
from typing import Any

from ablate.models.plugins import told
from ablate.models.registry import Entry, own_modules
from ablate.models.slots import Geometry, SpecError
from ablate.tasks.classify.running import ClassifierPreview
from ablate.tasks.classify.spec import RunSpec
from ablate.training.hardware import import_keras


def rehearse(specs: Iterable[RunSpec]) -> None:
    """Builds each distinct variant that is not ours once, in the first model that has it, and shows it two images.

    A run whose image shape is not known before its data is read is left out.

    Raises:
        SpecError: One cannot be built, or does not take images.
        HardwareError: The backend is none that trains here.
    """
    preview, built = ClassifierPreview(), set[str]()
    for spec in specs:
        foreign = {_key(spec, entry): entry for entry in spec.model.entries() if own_modules(entry)}
        known = preview.known(spec) if foreign.keys() - built else None
        if known is not None:
            _build(spec, *known, list(foreign.values()))
            built |= foreign.keys()


def _key(spec: RunSpec, entry: Entry) -> str:
    models = [spec.model, *map(spec.model.branch, spec.model.branches)]
    return json.dumps([entry.slot, entry.name, *(each.options.get(entry.slot) for each in models)], default=str)


def _build(spec: RunSpec, input_shape: tuple[int, int, int], num_classes: int, foreign: list[Entry]) -> None:
    import_keras()
    import numpy as np

    from ablate.models.classifier import drawn

    names = " and ".join(f"{entry.slot}={entry.name}" for entry in foreign)
    try:
        model = drawn(spec.model, input_shape, num_classes)
        model(np.zeros((2, *input_shape), "float32"), training=True)
        wrong = _wrong_shape(model, spec.model.geometry(input_shape, num_classes), spec.model.width)
        wrong = wrong or _wrong_count(model, spec.model.params(input_shape, num_classes))
    except (SpecError, MemoryError):
        raise
    except Exception as error:
        modules = [name for entry in foreign for name in own_modules(entry)]
        raise SpecError(
            f"{names} must be built before anything trains, but {_layers(foreign)} with {told(error, modules)}; "
            "mend it there, or leave it out."
        ) from error
    if wrong is not None:
        raise SpecError(f"{names} must be built before anything trains, but {wrong}; mend it there, or leave it out.")


def _wrong_shape(model: Any, geometry: Geometry, width: int) -> str | None:
    """What a layer gives that a sum would spread over tokens or channels without a word, or that names no class."""
    import numpy as np

    from ablate.models.encoder import Block

    kept = (geometry.tokens, width)
    for block in (layer for layer in model._flatten_layers() if isinstance(layer, Block)):
        for name in ("norm_1", "attention", "norm_2", "mlp"):
            part = getattr(block, name)
            given = kept if part is None else tuple(part(np.zeros((1, *kept), "float32")).shape[1:])
            if given != kept:
                return f"{name} of {block.name} gives {given} for each image where it must keep {kept}"
    given = tuple(model.output_shape[1:])
    if given != (geometry.num_classes,):
        return f"the head gives {given} for each image where it must give {(geometry.num_classes,)}, a logit a class"
    return None


def _wrong_count(model: Any, said: int) -> str | None:
    """Parameters that a spec counts otherwise than its layers have them: every table would show them."""
    from ablate.models.profile import parameters

    built = parameters(model)
    return None if built == said else f"its model has {built:,} parameters where the specs' params add up to {said:,}"


def _layers(foreign: list[Entry]) -> str:
    layers = [entry.layer for entry in foreign]
    named = [layer if isinstance(layer, str) else getattr(layer, "__qualname__", repr(layer)) for layer in layers]
    return f"layer {named[0]} fails" if len(named) == 1 else f"a model with layers {', '.join(named)} fails"
