"""A user's variants are built once before anything trains; what cannot be built is told in a sentence."""

import sys
from dataclasses import replace

import pytest

from ablate.models import registry
from ablate.models.slots import SpecError
from ablate.sweep.plan import make_plan
from ablate.tasks.classify import rehearsal
from ablate.tasks.classify.rehearsal import rehearse

SPEC = """
from dataclasses import dataclass
from ablate import Positional, register

@register("positional", "scaled", layer="scaled_layers:scaled")
@dataclass
class Scaled(Positional):
    scale: float = 1.0
"""
LAYERS = """
import keras

built = []

@keras.saving.register_keras_serializable(package="scaled")
class Scaled(keras.layers.Layer):
    def call(self, x, training=None):
        return x * 2

def scaled(spec, geometry):
    built.append(spec.variant("positional").scale)
    return Scaled(name="positional")
"""
SWEEP = """
base: {model: tiny, data: digits, plugins: [scaled]}
axes: {model.positional: [none, scaled], model.pooling: [seqpool, mean]}
seeds: 2
"""


@pytest.fixture
def specs(tmp_path, monkeypatch):
    """The runs of a sweep over a plugin's variant, whose layer's file is as told, or is not there."""
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "scaled.py").write_text(SPEC)

    def planned(layers, *words, sweep=SWEEP):
        if layers is not None:
            (tmp_path / "scaled_layers.py").write_text(layers)
        (tmp_path / "sweeps" / "mine.yaml").write_text(sweep)
        return [each.spec for each in make_plan(["+sweep=mine", *words]).points]

    yield planned
    for name in ("scaled", "scaled_layers"):
        sys.modules.pop(name, None)


def test_rehearsal_builds_each_distinct_variant_once(specs):
    rehearse(specs(LAYERS))
    assert sys.modules["scaled_layers"].built == [1.0]
    axes = "{model.options.positional.scale: [1.0, 2.0], model.pooling: [seqpool, mean]}"
    words = f"base: {{model: tiny, data: digits, plugins: [scaled], model.positional: scaled}}\naxes: {axes}\nseeds: 2"
    rehearse(specs(LAYERS, sweep=words))
    assert sys.modules["scaled_layers"].built == [1.0, 1.0, 2.0]


def test_rehearsal_builds_a_variant_anew_for_other_options_in_a_branch(specs):
    def branched(spec, scale):
        own = {"positional": "scaled", "options": {"positional": {"scale": scale}}}
        return replace(spec, model=replace(spec.model, positional="none", branches={"a": own, "b": {}}))

    (first, *_) = specs(LAYERS)
    rehearse([branched(first, scale) for scale in (1.0, 2.0, 1.0)])
    assert sys.modules["scaled_layers"].built == [1.0, 2.0]


def test_rehearsal_of_our_variants_builds_nothing(specs, monkeypatch):
    def forbidden(*args):
        raise AssertionError("nothing is to be built")

    monkeypatch.setattr(rehearsal, "_build", forbidden)
    rehearse(specs(None, "model.positional=none"))


def _of(slot, base):
    """The plugin as a variant of another slot, in a sweep."""
    spec = SPEC.replace("import Positional", f"import Macs, Params, {base}").replace("(Positional)", f"({base})")
    costs = [f"    def {each}(self, model, geometry): return {each.title()}()\n" for each in ("params", "macs")]
    return spec.replace('"positional"', f'"{slot}"') + "".join(costs), SWEEP.replace(
        "model.positional: [none, scaled]", f"model.{slot}: [scaled]"
    )


