"""Branches of late fusion: what is theirs and what is the model's, in costs, in what is recorded, and in errors."""

from dataclasses import dataclass

import keras
import pytest
from keras import ops

from ablate.models import build, registry
from ablate.models.cost import Params
from ablate.models.pooling.layers import FirstToken
from ablate.models.profile import profile
from ablate.models.slots import Pooling, SpecError
from ablate.models.spec import ModelSpec

SHAPE, CLASSES = (8, 8, 1), 3


def _spec(**leaves):
    return ModelSpec(**{"layers": 1, "convs": 2, "dim": 12, "heads": 2, "mlp_ratio": 1} | leaves)


def _same(first, second):
    return first.resolved() == second.resolved()


BRANCHES = {
    "a": {"attention": "linear", "positional": "sine", "qkv_bias": True, "options": {"pooling": {"sums": True}}},
    "b": {"attention": "softmax", "positional": "none", "qkv_bias": False, "options": {"pooling": {}}},
}


@pytest.mark.parametrize(
    "leaf",
    [
        {"attention": "manifold"},
        {"attention": "manifold", "options": {"attention": {"map_norm": "none"}}},
        {"positional": "sine2d"},
        {"positional": "learnable", "options": {"positional": {"draw": "uniform"}}},
        {"qkv_bias": True},
        {"options": {"pooling": {"sums": True}}},
    ],
)
def test_leaf_that_no_branch_takes_over_tells_no_models_apart(leaf):
    assert _same(_spec(branches=BRANCHES), _spec(branches=BRANCHES, **leaf))
    taking = {**BRANCHES, "b": {}}
    assert not _same(_spec(branches=taking), _spec(branches=taking, **leaf))


def test_leaf_of_the_model_is_that_of_each_branch_which_has_none():
    said_once = _spec(attention="linear", branches={"a": {}, "b": {"qkv_bias": True}})
    each = _spec(branches={"a": {"attention": "linear"}, "b": {"attention": "linear", "qkv_bias": True}})
    assert _same(said_once, each) and said_once.resolved().resolved() == said_once.resolved()


def test_order_in_which_branches_are_named_tells_no_models_apart():
    turned = _spec(branches=dict(reversed(BRANCHES.items()))).resolved()
    assert list(turned.branches) == ["a", "b"] and turned == _spec(branches=BRANCHES).resolved()


def test_activation_is_that_of_the_branches_where_they_have_one():
    gated = {"mlp": "gated", "layers": 2, "options": {"mlp": {"blocks": "last"}}}
    everywhere = {"options": {"mlp": {"blocks": "all"}}}
    assert _spec(**gated, branches={"a": everywhere, "b": everywhere}).resolved().activation == "silu"
    assert _spec(**gated, branches={"a": everywhere, "b": {}}).resolved().activation is None


def test_activation_of_the_blocks_that_have_an_mlp_is_kept():
    spec = _spec(mlp="none", layers=2, options={"mlp": {"blocks": "last"}}, activation="relu")
    assert spec.resolved().activation == "relu"


@pytest.mark.parametrize("stage", [{}, {"observability": [3, 2]}, {"observability": [2, 2], "early_fusion": True}])
def test_branch_with_a_stage_of_its_own_keeps_the_tokenizer_of_all(stage):
    options = {"tokenizer": {"conv_widths": "doubling"}}
    spec = _spec(options=options, branches={"a": {"options": {"tokenizer": stage}}, "b": {}})
    counted = profile(build(spec, SHAPE, CLASSES))
    assert (counted.params, counted.macs) == (spec.params(SHAPE, CLASSES), spec.macs(SHAPE, CLASSES))
    assert spec.resolved().params(SHAPE, CLASSES) == counted.params


class _Prefix(keras.layers.Layer):
    def __init__(self, count, **kwargs):
        super().__init__(**kwargs)
        self.count = count

    def call(self, x):
        return ops.concatenate([ops.repeat(x[:, :1], self.count, axis=1), x], axis=1)


def test_branch_has_the_extra_tokens_of_its_own_pooling(monkeypatch):
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))

    @registry.register(
        "pooling", "some", layer=lambda spec, _: (_Prefix(spec.variant("pooling").count), FirstToken(name="pooling"))
    )
    @dataclass
    class SomeTokensSpec(Pooling):
        count: int = 1

        def extra_tokens(self):
            return self.count

        def params(self, model, geometry):
            return Params()

    spec = _spec(pooling="some", branches={"a": {"options": {"pooling": {"count": 3}}}, "b": {}})
    for each in (spec, spec.resolved()):
        model = build(each, SHAPE, CLASSES)
        assert [branch.tokens for branch in model.get_layer("encoder").branches] == [7, 5]
        counted = profile(model)
        assert (counted.params, counted.macs) == (each.params(SHAPE, CLASSES), each.macs(SHAPE, CLASSES))
        assert counted.tokens == each.tokens(SHAPE)


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"attention": "sofmax"}, r"^model\.branches\.a\.attention must be one of"),
        ({"positional": "sin"}, r"^model\.branches\.a\.positional must be one of"),
        ({"options": {"pooling": {"sum": 1}}}, r"^model\.branches\.a\.options\.pooling\.sum is no option"),
        ({"options": {"pooling": {"sums": 1}}}, r"^model\.branches\.a\.options\.pooling\.sums must be true or false"),
        ({"options": {"pool": {}}}, r"^a slot in model\.branches\.a\.options must be one of"),
        (
            {"positional": "relative", "attention": "linear"},
            r"^model\.branches\.a\.positional=relative acts on attention's scores, which attention=linear",
        ),
        (
            {"attention": "manifold_spd", "options": {"attention": {"maps": ["euclid"]}}},
            r"^model\.branches\.a\.options\.attention\.maps must be .*; set model\.branches\.a\.attention=manifold",
        ),
        ({"positional": "rotary"}, r"^in model\.branches\.a: a head must be divisible by 4"),
        (
            {"options": {"tokenizer": {"conv_widths": "doubling"}}},
            r"^model\.branches\.a\.options\.tokenizer\.conv_widths must be what all branches have, fixed, got "
            r"doubling; set model\.options\.tokenizer\.conv_widths\.$",
        ),
    ],
)
def test_error_in_a_branch_names_the_leaf_of_the_branch(own, message):
    with pytest.raises(SpecError, match=message):
        _spec(branches={"a": own, "b": {}}).check()


@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("blocks", ["last", [0]])
def test_resolved_model_resolves_where_one_branch_has_no_activation(blocks, activation):
    branches = {"a": {"options": {"mlp": {"blocks": blocks}}}, "b": {}}
    spec = ModelSpec(layers=2, mlp="none", branches=branches, activation=activation)
    if activation is not None:  # which the model, and branch b, have nothing for
        with pytest.raises(SpecError, match=r"model\.activation must be null where no block has an MLP"):
            spec.check()
        return
    once = spec.resolved()
    assert once.activation is None and once.resolved() == once


def test_branch_with_an_embedding_that_is_not_trained_costs_what_its_closed_form_says():
    own = {"positional": "learnable", "options": {"positional": {"trained": False}}}
    spec = _spec(branches={"a": own, "b": {"positional": "sine"}})
    assert profile(build(spec, SHAPE, CLASSES)).params == spec.params(SHAPE, CLASSES)
