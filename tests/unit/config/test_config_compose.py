"""Words and files of settings become one configuration, whatever they are called."""

import pytest

from ablate.config.compose import compose, to_config
from ablate.config.files import read_sweep
from ablate.config.overrides import ConfigError
from ablate.sweep.plan import make_plan

SWEEP = "base: {model: tiny, data: digits, train.epochs: 1}\naxes: {train.lr: [1.0e-3]}\n"


@pytest.mark.parametrize("name", ["10", "true", "null", "1e3", "0x10", "v1.2", "über", "x.yaml", "-1"])
def test_a_sweep_may_be_called_what_reads_as_a_value(write_sweep, name):
    write_sweep(SWEEP, name)
    assert make_plan([f"+sweep={name}"]).study.startswith(f"{name}-")
    with pytest.raises(ConfigError, match="sweep must be one of"):
        make_plan(["+sweep=11"])


@pytest.mark.parametrize(
    "folder", ["it's", 'say "x"', "a b", "jürgen", "x${y}", "a,b", "a=b", "[x]", "{x}", "p%20", "a\\"]
)
def test_a_working_folder_of_any_name_may_have_settings_of_its_own(conf, folder):
    conf(folder, "dim: 64\n")
    assert to_config(compose(["model=mine"])).model.dim == 64


def test_options_of_a_group_may_be_called_what_reads_as_a_number(conf):
    conf("here", "dim: 64\n", name="1e3")
    assert to_config(compose(["model=1e3"])).model.dim == 64


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("lr: 0.1\n".encode("utf-16"), "must be UTF-8, got others: .*mine.yaml"),
        (b"lr: 0.1 # \xff\n", "must be UTF-8, got others: .*mine.yaml"),
        ("lr: " + "[" * 3000 + "]" * 3000, "must neither be nested so deeply"),
        ("lr: &a [*a]", "nor name themselves"),
        ("- a\n- b\n", "mine.yaml must hold settings"),
        ("lr:\t1\n\tepochs: 3\n", "must be YAML, but: .*mine.yaml"),
        ("lr: 1\n---\nlr: 2\n", "must be YAML, but: .*mine.yaml"),
        ("lr: !!python/object/apply:os.getcwd []\n", "must be YAML, but: .*mine.yaml"),
    ],
)
def test_an_own_file_that_is_none_of_settings_is_told(own, content, said):
    own("train", content)
    with pytest.raises(ConfigError, match=said):
        compose(["train=mine"])


@pytest.mark.parametrize(("content", "lr"), [("", 1e-3), ("# nothing\n", 1e-3), ("\ufefflr: 0.1\n", 0.1)])
def test_an_own_file_may_be_empty_or_begin_with_a_mark(own, content, lr):
    own("train", content)
    assert to_config(compose(["train=mine"])).train.lr == lr


@pytest.mark.parametrize("options", ["3", "null", "[1]", "'base'"])
def test_options_of_a_variant_are_known_by_name(own, options):
    own("model", f"options: {{positional: {options}}}")
    with pytest.raises(ConfigError, match=r"model\.options\.positional must have its options by name"):
        to_config(compose(["model=mine"])).point()


def test_the_sweep_of_finetuning_takes_its_file_from_weights(monkeypatch):
    assert "${ablate.weights:pretrained.keras}" in read_sweep("finetune")["axes"]["model.weights"]
    for name, said in (("pretrained.keras", None), ("trained.keras", "trained.keras")):
        monkeypatch.setenv("WEIGHTS", said) if said else monkeypatch.delenv("WEIGHTS", raising=False)
        config = to_config(compose(["model.weights=${ablate.weights:pretrained.keras}"]))
        assert config.model.weights == name
