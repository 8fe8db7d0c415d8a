"""The spool: journals of records that the tracking store could not take yet, on local disk, in their order.

One folder a run: ``about.json`` (which store, which run), ``said.jsonl`` (one entry a line), ``files/`` (artifacts),
``before.jsonl`` (what the store had been told before, but for files: enough to make the run anew where it is gone), and
``owner.lock``, which the writing process holds as long as it lives: nobody else delivers meanwhile. Delivering twice
does no harm (an entry carries its own time, and MLflow keeps equal entries once), so nothing has to be told as
delivered but the whole. What can never be delivered is moved to ``undeliverable/``, and lost by nobody.
"""

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock

from ablate.tracking.spec import TrackingError

JournalEntry = Mapping[str, Any]
"""``kind`` (``create``, ``params``, ``tags``, ``metrics``, ``artifact``, ``finish``) and what belongs to it."""

Send = Callable[[JournalEntry, Path], None]

UNDELIVERABLE = "undeliverable"
"""The folder below the spool for what no store takes."""


@dataclass(frozen=True)
class About:
    """The run that a journal belongs to.

    Attributes:
        store: URI of the store, without its password.
        experiment: Name of the experiment in that store.
        run_id: Id of the run; None where it could not be created yet.
        name: Name of the run, for people.
        sweep: Whether the run is a study's parent, which the sweep's next command makes anew where it is gone.
            Journals of earlier versions do not say.
    """

    store: str
    experiment: str
    run_id: str | None
    name: str
    sweep: bool = False


