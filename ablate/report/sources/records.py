"""A study's records away from their store: one text file that git can keep.

A file has a line of JSON for the study and one for each run. What all runs share stands once, in the first.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.escaping import visible
from ablate.report.sources import shape
from ablate.report.sources.shape import FORMAT, VERSION
from ablate.tracking.names import (
    ATTEMPT,
    COMMIT,
    DEFINITION,
    IMPORTED,
    LEVEL,
    METRIC_COLUMN,
    MLFLOW,
    ORIGINAL_RUN,
    PARAM_COLUMN,
    REDRAWN,
    SERVES,
    SHOWN,
    STUDY,
    TAG_COLUMN,
    WORKER,
    param_column,
    tag_column,
)

if TYPE_CHECKING:
    import pandas as pd

_ROOT = param_column("data.root")
_IMPORTED = tag_column(IMPORTED)
_FIRST = tag_column(ORIGINAL_RUN)
_REDRAWN = tag_column(REDRAWN)
_VIEW = (tag_column(ATTEMPT), tag_column(SHOWN), tag_column(LEVEL), tag_column(SERVES))
"""Tags that a store makes for itself, its views and its other studies."""
Curves = Mapping[str, Mapping[str, Sequence[float | None]]]


class RecordsError(ValueError):
    """A file that holds no records, or a table without the columns that were named; one sentence."""


@dataclass(frozen=True)
class Records:
    """A study and its runs.

    Attributes:
        study: Name of the study.
        definition: The sweep's record of itself: ``name``, ``axes``, ``seeds`` and the like.
        started: Time at which the study was first started, UTC, like ``2026-01-31 09:30 UTC``; empty where unknown.
        frame: Runs in the columns of ``tracking.read_runs``, times and places left out but for ``seconds``.
        curves: Run id -> metric -> its value after each epoch.
        source: File, store or experiment that the records were read from, for people.
    """

    study: str
    definition: Mapping[str, Any]
    started: str
    frame: "pd.DataFrame"
    curves: Curves
    source: str


# ------------------------------------------------------------------------------------------------------- our own file


def write(records: Records, path: Path) -> None:
    """Writes records as text, runs in the order they come in, oldest first; the same records give the same bytes.

    Raises:
        OSError: The file cannot be written.
    """
    rows = [_tidy(row, records.study) for row in records.frame.to_dict("records")]
    shared = _shared(rows)
    head = {"format": FORMAT, "version": VERSION, "study": records.study, "started": records.started}
    lines = [{**head, "definition": records.definition, "runs": len(rows), "shared": shared}]
    for run_id, row in zip(records.frame.get("run_id", ()), rows, strict=True):
        own = {key: value for key, value in row.items() if shared.get(key) != value}
        lines.append({**own, "curves": records.curves.get(run_id, {})})
    text = "".join(json.dumps(_sorted(line), ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def read(path: Path) -> Records:
    """Reads what ``write`` wrote.

    Raises:
        RecordsError: The file is not there, holds something else, or less than it says; it names line and key.
    """
    import pandas as pd

    try:
        found = shape.load(path)
    except (OSError, shape.ShapeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RecordsError(
            f"records must be a file that python -m ablate export wrote (version {VERSION}), got {path}: {reason}."
        ) from None
    head, frame = found.head, pd.DataFrame([dict(row) for row in found.rows])
    _check_study(head["study"], frame, path)
    return Records(head["study"], head["definition"], head["started"], frame, found.curves, str(path))


def _check_study(study: str, frame: "pd.DataFrame", path: Path) -> None:
    for line, of in enumerate(frame.get(tag_column(STUDY), ()), start=2):
        if not (is_blank(of) or of == study):
            raise RecordsError(
                f"{path} must hold runs of its study, {study}, but line {line} is of {visible(of)[:60]}: take it out."
            )


def _sorted(line: Mapping[str, Any]) -> dict[str, Any]:
    """Keys in their order, which is stable, but for the definition's: the order of its axes is that of the levels."""
    return {
        key: value if key == "definition" else json.loads(json.dumps(value, sort_keys=True))
        for key, value in sorted(line.items())
    }


def _tidy(row: Mapping[str, Any], study: str) -> dict[str, Any]:
    """A run's entries that travel: no blanks, no places, no times of this machine."""
    kept = {key: value for key, value in row.items() if travels(key, study) and not is_blank(value)}
    if isinstance(root := row.get(_ROOT), str):  # which files: their name, and nobody's folders
        kept[_ROOT] = root.replace("\\", "/").rstrip("/").rpartition("/")[2]
    start, end = row.get("start_time"), row.get("end_time")
    if start is not None and end is not None and not (is_blank(start) or is_blank(end)):
        kept["seconds"] = round((end - start).total_seconds(), 1)
    if not is_blank(first := row.get(_FIRST)):  # an import gave it another name
        kept["run_id"] = first
    return {key: _number(value) for key, value in kept.items()}


def travels(key: str, study: str) -> bool:
    """Whether an entry of a run of the study goes into a file, and out of one: nothing does that is another study's."""
    private = (
        tag_column(MLFLOW),
        tag_column(DEFINITION),
        tag_column(WORKER),
        _IMPORTED,
        _ROOT,
        param_column("data.cache"),
        *_VIEW,
    )
    if key.startswith(_REDRAWN):
        return key == f"{_REDRAWN}{study}"
    return key in ("run_id", "status", "seconds", tag_column(COMMIT)) or (
        key.startswith((METRIC_COLUMN, PARAM_COLUMN, TAG_COLUMN)) and not key.startswith(private)
    )


def is_blank(value: Any) -> bool:
    """Whether a run has no such value: a frame has None or NaN there."""
    return value is None or value != value


def _number(value: Any) -> Any:
    """Whole numbers without their .0; infinities as text, which JSON has no number for."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    return value


def _shared(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if not rows:
        return {}
    own = ("run_id",)  # of a study of one run as well
    return {k: v for k, v in rows[0].items() if k not in own and all(row.get(k) == v for row in rows[1:])}


def epochs(rows: Iterable[tuple[str, int, float]]) -> dict[str, list[float | None]]:
    """Values of one metric by run, in the order of the steps; None for what is no number."""
    found: dict[str, list[float | None]] = {}
    for run_id, _, value in rows:
        found.setdefault(run_id, []).append(float(value) if math.isfinite(value) else None)
    return found
