"""Liveness of workers: how a process that writes signs its name, so that others can tell whether it still runs."""

import hashlib
import os
import socket
import uuid
from pathlib import Path

import psutil


def sign_of_worker() -> str:
    """This process, as one that shares its machine can look it up: place, process id, time of its birth."""
    return f"{_place()}:{os.getpid()}:{psutil.Process().create_time():.2f}"


def lives(worker: str | None) -> bool | None:
    """Whether a worker's process lives; None where it is at another place, and only its signatures can tell.

    Args:
        worker: Signature that ``sign_of_worker`` gave; None for a worker that was cut off before it could sign.
    """
    if worker is None:
        return False
    try:
        place, pid, created = worker.rsplit(":", 2)
        if place != _place():
            return None
        return bool(abs(psutil.Process(int(pid)).create_time() - float(created)) < 1.0)
    except (psutil.Error, ValueError, OverflowError):  # gone, or no signature of ours
        return False


def _place() -> str:
    """Where process ids mean the same: a machine since its start, or one container of it."""
    marks = [socket.gethostname()]
    boot, space = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    marks.append(boot.read_text("ascii").strip() if boot.exists() else f"{uuid.getnode():x}")
    marks.append(os.readlink(space) if space.exists() else "")
    return f"{marks[0]}-{hashlib.sha256(' '.join(marks).encode()).hexdigest()[:8]}"
