"""Our layers under the official code's weights against the official code's numbers, stage by stage and step by step.

The reference is float64, but for what lies between the stages: that was stored in float32, of which the official
code's own is within 3e-6. In float32 ours is held to 5e-5, in float64 to rounding. Gradients are held, per parameter,
against the norm g of the reference's gradient: norm and absmax within a share t of g (1e-4 in float32), sum within
t g √size, dot with the parameter within t g ‖parameter‖. SeqPool's bias is left out: its gradient is 0 in exact
arithmetic.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from ablate.models import create_model, load_weights, trace
from ablate.models.weights import official_name, read_safetensors
from ablate.proof import reference
from ablate.training.optimizer import AdamW
from ablate.training.steps.compiled import compile_step

Floatx = Literal["float32", "float64"]
PRECISIONS: tuple[Floatx, ...] = get_args(Floatx)
TRACED = "cct_2_3x2_32_learnable"
"""The golden model that the official code trained for ten steps."""
SMOOTHING = 0.1
"""Label smoothing in those steps; the trace's file says so in words."""


@dataclass(frozen=True)
class Tolerance:
    """How far one precision may be from the reference.

    Attributes:
        outputs: Largest absolute difference of features and logits.
        stages: Largest absolute difference of tokens and blocks, which the reference stored in float32.
        gradients: Difference of a gradient's statistics, as a share of the norm of that gradient.
        loss: Difference of mean cross entropy, of a golden model and before each training step.
        trained: Largest absolute difference of logits after ten steps; where a gradient is nearly 0, Adam makes steps
            of its rounding.
    """

    outputs: float
    stages: float
    gradients: float
    loss: float
    trained: float


TOLERANCES: dict[Floatx, Tolerance] = {
    # Measured: 9e-6, 1e-5, 4e-6, 2e-6, 5e-5. Keras' own Adam is 2.6e-5 away in loss and 6.4e-4 in trained logits.
    "float32": Tolerance(outputs=5e-5, stages=5e-5, gradients=1e-4, loss=1e-5, trained=2e-4),
    # Measured: 6e-15, 5e-7, 2e-14, 1e-15, 5e-15. Another machine sums in another order.
    "float64": Tolerance(outputs=1e-12, stages=3e-6, gradients=1e-12, loss=1e-12, trained=1e-12),
}
_UNDETERMINED = {"classifier.attention_pool.bias"}


