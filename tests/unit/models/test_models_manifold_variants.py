"""The fork's models as built: counted as its code was, named as its state dicts are, fused as its formulas say."""

import dataclasses
import re

import keras
import numpy as np
import pytest
from keras import ops

from ablate.models import (
    at_resolution,
    create_model,
    load_model,
    load_weights,
    manifold_names,
    save_weights,
    trace,
    zoo,
)
from ablate.models import build as build_spec
from ablate.models.profile import profile
from ablate.models.spec import ModelSpec
from ablate.models.tokenizer.observability import observability
from ablate.models.weights import WeightsError, assign, state_dict
from ablate.proof import reference
from ablate.proof.manifold import counted

COLUMNS = {
    "params": "total_params",
    "trainable_params": "trainable_params",
    "tokens": "seq_len",
    "macs": "macs_with_attention",
    "macs_modules": "macs_matmul_only",
    "macs_fvcore": "macs_fvcore_incl_layernorm",
}
ROWS = reference.manifold_rows()
FEW = {
    "manifold_vit_2_4_32, factory (attention_type='all')",
    "manifold_cct_2_3x2_32_sine, class (attention_type='gm', ln_attention=False)",
    "manifold_cvt_2_4_32, seed_factory (attention_type='riem')",
    "manifold_cct_2_3x2_32, seed_factory (attention_type='all')",
    "riemmanian_vit_2_4_32, factory",
    "grassmanian_cct_2_3x2_32, factory",
    "early_fusion__vit_2_4_32, factory",
    "img_gm_riem_vit_2_4_32, factory",
}
"""Each kind, each norm, both revisions: built in every run. The other models of two layers are in the full tier."""
SMALL = {"dim": 32, "heads": 2, "mlp_ratio": 1, "num_classes": 3}


def _label(row):
    return f"{row['name']}, {row['source']}"


def _tier(row):
    return pytest.param(row, marks=() if _label(row) in FEW else pytest.mark.full, id=_label(row))


def _images(model, count=2, seed=0):
    return np.random.default_rng(seed).normal(size=(count, *model.input_shape[1:])).astype("float32")


def _array(x):
    return np.asarray(ops.convert_to_numpy(x))


@pytest.mark.parametrize("row", [_tier(row) for row in ROWS if re.match(r".*_2_(4|3x2)_32", row["name"])])
def test_manifold_model_is_built_as_the_fork_counted_it(row):
    named = counted(row)
    model = build_spec(named.spec, (*named.image_size, 3), named.num_classes)
    assert dataclasses.asdict(profile(model)) == {ours: int(row[theirs]) for ours, theirs in COLUMNS.items()}
    logits = _array(model(_images(model)))
    assert np.isfinite(logits).all() and np.abs(logits[0] - logits[1]).max() > 0
    keras.backend.clear_session()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("manifold_vit_1_8_16", "classifier.blocks.0.self_attn.conv_attn.1.weight"),
        ("seed_manifold_cct_1_3x1_8", "classifier.head.weight"),
        ("riemmanian_vit_1_8_16_sine", "classifier.blocks.0.self_attn.scale"),
        ("grassmanian_cct_1_3x1_8", "om_layer.2.weight"),
        ("early_fusion__vit_1_8_16", "om_layer.1.weight"),
        ("early_fusion__vit_1_8_16", "project.0.bias"),
        ("img_gm_vit_1_8_16", "late_fusion_classifier.0.weight"),
        ("img_gm_riem_vit_1_8_16", "late_fusion_classifier.weight"),
        ("img_gm_riem_vit_1_8_16", "om_classifier.blocks.0.self_attn.norm.weight"),
        ("img_gm_riem_vit_1_8_16", "img_classifier.class_emb"),
        ("img_gm_riem_vit_1_8_16", "riem_classifier.positional_emb"),
    ],
)
def test_manifold_model_writes_the_forks_names_and_reads_them(name, expected, tmp_path):
    options = {"tokenizer": {"observability": [2, 3], "early_fusion": True}} if "early" in name else None
    model = create_model(name, **{**SMALL, "dim": 96 if "gm" in name else 32}, options=options)
    stored = state_dict(model)
    assert len(stored) == len(model.weights) and not [each for each in stored if "/" in each]
    assert expected in stored
    scales = [each for each in stored if each.endswith("scale")]
    assert all(stored[each].shape == () for each in scales)
    save_weights(model, tmp_path / "x.safetensors")
    other = create_model(name, **{**SMALL, "dim": 96 if "gm" in name else 32}, options=options)
    loaded = load_weights(other, tmp_path / "x.safetensors")
    assert loaded.head == "loaded" and not any(names for _, names in loaded.exceptions())
    x = _images(model)
    np.testing.assert_array_equal(_array(other(x)), _array(model(x)))


