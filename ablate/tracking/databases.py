"""Databases of queue and tracking store: a lock among processes (file or advisory), error messages with remedies."""

import hashlib
import os
import re
import tempfile
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.installation import install
from ablate.paths import problem

if TYPE_CHECKING:
    import sqlalchemy

WAIT_SECONDS = 300
"""Seconds that a lock is waited for: its holders are through within a few."""

ASLEEP_SECONDS = 120
"""Seconds after which PostgreSQL takes the lock from an idle holder: its machine sleeps, or lost its network."""

_FULL = r"disk is full|disk full|no space left|quota exceeded|file too large"
_LASTING = re.compile(
    rf"{_FULL}|disk i/o error|readonly database|read-only|malformed|not a database|offers no locks|permission denied|"
    "no such table",
    re.IGNORECASE,
)
_REMEDIES = (
    (_FULL, "make room there, or set {setting} to a database on another disk"),
    (r"disk i/o error", "its disk or its folder's quota may be full, or the disk damaged: make room, or set {setting} "
     "to a database on another disk"),
    (r"TMPDIR offers no locks", "set TMPDIR to a folder on a local disk"),
    (r"offers no locks", "as some network folders do: set {setting} to a database on a local disk, or to a server"),
    (r"readonly database|read-only|permission denied", "make it writable, or set {setting} to another"),
    (r"not a database|malformed", "move the damaged file away, or set {setting} to another"),
    (r"locate revision|out-of-date database schema|compatible with the table schema", "another {library} or another "
     "program made it: use the {library} that did, upgrade the database if this one is newer, or set {setting} to "
     "another"),
    (r"already exists|duplicate column|no such index", "its making was cut off, or another program made it: where it "
     "holds no records move it away, else set {setting} to another"),
    (r"no such table|does not exist|no such column", "it holds no {library} records that can be read: check {setting}"),
    (r"database is locked|lock timeout", "another program holds it: try again when that has ended"),
    (r"no module named|can't load plugin|failed to import db", "install the driver that the URI names: "
     f"{install('postgresql')} has the one of postgresql+psycopg://"),
    (r"must be in the 'active' state", "somebody deleted it in the MLflow UI: restore it there, or give the same "
     "command again"),
    (r"is gone", "put it back, or give the same command again, which makes it anew"),
    (r"not a directory|file exists", "move away what lies in that folder's place"),
    (r"is a folder|is a pipe or a device", "move it away, or set {setting} to a file"),
    (r"unable to open", "its folder must exist, and both be writable"),
)  # fmt: skip


def complaint(error: BaseException) -> str:
    """What ails a database, in its driver's words: without a library's wrapping, the statement and its values."""
    import sqlalchemy

    while isinstance(error.__cause__, sqlalchemy.exc.SQLAlchemyError):
        error = error.__cause__
    if isinstance(error, sqlalchemy.exc.DBAPIError) and error.orig is not None:
        error = error.orig
    return str(error).partition("\n[SQL:")[0].strip() or type(error).__name__


def ailment(uri: str, error: BaseException) -> str:
    """``complaint`` of a database; where its file is gone, no file, or on a file system without locks, in our words.

    SQLite says of missing locks that the database is locked, or that its disk fails, by what the system answers.
    """
    words = complaint(error)
    if (file := sqlite_file(uri)) is None:
        return words
    if os.path.exists(file) and not os.path.isfile(file):
        return f"{file} is {'a folder' if os.path.isdir(file) else 'a pipe or a device'}"
    if "readonly" in words and not os.path.lexists(file):  # SQLite writes no more to what was deleted meanwhile
        return f"{file} is gone"
    if not re.search("database is locked|disk i/o error", words, re.IGNORECASE):
        return words
    import filelock

    from ablate.locks import NoLocks, lock

    try:
        lock(Path(f"{file.resolve()}.lock"), timeout=0).release()
    except NoLocks as missing:
        return str(missing)
    except (filelock.Timeout, OSError):  # somebody's, or not ours to make
        pass
    return words


def lasts(error: BaseException) -> bool:
    """Whether no waiting mends it: a disk or a file that is full, damaged, read-only or another, not a server away."""
    return bool(_LASTING.search(complaint(error)))


def remedy(words: str, *, setting: str, library: str) -> str:
    """What can be done about a database's error.

    Args:
        words: The driver's error message, whole.
        setting: The leaf that names the database, e.g. ``tracking.uri``.
        library: The library that made the database, ``MLflow`` or ``Optuna``.
    """
    found = (text for pattern, text in _REMEDIES if re.search(pattern, words, re.IGNORECASE))
    return next(found, "check {setting}").format(setting=setting, library=library)


def sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite URI; None for a database in memory, or on a server."""
    import sqlalchemy

    url = sqlalchemy.engine.make_url(uri)
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return None
    return Path(str(url.database).removeprefix("file:"))


def same(first: str, second: str) -> bool:
    """Whether two well-formed URIs, of SQLite or PostgreSQL, name one database, as far as it can be told unopened."""
    import sqlalchemy

    urls = [sqlalchemy.engine.make_url(uri) for uri in (first, second)]
    kinds = {url.get_backend_name() for url in urls}
    if kinds == {"sqlite"}:
        files = [sqlite_file(uri) for uri in (first, second)]
        return len({file.resolve() if file else None for file in files}) == 1
    if any("search_path" in str(url.query) for url in urls):  # tables of one database may lie apart
        return False
    return kinds == {"postgresql"} and len({_place(url) for url in urls}) == 1


def _place(url: "sqlalchemy.URL") -> tuple[str, str, str]:
    host, port = (str(getattr(url, part) or url.query.get(part, "")) for part in ("host", "port"))
    return "localhost" if host in ("127.0.0.1", "::1") else host.lower(), port or "5432", url.database or ""


def ill_formed(uri: str, kinds: Collection[str]) -> str | None:
    """What keeps a database's URI from being opened, as far as it can be told without opening anything.

    Args:
        uri: URI of a database.
        kinds: Kinds of databases that will do, such as ``sqlite``.
    """
    import sqlalchemy

    try:
        url = sqlalchemy.engine.make_url(uri)
        url.get_dialect().import_dbapi()
    except (sqlalchemy.exc.NoSuchModuleError, ImportError) as error:
        missing = remedy(str(error), setting="it", library="")
        return f"no driver for {uri.partition(':')[0]} is here; {missing}"
    except (sqlalchemy.exc.ArgumentError, ValueError):  # whose text may hold the password
        return "it does not read kind://…"
    if url.get_backend_name() not in kinds:
        return f"its kind is {url.get_backend_name()}"
    if url.get_backend_name() != "sqlite":
        return None
    file = sqlite_file(uri)
    if file is None:
        return "it names no file"
    wrong = problem("its file", str(file.absolute()))  # a relative one has the working directory's name before it
    return wrong and wrong.rstrip(".")


def ask(uri: str, purpose: str) -> None:
    """One quick try at a database before anything heavy is imported; a SQLite file that is not there is not made.

    Raises:
        OSError: Its folder cannot be written to.
        filelock.Timeout: Somebody held its lock for minutes.
        sqlalchemy.exc.SQLAlchemyError: It cannot be read or written.
    """
    import sqlalchemy

    with Lock(uri, purpose)():  # whoever is making it holds the lock
        if (file := sqlite_file(uri)) is not None and not file.exists():
            return
        engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool)
        try:
            with engine.connect() as connection:
                probe(connection)
                connection.rollback()
        finally:
            engine.dispose()


def probe(connection: "sqlalchemy.Connection") -> None:
    """One quick try at writing, which the connection's end rolls back: libraries repeat a hopeless one for minutes."""
    if connection.dialect.name != "sqlite":
        connection.exec_driver_sql("SELECT 1")
        return
    connection.exec_driver_sql("BEGIN IMMEDIATE")  # alone it succeeds on a read-only file
    connection.exec_driver_sql("CREATE TABLE ablate_probe (x)")


class Lock:
    """Held by one thread at a time among all processes that use a database, and again by the one that holds it.

    SQLite: a file beside the database's. PostgreSQL: an advisory lock in the database, which the server takes back from
    a holder that died or fell asleep. Any other: a file of this machine, which other machines do not see.
    """

    def __init__(self, uri: str, purpose: str) -> None:
        """Opens nothing yet.

        Args:
            uri: The database, or whatever else processes have in common.
            purpose: Locks of different purposes do not wait for each other, but for SQLite, which has one file for all.
        """
        self._uri, self._purpose = uri, purpose
        self._mine = threading.RLock()
        self._depth = 0
        self._postgres = uri.split(":", 1)[0].split("+", 1)[0] == "postgresql"
        self._engine: Any = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Holds the lock for the duration of the block.

        Raises:
            filelock.Timeout: Somebody held the file for minutes.
            NoLocks: The file's folder is on a file system without locks; so is every SQLite database there.
            sqlalchemy.exc.SQLAlchemyError: The server does not answer, or somebody held its lock for minutes.
        """
        with self._mine:
            if self._depth:
                yield
                return
            with self._advisory() if self._postgres else self._file():
                self._depth += 1
                try:
                    yield
                finally:
                    self._depth -= 1

    @contextmanager
    def _advisory(self) -> Iterator[None]:
        import sqlalchemy

        if self._engine is None:
            self._engine = sqlalchemy.create_engine(self._uri, pool_size=1, pool_pre_ping=True)
        with self._engine.connect() as connection:
            connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = '{ASLEEP_SECONDS}s'")
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{WAIT_SECONDS}s'")
            connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(:key)"), {"key": self._key()})
            try:
                yield
            finally:
                _let_go(connection)

    @contextmanager
    def _file(self) -> Iterator[None]:
        from ablate.locks import NoLocks, lock

        path = self._path()
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            held = lock(path, timeout=WAIT_SECONDS)
        except NoLocks as error:
            if path.parent == Path(tempfile.gettempdir()):
                error.strerror = "TMPDIR offers no locks"
            raise
        try:
            yield
        finally:
            held.release()

    def _key(self) -> int:
        """PostgreSQL's advisory locks are numbers of 64 bits, each database having its own."""
        return int.from_bytes(hashlib.sha256(f"ablate {self._purpose}".encode()).digest()[:8], "big", signed=True)

    def _path(self) -> Path:
        if not self._uri.startswith("http") and (file := sqlite_file(self._uri)):
            return Path(f"{file.resolve()}.lock")
        digest = hashlib.sha256(self._uri.encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"ablate-{self._purpose}-{digest}.lock"


def _let_go(connection: "sqlalchemy.Connection") -> None:
    """Ends the lock's transaction; a server that took it back, or is gone, has ended it already."""
    import sqlalchemy

    try:
        connection.rollback()
    except sqlalchemy.exc.SQLAlchemyError:
        connection.invalidate()
