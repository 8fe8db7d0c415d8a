"""From a Keras port to the official model: each difference is a leaf that a sweep can turn back. No Keras here."""

from itertools import pairwise

import pytest

from ablate.config.compose import compose, to_config, with_leaves
from ablate.config.files import read_sweep
from ablate.design.sweep import SweepError
from ablate.models import zoo
from ablate.models.slots import SpecError
from ablate.sweep.plan import make_plan

STEPS = read_sweep("port_steps")["axes"]
PLAN = make_plan(["+sweep=port_steps", "seed=0"])


def _spec(*words):
    return to_config(compose(list(words))).point().model


def test_port_steps_together_make_the_official_model():
    port, official = compose(["model=keras_io_cct"]), zoo.parse("cct_2_3x2").spec.resolved()
    changed = {axis: levels[1] for axis, levels in STEPS.items()}
    assert to_config(with_leaves(port, changed)).point().model == official
    for axis in changed:
        but_one = {other: level for other, level in changed.items() if other != axis}
        assert to_config(with_leaves(port, but_one)).point().model != official


def test_port_steps_start_from_the_port_and_change_one_leaf_at_a_time():
    port, *changed = (planned.spec for planned in PLAN.points)
    assert port.model == zoo.parse("keras_io_cct").spec.resolved()
    before = port.leaves()
    for axis, spec in zip(STEPS, changed, strict=True):
        assert {leaf for leaf, value in spec.leaves().items() if before[leaf] != value} == {axis}


def test_port_steps_cost_what_each_difference_adds_or_takes():
    points = PLAN.points
    base = points[0].cost["params"]
    change = {
        next(a for a, b in p.point.levels.items() if b == STEPS[a][1]): p.cost["params"] - base for p in points[1:]
    }
    layers, dim, heads, tokens = 2, 128, 2, 49
    moved = {axis: by for axis, by in change.items() if by}
    assert moved == {
        "model.qkv_bias": -layers * 3 * heads * 128,
        "model.key_dim": -layers * (4 * dim * dim + 3 * dim),  # of q, k, v and the projection; biases of q, k, v
        "model.options.positional.trained": tokens * dim,
    }
    macs = {p.cost["macs"] for p in points if p.point.levels["model.options.tokenizer.conv_padding"] == "symmetric"}
    more = 9 * 64 * (28 * 28 - 26 * 26) + 9 * 64 * dim * (14 * 14 - 12 * 12)  # outputs of both convolutions
    assert macs == {points[0].cost["macs"] + more}


@pytest.mark.parametrize(("axis", "variant"), [("positional", "none"), ("positional", "sine"), ("tokenizer", "patch")])
def test_port_options_leave_with_the_variant_they_belong_to(axis, variant):
    words = ["model=keras_io_cct", f"model.{axis}={variant}", *(["model.convs=1"] if axis == "tokenizer" else [])]
    options = zoo.parse("keras_io_cct").spec.resolved().options
    left = {"tokenizer": {"observability": None, "early_fusion": False}} if variant == "patch" else {}  # patch's own
    assert _spec(*words).options == {other: own for other, own in options.items() if other != axis} | left


def test_port_options_leave_within_a_sweep_over_variants(tmp_path, monkeypatch):
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "mine.yaml").write_text(
        "base: {model: keras_io_cct, data: digits}\naxes:\n  model.positional: [learnable, none, sine]\n"
    )
    monkeypatch.chdir(tmp_path)
    models = [planned.spec.model for planned in make_plan(["+sweep=mine"]).points]
    assert [model.options.get("positional") for model in models] == [{"trained": False, "draw": "uniform"}, None, None]
    assert [model.options["tokenizer"]["conv_padding"] for model in models] == ["after"] * 3
    assert [a.params((8, 8, 1), 10) - b.params((8, 8, 1), 10) for a, b in pairwise(models)] == [0, -4 * 128]
    with pytest.raises(SweepError, match="draw is no option of positional=none"):
        make_plan(["+sweep=mine", "model.options.positional.draw=uniform"])


def test_port_options_that_were_said_stay_and_are_refused_where_there_are_none():
    with pytest.raises(SpecError, match="trained is no option of positional=none"):
        _spec("model=keras_io_cct", "model.positional=none", "model.options.positional.trained=false")
    taken_away = _spec("model=keras_io_cct", "model.positional=none", "~model.options.positional")
    assert taken_away == _spec("model=keras_io_cct", "model.positional=none")
    changed = _spec("model=keras_io_cct", "model.options.tokenizer.pool_padding=symmetric").options["tokenizer"]
    assert (changed["conv_padding"], changed["pool_padding"]) == ("after", "symmetric")
