"""Verbs that read or write records: report, export, import, tables, card, sync."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ablate.config.compose import compose_report
from ablate.config.overrides import ConfigError, Words, parse_overrides
from ablate.config.schema import Format, Notes, ReportConfig, check_path
from ablate.design.sweep import SCOPES
from ablate.installation import require
from ablate.sweep.output import show
from ablate.words import unknown


def report(name: str | None, words: Words) -> int:
    """Prints the table of a sweep from records alone: the tracking store's, a file's, or anybody's runs.

    Raises:
        ConfigError: Neither a name nor a source came, or both, or ``out`` cannot be written.
        MissingPackageError: The page needs figures, and what draws them is not installed.
        ReportError: The store knows no study of that name.
    """
    from ablate.report import METRIC, Reading, report_records, report_study
    from ablate.report.pages.html import page
    from ablate.report.sources import studies
    from ablate.stats.crossed import Scope

    options = compose_report(words)
    _check_report(name, options)
    drawn, full = options.format is Format.html, options.notes is Notes.full
    if drawn:
        require("format=html", "matplotlib", "seaborn")
    records = studies.opened(name, options)
    if records is None and name is not None and (options.at is not None or drawn):  # curves: where they are needed
        records = studies.from_store(options.tracking, name, curves_of=studies.READ)
    reading = Reading(
        records.definition.get("metric", METRIC) if records is not None else METRIC,
        margin=options.margin,
        at=options.at,
        images=options.images,
        alpha=options.alpha,
        higher_is_better=options.higher_is_better,
        blocks=options.blocks,
        max_diverged=options.max_diverged,
        scope=None if options.scope is None else Scope(options.scope),
        compare=_names(options.compare),
    )
    if records is not None:
        text = page(records, reading) if drawn else report_records(records, options.format, reading, full=full)
    elif name is not None:
        text = report_study(options.tracking, name, options.format, reading=reading, full=full)
    else:
        raise ConfigError("report needs the name of a sweep, a file of records, or source=: report pe_type.")
    _put(text, options.out, options.source or (name if name and name.endswith(studies.SUFFIX) else None))
    return 0


def _check_report(name: str | None, options: ReportConfig) -> None:
    """What can be told before any record is read.

    Raises:
        ConfigError: The options contradict each other, or the margin is none.
    """
    check_path("a file of records", name or None)
    source, margin = options.source, options.margin
    for key, kind in {"factor": "a column or a list of columns", "compare": "an axis or a list of axes"}.items():
        given = getattr(options, key)
        if not all(isinstance(each, str) and each for each in _names(given) or []) or (
            key == "compare" and given == []
        ):
            raise ConfigError(f"{key} must be {kind}, got {given!r}.")
    if options.scope is not None and options.scope not in SCOPES:
        raise ConfigError(unknown("scope", options.scope, SCOPES))
    if source is not None and source.endswith(".jsonl"):
        raise ConfigError(f"source must be a CSV file of runs; for a file that export wrote, say report {source}.")
    if name is not None and name.endswith(".csv"):
        raise ConfigError(f"a CSV file of runs must come as source={name} factor=… value=…, got it as a name.")
    own = ("source", "factor", "value", "seed", "baseline")
    if name is not None and (given := [key for key in own if getattr(options, key)]):
        raise ConfigError(f"{given[0]}= must come without a name, which is of other records; leave out {name}.")
    if options.blocks and name is None and options.seed is None:
        raise ConfigError(
            "blocks=true needs seed=COLUMN, which tells the runs that share split, subset and data order."
        )
    if margin is not None and not (math.isfinite(margin) and margin > 0):
        raise ConfigError(f"margin must be above 0, in the unit of the values, got {margin}; leave it out for none.")


def _names(given: Any) -> list[Any] | None:
    """One name or several, as a list."""
    return given if given is None or isinstance(given, list) else [given]


def _put(text: str, out: str | None, source: str | None = None) -> None:
    if out is None:
        print(text)
        return
    with writable(out, source) as path:
        path.write_text(text + "\n", "utf-8")


@contextmanager
def writable(out: str, source: str | None = None) -> Iterator[Path]:
    """The file that ``out`` names, its folder made.

    Raises:
        ConfigError: It is no file's name, the file that is read, or cannot be written.
    """
    check_path("out", out or None)
    path = Path(out)
    if not out or path.is_dir():
        raise ConfigError(f"out must name a file, got {f'{out}, which is a folder' if out else 'nothing'}.")
    if source is not None and path.exists() and Path(source).exists() and path.samefile(source):
        raise ConfigError(f"out must name another file than {source}, which is read and would be lost.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield path
    except OSError as error:
        raise ConfigError(f"out must name a file that can be written, but {out}: {error.strerror}.") from None


def tables(words: Words) -> int:
    """Makes all tables from the records in the repository, or with ``check=true`` says which are stale.

    Returns:
        Exit code: 1 where a table is stale.

    Raises:
        ConfigError: An option that there is not, or of another kind.
        TablesError: There are no records.
    """
    from ablate.tasks.classify import published_tables

    given = {override.key: override.value for override in parse_overrides(words)}
    for key, value in given.items():
        if key not in ("check", "records", "out"):
            raise ConfigError(unknown("a key of tables", key, ("check", "records", "out")))
        if not isinstance(value, bool if key == "check" else str) or value == "":
            raise ConfigError(f"{key} must be {'true or false' if key == 'check' else 'a folder'}, got {value!r}.")
        check_path(key, value if isinstance(value, str) else None)
    pages = published_tables.pages(Path(given.get("records", published_tables.RECORDS)))
    folder = Path(given.get("out", published_tables.TABLES))
    if given.get("check", False):
        old = published_tables.stale(pages, folder)
        show(f"stale, make them with python -m ablate tables: {', '.join(old)}" if old else "all tables are current.")
        return int(bool(old))
    changed = published_tables.write(pages, folder)
    show(f"{len(pages)} pages in {folder}, {len(changed)} changed.")
    return 0


def card(run_id: str, words: Words) -> int:
    """Writes the model card of a run in the tracking store, or with ``source=FILE.jsonl`` in a file of records."""
    from ablate.report.sources import records
    from ablate.tasks.classify import card as cards

    options = compose_report(words)
    if options.source is None:
        text = cards.from_store(options.tracking, run_id, license=options.license)
    else:
        text = cards.from_records(records.read(Path(options.source)), run_id, license=options.license)
    _put(text, options.out, options.source)
    return 0


def export(name: str, words: Words) -> int:
    """Writes a study's records as one text file.

    Raises:
        ConfigError: No point of the study is finished, or ``out`` cannot be written.
    """
    from ablate.report.sources import records, stored, studies

    options = compose_report(words)
    chosen, others = stored.choose(options.tracking, name)
    if not chosen.finished:
        raise ConfigError(f"export needs a study with a finished point, got {chosen.study}, which has none.")
    found = studies.from_store(options.tracking, name, study=chosen.study)
    found = studies.with_test_images(found, options.tracking)
    out = f"{name}{studies.SUFFIX}" if options.out is None else options.out
    with writable(out) as path:
        records.write(found, path)
    show(f"{len(found.frame)} runs of study {found.study} are in {path} ({path.stat().st_size:,} bytes).")
    show(*map(stored.beside, others))
    return 0


def bring(name: str, words: Words) -> int:
    """Reads such a file into the tracking store."""
    from ablate.report.sources import records, studies

    options = compose_report(words)
    found = records.read(Path(name))
    studies.to_store(found, options.tracking, tell=print)
    return 0


def sync(words: Words) -> int:
    """Delivers what was logged while the tracking store was away.

    Returns:
        Exit code: 1 where something still waits, or can never be delivered.

    Raises:
        TrackingError: The store is still away.
    """
    from ablate.tracking import Store

    tracking = compose_report(words).tracking
    delivered = Store(tracking).deliver()
    show(f"delivered {delivered.told} runs to the tracking store; {delivered.waiting} wait in {tracking.spool}.")
    for said in (*delivered.aside, *filter(None, [delivered.reason]), *delivered.elsewhere):
        show(said)
    return int(delivered.waiting > 0 or bool(delivered.aside))
