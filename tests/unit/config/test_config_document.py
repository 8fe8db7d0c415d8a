"""A sweep's file from somebody else: it runs nothing, writes nowhere, shows no secret and fills no memory."""

import os
import time

import pytest

from ablate.cli import main as cli
from ablate.config.files import group_choices, load_sweep, read_sweep
from ablate.sweep.plan import make_plan

AXES = "axes: {train.lr: [1.0e-3]}\n"


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """Writes a sweep's file into a working directory of its own; gives its path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECRET", "hunter2")
    (tmp_path / "sweeps").mkdir()

    def write(text):
        path = tmp_path / "sweeps" / "mine.yaml"
        path.write_text(text)
        return path

    return write


def _told(ask, *words):
    """The one short sentence that it is refused with, after two seconds of work on an idle machine at most."""
    began = time.process_time()
    with pytest.raises(ValueError) as refused:
        ask(*words)
    assert time.process_time() - began < 20
    told = str(refused.value)
    assert "\n" not in told and len(told) < 600 and "hunter2" not in told
    return told


HYDRA = [
    "+hydra.callbacks.x", "hydra.callbacks.x", "++hydra.run.dir", "hydra.run.dir", "hydra.sweep.dir", "~hydra",
    "hydra/launcher", "+hydra/callbacks", "override hydra/launcher", "hydra", "data@hydra.run", "x=1 hydra.run.dir",
]  # fmt: skip


@pytest.mark.parametrize("key", HYDRA)
@pytest.mark.parametrize("where", ["base: {{{}}}\naxes: {{train.lr: [1.0e-3]}}", "axes: {{{}, train.lr: [1.0e-3]}}"])
def test_a_sweep_says_nothing_to_hydra(sweep, tmp_path, key, where):
    sweep(where.format(f"'{key}': {{_target_: pathlib.Path.touch, self: {tmp_path}/mark}}"))
    told = _told(make_plan, ["+sweep=mine"])
    assert "plain names" in told or "must leave hydra" in told
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("text", ["defaults: [{hydra/launcher: x}]\n", "hydra: {run: {dir: x}}\n", "'+hydra.x': 1\n"])
def test_a_sweep_has_no_other_keys_than_its_own(sweep, text):
    sweep(text + AXES)
    assert "a key of sweep mine must be one of question" in _told(make_plan, ["+sweep=mine"])


@pytest.mark.parametrize(
    "base",
    ["tracking.uri: x", "tracking: {uri: x}", "tracking.spool: x", "study.storage: x", "study: {storage: x}",
     "data.cache: x", "data: {cache: x}", "engine_options: {slurm_setup: [x]}", "engine_options.slurm_setup: [x]"],
)  # fmt: skip
def test_a_sweep_does_not_say_where_things_are_kept(sweep, base):
    sweep(f"base: {{{base}}}\n{AXES}")
    assert "to the command line" in _told(make_plan, ["+sweep=mine"])


@pytest.mark.parametrize(
    "text",
    ["${oc.env:SECRET}", "\\${oc.env:SECRET}", "\\\\${oc.env:SECRET}", "${oc.decode:1}", "${hydra:runtime.cwd}",
     "${oc.env:${train.select}}", "${${train.select}:SECRET}", "$${seed}{oc.env:SECRET}", "a ${ oc.env:SECRET}",
     "${study.storage}", "${tracking.uri}", "${..study.storage}", "${sweep.name}", "${ablate.weights:${oc.env:SECRET}}",
     "${oc.create:x}", "${train[lr]}"],
)  # fmt: skip
@pytest.mark.parametrize(
    "where",
    ["question: '{}'\n", "base: {{data.root: '{}'}}\n", "base: {{data: {{root: '{}'}}}}\n", "base: {{'{}': 1}}\n",
     "where: [{{when: {{train.lr: 1}}, reason: '{}'}}]\n", "baseline: {{train.lr: '{}'}}\n"],
)  # fmt: skip
def test_a_sweep_reads_nothing_but_settings_of_its_runs(sweep, text, where):
    path = sweep(f"# mine\n{where.format(text)}{AXES}")
    told = _told(make_plan, ["+sweep=mine"])
    assert str(path) in told and "must interpolate settings of its runs alone" in told and "in line 2" in told


@pytest.mark.parametrize(
    ("root", "level"),
    [("{oc.env:SECRET}", "$${data.root}"), ("$", "${data.root}{oc.env:SECRET}"),
     ("\\${oc.env:SECRET}", "${data.root}"), ("oc.env:SECRET}", "\\${${data.root}"),
     ("{data.root}", "\\${data.root}")],
)  # fmt: skip
@pytest.mark.parametrize(
    ("axis", "levels"),
    [("model.weights", "['{}', b]"), ("model.weights_key", "{{levels: ['{}', b]}}"), ("model", "['{}', tiny]"),
     ("model.options", "[{{x: ['{}']}}]")],
)  # fmt: skip
def test_a_level_is_put_together_once(sweep, root, level, axis, levels):
    method = "optuna" if levels.startswith("{") else "grid"
    base = f"base: {{data: digits, data.root: '{root}'}}\nmethod: {method}\n"
    sweep(f"{base}axes: {{{axis}: {levels.format(level)}}}\n")
    told = _told(make_plan, ["+sweep=mine"])
    assert "levels that are put together once" in told or "must interpolate settings of its runs alone" in told


def test_a_dollar_sign_alone_is_one(sweep):
    path = sweep(f"question: is it worth $5?\n{AXES}")
    assert load_sweep(path)["question"] == "is it worth $5?"


def test_a_pin_of_the_command_line_may_read_the_environment(sweep, tmp_path, monkeypatch):
    (tmp_path / "mine.keras").touch()
    monkeypatch.setenv("SECRET", str(tmp_path / "mine.keras"))
    sweep("base: {model: tiny, data: digits}\naxes: {model.weights: [null, other.keras]}\n")
    (point,) = make_plan(["+sweep=mine", "model.weights=${oc.env:SECRET}"]).points
    assert point.spec.model.weights == str(tmp_path / "mine.keras")


def test_a_sweep_may_set_a_leaf_to_another_ones_value(sweep):
    sweep("base: {model: tiny, data: digits, train.min_lr: '${train.lr}'}\naxes: {train.lr: [1.0e-3, 2.0e-3]}\n")
    assert [point.spec.train.min_lr for point in make_plan(["+sweep=mine"]).points] == [1e-3, 2e-3]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("hunter2", "must hold a mapping"),
        ("hunter2:hunter2\n" * 50, "must hold a mapping"),
        ("- hunter2\n", "must hold a mapping"),
        ("password hunter2: x\n", "its key 1 is none"),
        ("question: x\nhunter2: x\n", "its key 2 is none"),
        ("a: [hunter2\n", "line 2, column 1"),
        ("a: hunter2: hunter2\n", "line 1, column 11"),
        ("a: *hunter2\n", "line 1, column 4"),
        ("a: 'hunter2\n", "line 2, column 1"),
        ("a: !hunter2 x\n", "line 1, column 4"),
        ("hunter2: 1\nhunter2: 2\n", "line 2, column 1"),
        ("a: 1\n--- hunter2\n", "line 2, column 1"),
        ("a: !!python/object/apply:os.system [hunter2]\n", "line 1, column 4"),
    ],
)
def test_a_file_that_is_no_sweep_is_told_by_its_place_alone(sweep, tmp_path, content, said):
    secret = tmp_path / "secret"
    secret.write_text(content)
    (tmp_path / "sweeps" / "mine.yaml").symlink_to(secret)
    told = _told(read_sweep, "mine")
    assert "mine" in told and said in told
    assert "hunter2" not in cli.help_text()


def test_bytes_that_are_no_text_and_characters_that_are_no_yaml_are_one_sentence(sweep):
    path = sweep("")
    path.write_bytes(b"axes: \xff\xfe")
    assert "UTF-8, but byte 6" in _told(read_sweep, "mine")
    path.write_bytes(b"axes: \x00")
    assert "a character that YAML does not allow" in _told(read_sweep, "mine")


LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LAUGHS, "at most 20,000 values, aliases written out, but in line 4"),
        ("a: &a {x: 1}\nb: &b {<<: [*a, *a]}\n" + f"c: [{'*b,' * 9000}]", "at most 20,000 values"),
        ("a: &a [*a]\n", "at most 20 deep"),
        ("a: &a {b: *a}\n", "at most 20 deep"),
        ("k0: &k0 [1]\n" + "".join(f"k{n}: &k{n} [*k{n - 1}]\n" for n in range(1, 3000)), "at most 20 deep"),
        ("a: " + "[" * 50_000, "at most 20 deep"),
        ("- " * 40_000, "at most 20 deep"),
        ("a: [" + "1," * 45_000 + "1]", "at most 20,000 values"),
        ("# " + "x" * 200_000, "at most 100,000 bytes, got 200,002"),
        ("a: " + "9" * 90_000, "at most 40 digits"),
        ("a: 0x" + "f" * 90_000, "at most 40 digits"),
    ],
)
def test_a_file_that_would_fill_memory_is_refused_at_once(sweep, text, said):
    path = sweep(text)
    assert said in _told(load_sweep, path)
    assert said in next(line for line in cli.help_text().splitlines() if line.split()[:1] == ["mine"])


def test_what_is_no_file_is_not_waited_for(sweep, tmp_path):
    os.mkfifo(tmp_path / "sweeps" / "mine.yaml")
    (tmp_path / "sweeps" / "zero.yaml").symlink_to("/dev/zero")
    (tmp_path / "sweeps" / "folder.yaml").mkdir()
    (tmp_path / "sweeps" / "gone.yaml").symlink_to("nowhere")
    for name in ("mine", "zero", "folder", "gone"):
        assert "must be a file, got a folder, a pipe, a device or a link" in _told(read_sweep, name)
    assert "mine" in group_choices("sweep") and "mine" in cli.help_text()
