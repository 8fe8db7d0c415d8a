"""A plan: points composed once per combination, checked, costed, and held against what is finished. Nothing trains."""

import time

import pytest

from ablate import identity
from ablate.config import compose, to_config
from ablate.sweep.plan import already_finished, make_plan
from ablate.sweep.space import SweepError

BASE = "base: {model: tiny, data: digits, train.epochs: 2}\n"


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """Writes a sweep file into a working directory of its own; gives the words that ask for it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps").mkdir()

    def write(text, *words):
        (tmp_path / "sweeps" / "mine.yaml").write_text(BASE + text)
        return ["+sweep=mine", *words]

    return write


def test_plan_sets_leaves_as_composing_them_one_by_one_would(sweep):
    axes = {"train.lr": [1, 2e-3], "model.positional": ["sine", "none"], "data.image_size": [[16, 16]]}
    plan = make_plan(sweep(f"axes: {axes}\nseeds: [3]\nrepeats: 2"))
    assert len(plan.points) == 8
    for planned in plan.points:
        words = [f"{axis}={level}" for axis, level in planned.point.levels.items()]
        words += [f"seed={planned.point.seed}", f"repeat={planned.point.repeat}"]
        alone = to_config(compose(["model=tiny", "data=digits", "train.epochs=2", *words])).point()
        assert alone == planned.spec and alone.leaves() == planned.leaves
        assert type(planned.spec.train.lr) is float


def test_plan_keeps_a_leaf_that_follows_another_one(sweep):
    plan = make_plan(sweep("axes: {train.lr: [1.0e-3, 2.0e-3]}\nseeds: 2", "train.min_lr=${train.lr}", "seeds.init=7"))
    assert [p.spec.train.min_lr for p in plan.points] == [p.spec.train.lr for p in plan.points]
    assert {p.spec.seeds.init for p in plan.points} == {7} and [p.spec.seeds.order for p in plan.points] == [0, 0, 1, 1]


def test_plan_names_the_point_whose_level_is_of_the_wrong_type(sweep):
    with pytest.raises(SweepError, match=r"high s0: train.lr must be of type float, got 'high'"):
        make_plan(sweep("axes: {train.lr: [1.0e-3, high]}"))


def test_plan_refuses_levels_that_resolve_to_one_run_and_goes_on_when_told(sweep):
    words = sweep("axes: {model: [tiny, cct_2_3x1], model.layers: [2, 1], model.dim: [32]}", "model.heads=2")
    words += ["model.kernel=3", "model.convs=1", "model.mlp_ratio=1", "model.stochastic_depth=0.1"]
    with pytest.raises(
        SweepError, match=r"model=tiny and model=cct_2_3x1 \(with model.layers=2, model.dim=32\) resolve"
    ):
        make_plan(words)
    assert len(make_plan([*words, "allow_inert=true"]).points) == 4


def test_plan_finds_no_learning_rate_inert(sweep):
    assert len(make_plan(sweep("axes: {train.lr: [1.0e-3, 2.0e-3]}")).points) == 2


def test_plan_finds_seeds_inert_that_drive_nothing(sweep):
    words = ["seeds.init=0", "seeds.order=0", "seeds.dropout=0"]
    seeds = [word for word in words if word.split("=")[0] in to_config(compose([])).point().leaves()]
    others = [leaf for leaf in to_config(compose([])).point().leaves() if leaf.startswith("seeds.")]
    seeds += [f"{leaf}=0" for leaf in others if f"{leaf}=0" not in seeds]
    with pytest.raises(SweepError, match="two seeds"):
        make_plan(sweep("axes: {train.lr: [1.0e-3]}\nseeds: 2", *seeds))


def test_repeat_is_part_of_the_identity_and_of_no_cell():
    one, other = (to_config(compose(["model=tiny", f"repeat={n}"])).point() for n in (0, 1))
    told = [identity.settings(spec.leaves(), backend="tensorflow", modules=spec.modules()) for spec in (one, other)]
    assert told[0] != told[1] and identity.cell(one.leaves()) == identity.cell(other.leaves())
    assert identity.identity(told[0], "a") != identity.identity(told[0], "b")


def test_identity_leaves_out_paths_threads_and_a_seed_that_drives_nothing():
    leaves = to_config(compose(["model=tiny"])).point().leaves()
    moved = leaves | {"data.root": "/elsewhere", "data.cache": "/tmp", "hardware.threads": 3, "seed": 5}
    assert identity.settings(leaves, backend="jax") == identity.settings(moved, backend="jax")
    assert identity.settings(leaves, backend="jax") != identity.settings(leaves, backend="tensorflow")


def test_identity_moves_with_the_source_of_a_plugin(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "a_plugin_of_mine.py").write_text("x = 1\n")
    before = identity.settings({}, backend="tensorflow", modules=["a_plugin_of_mine"])
    (tmp_path / "a_plugin_of_mine.py").write_text("x = 2\n")
    assert before != identity.settings({}, backend="tensorflow", modules=["a_plugin_of_mine"])


def test_plan_counts_finished_points_once_each(sweep):
    plan = make_plan(sweep("axes: {train.lr: [1.0e-3, 2.0e-3]}\nseeds: 2"))
    told = [identity.settings(p.leaves, backend=identity.backend()) for p in plan.points]
    assert already_finished(plan, {}) == 0
    assert already_finished(plan, {told[0]: 3, told[2]: 1, "other": 5}) == 2


@pytest.mark.full
def test_plan_of_a_thousand_points_takes_little_time(sweep):
    axes = {"model": ["vit_2_4", "cct_2_3x1"], "model.positional": ["sine", "none"]}
    axes |= {"train.lr": [n / 1000 for n in range(1, 6)], "train.weight_decay": [n / 10 for n in range(10)]}
    words = sweep(f"axes: {axes}\nseeds: 5")
    started = time.process_time()
    assert len(make_plan(words).points) == 1000
    assert time.process_time() - started < 6  # about 1 s alone; a shared machine counts its neighbours' stalls too


def test_budget_of_macs_gives_cheaper_models_more_epochs(sweep):
    plan = make_plan(sweep("axes: {model.layers: [2, 1, 8]}\nbudget: macs", "train.epochs=20"))
    spent = [planned.spec.train.epochs * planned.cost.macs for planned in plan.points]
    assert plan.points[0].spec.train.epochs == 20 and plan.points[1].spec.train.epochs > 20
    assert all(abs(each / spent[0] - 1) < 0.1 for each in spent)
    with pytest.raises(SweepError, match="same images and epochs at every point, got the axis data"):
        make_plan(sweep("axes: {data.per_class: [5, 10]}\nbudget: macs"))


def test_calibrate_measures_each_graph_once(sweep):
    from ablate.sweep.calibrate import calibrate

    plan = make_plan(sweep("axes: {model.pooling: [seqpool, mean], train.lr: [1.0e-3, 2.0e-3]}\nseeds: 2"))
    found = list(calibrate(plan.points))
    assert [each.points for each in found] == [4, 4]
    assert all(0 < each.step_seconds < each.start_seconds and each.peak_mib > 100 for each in found)
    assert all(each.run_seconds > each.start_seconds for each in found)


def test_budget_of_seconds_needs_one_time_for_all(sweep):
    plan = make_plan(sweep("axes: {model.layers: [2, 1]}\nbudget: seconds", "train.seconds=5"))
    assert {planned.spec.train.seconds for planned in plan.points} == {5}
    with pytest.raises(SweepError, match=r"one train.seconds at every point, got None"):
        make_plan(sweep("axes: {model.layers: [2, 1]}\nbudget: seconds"))
    with pytest.raises(SweepError, match=r"got 5(\.0)?, 9"):
        make_plan(sweep("axes: {train.seconds: [5, 9]}\nbudget: seconds"))
