"""The command line: ``python -m ablate [VERB [NAME]] key=value…``; each verb imports only what it needs."""

import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NoReturn

from ablate.installation import needed_by
from ablate.models import plugins, registry
from ablate.sweep.exits import FAILED, INTERRUPTED, TERMINATED, USAGE
from ablate.sweep.output import Unwritten, make_readable, say, show, watched
from ablate.version import __version__
from ablate.words import unknown


class UsageError(ValueError):
    """The command line itself is wrong; one sentence."""


@dataclass(frozen=True)
class Command:
    """A command line, taken apart.

    Attributes:
        verb: One of ``VERBS``.
        name: The word after the verb, if any.
        words: Overrides in Hydra's grammar.
        flags: Hydra's own flags, e.g. ``--cfg job``.
    """

    verb: str
    name: str | None
    words: list[str]
    flags: list[str]


@dataclass(frozen=True)
class Verb:
    """What a verb does, and whether a name may follow it."""

    run: Callable[[Command], int]
    summary: str
    named: str = ""


_VALUED_FLAGS = ("--cfg", "-c", "--package", "-p", "--config-dir", "-cd", "--info", "-i")
_FLAGS = (*_VALUED_FLAGS, "--hydra-help", "--resolve", "--run", "-r", "--multirun", "-m", "--shell-completion", "-sc")
"""Hydra's own flags, which ``train`` takes."""

_INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
_CHOICES = {**dict.fromkeys(("--cfg", "-c"), ("job", "hydra", "all")), **dict.fromkeys(("--info", "-i"), _INFO)}
_OPTIONAL = ("--info", "-i")
_OWN_KEYS = ("steps", "low", "high", "check", "records")
"""Keys of verbs that read their words themselves, without Hydra."""


def parse(arguments: Sequence[str]) -> Command:
    """Takes a command line apart.

    Raises:
        UsageError: An unknown verb, or a word out of place.
    """
    bare: list[str] = []
    words: list[str] = []
    flags: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word.startswith("-"):
            flags.append(word)
            if word.partition("=")[0] not in _FLAGS:
                raise UsageError(f"there is no flag {word}{_as_override(word)}")
            if (name := word.partition("=")[0]) in _VALUED_FLAGS:
                flags[-1:] = _valued(name, word, rest)
        elif "=" in word or word.startswith("~"):
            words.append(word)
        else:
            bare.append(word)
    verb = bare[0] if bare else "train"
    if verb not in VERBS:
        raise UsageError(f"{unknown('verb', verb, VERBS)} An override reads key=value.")
    allowed = 2 if VERBS[verb].named else 1
    if flags and verb != "train":
        raise UsageError(f"{verb} takes no flags such as {flags[0]}{_as_override(flags[0])}")
    if len(bare) > allowed:
        raise UsageError(f"{verb} takes {VERBS[verb].named or 'no name'}, got {' '.join(bare[allowed:])!r} as well.")
    return Command(verb, bare[1] if len(bare) > 1 else None, words, flags)


def _valued(flag: str, word: str, rest: list[str]) -> list[str]:
    """A flag and its value, which Hydra would ask for by a page of usage; a value that follows leaves the rest.

    Raises:
        UsageError: It has no value, or one that the flag does not take.
    """
    choices = _CHOICES.get(flag, ())
    value = word.partition("=")[2]
    taken = rest and (not choices or not (rest[0] in VERBS or "=" in rest[0] or rest[0].startswith(("-", "~"))))
    if "=" not in word:
        value = rest.pop(0) if taken else choices[0] if flag in _OPTIONAL else ""
    if (choices and value not in choices) or not value:
        wanted = f"one of {', '.join(choices)}" if choices else "its value"
        raise UsageError(f"{flag} must be followed by {wanted}, got {repr(value) if value else 'nothing'}.")
    return [flag, value]


