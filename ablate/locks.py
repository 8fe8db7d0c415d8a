"""Locks on files, which the system drops when their holder dies; and file systems that offer none."""

import errno
from pathlib import Path

import filelock

_MISSING = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)


class NoLocks(OSError):
    """A folder's file system offers no locks, as some network folders do."""

    def __init__(self, number: int, folder: Path) -> None:
        super().__init__(number, "its file system offers no locks", str(folder))


def lock(path: Path, *, timeout: float = -1, any_thread: bool = False) -> filelock.BaseFileLock:
    """Takes the lock of a file, whose folder must be there.

    A mark that outlives a killed holder, as filelock offers in place of a lock, is none here.

    Args:
        path: The file, which is made where it is missing.
        timeout: Seconds to wait for another holder; below 0, for ever.
        any_thread: Whether another thread than this one may let go of it.

    Raises:
        NoLocks: The file system offers none.
        filelock.Timeout: Another holds it still.
        OSError: The file cannot be made.
    """
    held = filelock.FileLock(path, timeout=timeout, poll_interval=0.01, thread_local=not any_thread)
    try:
        held.acquire()
    except NotImplementedError:  # of older versions, for ENOSYS
        raise NoLocks(errno.ENOSYS, path.parent) from None
    except OSError as error:
        if error.errno in _MISSING:
            raise NoLocks(error.errno, path.parent) from None
        raise
    if isinstance(held, filelock.SoftFileLock):
        held.release()
        raise NoLocks(errno.ENOSYS, path.parent)
    return held
