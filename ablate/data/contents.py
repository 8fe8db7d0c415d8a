"""What files hold, as one digest: read once, and again as soon as the system says that one of them has changed."""

import hashlib
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track

from ablate.data import cache, ordinary_files
from ablate.data.resize import Example
from ablate.data.spec import DataError

_TOGETHER = 256
"""Files that one thread reads before it asks for more."""

_SETTLED = 2 * 10**9
"""Nanoseconds, 2 s: the coarsest time that a file system keeps. A file that changed less long ago may change once more
and still show the same time, so nothing is remembered of it yet."""


@dataclass(frozen=True)
class Snapshot:
    """Files as the system describes them at one moment.

    Size and time of the last change (mtime) are not enough: archives are unpacked, and files copied, with the times
    that they had. The time of the last change of status (ctime) and the inode are the system's own; no program sets
    them, and a file that was overwritten or replaced has others.

    Attributes:
        paths: The files, in their order.
        stamps: Size, mtime, ctime and inode of each.
        newest: The latest ctime, in nanoseconds. An mtime is what a program or a camera set, which may lie ahead.
    """

    paths: Sequence[Path]
    stamps: Sequence[str]
    newest: int

    def digest(self, memo: Path) -> str:
        """SHA-256 over the SHA-256 of every file, in their order.

        It is kept in the memo folder under the files' paths and stamps, so that files that stay are not read again.

        Raises:
            DataError: One is no ordinary file.
        """
        lines = "\n".join(f"{path} {stamp}" for path, stamp in zip(self.paths, self.stamps, strict=True))
        known = memo / f"contents-{hashlib.sha256(os.fsencode(lines)).hexdigest()[:32]}.txt"
        if (found := _recalled(known)) is not None:
            return found
        # Windows' ctime is when a file was made, and so says nothing of one that was overwritten.
        settled = os.name != "nt" and self.newest < time.time_ns() - _SETTLED
        digest = hashlib.sha256(b"".join(_digests(self.paths))).hexdigest()
        if settled:
            _remember(known, digest)
        return digest

    def watched(self, examples: Iterator[Example]) -> Iterator[Example]:
        """Passes on what is read from these files.

        Raises:
            DataError: At the end, where a file changed meanwhile or is gone: what was read is then not what the digest
                names, and what was said of it says nothing.
        """
        try:
            yield from examples
        except DataError:
            self._check_unchanged()
            raise
        self._check_unchanged()

    def _check_unchanged(self) -> None:
        for path, before, now in zip(self.paths, self.stamps, snapshot(self.paths).stamps, strict=True):
            if before != now:
                raise DataError(f"{path} must stay as it is while it is read, but changed; start again.")


def snapshot(paths: Sequence[Path]) -> Snapshot:
    """The files as they are now.

    Args:
        paths: The files.

    Raises:
        DataError: One is no ordinary file, or is gone.
    """
    told = [_status(path) for path in paths]
    stamps = [f"{s.st_size} {s.st_mtime_ns} {s.st_ctime_ns} {s.st_ino}" for s in told]
    return Snapshot(paths, stamps, max((s.st_ctime_ns for s in told), default=0))


def _status(path: Path) -> os.stat_result:
    try:
        return ordinary_files.ordinary(path)
    except OSError as error:
        now = "is gone" if isinstance(error, FileNotFoundError) else f"cannot be read any more ({error.strerror})"
        raise DataError(f"{path} must stay as it is while it is read, but {now}; start again.") from error


def _digests(paths: Sequence[Path]) -> list[bytes]:
    parts = [paths[start : start + _TOGETHER] for start in range(0, len(paths), _TOGETHER)]
    console = Console(file=sys.stderr)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        done = track(
            pool.map(lambda part: [_digest(path) for path in part], parts),
            description="Reading the files",
            total=len(parts),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        return [digest for part in done for digest in part]


def _digest(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:  # told where the image is decoded, beside others that are damaged
        return f"{type(error).__name__} {error.errno}".encode()


def _recalled(file: Path) -> str | None:
    try:
        text = file.read_text("ascii")
    except (OSError, ValueError):
        return None
    return text if re.fullmatch("[0-9a-f]{64}", text) else None


def _remember(file: Path, digest: str) -> None:
    try:
        with cache.replacing(file) as opened:
            opened.write(digest.encode("ascii"))
    except OSError:
        pass  # a full disk: the images could not be kept either, which is told where they are written
