"""Paths that no file system takes: one sentence from each setting that names one, before anything is read or made."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ablate.config.compose import compose, to_config
from ablate.config.overrides import ConfigError
from ablate.data import DataError, DataSpec, describe
from ablate.paths import keras_folder, problem
from ablate.tracking import Store, TrackingError, TrackingSpec
from ablate.training.spec import TrainError, TrainSpec

WRONG = {
    "": r"must be a path of at least one character, got nothing\.",
    "a\0b": r"must be a path, got 'a\\x00b', which holds a NUL character; correct it\.",
    "caf\udce9": r"must be a path in UTF-8, as records keep it, got caf\\xe9; rename",
    "a" * 300: r"must be a path of at most 255 bytes a name and 4095 in all, got 300 bytes \(a{30}…a{20}\); shorten it",
    "é" * 150: r"must be a path of at most 255 bytes a name .*, got 300 bytes",
    "a/" * 2100: r"must be a path of at most 255 bytes a name and 4095 in all, got 4200 bytes",
    "~nobody_of_this_name/x": r"must be a path, got ~nobody_of_this_name/x, and whose home folder that is, is not",
}


@pytest.mark.parametrize("path", WRONG)
def test_path_that_can_be_none_is_refused_by_every_setting(path, tmp_path):
    with pytest.raises(DataError, match=f"data.root {WRONG[path]}"):
        describe(DataSpec(source="folder", root=path))
    with pytest.raises(DataError, match=f"data.cache {WRONG[path]}"):
        describe(DataSpec(source="digits", cache=path))
    with pytest.raises(TrainError, match=f"train.checkpoint_dir {WRONG[path]}"):
        TrainSpec(checkpoint_dir=path).check()
    with pytest.raises(TrackingError, match=f"tracking.spool {WRONG[path]}"):
        Store(TrackingSpec(uri=f"sqlite:///{tmp_path}/mlflow.db", spool=path))
    assert not list(tmp_path.iterdir())


def test_path_that_can_be_none_is_refused_before_anything_is_planned():
    with pytest.raises(TrackingError, match=r"tracking\.spool must be a path of at most"):
        to_config(compose([f"tracking.spool={'a' * 300}"]))
    with pytest.raises(ConfigError, match=r"model\.weights must be a path of at most"):
        to_config(compose([f"model.weights={'a' * 300}"])).point()


@pytest.mark.parametrize("path", [None, ".", "a" * 255, "jürgen/bilder", "~/x", "/dev/null", "with space/a'b"])
def test_path_that_may_be_one_is_left_alone(path):
    assert problem("data.root", path) is None


def test_a_path_that_python_was_told_to_read_otherwise_is_told_from_one_that_is_no_utf8():
    read_as_ascii = "jürgen".encode().decode("ascii", "surrogateescape")
    assert problem("out", read_as_ascii) == (
        "out must be read as UTF-8, which it is, but Python was told otherwise: set PYTHONUTF8=1 (jürgen)."
    )


def test_a_path_from_a_file_that_python_was_told_not_to_write_is_refused_by_what_reads_it():
    program = (
        "from ablate.paths import problem; from ablate.tracking.databases import ill_formed; "
        "print(problem('data.root', 'j\\xfcrgen')); print(ill_formed('sqlite:///j\\xfc.db', ('sqlite',)))"
    )
    env = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, encoding="utf-8", check=True)
    one, other = done.stdout.splitlines()
    told = "must be a path that Python can write, which was told to name files in ascii, got"
    assert one == f"data.root {told} j\xfcrgen: set PYTHONUTF8=1."
    assert other.startswith(f"its file {told} ") and other.endswith("j\xfc.db: set PYTHONUTF8=1")


def test_keras_folder_is_keras_own_by_environment_by_home_and_without_one(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", "~/chosen")
    assert keras_folder() == tmp_path / "chosen"
    monkeypatch.delenv("KERAS_HOME")
    assert keras_folder() == tmp_path / ".keras"
    monkeypatch.setenv("HOME", str(tmp_path / "absent"))
    assert keras_folder() == Path("/tmp/.keras")
