"""Database schemas, created atomically: a SQLite file is made whole or not at all, and anew after a kill.

MLflow takes seconds to make its tables, step by step, and never goes on from where a kill cut it off. So a database is
made under a private name beside its place and renamed once it is whole.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.tracking.databases import sqlite_file

if TYPE_CHECKING:
    import sqlalchemy

QUIET_SECONDS = 10
"""Seconds that a half-made database must have lain still: a library that makes its own tables holds no lock of ours."""

_BESIDE = ("", "-journal", "-wal", "-shm")
"""What SQLite's files are called after the database's own name."""


@dataclass(frozen=True)
class Schema:
    """A library's tables.

    Attributes:
        make: Makes all tables in the database of a URI, and closes it.
        tables: Names of the tables, those of earlier versions among them.
        revisions: Alembic's names of the schema's versions, the newest first.
        seeds: Table -> number of rows that it is made with, where there are any.
    """

    make: Callable[[str], None]
    tables: Callable[[], Collection[str]]
    revisions: Callable[[], Sequence[str]]
    seeds: Mapping[str, int]


def make_whole(uri: str, schema: Schema) -> None:
    """Makes a SQLite database where there is none, or one that was never finished; leaves every other alone.

    A database was never finished if none of the library's tables holds a record and it is not of the newest version.
    It is kept under the name ``….unfinished``. To be called under the lock that all who use the database share.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: The file is no database, or cannot be read or written.
        OSError: Its folder cannot be written to, or something else than a file lies in its place.
    """
    import sqlalchemy

    url = sqlalchemy.engine.make_url(uri)
    if (file := sqlite_file(uri)) is None or url.query.get("mode", "rwc") != "rwc":
        return
    place = file.resolve()  # a link stays one
    if place.exists() and not place.is_file():  # a device looks like an empty file, and would be renamed
        raise OSError(f"{place} must be a file")
    making = place.with_name(f"{place.name}.making")
    _remove(making)  # of a maker that died: a living one would hold the lock
    if not _is_wanting(uri, place, schema):
        return
    try:
        schema.make(sqlalchemy.URL.create("sqlite", database=str(making)).render_as_string(hide_password=False))
        if place.exists():
            shutil.copymode(place, making)
        if _is_wanting(uri, place, schema):  # still: MLflow's own server may have made it meanwhile
            _set_aside(place)
            os.replace(making, place)
    finally:
        _remove(making)


def _is_wanting(uri: str, place: Path, schema: Schema) -> bool:
    """Whether there is no database, or one that was never finished, at which nobody is."""
    seen, since = 0.0, time.monotonic()
    while place.exists() and place.stat().st_size:
        if not _is_unfinished(uri, schema):
            return False
        changed = max(path.stat().st_mtime for path in _files(place) if path.exists())
        if changed != seen:
            seen, since = changed, time.monotonic()
        if max(time.time() - changed, time.monotonic() - since) > QUIET_SECONDS:
            return True
        time.sleep(0.2)
    return True


def _is_unfinished(uri: str, schema: Schema) -> bool:
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        names = sqlalchemy.inspect(connection).get_table_names()
        tables = [name for name in names if not name.startswith(("alembic_version", "_alembic_tmp_"))]
        if any(_rows(connection, name) > schema.seeds.get(name, 0) for name in tables):
            return False
        version = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() if (
            "alembic_version" in names
        ) else None  # fmt: skip
    if not set(tables) <= set(schema.tables()):
        return False  # another program's
    return version is None or version in schema.revisions()[1:]


def _rows(connection: "sqlalchemy.Connection", table: str) -> int:
    """Up to two: no table has more from its making on."""
    name = connection.dialect.identifier_preparer.quote_identifier(table)
    return len(connection.exec_driver_sql(f"SELECT 1 FROM {name} LIMIT 2").all())


def _set_aside(place: Path) -> None:
    """Also what SQLite keeps beside the database: it would take a journal for the new one's, and roll it back."""
    unfinished = place.with_name(f"{place.name}.unfinished")
    if place.exists() and place.stat().st_size:
        _remove(unfinished)
        told = f"{place} was never finished and holds no record: it is made anew, and kept as {unfinished.name}"
        print(f"ablate: {told}", file=sys.stderr, flush=True)
    for path, kept in zip(_files(place), _files(unfinished), strict=True):
        if path.exists():
            os.replace(path, kept)


def _files(place: Path) -> list[Path]:
    return [place.with_name(place.name + ending) for ending in _BESIDE]


def _remove(place: Path) -> None:
    for path in _files(place):
        path.unlink(missing_ok=True)