def _as_override(flag: str) -> str:
    """How to write what was meant by a flag: a leaf by its whole name, where the flag is its last word."""
    name, _, value = flag.lstrip("-").partition("=")
    if flag in _FLAGS or not name:
        return "; leave it out."
    from ablate.config.files import groups
    from ablate.config.schema import ReportConfig
    from ablate.tasks.classify.spec import Config, RunSpec

    leaves = [leaf for leaf in RunSpec().leaves() if leaf.rpartition(".")[2] == name]
    known = {*groups(), *(field.name for kind in (Config, ReportConfig) for field in fields(kind)), *_OWN_KEYS}
    if not leaves and name.partition(".")[0] not in known:
        return "; --help lists what there is."
    return f"; write {leaves[0] if leaves else name}={value or '…'}."


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs one command and exits: 0 done, 1 work failed, 2 a wrong command, 130 interrupted, 143 terminated."""
    make_readable()
    given = sys.argv[1:] if arguments is None else arguments
    code, told = _outcome(given)
    say(_without_passwords(told, given))
    sys.exit(code)


def _without_passwords(told: str, arguments: Sequence[str]) -> str:
    """A sentence that may quote the command line, or a library that was given a part of it."""
    if not told:
        return ""
    from ablate.tracking import redact, redact_of

    for word in arguments:
        told = redact_of(word, told) if "://" in word else told
    return redact(told)


def _outcome(arguments: Sequence[str]) -> tuple[int, str]:
    """Runs one command: its exit code, and what is said on standard error."""
    try:
        with watched():
            return _dispatch(arguments), ""
    except Unwritten as error:
        reason = f"ablate: standard output must be one that can be written, but: {error}."
        return FAILED, "" if error.closed else reason  # whoever left has read enough
    except KeyboardInterrupt as stop:  # with a sentence where SIGTERM stopped a training
        return (TERMINATED, f"ablate: {stop}") if str(stop) else (INTERRUPTED, "interrupted.")
    except ValueError as error:  # ours all derive from it: what must hold, what came, what to do
        return USAGE, f"ablate: {error}"
    except Exception as error:
        return FAILED, f"ablate: {_unforeseen(error)}"


def _unforeseen(error: Exception) -> str:
    """One sentence for what no sentence was written for; the traceback stands in a file, to be reported.

    What came up in a user's plugin is told with the line of the user's file, where it is to be mended.
    """
    from ablate.tracking import redact

    if theirs := plugins.came_from(error, registry.plugins()):
        said = redact(f"a plugin must not fail, but there is {plugins.told(error, registry.plugins())}; mend it there")
    else:
        words = redact(" ".join(str(error).split())[:300]).rstrip(".")
        said = f"{type(error).__name__}{words and f': {words}'}; this was not foreseen"
    trace = traceback.format_exception(error)
    try:
        descriptor, name = tempfile.mkstemp(prefix="ablate-error-", suffix=".txt")
        with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(redact("".join(trace)))
    except OSError:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{said}. It came up in {place.filename}, line {place.lineno}; no file could take the traceback."
    return f"{said}. The traceback is in {name}{'' if theirs else ': please report it'}."


def _dispatch(arguments: Sequence[str]) -> int:
    if any(word in ("--help", "-h") for word in arguments):
        show(help_text())
        return 0
    if "--version" in arguments:
        print(f"ablate {__version__}")
        return 0
    command = parse(arguments)
    _check_here()
    with needed_by(command.verb):
        return VERBS[command.verb].run(command)


def _check_here() -> None:
    """Raises UsageError where the working directory was deleted since somebody changed to it."""
    try:
        os.getcwd()
    except OSError as error:
        raise UsageError(
            f"the working directory must be one that is there, but: {error.strerror}; change to another, or to the "
            "same name again."
        ) from None


# ------------------------------------------------------------------------------------------------------------- verbs


def _train(command: Command) -> int:
    from ablate.cli.training import train

    return train(command.words, command.flags)


def _plan(command: Command) -> int:
    from ablate.cli.training import plan

    return plan(command.words)


def _report(command: Command) -> int:
    from ablate.cli.records import report

    return report(command.name, command.words)


def _export(command: Command) -> int:
    from ablate.cli.records import export

    if command.name is None:
        raise UsageError("export needs the name of a sweep: python -m ablate export pe_type out=pe_type.jsonl.")
    return export(command.name, command.words)


def _import(command: Command) -> int:
    from ablate.cli.records import bring

    if command.name is None:
        raise UsageError("import needs a file that export wrote: python -m ablate import pe_type.jsonl.")
    return bring(command.name, command.words)


def _tables(command: Command) -> int:
    from ablate.cli.records import tables

    return tables(command.words)


def _card(command: Command) -> int:
    from ablate.cli.records import card

    if command.name is None:
        raise UsageError("card needs the id of a run: python -m ablate card RUN_ID out=README.md.")
    return card(command.name, command.words)


def _models(command: Command) -> int:
    from ablate.cli.facts import models

    return models(command.name or "*")


def _verify(command: Command) -> int:
    from ablate.cli.facts import verify

    return verify(command.name)


def _sheet(command: Command) -> int:
    from ablate.cli.training import sheet

    return sheet(command.words)


def _lr_range(command: Command) -> int:
    from ablate.cli.training import lr_range

    return lr_range(command.words)


def _sync(command: Command) -> int:
    from ablate.cli.records import sync

    return sync(command.words)


VERBS = {
    "train": Verb(_train, "train one model, or with +sweep=NAME a whole sweep (the default verb)"),
    "plan": Verb(_plan, "what +sweep=NAME would run, and what each model costs; trains nothing"),
    "report": Verb(_report, "table and verdicts of a sweep, a file of records or source=RUNS.csv", "a sweep or a file"),
    "export": Verb(_export, "a sweep's records as one text file that git can keep: out=FILE", "the name of a sweep"),
    "import": Verb(_import, "reads such a file into the tracking store", "a file"),
    "tables": Verb(_tables, "published tables with ours beside, from docs/records/; check=true: are they up to date"),
    "card": Verb(_card, "a run's Hugging Face model card: license=… out=README.md", "the id of a run"),
    "sheet": Verb(_sheet, "a picture of augmented training images: data=… augment=… out=PATH"),
    "lr_range": Verb(_lr_range, "a learning-rate range test, one short training: [steps= low= high= out=]"),
    "sync": Verb(_sync, "deliver what was logged while the tracking store was away"),
    "models": Verb(_models, "the models that have a name, with parameters and MACs", "a pattern such as 'cct_*'"),
    "verify": Verb(
        _verify,
        "do published figures and the official code's numbers come out here; exit code 1: not as recorded",
        "published, variants, golden, training, manifold or manifold_golden",
    ),
}


# -------------------------------------------------------------------------------------------------------------- help


def help_text() -> str:
    """Verbs, config groups and sweeps, as --help prints them."""
    from ablate.config.files import group_choices, groups, sweep_files
    from ablate.contract import task

    lines = ["python -m ablate [VERB [NAME]] key=value…        (overrides are in Hydra's grammar)", "", "verbs"]
    lines += [f"  {name:<10} {verb.summary}" for name, verb in VERBS.items()]
    lines += ["", "config groups, chosen by group=option; every leaf below them by group.leaf=value"]
    for group in groups():
        forms = ", ".join(task().forms(group))
        lines += _wrapped(f"  {group:<10} ", ", ".join(group_choices(group)) + (f", or any {forms}" if forms else ""))
    lines += ["", "names of models, listed by models and built by create_model"]
    lines += ["  a form of the group model, _SIZE, then _sine or _none, then _c100 or _fl: cct_7_3x1_32_sine_c100,"]
    lines += ["  manifold_vit_6_4_32, grassmanian_cct_7_3x1_32"]
    lines += ["", "slots of a model, set by model.SLOT=name"]
    for slot in registry.slots():
        lines += _wrapped(f"  {slot:<10} ", ", ".join(registry.names(slot)))
    lines += ["", "sweeps, run by +sweep=NAME"]
    widest = max(map(len, sweep_files()), default=0)
    lines += [f"  {name:<{widest}} {_question(path)}" for name, path in sweep_files().items()]
    lines += ["", "--cfg job shows the configuration that a command means; exit code 2: the command was wrong."]
    return "\n".join(lines)


def _wrapped(head: str, text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(text, 110, initial_indent=head, subsequent_indent=" " * len(head))


def _question(path: Path) -> str:
    """A sweep's question; a file that cannot be read says so in its own line."""
    from ablate.config.files import load_sweep

    try:
        content = load_sweep(path)
        return str(content.get("question", "")) if isinstance(content, dict) else "(no mapping)"
    except ValueError as error:
        return f"(not readable: {error})"
