"""Levels that change nothing are found before any training: the official sine that was learnable, planted here."""

import pytest

from ablate.sweep.plan import make_plan
from ablate.tasks.classify.duplicate_models import same_models, suspects

PLUGIN = """
from dataclasses import dataclass
from ablate import Params, Positional, register

# As the official code's *_sine models did: the argument that asks for a sine is swallowed, and the default is built.
@register("positional", "official_sine", layer="ablate.models.positional.layers:learnable")
@dataclass
class OfficialSine(Positional):
    trained: bool = True
    draw: str = "normal"

    def params(self, model, geometry):
        return Params(fixed=geometry.tokens * model.width)  # what a sine would be
"""


@pytest.fixture
def inert(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "planted_sine.py").write_text(PLUGIN)
    (tmp_path / "sweeps").mkdir()

    def find(axes, *words, more=""):
        text = f"base: {{model: tiny, data: digits}}\naxes: {axes}\nseeds: 2\n{more}"
        (tmp_path / "sweeps" / "mine.yaml").write_text(text)
        plan = make_plan(["+sweep=mine", "plugins=[planted_sine]", *words])
        pairs = suspects(plan.points)
        return pairs, [found.sentence() for found in same_models(pairs)]

    return find


def test_the_official_sine_that_was_learnable_is_caught(inert):
    _, found = inert({"model.positional": ["learnable", "sine", "official_sine"]})
    assert len(found) == 1
    assert "model.positional=learnable and model.positional=official_sine build one model" in found[0]


def test_levels_that_are_tuned_apart_are_compared_as_well(inert):
    axes = {"model.positional": ["learnable", "official_sine"], "train.lr": {"low": 1e-3, "high": 1e-2}}
    _, found = inert(axes, more="method: tuned\nn_trials: 2\n")
    assert len(found) == 1 and "model.positional=learnable and model.positional=official_sine" in found[0]


def test_axes_that_move_together_are_compared_together(inert):
    axes = {"model.positional": ["learnable", "official_sine"], "model.stochastic_depth": [0.1, 0.3]}
    _, found = inert(axes, "model.layers=1", more="method: zip\n")  # one block: its rate is 0 whatever the last one's
    assert len(found) == 1 and "model.stochastic_depth=0.1 and model.stochastic_depth=0.3 build one model" in found[0]


def test_an_option_that_no_layer_reads_is_caught_and_one_that_works_is_not(inert):
    assert len(inert({"model.stochastic_depth": [0.1, 0.3]}, "model.layers=1")[1]) == 1
    pairs, found = inert({"model.stochastic_depth": [0.1, 0.6]}, "model.layers=2", "model.attention_dropout=0")
    assert len(pairs) == 1 and not found
    assert not inert({"model.norm_eps": [1e-5, 1e-6]})[1]
    assert not inert({"model.options.positional.draw": ["normal", "uniform"]})[1]


def test_training_and_data_settings_and_costs_that_differ_need_no_building(inert):
    assert inert({"train.lr": [1e-3, 2e-3], "data.val_fraction": [0.1, 0.2]}) == ([], [])
    assert inert({"model.pooling": ["seqpool", "mean"], "model.layers": [1, 2]}) == ([], [])
