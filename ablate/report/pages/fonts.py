"""Where matplotlib keeps its list of fonts, for a home that cannot be written; to be imported before matplotlib.

Without a folder it says so on standard error, and lists all fonts anew in every process, which takes seconds.
"""

import os
import tempfile
from pathlib import Path


def _writable(folder: Path) -> bool:
    """Whether files can be made there; the folder itself is, as matplotlib would make it."""
    try:
        folder.mkdir(0o700, parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _home() -> Path:
    """matplotlib's own folder."""
    try:
        return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config", "matplotlib")
    except RuntimeError:  # no home is known
        return Path(os.devnull, "matplotlib")


def _ours(folder: Path) -> bool:
    """Whether nobody else has made it: settings of matplotlib that lie there can run programs."""
    return not folder.is_symlink() and (os.name != "posix" or folder.stat().st_uid == os.getuid())


def settle() -> None:
    """Names a folder of temporary files where MPLCONFIGDIR is not set and the home cannot be written."""
    if os.environ.get("MPLCONFIGDIR") or _writable(_home()):
        return
    user = os.getuid() if os.name == "posix" else "user"
    folder = Path(tempfile.gettempdir(), f"ablate-matplotlib-{user}")
    if _writable(folder) and _ours(folder):
        os.environ["MPLCONFIGDIR"] = str(folder)


settle()
