"""Our layers under the official code's weights give the official code's numbers, stage by stage.

The comparisons and their tolerances are `ablate.proof.parity`'s, which ``python -m ablate verify`` runs too. Here all
nine models are held, and the comparison itself.
"""

from dataclasses import replace
from importlib.resources import as_file
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from ablate.models import encoder, numerics
from ablate.models.attention.layers import SoftmaxAttention
from ablate.models.norm.layers import LayerNorm
from ablate.models.positional import layers as positional
from ablate.models.tokenizer import layers as tokenizers
from ablate.models.weights import read_safetensors
from ablate.proof import parity, reference

SHARED = Path(__file__).parents[3] / "shared" / "reference" / "golden"
# Each family with each embedding; three are in the package, the others beside the checkout.
NAMES = [
    f"{family}_32_{pe}" for family in ("cct_2_3x2", "cvt_2_4", "vit_lite_2_4") for pe in ("learnable", "sine", "none")
]


def _golden(name):
    if name in reference.MODELS:
        return parity.packaged(name)
    if not SHARED.is_dir():
        pytest.skip(f"{name} is not in the package, and ../shared/reference is not here")
    return parity.read(SHARED, name)


@pytest.fixture(scope="module", params=NAMES)
def golden(request):
    return _golden(request.param)


each_precision = pytest.mark.parametrize("precision", parity.precisions())


def test_packaged_files_prove_each_family_and_each_embedding():
    assert set(reference.MODELS) <= set(NAMES)
    assert {name.split("_")[0] for name in reference.MODELS} == {"cct", "cvt", "vit"}
    assert {name.split("_")[-1] for name in reference.MODELS} == {"learnable", "sine", "none"}
    for name in reference.MODELS:
        for suffix in (".json", ".npz", ".safetensors"):
            with as_file(reference.golden(name, suffix)) as path:
                assert path.is_file()


def _assert_hold(checks, at_least):
    assert len(checks) >= at_least
    assert not [str(check) for check in checks if not check.holds]


@each_precision
def test_forward_stage_by_stage(golden, precision):
    checks = parity.forward(golden, precision)
    _assert_hold(checks, 7)
    tolerances = {check.what: check.tolerance for check in checks[1:]}
    assert list(tolerances) == ["tokenizer", "tokens", "block_0", "block_1", "features", "logits"]
    assert max(tolerances.values()) == {"float32": 5e-5, "float64": 3e-6}[precision]
    assert tolerances["logits"] == {"float32": 5e-5, "float64": 1e-12}[precision]


@each_precision
def test_gradients(golden, precision):
    parameters = [name for name, known in golden.facts["grads"].items() if known is not None]
    seqpool = "classifier.attention_pool.bias" in parameters
    checks = parity.gradients(golden, precision)
    _assert_hold(checks, 2 + 4 * (len(parameters) - seqpool))
    for check in checks[2:]:
        name = check.what.split(" of the gradient of ")[1]
        norm, size = golden.facts["grads"][name]["norm"], np.prod(golden.facts["grads"][name]["shape"])
        share = {"float32": 1e-4, "float64": 1e-12}[precision]
        assert check.tolerance <= share * norm * max(1, np.sqrt(size) * 20), check


def test_parity_leaves_precision_as_it_was():
    before = keras.config.floatx(), keras.config.dtype_policy().name
    with pytest.raises(FileNotFoundError):
        parity.gradients(replace(_golden("vit_lite_2_4_32_none"), weights=Path("nowhere.safetensors")), "float64")
    assert (keras.config.floatx(), keras.config.dtype_policy().name) == before


def test_check_of_what_is_no_number_does_not_hold():
    assert not parity.Check("logits", float("nan"), 5e-5).holds
    assert parity.Check("logits", float("nan"), 5e-5).share == float("inf")
    assert parity.distance(np.zeros(3), np.zeros((3, 1))) == float("inf")


# ------------------------------------------------------------------- the comparison sees each common wrong design


def _plain_pre_norm(self, x, training=None):
    x = x + self.attention(self.norm_1(x))
    return x + self.mlp(self.norm_2(x))


def _no_scale(self, x, training=None):
    query, key, value = (self.split_heads(part) for part in ops.split(self.qkv(x), 3, axis=-1))
    weights = ops.softmax(ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))))
    mixed = ops.transpose(ops.matmul(weights, value), (0, 2, 1, 3))
    return self.projection(ops.reshape(mixed, (-1, x.shape[1], x.shape[2])))


def _norm_with_wide_epsilon(self, x):
    mean, variance = ops.moments(x, axes=-1, keepdims=True)
    return (x - mean) / ops.sqrt(variance + 1e-3) * self.gamma + self.beta


WRONG = {
    "gelu_tanh": (numerics, "gelu", lambda x, training=True: ops.gelu(x, approximate=True)),
    "layernorm_eps_0.001": (LayerNorm, "call", _norm_with_wide_epsilon),
    "standard_prenorm_residual": (encoder.Block, "call", _plain_pre_norm),
    "no_attention_scale": (SoftmaxAttention, "call", _no_scale),
    "maxpool_tf_same_padding": (
        tokenizers,
        "max_pool",
        lambda x: ops.max_pool(x, 3, strides=2, padding="same"),
    ),
}


@pytest.mark.parametrize("design", WRONG)
def test_wrong_design_is_seen_and_moves_logits_as_it_moved_the_official_ones(design, monkeypatch):
    golden = _golden("cct_2_3x2_32_learnable")
    expected = golden.facts["wrong_design_logit_delta"][design]
    owner, name, value = WRONG[design]
    monkeypatch.setattr(owner, name, value)
    off = parity.distance(ops.convert_to_numpy(golden.model()(golden.arrays["x"])), golden.arrays["logits_f64"])
    assert off > 5e-5
    assert off == pytest.approx(expected, rel=0.02)


def test_sine_table_is_the_official_one():
    stored = read_safetensors(_golden("cvt_2_4_32_sine").weights)["classifier.positional_emb"][0]
    ours = positional.sine_table(*stored.shape)
    assert parity.distance(ours, stored) < 5e-6  # the official one is computed in float32
