"""What is asked of a file before it is read: that it is an ordinary one, and holds what fits into memory."""

import os
import stat
from pathlib import Path

import psutil

from ablate.data.spec import DataError

LARGEST = 2**30
"""Most bytes of a file that is read whole, 1 GiB: the largest image that Pillow opens has 0.7 GiB of pixels."""

_SUSPECT = 2**28
_EXPANDS = 100
"""More than 256 MiB from less than a hundredth of it is no data set, but made to fill the memory: images in PNG or JPEG
expand by next to nothing, MNIST's files by 5."""

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def ordinary(path: Path) -> os.stat_result:
    """What the system says of an ordinary file; another one may never end, or wait for ever where it is opened.

    Raises:
        DataError: It is a folder, a pipe, a socket or a device.
        OSError: It is not there.
    """
    told = path.stat()
    if not stat.S_ISREG(told.st_mode):
        kind = _KINDS.get(stat.S_IFMT(told.st_mode), "something else")
        raise DataError(f"{path} must be an ordinary file, got {kind}; put the file itself there.")
    return told


def whole(path: Path) -> bytes:
    """The content of an ordinary file.

    Raises:
        DataError: It is another kind of file, or larger than what is read.
        OSError: It cannot be read.
    """
    check_size(str(path), ordinary(path).st_size)
    return path.read_bytes()


def check_size(name: str, size: int) -> None:
    """Raises DataError for a file that is too large to be read whole."""
    if size > LARGEST:
        raise DataError(f"{name} must take at most {LARGEST} bytes, got {size}; replace or remove the file.")


def check_expansion(name: str, packed: int, unpacked: int) -> None:
    """Raises DataError for a compressed file that says to hold far more than such files do."""
    if unpacked > max(_SUSPECT, _EXPANDS * packed):
        raise DataError(
            f"{name} must expand to at most {_EXPANDS} times its {packed} bytes, got {unpacked} bytes; "
            "replace it, or unpack it yourself if you trust it."
        )


def check_memory(name: str, size: int) -> None:
    """Raises DataError for what would fill the memory that is free here."""
    if size > (free := psutil.virtual_memory().available):
        raise DataError(
            f"{name} must fit into the {free} bytes of memory that are free here, got {size} bytes; free some, or take "
            "a smaller file."
        )