@dataclass(frozen=True)
class Check:
    """One comparison.

    Attributes:
        what: Name of the quantity that is compared.
        off: Absolute difference between ours and the reference; NaN where ours is no number.
        tolerance: Largest difference that is allowed.
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
        name: Name of the model in the reference, e.g. ``cct_2_3x2_32_learnable``.
        facts: Content of the model's JSON file: parameter counts, mean cross entropy, gradients' statistics.
        arrays: ``x``, ``labels``, and the outputs of each stage, by name.
        weights: File of the model's parameters.
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
    """One of `ablate.proof.reference.MODELS`."""
    return read(Path(str(reference.golden(name, ""))).parent, name)


def read(folder: Path, name: str) -> Golden:
    """A golden model from a folder with its ``.json``, ``.npz`` and ``.safetensors``."""
    facts = json.loads((folder / f"{name}.json").read_text("utf-8"))
    with np.load(folder / f"{name}.npz") as stored:
        arrays = dict(stored)
    return Golden(name, facts, arrays, folder / f"{name}.safetensors")


def precisions() -> tuple[Floatx, ...]:
    """Those that the backend can be held in: under JAX, Keras computes means and LayerNorm in float32 at most."""
    return PRECISIONS if keras.backend.backend() == "tensorflow" else ("float32",)


@contextmanager
def computing_in(precision: Floatx) -> Iterator[Tolerance]:
    """Models that are built inside have this type, weights, activations and optimizer alike."""
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx(precision)
    keras.config.set_dtype_policy(precision)
    try:
        yield TOLERANCES[precision]
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])


def forward(golden: Golden, precision: Floatx = "float32") -> list[Check]:
    """Number of parameters, tokens, each block, features and logits."""
    arrays = golden.arrays
    with computing_in(precision) as allowed:
        model = golden.model()
        seen = trace(model, arrays["x"])
    blocks = sorted(name.removesuffix("_sample0") for name in arrays if name.startswith("block_"))
    stages = {"tokenizer": arrays["tokens_sample0"], "tokens": _embedded(golden)}
    stages |= {block: arrays[f"{block}_sample0"] for block in blocks}
    return [
        Check("number of parameters", abs(model.count_params() - golden.facts["params"]), 0.5),
        *(Check(name, distance(seen[name][0], theirs), allowed.stages) for name, theirs in stages.items()),
        *(Check(name, distance(seen[name], arrays[f"{name}_f64"]), allowed.outputs) for name in ("features", "logits")),
    ]


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


def gradients(golden: Golden, precision: Floatx = "float32") -> list[Check]:
    """Mean cross entropy in inference mode, and its gradient for every parameter."""
    expected = golden.facts["grads"]
    with computing_in(precision) as allowed:
        model = golden.model()
        loss, found = differentiate(model, golden.arrays["x"], golden.arrays["labels"])
    checks = [Check("mean cross entropy", abs(loss - golden.facts["loss_mean_ce_eval"]), allowed.loss)]
    strangers = found.keys() ^ {name for name, known in expected.items() if known is not None}
    checks.append(Check("number of parameters with a gradient", len(strangers), 0.5))
    weights = {official_name(weight.path): float64(weight) for weight in model.trainable_variables}
    for name in sorted(found.keys() - strangers - _UNDETERMINED):
        checks += gradient_checks(name, found[name], weights[name], expected[name], allowed.gradients)
    return checks


def gradient_checks(
    name: str, ours: NDArray[Any], weight: NDArray[Any], expected: dict[str, float], share: float
) -> list[Check]:
    tolerance = share * expected["norm"]
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


def float64(tensor: Any) -> NDArray[Any]:
    return np.asarray(ops.convert_to_numpy(tensor), "float64")


def differentiate(model: keras.Model, x: Any, labels: Any) -> tuple[float, dict[str, NDArray[Any]]]:
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
        found = tape.gradient(value, trainable, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    else:
        raise NotImplementedError(f"gradients need KERAS_BACKEND=tensorflow or jax, got {backend}.")
    names = [str(official_name(weight.path)) for weight in model.trainable_variables]
    return float(value), dict(zip(names, map(float64, found), strict=True))


def _cross_entropy(labels: Any, logits: Any) -> Any:
    return ops.mean(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True))


@dataclass(frozen=True)
class Trace:
    """Ten steps of AdamW that the official code took from the weights of `TRACED`, on one batch, without dropout.

    Attributes:
        facts: Content of the trace's JSON file: the rule; losses before each step, loss and logits after the last,
            where every tensor decays; and under ``alt_timm_no_decay_1d`` the same where those of one dimension do not.
        x: Images, ``(batch, height, width, channels)``.
        labels: Class of each image, ``(batch,)``.
    """

    facts: dict[str, Any]
    x: NDArray[Any]
    labels: NDArray[Any]

    def expected(self, *, decay_1d: bool) -> dict[str, Any]:
        """Losses and logits under one of both decay rules."""
        found: dict[str, Any] = self.facts if decay_1d else self.facts["alt_timm_no_decay_1d"]
        return found


def training_trace() -> Trace:
    """The packaged trace."""
    folder = Path(str(reference.golden(TRACED, ""))).parent
    with np.load(folder / "train_batch_cct_2_3x2.npz") as stored:
        return Trace(
            json.loads((folder / "train_trace_cct_2_3x2.json").read_text("utf-8")), stored["x"], stored["labels"]
        )


def training(trace: Trace, precision: Floatx = "float32", *, decay_1d: bool) -> list[Check]:
    """The loss before each step, and loss and logits after the last."""
    expected = trace.expected(decay_1d=decay_1d)
    with computing_in(precision) as allowed:
        losses, logits = _trained(trace, decay_1d=decay_1d)
    known = [*expected["losses"], expected["final_loss"]]
    return [
        *(
            Check(f"loss before step {step}", abs(ours - theirs), allowed.loss)
            for step, (ours, theirs) in enumerate(zip(losses, known, strict=True), start=1)
        ),
        Check("logits after the last step", distance(logits, np.array(expected["final_logits"])), allowed.trained),
    ]


def _trained(trace: Trace, *, decay_1d: bool) -> tuple[list[float], NDArray[Any]]:
    """Losses before each of 10 updates and after them; logits, in inference mode, after them."""
    rule, real = trace.facts["optimizer"], keras.config.floatx()
    model = create_model(TRACED.removesuffix("_learnable"), dropout=0.0, attention_dropout=0.0, stochastic_depth=0.0)
    load_weights(model, packaged(TRACED).weights)
    optimizer = AdamW(rule["lr"], rule["weight_decay"], decay_1d=decay_1d, epsilon=rule["eps"])
    step = compile_step(model, optimizer, dtype="float32")
    x, as_it_is = trace.x, (np.ones(3, real), np.zeros(3, real))
    batch = (x, trace.labels, np.ones(len(x), real), *as_it_is, SMOOTHING)
    losses = [float(step.train(*batch)[0]) for _ in range(10)]
    logits = ops.convert_to_numpy(step.predict(x, *as_it_is))
    return [*losses, float(step.train(*batch)[0])], logits
