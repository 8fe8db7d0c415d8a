"""Encoders side by side, and tokens read as systems: the closed form is what the built model has."""

import keras
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.models import build
from ablate.models.profile import profile
from ablate.models.spec import ModelSpec

STAGES = st.sampled_from([
    {},
    {"observability": [2, 2]},
    {"observability": [3, 4]},
    {"observability": [2, 3], "early_fusion": True},
])  # fmt: skip
ATTENTIONS = st.sampled_from(["softmax", "manifold", "spd_distance", "grassmann_projection"])
BRANCH = st.fixed_dictionaries(
    {"attention": ATTENTIONS, "options": st.fixed_dictionaries({"tokenizer": STAGES})},
    optional={"qkv_bias": st.booleans(), "positional": st.sampled_from(["learnable", "sine", "none"])},
)


@pytest.mark.full
@given(
    st.sampled_from(["patch", "conv"]),
    st.sampled_from(["class_token", "seqpool", "mean"]),
    STAGES,
    st.dictionaries(st.sampled_from(["a", "b", "om"]), BRANCH, max_size=2),
    st.booleans(),
)
@settings(max_examples=12, deadline=None)
def test_fused_model_costs_what_its_closed_form_says(tokenizer, pooling, stage, branches, qkv_bias):
    spec = ModelSpec(
        tokenizer=tokenizer,
        kernel=4 if tokenizer == "patch" else 3,
        convs=1,
        pooling=pooling,
        layers=1,
        dim=12,
        heads=2,
        mlp_ratio=1,
        qkv_bias=qkv_bias,
        options={"tokenizer": stage},
        branches=branches,
    )
    shape, classes = (8, 8, 2), 3
    counted = profile(build(spec, shape, classes))
    assert (counted.params, counted.trainable_params) == (
        spec.params(shape, classes),
        spec.trainable_params(shape, classes),
    )
    assert counted.tokens == spec.tokens(shape)
    assert counted.macs == spec.macs(shape, classes)
    assert counted.macs_modules == spec.macs(shape, classes, convention="macs_modules")
    assert counted.macs_fvcore == spec.macs(shape, classes, convention="macs_fvcore")
    keras.backend.clear_session()
