"""What git is asked runs no program that a repository names: a folder from elsewhere brings its own ``.git/config``."""

import os
import shutil
import subprocess

import pytest

from ablate import provenance

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def _git(folder, *arguments):
    own = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b"}
    own |= {"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=os.environ | own, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A working directory under git with one changed file, and a program that leaves a mark when it is run."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    _git(folder, "init", "--quiet")
    for name in ("a.txt", "touched.md"):
        (folder / name).write_text("one\n")
    _git(folder, "add", ".")
    _git(folder, "commit", "--quiet", "-m", "one")
    os.utime(folder / "touched.md", (1, 1))  # the same, but git would note its new time in the index
    (folder / "a.txt").write_text("two\n")  # as long as before: git has to look into it
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch '{tmp_path}/mark'\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("GIT_OPTIONAL_LOCKS", raising=False)  # of the tests' own, which would keep hooks away too
    monkeypatch.setattr("ablate.provenance.__file__", str(tmp_path / "installed" / "__init__.py"))
    (tmp_path / "installed").mkdir()
    provenance._git.cache_clear()
    yield folder
    provenance._git.cache_clear()


def _filter(folder, program, name="evil", key="clean", where=".git/config"):
    with (folder / where).open("a") as file:
        file.write(f'[filter "{name}"]\n\t{key} = {program}\n\trequired = true\n')
    (folder / ".gitattributes").write_text(f"*.txt filter={name}\n")


def _included(folder, program):
    _filter(folder, program, where=".git/more")
    _git(folder, "config", "includeIf.gitdir:**.path", "more")


def _of_a_worktree(folder, program):
    _git(folder, "config", "extensions.worktreeConfig", "true")
    _filter(folder, program, where=".git/config.worktree")


def _hook(folder, program, where=".git/hooks"):
    (folder / where).mkdir(exist_ok=True, parents=True)
    shutil.copy(program, folder / where / "post-index-change")


def _hooks_elsewhere(folder, program):
    _hook(folder, program, "hooks")
    _git(folder, "config", "core.hooksPath", "hooks")


def _missing_objects(folder, program):
    """A partial clone, whose missing objects git would fetch by the address's own program."""
    for key, value in {
        "core.repositoryFormatVersion": "1", "extensions.partialClone": "origin", "remote.origin.promisor": "true",
        "remote.origin.url": f"ext::{program}", "protocol.ext.allow": "always", "core.sshCommand": str(program),
    }.items():  # fmt: skip
        _git(folder, "config", key, value)
    tree = _git(folder, "rev-parse", "HEAD^{tree}")
    (folder / ".git" / "objects" / tree[:2] / tree[2:]).unlink()


def _module(folder, program):
    """A repository within, with a configuration of its own."""
    inner = folder / "inner"
    inner.mkdir()
    _git(inner, "init", "--quiet")
    (inner / "b.txt").write_text("one\n")
    _git(inner, "add", ".")
    _git(inner, "commit", "--quiet", "-m", "one")
    _git(folder, "add", "inner")
    (inner / "b.txt").write_text("two\n")
    _git(inner, "config", "core.fsmonitor", str(program))
    _filter(inner, program)


HOSTILE = {
    "fsmonitor": lambda folder, program: _git(folder, "config", "core.fsmonitor", str(program)),
    "clean filter": _filter,
    "process filter": lambda folder, program: _filter(folder, program, key="process"),
    "filter with odd name": lambda folder, program: _filter(folder, program, name="a=b.c"),
    "filter of an included file": _included,
    "filter of a worktree's configuration": _of_a_worktree,
    "hook": _hook,
    "hooks elsewhere": _hooks_elsewhere,
    "missing objects": _missing_objects,
    "submodule": _module,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_provenance_runs_no_program_that_a_repository_names(repository, tmp_path, name):
    HOSTILE[name](repository, tmp_path / "program")
    tags = provenance._git()
    assert not (tmp_path / "mark").exists()
    assert tags["mlflow.source.git.commit"] == _git(repository, "rev-parse", "HEAD")
    assert tags["ablate.git.dirty"] == "true" or name == "missing objects"


@pytest.mark.parametrize("name", HOSTILE)
def test_these_programs_are_what_plain_git_runs(repository, tmp_path, name):
    HOSTILE[name](repository, tmp_path / "program")
    subprocess.run(["git", "status", "--porcelain"], cwd=repository, capture_output=True, check=False, timeout=20)
    assert (tmp_path / "mark").exists()


def test_provenance_keeps_settings_that_the_environment_gives_to_git(repository, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "some.key")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "mine")
    assert provenance._ask_git(repository, "config", "some.key") == "mine"
    assert provenance._ask_git(repository, "config", "core.fsmonitor") == "false"


def test_provenance_tells_a_changed_checkout_from_a_clean_one(repository):
    assert provenance._git()["ablate.git.dirty"] == "true"
    (repository / "a.txt").write_text("one\n")
    provenance._git.cache_clear()
    assert provenance._git()["ablate.git.dirty"] == "false"
