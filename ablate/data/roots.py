"""What lies in a directory or a zip, and what of it cannot be read; nothing here knows of images."""

import os
import re
import stat
import zipfile
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from ablate.data import ordinary_files
from ablate.data.spec import DataError


@dataclass
class Found:
    """What a root holds, by path within it.

    Attributes:
        files: Each with its bytes, unpacked.
        folders: Every folder that holds files, and the empty ones.
        lost: What is there and cannot be read -> why.
        left_out: What is not looked at -> why: hidden files and folders, and links to folders that are read anyway.
    """

    files: dict[str, int] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    lost: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


class Root(ABC):
    """A place that holds files by relative path."""

    def __init__(self, path: Path):
        self.path = path

    @abstractmethod
    def contents(self) -> Found:
        """Everything that is in it."""

    @abstractmethod
    def read(self, path: str) -> bytes:
        """The content of a file."""


class Directory(Root):
    def contents(self) -> Found:
        """Links are followed, wherever they lead but above the root, and each folder is read once: first those that
        are no links, so that a link to one of them, or to a folder above itself, adds nothing and ends."""
        found = Found()
        read = {_place(folder): "" for folder in self.path.parents}
        folders, links = deque([""]), deque[str]()
        while folders or links:
            folder = folders.popleft() if folders else links.popleft()
            try:
                first = read.setdefault(_place(self.path / folder), folder)
                if first != folder:
                    found.left_out[folder] = f"a link to {f'{first}/, which is read there' if first else _ABOVE}"
                    continue
                with os.scandir(self.path / folder) as entries:
                    for entry in sorted(entries, key=lambda entry: entry.name):
                        self._add(entry, f"{folder}/{entry.name}" if folder else entry.name, found, folders, links)
            except OSError as error:
                if not folder:
                    raise DataError(
                        f"data.root must be a folder that can be read, but {self.path}: {error.strerror}."
                    ) from None
                found.lost[folder] = _told(error)
        return found

    def _add(self, entry: "os.DirEntry[str]", path: str, found: Found, folders: deque[str], links: deque[str]) -> None:
        try:
            if entry.is_dir():
                if _hidden(entry.name):
                    found.left_out[path] = "a hidden folder"
                    return
                found.folders.add(path)
                (links if entry.is_symlink() else folders).append(path)
            elif _hidden(entry.name):
                found.left_out[path] = "hidden"
            elif entry.is_file():
                found.files[path] = entry.stat().st_size
                if not os.access(entry.path, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
                    found.lost[path] = "permission denied"
            else:
                found.lost[path] = "a link that leads nowhere" if entry.is_symlink() else "neither a file nor a folder"
        except OSError as error:
            found.lost[path] = _told(error)

    def read(self, path: str) -> bytes:
        return ordinary_files.whole(self.path / path)


_ABOVE = "data.root itself, or to a folder above it"


def _place(folder: Path) -> tuple[int, int]:
    """What identifies a folder, whichever path leads to it."""
    status = folder.stat()
    return status.st_dev, status.st_ino


def _told(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


class Zip(Root):
    def __init__(self, path: Path):
        super().__init__(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(f"{path} must be a folder or a zip, got a damaged or other file ({error}).") from error
        ordinary_files.check_expansion(
            str(path), path.stat().st_size, sum(entry.file_size for entry in self._zip.infolist())
        )

    def contents(self) -> Found:
        found = Found()
        for entry in self._zip.infolist():
            path = entry.filename.rstrip("/")
            if any(map(_hidden, path.split("/"))):
                found.left_out[path] = "hidden"
            elif entry.is_dir():
                found.folders.add(path)
            elif stat.S_ISLNK(entry.external_attr >> 16):
                found.lost[path] = "a link, which a zip does not follow"
            else:
                found.files[path] = entry.file_size
                found.folders.add(path.rpartition("/")[0])
        return found

    def stamp(self, path: str) -> str:
        """What the zip says of a file's content: its size and its checksum."""
        entry = self._zip.getinfo(path)
        return f"{entry.file_size} {entry.CRC}"

    def read(self, path: str) -> bytes:
        entry = self._zip.getinfo(path)
        ordinary_files.check_size(f"{path} in {self.path}", entry.file_size)
        return self._zip.read(entry)


def open_root(path: str) -> Root:
    """Opens ``data.root``.

    Raises:
        DataError: Nothing is there, or it is neither a directory nor a zip.
    """
    try:
        root = Path(path).expanduser().resolve()
    except (OSError, RuntimeError) as error:  # links that lead to themselves
        raise DataError(f"data.root must name a folder or a zip, got {path} ({error}); correct data.root.") from None
    if root.is_dir():
        return Directory(root)
    if not root.exists():
        raise DataError(f"data.root must name a folder or a zip that exists, got {path}; correct data.root.")
    if not root.is_file():
        raise DataError(f"data.root must name a folder or a zip, got {path}, which is neither; correct data.root.")
    return Zip(root)


def shown(path: str) -> str:
    """A path for terminals and for files in UTF-8: other bytes, and control characters, stand as ``\\xe9``."""
    text = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
