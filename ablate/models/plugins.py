"""Which classes and modules are a user's own, and what went wrong in their files, in a sentence. No Keras here."""

import re
import sys
import traceback
from collections.abc import Collection
from typing import Any


def is_own(module: str) -> bool:
    """Whether a module is a user's, by its name."""
    return module.partition(".")[0] not in ("ablate", "keras")


def told(error: BaseException, modules: Collection[str]) -> str:
    """What went wrong, and where in the user's own files.

    Args:
        error: What was raised. Keras wraps what a layer raises into errors of its own, which are left out; what the
            user's file raises itself is told rather than what led to it.
        modules: Names of the modules whose files are meant.

    Returns:
        ``KeyError: 'x' (/home/me/my_module.py, line 9)``, without the place where no line of these files was reached.
    """
    chain = _innermost_first(error)
    for each in [*(each for each in chain[::-1] if _is_raised_in(each, modules)), *chain]:
        if place := _place(each, modules):
            return f"{_said(each)} ({place})"
    return _said(error)


def came_from(error: BaseException, modules: Collection[str]) -> bool:
    """Whether the error, or one that led to it, was raised while a line of these modules' files was run."""
    return any(_place(each, modules) for each in _innermost_first(error))


def _innermost_first(error: BaseException) -> list[BaseException]:
    chain = [error]
    while (inner := chain[-1].__cause__ or chain[-1].__context__) is not None and inner not in chain:
        chain.append(inner)
    return chain[::-1]


def _files(modules: Collection[str]) -> set[str]:
    found: list[Any] = [sys.modules.get(name) for name in modules]
    return {file for module in found if (file := getattr(module, "__file__", None))}


def _is_raised_in(error: BaseException, modules: Collection[str]) -> bool:
    """Whether a line of these modules' files raised the error, rather than something that it called."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and frames[-1].filename in _files(modules)


def _place(error: BaseException, modules: Collection[str]) -> str:
    """The last line of these modules' files that the error passed; empty where it passed none."""
    files = _files(modules)
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
    return f"{lines[-1].filename}, line {lines[-1].lineno}" if lines else ""


def _said(error: BaseException) -> str:
    text = re.sub(r"\x1b\[\d*m", "", str(error)).partition("Arguments received by ")[0]
    text = re.sub(r"^Exception encountered when calling \S+\(\)\.", "", text)  # Keras's frame around what was raised
    return f"{type(error).__name__}: {' '.join(text.split())[:300]}".rstrip(":. ")