@pytest.mark.parametrize(
    ("slot", "base", "result", "message"),
    [
        ("attention", "Attention", "x[:, :1]", r"attention of block_0 gives \(1, 32\) for each image .* \(16, 32\)"),
        ("mlp", "Mlp", "x[..., :1]", r"mlp of block_0 gives \(16, 1\) for each image where it must keep \(16, 32\)"),
        ("norm", "Norm", "x[:, :1]", r"norm_1 of block_0 gives \(1, 32\) for each image"),
        (
            "head",
            "Head",
            "x[:, :3]",
            r"the head gives \(3,\) for each image where it must give \(10,\)",
        ),
    ],
)
def test_rehearsal_refuses_a_layer_whose_shape_would_be_spread_without_a_word(
    specs, tmp_path, slot, base, result, message
):
    spec, sweep = _of(slot, base)
    (tmp_path / "scaled.py").write_text(spec)
    factory = "def scaled(spec, geometry, depth=0):\n    return Scaled()\n"
    with pytest.raises(SpecError, match=rf"^{slot}=scaled must be built before anything trains, but .*{message}"):
        rehearse(specs(LAYERS.partition("def scaled")[0].replace("x * 2", result) + factory, sweep=sweep))


@pytest.mark.parametrize(("counted", "right"), [(0, False), (32 * 32 + 32, True)])
def test_rehearsal_refuses_a_spec_that_counts_other_parameters_than_its_layer_has(specs, tmp_path, counted, right):
    spec, sweep = _of("attention", "Attention")
    (tmp_path / "scaled.py").write_text(spec.replace("return Params()", f"return Params({counted})"))
    planned = specs(
        "import keras\ndef scaled(spec, geometry, depth):\n    return keras.layers.Dense(32)\n", sweep=sweep
    )
    if right:
        rehearse(planned)
        return
    told = (
        r"^attention=scaled must be .*, but its model has [\d,]+ parameters where the specs' params add up to [\d,]+;"
    )
    with pytest.raises(SpecError, match=told):
        rehearse(planned)


def test_rehearsal_names_a_layer_factory_that_has_no_name_of_its_own(specs, tmp_path):
    factory = "partial(lambda spec, geometry: 1 / 0)"
    (tmp_path / "scaled.py").write_text(
        "from functools import partial\n" + SPEC.replace('"scaled_layers:scaled"', factory)
    )
    with pytest.raises(SpecError, match=r"but layer functools\.partial\(.* fails with ZeroDivisionError"):
        rehearse(specs(None))


def test_rehearsal_tells_what_failed_without_what_keras_wraps_it_in(specs, tmp_path):
    spec, sweep = _of("attention", "Attention")
    (tmp_path / "scaled.py").write_text(spec)
    with pytest.raises(SpecError) as caught:
        rehearse(specs("def scaled(spec, geometry, depth):\n    return None\n", sweep=sweep))
    assert "'NoneType' object" in str(caught.value)
    assert not any(each in str(caught.value) for each in ("\x1b", "Exception encountered", "Arguments received"))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (None, r"^positional=scaled must be built before anything trains, but layer scaled_layers:scaled fails with "
               r"ModuleNotFoundError: No module named 'scaled_layers'; mend it there, or leave it out\.$"),
        (LAYERS.replace("def scaled", "def other"), r"AttributeError: module 'scaled_layers' has no attribute"),
        (LAYERS.replace("(spec, geometry)", "(spec)"), r"TypeError: scaled\(\) takes 1 positional argument"),
        (LAYERS.replace("x * 2", "x.no_such"), r"no attribute 'no_such'.*scaled_layers\.py, line 9\)"),
        (LAYERS.replace("x * 2", "x * 2 if not training else no_such"), r"'no_such' is not defined"),
        (LAYERS.replace("x * 2", "x[:, 1:]"), r"must give the encoder 16 tokens of width 32, as their specs say"),
    ],
    ids=["no-file", "no-factory", "factory", "call", "training", "shape"],
)  # fmt: skip
def test_rehearsal_refuses_in_a_sentence_what_cannot_be_built(specs, layers, message):
    planned = specs(layers)
    with pytest.raises(SpecError, match=message) as caught:
        rehearse(planned)
    assert "\n" not in str(caught.value)
