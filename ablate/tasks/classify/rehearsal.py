"""A user's variants are built when a sweep is planned or one run starts; what cannot be is told in a sentence.

A sweep that trains does not ask: a point that fails is recorded with its reason, and the others are finished.
Keras is imported where there is something to build; a model of our variants alone is not built.
"""

import json
import re
import sys
import traceback
from collections.abc import Iterable
from typing import Any

from ablate.models.registry import Entry
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
        foreign = {_key(spec, entry): entry for entry in spec.model.entries() if _modules(entry)}
        known = preview.known(spec) if foreign.keys() - built else None
        if known is not None:
            _build(spec, *known, list(foreign.values()))
            built |= foreign.keys()


def _key(spec: RunSpec, entry: Entry) -> str:
    return json.dumps([entry.slot, entry.name, spec.model.options.get(entry.slot)], default=str)


def _modules(entry: Entry) -> list[str]:
    """Modules outside the package that define a variant."""
    layer = entry.layer.partition(":")[0] if isinstance(entry.layer, str) else entry.layer.__module__
    return [name for name in dict.fromkeys((entry.spec.__module__, layer)) if name.partition(".")[0] != "ablate"]


def _build(spec: RunSpec, input_shape: tuple[int, int, int], num_classes: int, foreign: list[Entry]) -> None:
    import_keras()
    import numpy as np

    from ablate.models.classifier import drawn

    names = " and ".join(f"{entry.slot}={entry.name}" for entry in foreign)
    try:
        model = drawn(spec.model, input_shape, num_classes)
        model(np.zeros((2, *input_shape), "float32"), training=True)
        wrong = _wrong_shape(model, spec.model.geometry(input_shape, num_classes), spec.model.width)
    except (SpecError, MemoryError):
        raise
    except Exception as error:
        raise SpecError(
            f"{names} must be built before anything trains, but {_layers(foreign)} with {_told(error, foreign)}; "
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


def _layers(foreign: list[Entry]) -> str:
    named = [entry.layer if isinstance(entry.layer, str) else entry.layer.__qualname__ for entry in foreign]
    return f"layer {named[0]} fails" if len(named) == 1 else f"a model with layers {', '.join(named)} fails"


def _told(error: BaseException, foreign: list[Entry]) -> str:
    """What went wrong, and where in the user's own files: Keras wraps what a layer raises into errors of its own."""
    modules = [sys.modules.get(name) for entry in foreign for name in _modules(entry)]
    files = {file for module in modules if (file := getattr(module, "__file__", None))}
    chain = [error]
    while (inner := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(inner)
    for each in reversed(chain):
        lines = [frame for frame in traceback.extract_tb(each.__traceback__) if frame.filename in files]
        if lines:
            return f"{_said(each)} ({lines[-1].filename}, line {lines[-1].lineno})"
    return _said(error)


def _said(error: BaseException) -> str:
    text = re.sub(r"\x1b\[\d*m", "", str(error)).partition("Arguments received by ")[0]
    text = re.sub(r"^Exception encountered when calling \S+\(\)\.", "", text)  # Keras's frame around what was raised
    return f"{type(error).__name__}: {' '.join(text.split())[:300]}".rstrip(":. ")
