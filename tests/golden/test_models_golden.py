"""Our layers under the official code's weights give the official code's numbers, stage by stage.

Tolerances: 5e-5 in float32 against the float64 of the reference, whose own float32 is within 3e-6. Gradients are
held, per parameter, against the norm g of the reference's gradient: norm and absmax within 1e-4 g, sum within
1e-4 g √size, dot with the parameter within 1e-4 g ‖parameter‖. SeqPool's bias is left out: its gradient is 0 in
exact arithmetic.
"""

import json
from importlib.resources import as_file
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from ablate import reference
from ablate.models import create_model, encoder, load_weights, positional, tokenizers, trace
from ablate.models.weights import official_name, read_safetensors

SHARED = Path(__file__).parents[3] / "shared" / "reference" / "golden"
# Each family with each embedding; three are in the package, the others beside the checkout.
NAMES = [
    f"{family}_32_{pe}" for family in ("cct_2_3x2", "cvt_2_4", "vit_lite_2_4") for pe in ("learnable", "sine", "none")
]


class Golden:
    """One golden model: the reference's files, and ours under its weights."""

    def __init__(self, name):
        self.name = name
        if name in reference.MODELS:
            self.folder = Path(str(reference.golden(name, ""))).parent
        elif SHARED.is_dir():
            self.folder = SHARED
        else:
            pytest.skip(f"{name} is not in the package, and ../shared/reference is not here")
        self.json = json.loads((self.folder / f"{name}.json").read_text("utf-8"))
        self.arrays = dict(np.load(self.folder / f"{name}.npz"))
        self.weights = self.folder / f"{name}.safetensors"

    def model(self):
        model = create_model(self.name.removesuffix("_learnable"))
        load_weights(model, self.weights)
        return model


@pytest.fixture(scope="module", params=NAMES)
def golden(request):
    return Golden(request.param)


def _off(ours, theirs):
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max())


def test_packaged_files_prove_each_family_and_each_embedding():
    assert set(reference.MODELS) <= set(NAMES)
    assert {name.split("_")[0] for name in reference.MODELS} == {"cct", "cvt", "vit"}
    assert {name.split("_")[-1] for name in reference.MODELS} == {"learnable", "sine", "none"}
    for name in reference.MODELS:
        for suffix in (".json", ".npz", ".safetensors"):
            with as_file(reference.golden(name, suffix)) as path:
                assert path.is_file()


def test_forward_stage_by_stage(golden):
    model, arrays = golden.model(), golden.arrays
    assert model.count_params() == golden.json["params"]
    seen = trace(model, arrays["x"])
    # The files' "tokens" are the tokenizer's output; class token and embedding join after it.
    assert _off(seen["tokenizer"][0], arrays["tokens_sample0"]) < 5e-5
    stored = read_safetensors(golden.weights)
    token = stored.get("classifier.class_emb", np.zeros((1, 0, 128)))[0]
    embedded = np.concatenate([token, arrays["tokens_sample0"]]) + stored.get("classifier.positional_emb", [0])[0]
    assert _off(seen["tokens"][0], embedded) < 5e-5
    for index in range(2):
        assert _off(seen[f"block_{index}"][0], arrays[f"block_{index}_sample0"]) < 5e-5
    assert _off(seen["features"], arrays["features_f64"]) < 5e-5
    assert _off(seen["logits"], arrays["logits_f64"]) < 5e-5


def _mean_cross_entropy(model, x, labels):
    return ops.mean(keras.losses.sparse_categorical_crossentropy(labels, model(x, training=False), from_logits=True))


def _gradients(model, x, labels):
    """Mean cross entropy in inference mode, and its gradient by official name."""
    names = [official_name(weight.path) for weight in model.trainable_variables]
    if keras.backend.backend() == "jax":
        import jax

        def loss(trainable):
            fixed = [variable.value for variable in model.non_trainable_variables]
            logits, _ = model.stateless_call(trainable, fixed, x, training=False)
            return ops.mean(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True))

        value, gradients = jax.value_and_grad(loss)([variable.value for variable in model.trainable_variables])
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = _mean_cross_entropy(model, x, labels)
        gradients = tape.gradient(value, [weight.value for weight in model.trainable_variables])
    arrays = (ops.convert_to_numpy(gradient).astype("float64") for gradient in gradients)
    return float(value), dict(zip(names, arrays, strict=True))


def test_gradients(golden):
    model = golden.model()
    stored = read_safetensors(golden.weights)
    loss, gradients = _gradients(model, golden.arrays["x"], golden.arrays["labels"])
    assert abs(loss - golden.json["loss_mean_ce_eval"]) < 1e-5
    assert set(gradients) == {name for name, expected in golden.json["grads"].items() if expected is not None}
    weights = {official_name(w.path): ops.convert_to_numpy(w).astype("float64") for w in model.trainable_variables}
    for name in gradients.keys() - {"classifier.attention_pool.bias"}:
        ours, expected, size = gradients[name], golden.json["grads"][name], np.linalg.norm(stored[name])
        tolerance = 1e-4 * expected["norm"]
        assert abs(np.linalg.norm(ours) - expected["norm"]) <= tolerance, name
        assert abs(np.abs(ours).max() - expected["absmax"]) <= tolerance, name
        assert abs(ours.sum() - expected["sum"]) <= tolerance * np.sqrt(ours.size), name
        assert abs((ours * weights[name]).sum() - expected["dot_param"]) <= tolerance * size, name


# ------------------------------------------------------------------- the comparison sees each common wrong design


def _plain_pre_norm(self, x, training=None):
    x = x + self.attention(self.norm_1(x))
    return x + self.mlp(self.norm_2(x))


def _no_scale(self, x, training=None):
    query, key, value = (self._heads(part, (0, 2, 1, 3)) for part in ops.split(self.qkv(x), 3, axis=-1))
    weights = ops.softmax(ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))))
    mixed = ops.transpose(ops.matmul(weights, value), (0, 2, 1, 3))
    return self.projection(ops.reshape(mixed, (-1, x.shape[1], x.shape[2])))


WRONG = {
    "gelu_tanh": (encoder, "gelu", lambda x: ops.gelu(x, approximate=True)),
    "layernorm_eps_0.001": (encoder, "LAYER_NORM_EPSILON", 1e-3),
    "standard_prenorm_residual": (encoder.Block, "call", _plain_pre_norm),
    "no_attention_scale": (encoder.Attention, "call", _no_scale),
    "maxpool_tf_same_padding": (
        tokenizers,
        "max_pool",
        lambda x: ops.max_pool(x, 3, strides=2, padding="same"),
    ),
}


@pytest.mark.parametrize("design", WRONG)
def test_wrong_design_is_seen_and_moves_logits_as_it_moved_the_official_ones(design, monkeypatch):
    golden = Golden("cct_2_3x2_32_learnable")
    expected = golden.json["wrong_design_logit_delta"][design]
    owner, name, value = WRONG[design]
    monkeypatch.setattr(owner, name, value)
    off = _off(ops.convert_to_numpy(golden.model()(golden.arrays["x"])), golden.arrays["logits_f64"])
    assert off > 5e-5
    assert off == pytest.approx(expected, rel=0.02)


def test_sine_table_is_the_official_one():
    stored = read_safetensors(Golden("cvt_2_4_32_sine").weights)["classifier.positional_emb"][0]
    assert _off(positional.sine_table(*stored.shape), stored) < 5e-6  # the official one is computed in float32
