"""Files of settings and sweeps of a user's own: which are refused before Hydra reads them."""

import itertools
import re

import pytest

from ablate.config.compose import compose, to_config
from ablate.config.files import preset
from ablate.config.overrides import ConfigError
from ablate.contract import task
from ablate.sweep.plan import make_plan


def test_an_own_file_whose_aliases_would_fill_memory_is_refused_at_once(own, monkeypatch):
    monkeypatch.setattr("ablate.config.compose.hydra_compose", lambda *args, **kwargs: pytest.fail("Hydra reads it"))
    laughs = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in itertools.pairwise("abcdefghi")
    )
    file = own("train", laughs)
    with pytest.raises(ConfigError, match=f"^{re.escape(str(file))} must hold at most 20,000 values, .* got 490,"):
        compose(["train=mine"])


def test_an_own_file_may_repeat_itself_within_bounds(own):
    own("other", "a: [" + "1," * 30_000 + "1]\nb: &b [1, 2]\nc: [*b, *b]")  # another program's, not chosen
    own("train", "lr: &lr 0.1\nmin_lr: *lr")
    assert to_config(compose(["train=mine"])).train.min_lr == 0.1


def test_a_sweep_is_one_file(own, write_sweep):
    file = own("sweep", "axes: {train.epochs: [1, 2]}")
    write_sweep("base: {model: tiny, data: digits}\naxes: {train.lr: [1, 2]}\n")
    with pytest.raises(ConfigError, match=f"a sweep must be one file, got .* and {re.escape(str(file))}"):
        make_plan(["+sweep=mine"])


def test_a_file_of_settings_stands_before_a_preset_of_its_name(conf):
    conf("here", "layers: 5\n", name="cct_9_3x1")
    assert task().preset("model", "cct_9_3x1").layers == 9 and preset("model", "cct_9_3x1") is None
    assert to_config(compose(["model=cct_9_3x1"])).model.layers == 5