class Journal:
    """What is still to be told of one run. Made on disk with its first entry, gone with its last.

    Attributes:
        folder: Folder of the journal's files.
        about: The run that it belongs to.
        before: Entries that the store has taken already, files left out. Empty for a run that was made by somebody
            else, and for a journal of a version that did not keep this.
    """

    def __init__(self, folder: Path, about: About, before: Iterable[JournalEntry] = ()) -> None:
        """Writes nothing yet."""
        self.folder, self.about, self.before = folder, about, list(before)
        self._owner = filelock.FileLock(folder / "owner.lock")

    @classmethod
    def new(cls, root: Path, about: About, before: Iterable[JournalEntry] = ()) -> "Journal":
        """A journal of its own below ``root``."""
        return cls(root / uuid.uuid4().hex, about, before)

    @classmethod
    def read(cls, folder: Path) -> "Journal":
        """One that a process left.

        Raises:
            OSError: It was cut off while it was made, before anything was said.
            ValueError: It is damaged.
        """
        about_file, before = folder / "about.json", folder / "before.jsonl"
        if about_file.exists() and not about_file.is_file():  # a pipe would be waited for
            raise ValueError("its about.json is no file")
        told = json.loads(about_file.read_text("utf-8"))
        try:
            sweep = bool(told.get("sweep"))
            about = About(told["store"], told["experiment"], told["run_id"], told["name"], sweep)
        except (KeyError, TypeError, AttributeError):
            raise ValueError("its about.json is damaged") from None
        return cls(folder, about, _lines(before) if before.exists() else ())

    @property
    def waits(self) -> bool:
        """Whether anything is still to be told."""
        return (self.folder / "said.jsonl").exists()

    def add(self, entry: JournalEntry, file: Path | None = None) -> None:
        """Keeps an entry, and the file or folder that belongs to it; on disk when this returns.

        Raises:
            TrackingError: The disk does not take it; what was kept before stays whole.
        """
        try:
            self._add(entry, file)
        except OSError as error:
            raise TrackingError(
                f"tracking.spool must take what the tracking store cannot, but {self.folder.parent.absolute()}: "
                f"{error.strerror or error}; make room there, or set it to a folder on another disk."
            ) from None

    def _add(self, entry: JournalEntry, file: Path | None) -> None:
        (self.folder / "files").mkdir(parents=True, exist_ok=True)
        with suppress(OSError):  # where there are no locks, nobody else can take it for a dead process's either
            self._owner.acquire()
        if not (self.folder / "about.json").exists():
            _write(self.folder / "before.jsonl", "".join(json.dumps(entry) + "\n" for entry in self.before))
            _write(self.folder / "about.json", json.dumps(vars(self.about)))
        kept = dict(entry)
        if file is not None:
            kept["file"] = f"{uuid.uuid4().hex}/{file.name}"
            target = self.folder / "files" / kept["file"]
            target.parent.mkdir()
            try:
                shutil.copytree(file, target) if file.is_dir() else shutil.copy2(file, target)
            except OSError:
                shutil.rmtree(target.parent, ignore_errors=True)
                raise
        _append(self.folder / "said.jsonl", json.dumps(kept) + "\n")

    def entries(self) -> list[dict[str, Any]]:
        """In order; a last line that a crash cut off was never said."""
        return _lines(self.folder / "said.jsonl")

    def deliver(self, send: Send) -> int:
        """Tells everything, then forgets it.

        Args:
            send: Gets each entry and the folder that files are named in; what it raises leaves all as it is.

        Returns:
            How many entries were told.
        """
        entries = self.entries()
        for entry in entries:
            send(entry, self.folder / "files")
        shutil.rmtree(self.folder)
        self._owner.release(force=True)
        self.note(entries)
        return len(entries)

    def note(self, entries: Iterable[JournalEntry]) -> None:
        """Remembers what the store has been told, of a run whose beginning is known."""
        for entry in entries:
            if entry["kind"] != "artifact" and (self.before or entry["kind"] == "create"):
                self.before.append(entry)

    def drop(self) -> None:
        """Forgets all, told or not."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._owner.release(force=True)

    def set_aside(self, reason: str) -> Path:
        """Moves it out of the way of the others, whole, with the reason beside it. Returns where it lies then."""
        folder = self.folder.parent / UNDELIVERABLE / self.folder.name
        folder.parent.mkdir(exist_ok=True)
        _write(self.folder / "reason.txt", reason + "\n")
        self.folder.replace(folder)
        self._owner.release(force=True)
        self.folder = folder
        return folder

    def release(self) -> None:
        """Leaves the rest to whoever comes."""
        self._owner.release(force=True)


def left(root: Path) -> Iterator[Journal]:
    """Journals that no living process writes, each held by the caller until the next is asked for."""
    for folder in _folders(root):
        lock = filelock.FileLock(folder / "owner.lock")
        try:
            lock.acquire(timeout=0)
        except (filelock.Timeout, OSError):  # another's, or delivered meanwhile
            continue
        if (journal := _read(folder)) is not None:
            yield journal
        lock.release()


def waiting(root: Path) -> list[Journal]:
    """Journals with something still to be told, whoever writes them."""
    found = (_read(folder) for folder in _folders(root))
    return [journal for journal in found if journal is not None and journal.waits]


def _folders(root: Path) -> list[Path]:
    """The journals' folders, oldest first."""

    def age(folder: Path) -> float:
        try:
            return folder.stat().st_mtime
        except OSError:  # delivered meanwhile
            return 0.0

    return sorted((folder for folder in root.glob("*/") if folder.name != UNDELIVERABLE), key=age)


def _read(folder: Path) -> Journal | None:
    """The journal of a folder; one of no store where it is damaged, and None where nothing was ever said."""
    try:
        return Journal.read(folder)
    except (OSError, ValueError):
        return Journal(folder, About("", "", None, folder.name)) if (folder / "said.jsonl").exists() else None


def _lines(path: Path) -> list[dict[str, Any]]:
    """Entries of a file; a last line that a crash cut off was never said."""
    return [json.loads(line) for line in path.read_text("utf-8").split("\n")[:-1] if line]


def _append(path: Path, text: str) -> None:
    """All of it or nothing, on disk when this returns: what follows half a line could not be read."""
    with path.open("ab", buffering=0) as file:
        end, rest = file.seek(0, os.SEEK_END), memoryview(text.encode())
        try:
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(end)
            raise


def _write(path: Path, text: str) -> None:
    """All of it or nothing."""
    scratch = path.with_suffix(".new")
    scratch.write_text(text, "utf-8")
    scratch.replace(path)
