"""A file that a setting names stands in an identity as what it holds."""

import hashlib
import json
import os
from functools import cache
from pathlib import Path

from ablate.identity.digests import digest


def content(path: str) -> str:
    """sha256 of a file; of an index of weights in several files, of what these hold, too.

    Raises:
        OSError: It cannot be read.
    """
    file = Path(path).expanduser()
    own = _digest_of(file)
    if not file.name.lower().endswith(".index.json"):
        return own
    return digest([own, {shard.name: _digest_of(shard) for shard in _shards(file)}])


def _shards(index: Path) -> list[Path]:
    """The files beside an index that it names, as far as they are there: who reads them says which are not."""
    try:
        names = {str(name) for name in json.loads(index.read_text("utf-8"))["weight_map"].values()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []
    files = [index.parent / name for name in sorted(names) if name == Path(name).name]
    return [file for file in files if os.path.isfile(file)]  # False, too, for a name that no file system takes


def _digest_of(file: Path) -> str:
    stat = file.stat()
    return _content(file, stat.st_mtime_ns, stat.st_size)


@cache
def _content(file: Path, changed: int, size: int) -> str:  # read once, until it changes
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
