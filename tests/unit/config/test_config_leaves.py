"""Values of another type than their leaf's, in a user's own files of settings: refused, not converted in silence."""

import itertools
import shutil
import subprocess
import sys

import pytest

from ablate.cli import main as cli
from ablate.config.compose import compose, composer, to_config
from ablate.config.files import package_dir
from ablate.config.overrides import ConfigError


@pytest.mark.parametrize(
    ("group", "content", "said"),
    [
        ("model", "qkv_bias: 7", "model.qkv_bias must be true or false, got 7"),
        ("model", "qkv_bias: 'yes'", "model.qkv_bias must be true or false, got 'yes'"),
        ("model", "positional: 3", "model.positional must be text, got 3"),
        ("model", "positional: no", "model.positional must be text, got False"),
        ("model", "dim: '64'", "model.dim must be a number, got '64'"),
        ("model", "dim: true", "model.dim"),
        ("model", "dim: 64.5", "model.dim"),
        ("model", "weights: 12", "model.weights must be text, got 12"),
        ("train", "epochs: '5'", "train.epochs must be a number, got '5'"),
        ("train", "lr: true", "train.lr"),
        ("train", "lr: '1e-3'", "train.lr must be a number, got '1e-3'"),
        ("train", "seconds: '60'", "train.seconds must be a number, got '60'"),
        ("data", "mean: ['0.5']", "each of data.mean must be a number, got '0.5'"),
        ("augment", "rand_augment: {ops: '2'}", "augment.rand_augment.ops must be a number, got '2'"),
        ("tracking", "experiment: 2026", "tracking.experiment must be text, got 2026"),
        ("hardware", "threads: '2'", "hardware.threads must be a number, got '2'"),
        ("recipe", "# @package _global_\ntrain: {epochs: '5'}", "train.epochs must be a number, got '5'"),
        ("recipe", "# @package _global_\nseed: '5'", "seed must be a number, got '5'"),
        ("recipe", "# @package _global_\nfresh: 1", "fresh must be true or false, got 1"),
        ("recipe", "# @package _global_\nplugins: [3]", "each of plugins must be text, got 3"),
    ],
)
def test_a_value_of_another_type_in_an_own_file_is_refused(own, group, content, said):
    file = own(group, content)
    with pytest.raises(ConfigError) as told:
        compose([f"{group}=mine"])
    assert str(file) in str(told.value) and said in str(told.value)


def test_a_value_of_another_type_is_found_in_a_file_that_another_one_names(own):
    own("train", "defaults: [other, _self_]\nlr: 1")
    file = own("train", "warmup_epochs: '1'", name="other")
    with pytest.raises(ConfigError, match=r"train\.warmup_epochs must be a number") as told:
        compose(["train=mine"])
    assert str(file) in str(told.value)


def test_values_that_are_written_properly_pass(own):
    own("train", "lr: 1\nepochs: 3\nseconds: null\nmin_lr: ${train.lr}\ndecay_1d: yes")
    own("data", "source: digits\nmean: [0, 0.5, 1]\nstd: [1, 1, 1]\nimage_size: ???")
    config = to_config(compose(["train=mine", "data=mine", "data.image_size=[8,8]"]))
    assert (config.train.lr, config.train.min_lr, config.train.decay_1d) == (1.0, 1.0, True)
    assert type(config.train.lr) is float and config.data.mean == [0.0, 0.5, 1.0]


def test_our_own_files_would_pass_as_a_user_s(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words: dict[str, list[str]] = {}
    for file in sorted(package_dir("conf").glob("*/*.yaml")):
        twin = tmp_path / "conf" / file.parent.name / f"my_{file.name}"
        twin.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, twin)
        words.setdefault(twin.parent.name, []).append(f"{twin.parent.name}={twin.stem}")
    with composer() as one:
        for together in itertools.zip_longest(*words.values()):
            one([word for word in together if word])
    assert {"model", "data", "augment", "train", "recipe", "hardware", "tracking"} <= words.keys()


def test_plan_refuses_a_value_of_another_type_in_an_own_file(own, write_sweep, capsys):
    file = own("model", "qkv_bias: 7")
    write_sweep("base: {model: mine, data: digits}\naxes: {train.lr: [1, 2]}\n")
    with pytest.raises(SystemExit) as stop:
        cli.main(["plan", "+sweep=mine"])
    assert stop.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("ablate: ") and str(file) in told and "model.qkv_bias must be true or false, got 7" in told


@pytest.mark.full
def test_a_job_of_multirun_refuses_a_value_of_another_type_in_an_own_file(own, tmp_path):
    file = own("model", "qkv_bias: 7")
    done = subprocess.run(
        [sys.executable, "-m", "ablate", "-m", "model=mine,tiny", "data=digits", "train.epochs=0"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2 and f"ablate: {file} must hold values" in done.stderr, done.stderr
