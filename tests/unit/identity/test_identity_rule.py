"""Which settings make a run another one: those that differ from what they are where nobody says anything."""

import shutil
import subprocess
import sys
from dataclasses import dataclass, field

import pytest

from ablate import identity
from ablate.config.compose import compose, to_config
from ablate.identity.code import PACKAGE, own_statements
from ablate.identity.earlier import earlier_versions
from ablate.identity.rule import Changed, code_version, definition
from ablate.tasks.classify.spec import RunSpec
from ablate.tasks.classify.whole_code import whole_code
from ablate.training.spec import TrainSpec


def run(*words):
    return to_config(compose(["model=tiny", "data=digits", *words])).point()


def told(spec, leaves=(), **more):
    """The run's definition, were there further leaves."""
    return definition({**spec.leaves(), **dict(leaves)}, {**spec.defaults(), **more.pop("defaults", {})}, **more)


def test_definition_holds_what_differs_from_the_defaults():
    assert told(run("train.lr=0.002", "train.seconds=null")) == {
        "model.convs": 1,
        "model.layers": 1,
        "model.dim": 32,
        "data.source": "digits",
        "train.lr": 0.002,
    }


def test_definition_is_the_same_with_a_leaf_more_that_nobody_sets():
    spec = run("model.positional=sine")
    new = {"train.nesterov": False}
    assert told(spec, new, defaults=new) == told(spec)
    assert told(spec, {"train.nesterov": True}, defaults=new) == told(spec) | {"train.nesterov": True}


@dataclass
class LaterTrainSpec(TrainSpec):
    """As a later version may have it."""

    lookahead: int = 0


@dataclass
class LaterRunSpec(RunSpec):
    train: LaterTrainSpec = field(default_factory=LaterTrainSpec)


def test_identity_and_cell_are_the_same_in_a_version_with_a_leaf_more():
    one, later = RunSpec(), LaterRunSpec()
    assert later.leaves().keys() - one.leaves().keys() == {"train.lookahead"}
    code, backend = one.code("tensorflow"), "tensorflow"
    names = [
        identity.settings(spec.leaves(), type(spec)().leaves(), code=code, backend=backend) for spec in (one, later)
    ]
    assert names[0] == names[1]
    assert identity.cell(one.leaves(), RunSpec().leaves()) == identity.cell(later.leaves(), LaterRunSpec().leaves())


def test_definition_holds_an_option_of_a_variant_only_where_it_is_set():
    spec = run()
    assert spec.leaves()["model.options.pooling.sums"] is False
    assert not any(leaf.startswith("model.options") for leaf in told(spec))
    assert told(run("model.options.pooling.sums=true")) == told(spec) | {"model.options.pooling.sums": True}


def test_definition_leaves_out_what_follows_from_other_settings():
    assert told(run("model.heads=2")) == told(run("model.heads=2", "model.dim=32", "model.key_dim=16"))
    assert "model.token_dropout" not in told(run("model.dropout=0.2"))
    assert told(run("model.dropout=0.2", "model.token_dropout=0.0"))["model.token_dropout"] == 0.0


@pytest.mark.parametrize(
    "leaf",
    [
        *("data.root", "data.cache", "data.memory_limit", "hardware.threads", "augment.workers"),
        *("train.checkpoint_every", "train.checkpoint_dir", "seed"),
    ],
)
def test_definition_leaves_out_where_a_run_is_computed_and_with_how_many_hands(leaf):
    assert definition({leaf: 7, "a": 1}, {leaf: None, "a": 0}) == {"a": 1}


def test_definition_goes_by_the_first_default_where_it_was_changed():
    changed = {"train.weight_decay": Changed(0.06, since="9.9")}
    before = run("train.weight_decay=0.06")
    assert told(before) == told(run())  # the default of today
    new = {**before.defaults(), "train.weight_decay": 0.05}
    recorded = definition(before.leaves(), before.defaults())
    assert definition(before.leaves(), new, changed=changed) == recorded
    after = definition({**before.leaves(), "train.weight_decay": 0.05}, new, changed=changed)
    assert after == recorded | {"train.weight_decay": 0.05}


@pytest.mark.parametrize(("value", "default"), [(1, 1.0), (True, 1), (0.0, -0.0), ("None", None)])
def test_definition_takes_no_value_for_another_that_equals_it(value, default):
    assert definition({"a": value}, {"a": default}) == {"a": value}


def test_code_has_one_name_for_all_runs_of_a_version_and_that_of_an_earlier_one_which_computes_the_same(tmp_path):
    """An audit compares it: two levels of a factor reach other code, and are no two versions."""
    whole = whole_code()
    assert code_version(whole) == earlier_versions()[-1].sources
    copied = shutil.copytree(PACKAGE, tmp_path / "ablate", ignore=shutil.ignore_patterns("__pycache__"))
    layer = copied / "models" / "positional" / "layers.py"
    layer.write_text(layer.read_text("utf-8").replace("10000", "10001"), "utf-8")
    there = own_statements(whole, copied)
    assert own_statements(whole) <= earlier_versions()[-1].code and not there <= earlier_versions()[-1].code


def test_runs_of_this_version_go_on_counting_in_one_with_a_leaf_more_that_is_declared_to_compute_the_same(tmp_path):
    """In a copy of the package: what is recorded today must be found by a version that is written otherwise."""
    copied = shutil.copytree(PACKAGE, tmp_path / "ablate", ignore=shutil.ignore_patterns("__pycache__"))

    def by_the_copy(*command):
        return subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env={"PATH": "", "HOME": str(tmp_path)}, capture_output=True,
            text=True, check=True,
        ).stdout  # fmt: skip

    def names():
        return by_the_copy(
            "-c",
            "from ablate.identity import cell, known_settings\n"
            "from ablate.tasks.classify.spec import RunSpec, TrainSpec\n"
            "for run in (RunSpec(), RunSpec(train=TrainSpec(epochs=3))):\n"
            "    told = run.leaves(), run.defaults()\n"
            "    print(cell(*told), *known_settings(*told, code=run.code('tensorflow'), backend='tensorflow'))",
        )

    today, spec = names(), copied / "training" / "spec.py"
    text = spec.read_text("utf-8")
    assert "    epochs: int = " in text
    spec.write_text(text.replace("    epochs: int = ", "    lookahead: int = 0\n    epochs: int = ", 1), "utf-8")
    assert names() != today
    by_the_copy("-m", "ablate.tasks.classify.same_code")
    assert names() == today