def test_manifold_batch_norm_counter_is_left_out(tmp_path):
    model = create_model("seed_manifold_cvt_1_8_16", maps=manifold_names.MAPS, **SMALL)
    stored = state_dict(model) | {
        "classifier.blocks.0.self_attn.conv_attn.0.num_batches_tracked": np.array(7, dtype="int64")
    }
    assert "classifier.blocks.0.self_attn.conv_attn.0.running_var" in stored
    assert len(assign(model, stored, source="x").loaded) == len(model.weights)


def test_manifold_model_is_the_same_after_keras_wrote_and_read_it(tmp_path):
    for name in ("seed_manifold_cvt_1_8_16", "early_fusion__vit_1_8_16", "img_gm_riem_vit_1_8_16"):
        model = create_model(name, **{**SMALL, "dim": 96})
        model.save(tmp_path / "model.keras")
        again, x = load_model(tmp_path / "model.keras"), _images(model)
        np.testing.assert_array_equal(_array(again(x)), _array(model(x)))


def test_manifold_another_resolution_is_refused_where_maps_are_normalised():
    model = create_model("manifold_cvt_1_8_16", **SMALL)
    said = r"image_size must be 16x16, .*, got 24x24: encoder/block_0/attention/map_norm/gamma and 1 more weights have"
    with pytest.raises(WeightsError, match=said):
        at_resolution(model, 24)


def test_late_fusion_moves_every_embedding_to_another_resolution():
    model = create_model("img_riem_vit_1_8_16", **SMALL)
    other = at_resolution(model, 24)
    assert other.get_layer("encoder").branches[1].positional.embedding.shape == (1, 10, 32)
    assert np.isfinite(_array(other(_images(other)))).all()
    back = at_resolution(model, 16)
    np.testing.assert_array_equal(_array(back(_images(model))), _array(model(_images(model))))


def test_late_fusion_is_its_encoders_each_by_itself():
    fused = create_model("img_gm_riem_vit_1_8_16", **{**SMALL, "dim": 96}, head=False)
    stored, x = state_dict(fused), _images(fused)
    kinds = {"img": "vit_1_8_16", "om": "grassmanian_vit_1_8_16", "riem": "riemmanian_vit_1_8_16"}
    features = []
    for branch, name in kinds.items():
        alone = create_model(name, **{**SMALL, "dim": 96}, head=False)
        own = {key.replace(f"{branch}_classifier", "classifier"): array for key, array in stored.items()}
        assign(alone, {key: own[key] for key in state_dict(alone)}, source=branch)
        features.append(_array(alone(x)))
    np.testing.assert_allclose(_array(fused(x)), np.concatenate(features, axis=-1), atol=1e-6)


def test_late_fusion_of_equal_encoders_is_a_model_too():
    spec = ModelSpec(dim=32, heads=2, layers=1, branches={"a": {}, "b": {"positional": "none"}})
    model = build_spec(spec, (16, 16, 1), 3)
    assert profile(model).params == spec.params((16, 16, 1), 3)
    assert profile(model).macs == spec.macs((16, 16, 1), 3)
    assert not [name for name in state_dict(model) if name.startswith("b_") and "positional" in name]


def test_early_fusion_joins_each_token_and_its_observability_matrix():
    model = create_model("early_fusion__vit_1_8_16", **SMALL)
    seen, layer = trace(model, _images(model)), model.get_layer("tokenizer").observability
    tokens, dense, joined = seen["tokenizer.tokens"], layer.dense, layer.joined
    matrices = _array(observability(ops.convert_to_tensor(tokens), 4, 4))
    features = matrices @ _array(dense.kernel) + _array(dense.bias)
    expected = np.concatenate([tokens, features], axis=-1) @ _array(joined.kernel) + _array(joined.bias)
    np.testing.assert_allclose(seen["tokenizer"], expected, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Gradients do not exist")  # for scales that nothing reads
@pytest.mark.parametrize("name", ["grassmanian_cct_1_3x1_8", "img_gm_riem_vit_1_8_16", "early_fusion__vit_1_8_16"])
def test_manifold_fusions_train_in_bfloat16_with_finite_gradients(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = create_model(name, **{**SMALL, "dim": 96})
    finally:
        keras.config.set_dtype_policy(before)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x = _images(model)
    x[:, :4] = 0.0  # a black border: equal tokens
    model.fit(x, np.array([0, 1]), epochs=2, verbose=0)
    assert all(np.isfinite(_array(weight)).all() for weight in model.weights)


def test_published_manifold_names_of_the_zoo_are_named_in_the_reference():
    for row in ROWS:
        assert zoo.parse(row["name"]).image_size == (int(row["img_size"]),) * 2
