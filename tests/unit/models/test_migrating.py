"""docs/migrating.md: our side of every line runs, and the numbers that stand beside it come out."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from ablate import ModelSpec, build, create_model, load_weights, save_weights
from ablate.config.compose import compose, to_config
from ablate.data.described import describe
from ablate.data.spec import DataError
from ablate.models import zoo
from ablate.sweep.plan import make_plan

PAGE = Path(__file__).parents[3] / "docs" / "migrating.md"
COMMAND = "python -m ablate "
ROWS = [
    [re.findall(r"`([^`]+)`", cell) if number == 1 else cell for number, cell in enumerate(line.strip("|").split(" |"))]
    for line in PAGE.read_text("utf-8").splitlines()
    if re.match(r"\| (?!---|there)", line)
]
COMMANDS = [line for row in ROWS for line in row[1] if line.startswith(COMMAND)]
PROGRAMS = [(row[1], row[2]) for row in ROWS if not row[1][0].startswith(COMMAND)]
LARGE = re.compile(r"_14_|_224|_384")


def _programs():
    """A model of 14 layers takes seconds to build."""
    for lines, said in PROGRAMS:
        marks = [pytest.mark.full] if LARGE.search(lines[0]) else []
        yield pytest.param(lines, said, marks=marks, id="; ".join(lines))


def test_migrating_has_three_columns_and_a_line_of_ours_in_each_row():
    assert [row for row in ROWS if len(row) != 3 or not row[1]] == []
    assert len(COMMANDS) >= 15 and len(PROGRAMS) >= 25


@pytest.mark.parametrize(("lines", "said"), list(_programs()))
def test_migrating_python_lines_run(lines, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for line in lines:
        for file in re.findall(r'load_weights\(model, "(.+)\.pth"\)', line):
            _stand_in(file)
    images, labels = np.zeros((2, 32, 32, 3), "float32"), np.zeros(2, "int64")
    known = {"build": build, "create_model": create_model, "load_weights": load_weights, "save_weights": save_weights}
    space = {**known, "ModelSpec": ModelSpec, "images": images, "labels": labels}
    for line in lines:
        # The format of .pth is held in test_models_weights.py; what stands in for a published file is ours.
        exec(line.replace('.pth"', '.safetensors"'), space)
    for count in re.findall(r"([\d,]+) parameters", said):
        assert _params(lines[0]) == int(count.replace(",", ""))


def _stand_in(file):
    """A file of the model that a published one holds: its own name begins with the model's."""
    name = re.match(r"(manifold_)?cct_\d+_\dx\d_\d+(_sine)?", file)
    save_weights(create_model(name.group() if name else "cct_2_3x2_32"), f"{file}.safetensors")


def _params(line):
    named = zoo.parse(re.search(r'create_model\("(\w+)"', line).group(1))
    return named.spec.params((*named.image_size, 3), named.num_classes)


@pytest.mark.parametrize("line", COMMANDS)
def test_migrating_commands_compose_to_a_model_that_can_be_built(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = shlex.split(line.removeprefix(COMMAND))
    for file in re.findall(r"model\.weights=(\S+)", line):
        (tmp_path / file).touch()
    spec = to_config(compose(words)).point()
    spec.train.check()
    try:
        assert spec.model.params(*describe(spec.data)) > 0
    except DataError as error:  # the page names a PATH
        assert spec.data.root is not None, error


def test_migrating_plan_in_the_prose_plans():
    (plan,) = re.findall(r"`python -m ablate plan ([^`]+)`", PAGE.read_text("utf-8"))
    assert len(make_plan([plan, "seed=0"]).points) == 10


def test_migrating_keyword_that_is_answered_with_ours():
    with pytest.raises(ValueError, match="image_size"):
        create_model("cct_14_7x2_384", img_size=256)


def test_migrating_keras_io_decay_is_the_recipe_s():
    (line,) = (line for line in COMMANDS if "train.weight_decay=0.1" in line)
    ours, recipe = (
        to_config(compose(words)).train
        for words in (shlex.split(line.removeprefix(COMMAND)), ["recipe=keras_io", "data=cifar10"])
    )
    for leaf in ("lr", "min_lr", "warmup_epochs", "weight_decay", "decay_1d"):
        assert getattr(ours, leaf) == getattr(recipe, leaf), leaf
