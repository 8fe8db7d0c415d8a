"""What no file system takes as a path, told before anything is read or written there; and where Keras has its files."""

import os
import sys
from pathlib import Path

_LONGEST_NAME, _LONGEST_PATH = 255, 4095
"""Bytes that Linux, macOS and Windows take at most."""


def problem(key: str, path: str | None) -> str | None:
    """A sentence about a path that can be none, whatever lies on the disk.

    Args:
        key: Name of the setting, for the sentence.
        path: Value of the setting, as it was given; None sets nothing.

    Returns:
        None where nothing speaks against it.
    """
    if path is None:
        return None
    if path == "":
        return f"{key} must be a path of at least one character, got nothing."
    told = path if len(path) <= 60 else f"{path[:30]}…{path[-20:]}"
    if wrong := misread(key, told):
        return wrong
    try:
        length = len(path.encode("utf-8"))
    except UnicodeEncodeError:
        told = told.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        return f"{key} must be a path in UTF-8, as records keep it, got {told}; rename what it names, or link to it."
    try:
        os.fsencode(path)
    except UnicodeEncodeError:  # a path in a file of UTF-8, or in a URI, is read rightly all the same
        return (
            f"{key} must be a path that Python can write, which was told to name files in "
            f"{sys.getfilesystemencoding()}, got {told}: set PYTHONUTF8=1."
        )
    if "\0" in path:
        return f"{key} must be a path, got {told!r}, which holds a NUL character; correct it."
    if length > _LONGEST_PATH or any(len(name.encode("utf-8")) > _LONGEST_NAME for name in path.split("/")):
        return (
            f"{key} must be a path of at most {_LONGEST_NAME} bytes a name and {_LONGEST_PATH} in all, got {length} "
            f"bytes ({told}); shorten it."
        )
    try:
        Path(path).expanduser()
    except RuntimeError:
        return f"{key} must be a path, got {told}, and whose home folder that is, is not known here; write it in full."
    return None


def misread(key: str, name: str) -> str | None:
    """A sentence about a name that is UTF-8, where Python was told to read names by another encoding."""
    try:
        meant = name.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeError:
        return None
    if meant == name:
        return None
    return f"{key} must be read as UTF-8, which it is, but Python was told otherwise: set PYTHONUTF8=1 ({meant})."


def keras_folder() -> Path:
    """Where Keras keeps its user's settings and what it downloads; as it looks for it, homeless users included."""
    home = os.path.expanduser("~")
    folder = os.environ.get("KERAS_HOME", os.path.join(home if os.access(home, os.W_OK) else "/tmp", ".keras"))
    return Path(os.path.expanduser(folder))
