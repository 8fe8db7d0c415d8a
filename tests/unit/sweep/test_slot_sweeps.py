"""The sweeps over what fills the slots: what they compare is one recipe with one thing changed. No Keras here."""

import pytest

from ablate.sweep.plan import make_plan

MAPS = ("euclid", "spd", "grassmann")


def _points(*words):
    return [(point.point.levels, point.spec, point.cost) for point in make_plan(list(words)).points]


def _beyond_the_model(spec):
    return {leaf: value for leaf, value in spec.leaves().items() if not leaf.startswith("model.")}


@pytest.mark.parametrize("name", ["attention", "block", "positional_all"])
def test_slot_sweep_has_one_recipe_for_all_of_its_points(name):
    points = _points(f"+sweep={name}", "seed=0")
    assert len({str(_beyond_the_model(spec)) for _, spec, _ in points}) == 1
    rates = ("dropout", "attention_dropout", "stochastic_depth")
    assert {tuple(getattr(spec.model, rate) for rate in rates) for _, spec, _ in points} == {(0.0, 0.0, 0.0)}


def test_attention_sweep_holds_the_control_every_map_and_what_has_none():
    points = _points("+sweep=attention", "model=cct_2_3x2", "seed=0")
    seen = [spec.model.attention for _, spec, _ in points]
    pairs = ["manifold_euclid_spd", "manifold_euclid_grassmann", "manifold_spd_grassmann"]
    assert seen == ["manifold_euclid", "softmax", "linear", "manifold_spd", "manifold_grassmann", *pairs, "manifold"]
    for _, spec, _ in points:
        named = spec.model.attention.split("_")[1:]
        maps = spec.model.options.get("attention", {}).get("maps")
        assert maps == (named or list(MAPS) if spec.model.attention.startswith("manifold") else None)


def test_attention_sweep_has_three_families_and_three_seeds():
    assert len(_points("+sweep=attention")) == 9 * 3 * 3


def test_attention_sweep_can_give_every_point_the_same_compute():
    points = _points("+sweep=attention", "sweep.budget=macs", "model=vit_2_4", "seed=0", "train.epochs=40")
    spent = [spec.train.epochs * cost["macs"] for _, spec, cost in points]
    assert max(spent) / min(spent) < 1.1  # whole epochs of about 40


def test_block_sweep_changes_one_factor_at_a_time_and_keeps_the_parameters_of_a_gated_mlp():
    (first, _, base), *others = _points("+sweep=block", "seed=0")
    changed = [{axis: level for axis, level in levels.items() if level != first[axis]} for levels, _, _ in others]
    assert [len(change) for change in changed] == [1] * 8
    params = {
        level: cost["params"] for change, (_, _, cost) in zip(changed, others, strict=True) for level in change.values()
    }
    assert (
        abs(params["gated"] - base["params"]) <= 2 * (3 * 128 + 2) / 2
    )  # half of what one hidden number has, two blocks
    assert params["none"] < params["rms"] < params["post"] < base["params"] == params["plain"] == params["relu"]


def test_block_sweep_gives_a_gated_mlp_its_own_activation():
    specs = {levels["model.mlp"]: spec.model for levels, spec, _ in _points("+sweep=block", "seed=0")[:0:-1]}
    assert (specs["gated"].activation, specs["none"].activation) == ("silu", None)


def test_positional_sweep_holds_every_kind():
    kinds = [spec.model.positional for _, spec, _ in _points("+sweep=positional_all", "model=vit_2_4", "seed=0")]
    assert kinds == ["learnable", "sine", "sine2d", "rotary", "relative", "conditional", "none"]
