"""Models that are one model under two names, found by building both: the layer, not its name, says what is trained.

Keras is imported where models are built: most sweeps have no pair that settings cannot tell apart.
"""

import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from ablate.models.cost import InputShape
from ablate.sweep.duplicate_levels import Duplicate
from ablate.sweep.planned import PlannedPoint
from ablate.tasks.classify.running import ClassifierPreview

_IMAGES = 2


def suspects(planned: Sequence[PlannedPoint]) -> list[tuple[PlannedPoint, PlannedPoint]]:
    """Pairs that settings cannot tell to be different runs: their models have to be built and compared.

    They differ in leaves of the model alone; and either the closed forms agree, or a plugin's
    variant takes part, whose closed form may not be what its layer does.
    """
    settled = [each for each in planned if each.point.trial is None]  # a trial's levels are drawn when it starts
    alone = [p for p in settled if (p.point.seed, p.point.repeat) == (settled[0].point.seed, settled[0].point.repeat)]
    groups: dict[str, list[PlannedPoint]] = {}
    for each in alone:
        rest = {key: value for key, value in each.leaves.items() if not key.startswith("model.")}
        groups.setdefault(json.dumps(rest, default=str), []).append(each)
    pairs = (pair for group in groups.values() for pair in itertools.combinations(group, 2))
    return [(one, other) for one, other in pairs if _alike(one, other)]


def _alike(one: PlannedPoint, other: PlannedPoint) -> bool:
    return one.cost == other.cost or set(one.spec.modules()) != set(other.spec.modules())


def same_models(pairs: Sequence[tuple[PlannedPoint, PlannedPoint]]) -> list[Duplicate]:
    """Pairs whose models start from the same weights, give the same outputs, and learn the same from a batch.

    Args:
        pairs: Points with equal data and training settings.
    """
    preview = ClassifierPreview()
    built: dict[str, list[NDArray[np.generic]]] = {}
    found = []
    for one, other in pairs:
        traces = []
        for planned in (one, other):
            known = preview.known(planned.spec)
            key = json.dumps([asdict(planned.spec.model), known], default=str)
            if key not in built and known is not None:
                built[key] = _trace(planned, *known)
            traces.append(built.get(key, []))
        if traces[0] and _equal(*traces):
            reason = "build one model: the same weights, outputs and gradients, on the same data and training settings"
            found.append(Duplicate(one.point, other.point, reason))
    return found


def _equal(one: Sequence[NDArray[np.generic]], other: Sequence[NDArray[np.generic]]) -> bool:
    return len(one) == len(other) and all(
        a.shape == b.shape and np.array_equal(a, b) for a, b in zip(one, other, strict=True)
    )


def _trace(planned: PlannedPoint, input_shape: InputShape, num_classes: int) -> list[NDArray[np.generic]]:
    """What there is to compare: which weights train, all weights, outputs, and the weights after one step.

    Nothing, where a layer of the user's fails: that is the outcome of its own run, and stops no other.
    """
    import keras

    from ablate.models.classifier import build

    keras.utils.set_random_seed(planned.spec.seeds.init)
    try:
        model = build(planned.spec.model, input_shape, num_classes)
    except Exception:
        return []
    rng = np.random.default_rng(0)
    x = rng.standard_normal((_IMAGES, *input_shape)).astype("float32")
    y = np.arange(_IMAGES) % num_classes
    trains = np.array([weight.trainable for weight in model.weights])
    before = [np.asarray(weight).copy() for weight in model.weights]
    logits = np.asarray(model(x, training=False))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    eager = keras.backend.backend() == "tensorflow"  # a graph would cost more to trace than it saves in one step
    model.compile(optimizer=keras.optimizers.SGD(1.0), loss=loss, run_eagerly=eager)
    model.train_on_batch(x, y)
    return [trains, *before, logits, *(np.asarray(weight).copy() for weight in model.weights)]
