"""Our layers under the official code's weights against the official code's numbers, stage by stage.

Tolerances: 5e-5 in float32 against the float64 of the reference, whose own float32 is within 3e-6. Gradients are
held, per parameter, against the norm g of the reference's gradient: norm and absmax within 1e-4 g, sum within
1e-4 g √size, dot with the parameter within 1e-4 g ‖parameter‖. SeqPool's bias is left out: its gradient is 0 in
exact arithmetic.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from ablate import reference
from ablate.models import create_model, load_weights, trace
from ablate.models.weights import official_name, read_safetensors

FORWARD_TOLERANCE = 5e-5
GRADIENT_TOLERANCE = 1e-4
LOSS_TOLERANCE = 1e-5
_UNDETERMINED = {"classifier.attention_pool.bias"}


@dataclass(frozen=True)
class Check:
    """One comparison.

    Attributes:
        what: What is compared.
        off: How far ours is from the reference; NaN where ours is no number.
        tolerance: How far it may be.
    """

    what: str
    off: float
    tolerance: float

    @property
    def holds(self) -> bool:
        return self.off <= self.tolerance

    @property
    def share(self) -> float:
        """``off`` over ``tolerance``, by which the worst is found; infinite where ours is no number."""
        return self.off / self.tolerance if np.isfinite(self.off) else float("inf")

    def __str__(self) -> str:
        return f"{self.what} must be within {self.tolerance:.3g} of the official code's, but is off by {self.off:.3g}."


@dataclass(frozen=True)
class Golden:
    """One golden model.

    Attributes:
        name: As the reference calls it, e.g. ``cct_2_3x2_32_learnable``.
        facts: Its JSON: parameter counts, mean cross entropy, gradients' statistics.
        arrays: ``x``, ``labels``, and what comes out of each stage.
        weights: The file that holds its parameters.
    """

    name: str
    facts: dict[str, Any]
    arrays: Mapping[str, NDArray[Any]]
    weights: Path

    def model(self) -> keras.Model:
        """Ours of that name, with the official weights."""
        model = create_model(self.name.removesuffix("_learnable"))
        load_weights(model, self.weights)
        return model


def packaged(name: str) -> Golden:
    """One of `ablate.reference.MODELS`."""
    return read(Path(str(reference.golden(name, ""))).parent, name)


def read(folder: Path, name: str) -> Golden:
    """A golden model from a folder with its ``.json``, ``.npz`` and ``.safetensors``."""
    facts = json.loads((folder / f"{name}.json").read_text("utf-8"))
    with np.load(folder / f"{name}.npz") as stored:
        arrays = dict(stored)
    return Golden(name, facts, arrays, folder / f"{name}.safetensors")


def forward(golden: Golden) -> list[Check]:
    """Number of parameters, tokens, each block, features and logits."""
    model, arrays = golden.model(), golden.arrays
    seen = trace(model, arrays["x"])
    blocks = sorted(name.removesuffix("_sample0") for name in arrays if name.startswith("block_"))
    pairs = [
        ("tokenizer", seen["tokenizer"][0], arrays["tokens_sample0"]),
        ("tokens", seen["tokens"][0], _embedded(golden)),
        *((block, seen[block][0], arrays[f"{block}_sample0"]) for block in blocks),
        ("features", seen["features"], arrays["features_f64"]),
        ("logits", seen["logits"], arrays["logits_f64"]),
    ]
    count = Check("number of parameters", abs(model.count_params() - golden.facts["params"]), 0.5)
    return [count, *(Check(what, distance(ours, theirs), FORWARD_TOLERANCE) for what, ours, theirs in pairs)]


def _embedded(golden: Golden) -> NDArray[Any]:
    """What enters the first block: the files' "tokens" are the tokenizer's output; class token and embedding join
    after it."""
    stored, tokens = read_safetensors(golden.weights), golden.arrays["tokens_sample0"]
    token = stored.get("classifier.class_emb", np.zeros((1, 0, tokens.shape[-1])))[0]
    embedded: NDArray[Any] = np.concatenate([token, tokens]) + stored.get("classifier.positional_emb", [0])[0]
    return embedded


def distance(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    """The largest absolute difference; infinite between shapes that differ."""
    return float(np.abs(ours - theirs).max()) if ours.shape == theirs.shape else float("inf")


def gradients(golden: Golden) -> list[Check]:
    """Mean cross entropy in inference mode, and its gradient for every parameter."""
    model, expected = golden.model(), golden.facts["grads"]
    loss, found = _differentiate(model, golden.arrays["x"], golden.arrays["labels"])
    checks = [Check("mean cross entropy", abs(loss - golden.facts["loss_mean_ce_eval"]), LOSS_TOLERANCE)]
    strangers = found.keys() ^ {name for name, known in expected.items() if known is not None}
    checks.append(Check("number of parameters with a gradient", len(strangers), 0.5))
    weights = {official_name(weight.path): _float64(weight) for weight in model.trainable_variables}
    for name in sorted(found.keys() - strangers - _UNDETERMINED):
        checks += _gradient_checks(name, found[name], weights[name], expected[name])
    return checks


def _gradient_checks(name: str, ours: NDArray[Any], weight: NDArray[Any], expected: dict[str, float]) -> list[Check]:
    tolerance = GRADIENT_TOLERANCE * expected["norm"]
    statistics = {
        "norm": (np.linalg.norm(ours), 1.0),
        "absmax": (np.abs(ours).max(), 1.0),
        "sum": (ours.sum(), np.sqrt(ours.size)),
        "dot_param": ((ours * weight).sum(), np.linalg.norm(weight)),
    }
    return [
        Check(f"{what} of the gradient of {name}", abs(float(value) - expected[what]), tolerance * float(slack))
        for what, (value, slack) in statistics.items()
    ]


def _float64(tensor: Any) -> NDArray[Any]:
    return np.asarray(ops.convert_to_numpy(tensor), "float64")


def _differentiate(model: keras.Model, x: Any, labels: Any) -> tuple[float, dict[str, NDArray[Any]]]:
    """Mean cross entropy, and its gradient by official name.

    Raises:
        NotImplementedError: The backend is neither TensorFlow nor JAX.
    """
    trainable = [weight.value for weight in model.trainable_variables]
    backend = keras.backend.backend()
    if backend == "jax":
        jax: Any = import_module("jax")  # no part of the install: it is there where KERAS_BACKEND=jax works
        fixed = [variable.value for variable in model.non_trainable_variables]

        def loss(values: Any) -> Any:
            return _cross_entropy(labels, model.stateless_call(values, fixed, x, training=False)[0])

        value, found = jax.value_and_grad(loss)(trainable)
    elif backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = _cross_entropy(labels, model(x, training=False))
        found = tape.gradient(value, trainable)
    else:
        raise NotImplementedError(f"gradients need KERAS_BACKEND=tensorflow or jax, got {backend}.")
    names = [str(official_name(weight.path)) for weight in model.trainable_variables]
    return float(value), dict(zip(names, map(_float64, found), strict=True))


def _cross_entropy(labels: Any, logits: Any) -> Any:
    return ops.mean(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True))
