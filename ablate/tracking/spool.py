"""What the tracking store could not be told yet, kept on local disk in the order in which it was said.

One folder a run: ``about.json`` (which store, which run), ``said.jsonl`` (one entry a line), ``files/`` (artifacts),
and ``owner.lock``, which the writing process holds as long as it lives: nobody else delivers meanwhile. Delivering
twice does no harm (an entry carries its own time, and MLflow keeps equal entries once), so nothing has to be told as
delivered but the whole.
"""

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock

from ablate.tracking.spec import TrackingError

Entry = Mapping[str, Any]
"""``kind`` (``create``, ``params``, ``tags``, ``metrics``, ``artifact``, ``finish``) and what belongs to it."""

Send = Callable[[Entry, Path], None]


@dataclass(frozen=True)
class About:
    """Whose journal it is.

    Attributes:
        store: The store's URI without its password.
        experiment: Its name there.
        run_id: The run; None where it could not be created yet.
        name: For people.
    """

    store: str
    experiment: str
    run_id: str | None
    name: str


class Journal:
    """What is still to be told of one run. Made on disk with its first entry, gone with its last."""

    def __init__(self, folder: Path, about: About) -> None:
        """Writes nothing yet."""
        self.folder, self.about = folder, about
        self._owner = filelock.FileLock(folder / "owner.lock")

    @classmethod
    def new(cls, root: Path, about: About) -> "Journal":
        """A journal of its own below ``root``."""
        return cls(root / uuid.uuid4().hex, about)

    @classmethod
    def read(cls, folder: Path) -> "Journal":
        """One that a process left.

        Raises:
            ValueError: It was cut off while it was made, before anything was said.
        """
        return cls(folder, About(**json.loads((folder / "about.json").read_text("utf-8"))))

    @property
    def waits(self) -> bool:
        """Whether anything is still to be told."""
        return (self.folder / "said.jsonl").exists()

    def add(self, entry: Entry, file: Path | None = None) -> None:
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

    def _add(self, entry: Entry, file: Path | None) -> None:
        (self.folder / "files").mkdir(parents=True, exist_ok=True)
        with suppress(OSError):  # where there are no locks, nobody else can take it for a dead process's either
            self._owner.acquire()
        if not (self.folder / "about.json").exists():
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
        lines = (self.folder / "said.jsonl").read_text("utf-8").split("\n")
        return [json.loads(line) for line in lines[:-1] if line]

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
        return len(entries)

    def release(self) -> None:
        """Leaves the rest to whoever comes."""
        self._owner.release(force=True)


def left(root: Path) -> Iterator[Journal]:
    """Journals that no living process writes, each held by the caller until the next is asked for."""
    for folder in sorted(root.glob("*/"), key=lambda folder: folder.stat().st_mtime):
        lock = filelock.FileLock(folder / "owner.lock")
        try:
            lock.acquire(timeout=0)
        except (filelock.Timeout, OSError):  # another's, or delivered meanwhile
            continue
        try:
            journal = Journal.read(folder)
        except (OSError, ValueError):
            lock.release()
            continue
        yield journal
        lock.release()


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
