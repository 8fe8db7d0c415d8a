"""Passwords of records and queue lie in no file: the environment holds them, files say where."""

import logging
import os
import re
import sys
from pathlib import Path

import cloudpickle
import pytest

from ablate.cli import main as cli
from ablate.cli.job import as_hydra_job, prepare_jobs
from ablate.config.compose import compose, to_config
from ablate.config.overrides import ConfigError, parse_overrides
from ablate.config.secrets import SecretError, holds_password, kept, whole, without_secrets
from ablate.sweep.plan import make_plan

URI, STORAGE = "http://me:hunter2@records:5000", "postgresql+psycopg://me:hunter2@db/queue"
ROOT = Path(__file__).parents[3]
WORDS = ["model=tiny", "data=digits", "train.epochs=1"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working directory with a sweep, and an environment without addresses."""
    monkeypatch.chdir(tmp_path)
    for name in ("ABLATE_TRACKING_URI", "ABLATE_STUDY_STORAGE", "PGURL"):
        monkeypatch.setenv(name, "")  # so that what a test sets is taken away after it
        monkeypatch.delenv(name)
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "mine.yaml").write_text("base: {model: tiny, data: digits}\naxes: {train.lr: [1.0e-3]}\n")
    monkeypatch.setattr(sys, "argv", ["ablate"])  # which Hydra is told by
    handlers, level = logging.root.handlers[:], logging.root.level
    yield tmp_path
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def _found(folder):
    return [path for path in folder.rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()]


@pytest.mark.parametrize(
    ("address", "has"),
    [
        (URI, True), (STORAGE, True), ("http://hunter2@records", True), ("postgresql://me:it's@db/q", True),
        ("postgresql://me:p@ss/w:rd@db/q", True), ("http://tok'en 1@h", True),
        ("http://h/?api_key=x", True), ("postgresql://db/q?password=hunter2", True),
        ("postgresql://me:${oc.env:PASSWORD}@db/q", False), ("${oc.env:PGURL}", False), ("postgresql://me@db/q", False),
        ("sqlite:///optuna.db", False), ("http://records:5000", False), ("sqlite:////a/me:b.db", False),
    ],
)  # fmt: skip
def test_addresses_with_a_password_are_told_from_others(address, has):
    assert holds_password(address) is has
    assert (kept("study.storage", address) != address) is has
    assert whole("study.storage", kept("study.storage", address)) == address


@pytest.mark.parametrize(
    "words",
    [
        [f"tracking.uri={URI}", f"study.storage={STORAGE}"],
        [f"++tracking.uri='{URI}'", f"study={{storage:'{STORAGE}',heartbeat_seconds:5}}"],
        [f"tracking={{uri:'{URI}'}}", "study.storage=postgresql://me:hunter2@old/q", f"study.storage={STORAGE}"],
        [f"study.storage={STORAGE}", "tracking=mine"],
    ],
)
def test_hydra_writes_no_password_wherever_it_was_said(folder, words):
    (folder / "conf" / "tracking").mkdir(parents=True)
    (folder / "conf" / "tracking" / "mine.yaml").write_text(f"uri: {URI}\n")
    seen = []

    def job(cfg):
        config = to_config(cfg)
        seen.append((config.tracking.uri, config.study.storage))
        return 0

    assert as_hydra_job([*WORDS, *words], [], job) == 0
    assert seen == [(URI, STORAGE)]
    written = [path for path in folder.rglob("*.yaml") if ".hydra" in path.parts]
    assert len(written) == 3 and _found(folder / "outputs") == []
    assert "${oc.env:ABLATE_STUDY_STORAGE}" in "".join(path.read_text() for path in written)


def test_several_jobs_of_hydra_write_no_password_either(folder):
    seen = []
    words = [*WORDS, f"tracking.uri={URI}", f"study.storage={STORAGE}", "seed=0,1"]
    job = lambda cfg: seen.append(to_config(cfg).tracking.uri) or 0  # noqa: E731
    assert as_hydra_job(words, ["-m"], job) == 0
    assert seen == [URI, URI]
    assert (len(list(folder.rglob("multirun.yaml"))), len(list(folder.rglob("config.yaml")))) == (1, 2)
    assert _found(folder) == []


@pytest.mark.parametrize(
    "word",
    [f"tracking.uri={URI},http://other", "tracking=mine,mine", "+tracking=mine,local", "tracking=glob(*)",
     f"tracking={{uri:'{URI}'}},{{uri:'{URI}'}}", f"study={{storage:'{STORAGE}'}},{{storage:'sqlite:///q.db'}}",
     f"study.storage=choice('{STORAGE}','sqlite:///q.db')", "study.heartbeat_seconds=range(5,9)"],
)  # fmt: skip
def test_jobs_of_hydra_differ_by_nothing_that_may_hold_a_password(folder, word):
    (folder / "conf" / "tracking").mkdir(parents=True)
    (folder / "conf" / "tracking" / "mine.yaml").write_text(f"uri: {URI}\n")
    with pytest.raises(ConfigError, match="must be one value for all jobs of --multirun") as told:
        as_hydra_job([*WORDS, word], ["-m"], lambda cfg: 0)
    assert "hunter2" not in str(told.value) and _found(folder / "outputs") == []


def test_an_address_from_the_environment_is_written_as_it_was_said(folder, monkeypatch):
    monkeypatch.setenv("PGURL", STORAGE)
    seen = []
    job = lambda cfg: seen.append(to_config(cfg).study.storage) or 0  # noqa: E731
    assert as_hydra_job([*WORDS, "study.storage=${oc.env:PGURL}"], [], job) == 0
    assert seen == [STORAGE] and _found(folder) == []
    told = "".join(path.read_text() for path in folder.rglob("overrides.yaml"))
    assert "${oc.env:PGURL}" in told and "ABLATE_" not in told


def test_words_without_a_password_stay_as_they_are():
    words = [*WORDS, "tracking.uri=sqlite:///x.db", "study={storage:'sqlite:///q.db'}"]
    assert [override.line for override in without_secrets(words)] == words and "ABLATE_TRACKING_URI" not in os.environ


@pytest.mark.parametrize("said", [f"study.storage={STORAGE}", "study.storage=${oc.env:PGURL}"])
def test_a_plan_that_is_kept_in_a_file_has_no_password_and_gets_it_back(monkeypatch, said):
    monkeypatch.setenv("PGURL", STORAGE)
    plan = make_plan(["+sweep=mine", f"tracking.uri={URI}", said])
    lying = cloudpickle.dumps(plan.for_a_file())
    assert b"hunter2" not in lying and b"hunter2" in cloudpickle.dumps(plan)
    back = cloudpickle.loads(lying).from_a_file()
    assert (back.config, back.study, back.points) == (plan.config, plan.study, plan.points)
    monkeypatch.delenv("ABLATE_STUDY_STORAGE")
    with pytest.raises(SecretError, match="ABLATE_STUDY_STORAGE"):
        cloudpickle.loads(lying).from_a_file()


def test_a_plan_that_draws_composes_without_its_addresses(folder):
    (folder / "sweeps" / "mine.yaml").write_text(
        "base: {model: tiny, data: digits}\nmethod: optuna\naxes: {train.lr: {low: 1.0e-3, high: 1.0e-2}}\n"
    )
    plan = make_plan(["+sweep=mine", f"study.storage={STORAGE}"])
    assert not any("hunter2" in override.line for override in plan.overrides)
    assert plan.at(plan.points[0].point, {"train.lr": 5e-3}).spec.train.lr == 5e-3


def test_models_of_several_jobs_need_no_file_and_there_are_few_enough(folder):
    prepare_jobs(parse_overrides(["model=cct_7_3x1,vit_2_4", "seed=0,1"]))
    assert compose(["model=vit_2_4"]).model.layers == 2
    for words in (
        ["seed=range(0,1000000000000)"],
        [f"train.lr={','.join(map(str, range(1, 200)))}", "seed=range(0,100)"],
    ):
        with pytest.raises(ConfigError, match="at most 10,000 jobs, got 1"):
            prepare_jobs(parse_overrides(words))


_AT = "http://me:hunter2'%@h"


@pytest.mark.parametrize(
    "words",
    [[f"--study.storage={STORAGE}"], [f"study.storage:{STORAGE}"], ["plan", f"study.storage:{STORAGE}"],
     ["plan", "pe_type", STORAGE], [f"tracking.uri=[{URI},{URI}]"], [f"study.storage={STORAGE},{STORAGE}"],
     [f"train.epochs={URI}"], [f"train.epochs={_AT}"], [f"+sweep={URI}"], ["plan", f"+sweep={_AT}"], [f"model={URI}"],
     ["import", URI], ["import", _AT], ["report", URI], ["verify", URI], ["models", URI], ["card", URI],
     [f"tracking.spol={URI}"], [f"~{URI}"], [f"plugins={URI}"], [f"plugins=[{URI}]"], [f"{URI}=x"],
     ["report", f"source={URI}", "factor=a", "value=b"], ["tables", f"records={URI}"], ["sheet", f"out={URI}"],
     [f"model.weights={_AT}", "data=digits"], [f"data.root={URI}", "data=folder"],
     [f"hydra.run.dir=/dev/null/{URI}", "data=digits"],
     ["tables", "check=http://h/?api_key=hunter2"]],
)  # fmt: skip
def test_no_sentence_about_a_mistyped_line_shows_its_password(capsys, words):
    with pytest.raises(SystemExit) as stop:
        cli.main(words)
    told = capsys.readouterr().err
    assert stop.value.code in (1, 2) and told.startswith("ablate: ") and "hunter2" not in told


def test_no_example_of_the_docs_has_a_password_in_a_command():
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    written = [page.name for page in pages if re.search(r"(storage|uri)=\S*://[\w$]+:\w+@", page.read_text("utf-8"))]
    assert len(pages) > 10 and written == []
