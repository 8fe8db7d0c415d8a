"""A study's records away from their store: one text file that git can keep, or runs that somebody else made.

A file has a line of JSON for the study and one for each run. What all runs share stands once, in the first.
"""

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

FORMAT, VERSION = "ablate-records", 1
_ROOT = "params.data.root"
Curves = Mapping[str, Mapping[str, Sequence[float | None]]]


class RecordsError(ValueError):
    """A file that holds no records, or a table without the columns that were named; one sentence."""


@dataclass(frozen=True)
class Records:
    """A study and its runs.

    Attributes:
        study: Name of the study.
        definition: What the sweep recorded of itself.
        started: When it was first started, as text, UTC.
        frame: Runs in the columns of ``tracking.read_runs``, times and places left out but for ``seconds``.
        curves: Run id -> metric -> its value after each epoch.
        source: Where they come from, for people.
    """

    study: str
    definition: Mapping[str, Any]
    started: str
    frame: "pd.DataFrame"
    curves: Curves
    source: str


# ------------------------------------------------------------------------------------------------------- our own file


def write(records: Records, path: Path) -> None:
    """Writes records as text; the same records give the same bytes.

    Raises:
        OSError: The file cannot be written.
    """
    rows = [_tidy(row) for row in records.frame.to_dict("records")]
    shared = _shared(rows)
    head = {"format": FORMAT, "version": VERSION, "study": records.study, "started": records.started}
    lines = [{**head, "definition": records.definition, "runs": len(rows), "shared": shared}]
    for row in sorted(rows, key=lambda row: (str(row.get("tags.ablate.point")), row["run_id"])):
        own = {key: value for key, value in row.items() if shared.get(key) != value}
        lines.append({**own, "curves": records.curves.get(row["run_id"], {})})
    text = "".join(json.dumps(_sorted(line), ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def read(path: Path) -> Records:
    """Reads what ``write`` wrote.

    Raises:
        RecordsError: The file is not there, holds something else, or less than it says.
    """
    import pandas as pd

    try:
        head, *runs = (json.loads(line) for line in path.read_text("utf-8").splitlines())
        if head["format"] != FORMAT or head["version"] != VERSION:
            raise ValueError(f"{head['format']} version {head['version']}")
        study, definition, shared = head["study"], head["definition"], head["shared"]
        curves = {run["run_id"]: run.pop("curves") for run in runs}
        frame = pd.DataFrame([{**shared, **run} for run in runs])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RecordsError(
            f"records must be a file that python -m ablate export wrote (version {VERSION}), got {path}: {reason}."
        ) from None
    if len(runs) != head.get("runs"):
        raise RecordsError(f"{path} must hold {head.get('runs')} runs, got {len(runs)}: export it again.")
    return Records(study, definition, head["started"], frame, curves, str(path))


def _sorted(line: Mapping[str, Any]) -> dict[str, Any]:
    """Keys in their order, which is stable, but for the definition's: the order of its axes is that of the levels."""
    return {
        key: value if key == "definition" else json.loads(json.dumps(value, sort_keys=True))
        for key, value in sorted(line.items())
    }


def _tidy(row: Mapping[str, Any]) -> dict[str, Any]:
    """A run's entries that travel: no blanks, no places, no times of this machine."""
    kept = {key: value for key, value in row.items() if _travels(key) and not _blank(value)}
    if isinstance(root := row.get(_ROOT), str):  # which files: their name, and nobody's folders
        kept[_ROOT] = root.replace("\\", "/").rstrip("/").rpartition("/")[2]
    start, end = row.get("start_time"), row.get("end_time")
    if start is not None and end is not None and not (_blank(start) or _blank(end)):
        kept["seconds"] = round((end - start).total_seconds(), 1)
    return {key: _number(value) for key, value in kept.items()}


def _travels(key: str) -> bool:
    private = ("tags.mlflow.", "tags.ablate.sweep", "tags.ablate.worker", _ROOT, "params.data.cache")
    return key in ("run_id", "status", "seconds", "tags.mlflow.source.git.commit") or (
        key.startswith(("metrics.", "params.", "tags.")) and not key.startswith(private)
    )


def _blank(value: Any) -> bool:
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


# ---------------------------------------------------------------------------------------------- runs of somebody else


def from_csv(path: Path, factors: Sequence[str], value: str, seed: str, baseline: Mapping[str, str]) -> Records:
    """A table of anybody's runs, one a row, as a study.

    Args:
        path: A CSV file with a header.
        factors: Columns that are compared, the rows' names first.
        value: Column of the result; empty or no number is a run without one, which is counted as diverged.
        seed: Column that tells runs of one cell apart; empty numbers them in the order of the file.
        baseline: Factor -> level that others are held against; one not named has the first in the file.

    Raises:
        RecordsError: The file cannot be read, or has no such column.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise RecordsError(f"source must be a CSV file of runs, got {path}: {reason}.") from None
    return from_rows(rows, factors, value, seed, baseline, name=path.stem, source=str(path))


def from_rows(
    rows: Sequence[Mapping[str, Any]],
    factors: Sequence[str],
    value: str,
    seed: str,
    baseline: Mapping[str, str],
    *,
    name: str,
    source: str,
) -> Records:
    """Rows of runs as a study; see ``from_csv``.

    Raises:
        RecordsError: There are no rows, or not those columns.
    """
    import pandas as pd

    if not rows or not factors:
        raise RecordsError(f"source must hold runs and factor name a column, got {len(rows)} rows and {list(factors)}.")
    columns = [str(key) for key in rows[0]]
    wanted = [*factors, value, *([seed] if seed else [])]
    if missing := [column for column in wanted if column not in columns]:
        raise RecordsError(f"{source} must have the columns {', '.join(missing)}, got {', '.join(columns)}.")
    seeds = _seeds(rows, factors, seed)
    runs = [_foreign(n, row, factors, value, seeds[n]) for n, row in enumerate(rows)]
    levels = {factor: list(dict.fromkeys(str(row[factor]) for row in rows)) for factor in factors}
    baselines = {factor: str(baseline.get(factor, levels[factor][0])) for factor in factors}
    for factor, level in baselines.items():
        if level not in levels[factor]:
            raise RecordsError(f"baseline.{factor} must be one of {', '.join(levels[factor])}, got {level}.")
    definition = {
        "name": name,
        "foreign": True,
        "question": "",
        "table": "",
        "axes": levels,
        "baseline": baselines,
        "combinations": [list(each) for each in dict.fromkeys(tuple(str(row[f]) for f in factors) for row in rows)],
        "seeds": sorted(set(seeds)),
        "points": len(rows),
    }
    return Records(name, definition, "", pd.DataFrame(runs), {}, source)


def _seeds(rows: Sequence[Mapping[str, Any]], factors: Sequence[str], seed: str) -> list[int]:
    """Each row's number within its cell where no column tells it; the rank of its seed where one does."""
    if seed:
        ranks = {each: rank for rank, each in enumerate(dict.fromkeys(str(row[seed]) for row in rows))}
        return [int(text) if text.isdigit() else ranks[text] for text in (str(row[seed]) for row in rows)]
    met: dict[tuple[str, ...], int] = {}
    out = []
    for row in rows:
        cell = tuple(str(row[factor]) for factor in factors)
        out.append(met.get(cell, 0))
        met[cell] = out[-1] + 1
    return out


def _foreign(n: int, row: Mapping[str, Any], factors: Sequence[str], value: str, seed: int) -> dict[str, Any]:
    try:
        result = float(row[value])
    except (TypeError, ValueError):
        result = math.nan
    point = [[factor, str(row[factor])] for factor in factors]
    return {
        "run_id": f"row {n + 1}",
        "status": "FINISHED",
        "tags.ablate.point": json.dumps([*point, ["seed", seed]], separators=(",", ":")),
        "tags.ablate.status": "finished" if math.isfinite(result) else "diverged",
        f"metrics.{value}": result,
    }


def epochs(rows: Iterable[tuple[str, int, float]]) -> dict[str, list[float | None]]:
    """Values of one metric by run, in the order of the steps; None for what is no number."""
    found: dict[str, list[float | None]] = {}
    for run_id, _, value in rows:
        found.setdefault(run_id, []).append(float(value) if math.isfinite(value) else None)
    return found
