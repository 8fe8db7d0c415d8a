"""Runs that are not ours, from a CSV file or an MLflow experiment, as a study like any other: no pandas at import."""

import csv
import io
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from ablate import tracking
from ablate.escaping import csv_text
from ablate.report.sources.copies import copied
from ablate.report.sources.records import Records, RecordsError
from ablate.report.sources.shape import LARGEST, ShapeError, text_of
from ablate.tracking import TrackingSpec
from ablate.tracking.names import (
    DIVERGED,
    FAILED,
    FINISHED,
    KILLED,
    METRIC_COLUMN,
    MLFLOW,
    MLFLOW_FAILED,
    MLFLOW_FINISHED,
    MLFLOW_KILLED,
    MLFLOW_RUNNING,
    NO_RESULT,
    POINT,
    RUNNING,
    STATUS,
    metric_column,
    tag_column,
)


def from_csv(path: Path, factors: Sequence[str], value: str, seed: str, baseline: Mapping[str, Any]) -> Records:
    """A table of anybody's runs, one a row, as a study.

    Args:
        path: A CSV file with a header.
        factors: Columns that are compared, the rows' names first; spellings of one number or truth value are one level.
        value: Column of the result, a number or all with a percent sign; nan or an infinity is a run that diverged,
            empty one without a result, which enters nothing and is counted. Rows that a tracker's column calls crashed,
            running or the like are left out, and a note says which.
        seed: Column that tells runs of one cell apart; empty numbers them in the order of the file.
        baseline: Factor -> level that others are held against; one not named has the first in the file.

    Raises:
        RecordsError: The file cannot be read, has no such column, a value that is no number, or one seed twice.
    """
    rows = _cells(path, [*factors, value, *([seed] if seed else [])])
    return from_rows(rows, factors, value, seed, baseline, name=path.stem, source=str(path))


def from_experiment(
    where: TrackingSpec, factors: Sequence[str], value: str, seed: str, baseline: Mapping[str, Any]
) -> Records:
    """The runs of an MLflow experiment that anybody logged, as a study; see ``from_csv``.

    Columns are ``params.NAME``, ``metrics.NAME`` and ``tags.NAME``; NAME alone is a parameter or else a tag, and of the
    result a metric. Runs without a level of each factor, such as parents of others, are left out, and a note says so.

    Raises:
        RecordsError: There are no such runs, or one seed twice.
        TrackingError: The store cannot be read.
    """
    runs = tracking.read_logged(where)
    columns = dict.fromkeys(key for run in runs for key in run)
    named = {name: _logged(name, columns, ("params", "tags", "metrics")) for name in (*factors, seed) if name}
    wanted = [named[factor] for factor in factors]
    rows = [{**dict.fromkeys(columns, ""), **run} for run in runs if all(factor in run for factor in wanted)]
    left_out = len(runs) - len(rows) if rows else 0
    without = f"{left_out} of {len(runs)} runs of the experiment have no {' or no '.join(wanted)} and are left out"
    return from_rows(
        rows or [dict.fromkeys(columns, "")] * bool(runs),
        wanted,
        _logged(value, columns, ("metrics", "params", "tags")),
        named.get(seed, ""),
        {named.get(name, name): level for name, level in _flat(baseline).items()},
        name=where.resolved_experiment(),
        source=f"experiment {where.resolved_experiment()}",
        logged=True,
        notes=[without] * bool(left_out),
    )


def _logged(name: str, columns: Iterable[str], parts: Sequence[str]) -> str:
    """The column that is meant by a name with or without what it is of; the name itself where there is none."""
    known = set(columns)
    return next((each for each in (name, *(f"{part}.{name}" for part in parts)) if "." in each and each in known), name)


def from_rows(
    rows: Sequence[Mapping[str, Any]],
    factors: Sequence[str],
    value: str,
    seed: str,
    baseline: Mapping[str, Any],
    *,
    name: str,
    source: str,
    logged: bool = False,
    notes: Sequence[str] = (),
) -> Records:
    """Rows of runs as a study; see ``from_csv``.

    Args:
        rows: A run each, all with the same columns.
        factors: Columns that are compared.
        value: Column of the result; ``metrics.NAME`` is called NAME in reports.
        seed: Column that tells runs of one cell apart; empty numbers them in their order.
        baseline: Factor -> level that others are held against; a factor with dots in its name may come as mappings in
            each other.
        name: Name of the study.
        source: File or experiment that the rows were read from, for people.
        logged: The rows are MLflow's, with ``run_id`` and ``status``.
        notes: Sentences for below the table.

    Raises:
        RecordsError: There are no rows, not those columns, a value that is no number, or one seed twice.
    """
    import pandas as pd

    _require_columns(rows, factors, value, seed, source)
    ids = [str(row["run_id"]) if logged else f"row {n + 1}" for n, row in enumerate(rows)]
    read = len(rows)
    if not logged:
        rows, ids, left_out = _finished(rows, ids, (*factors, value, seed), source)
        notes = [*notes, *left_out]
    spelt = {column: _spellings(str(row[column]) for row in rows) for column in (*factors, seed) if column}
    rows = [{**row, **{column: spelt[column][str(row[column])] for column in spelt}} for row in rows]
    seeds = _seeds(rows, factors, seed, ids)
    results = _results([row[value] for row in rows], value, ids)
    ended = [_ENDED.get(str(row["status"]), FINISHED) if logged else FINISHED for row in rows]
    cells = [tuple(str(row[factor]) for factor in factors) for row in rows]
    telling = [column for column in rows[0] if column not in (*factors, value, seed) and not _of_one_run(column)]
    written = [(str(row[value]).strip(), number) for row, (_, number) in zip(rows, results, strict=True)]
    metric, axes = value.removeprefix(METRIC_COLUMN), {factor: _axis(factor) for factor in factors}
    runs = [
        {
            "run_id": ids[n],
            "status": MLFLOW_FINISHED,
            tag_column(POINT): _point(row, axes, seeds[n]),
            tag_column(STATUS): ended[n] if ended[n] != FINISHED else results[n][0],
            metric_column(metric): results[n][1],
        }
        for n, row in enumerate(rows)
    ]
    levels = {factor: list(dict.fromkeys(str(row[factor]) for row in rows)) for factor in factors}
    definition = {
        "name": name,
        "foreign": True,
        "metric": metric,
        "question": "",
        "table": "",
        "axes": {axes[factor]: levels[factor] for factor in factors},
        "baseline": {axes[factor]: level for factor, level in _baselines(baseline, levels).items()},
        "combinations": [list(each) for each in dict.fromkeys(cells)],
        "seeds": sorted(set(seeds)),
        "points": len(rows),
        "left_out": read - len(rows),
        "percent": any(text.endswith("%") for text, _ in written)
        and all(0 <= number <= 100 for _, number in written if math.isfinite(number)),
        "cautions": copied(rows, cells, written, ids, telling, seed),
        "notes": list(notes),
    }
    return Records(name, definition, "", pd.DataFrame(runs), {}, source)


_REST = "\n"  # no column has this name
_ENDED = {MLFLOW_FAILED: FAILED, MLFLOW_KILLED: KILLED, MLFLOW_RUNNING: RUNNING, "SCHEDULED": RUNNING}
_STATES = ("state", "status", "run state", "run status", "sys/state")
"""Columns in which trackers say how a run ended: W&B, MLflow, Optuna, Neptune and others."""
_FAILURES = ("sys/failed",)
_UNFINISHED = {
    *("crashed", "failed", "fail", "failure", "error", "killed", "aborted", "interrupted", "canceled", "cancelled"),
    *("timeout", "timed_out", "out_of_memory", "node_fail", "preempted", "preempting", "pruned"),
    *("running", "active", "in progress", "in_progress", "pending", "queued", "scheduled", "waiting", "starting"),
}
_IDENTITY = ("run_id", "start_time", "end_time", "artifact_uri")
"""What MLflow gives each run of its own."""
_NAMED = 5  # of the runs that are left out
_OURS = ("seed", "repeat", "trial", "cell", "value", "run_id", "epoch", "params", "macs", "tokens")
"""Names that points of ours, and frames made of points, have for something else."""


def _cells(path: Path, wanted: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file, by column.

    Raises:
        RecordsError: It is none, or has other marks between its cells, more cells in a row, a wanted column twice.
    """
    try:
        text = text_of(path)
        reader = csv.DictReader(io.StringIO(text, newline=""), restkey=_REST, restval="", strict=True)
        columns = [csv_text(column) for column in reader.fieldnames or ()]
        reader.fieldnames = columns
        rows = list(reader)
    except (OSError, ShapeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise RecordsError(f"source must be a CSV file of runs, got {path}: {reason}.") from None
    if twice := [column for column in wanted if columns.count(column) > 1]:
        raise RecordsError(f"{path} must have each column once, got {twice[0]} {columns.count(twice[0])} times.")
    first = text.partition("\n")[0].rstrip("\r")
    for mark, name in ((";", "semicolons"), ("\t", "tabs")):
        if not set(wanted) <= set(columns) and set(wanted) <= {each.strip('"') for each in first.split(mark)}:
            raise RecordsError(
                f"{path} must have commas between its cells, got {name}: save it with commas, and numbers with a "
                "decimal point."
            )
    if long := [n for n, row in enumerate(rows, start=1) if _REST in row]:
        raise RecordsError(f"row {long[0]} of {path} must have a cell a column, got more: quote what holds a comma.")
    return [{column: csv_text(cell) for column, cell in row.items()} for row in rows]


def _finished(
    rows: Sequence[Mapping[str, Any]], ids: Sequence[str], wanted: Sequence[str], source: str
) -> tuple[list[Mapping[str, Any]], list[str], list[str]]:
    """Rows of runs that finished, as far as a tracker's column says, their ids, and a note on the others.

    Args:
        rows: Column -> value, one row for each run.
        ids: Id of each run.
        wanted: Columns that are asked for: one of these says nothing of how a run ended.
        source: File or experiment that the rows were read from, for people.

    Raises:
        RecordsError: None finished.
    """
    columns = [column for column in rows[0] if column not in wanted]
    said = [next(filter(None, (_unfinished(column, row[column]) for column in columns)), None) for row in rows]
    left_out = [(n, *told) for n, told in enumerate(said) if told is not None]
    if not left_out:
        return list(rows), list(ids), []
    by = " and ".join(dict.fromkeys(column for _, column, _ in left_out))
    if len(left_out) == len(rows):
        raise RecordsError(f"{source} must hold runs that finished, got {len(rows)} runs of which {by} says none did.")
    named = ", ".join(f"{ids[n]} ({word})" for n, _, word in left_out[:_NAMED])
    more = f" and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else ""
    note = f"{len(left_out)} of {len(rows)} runs did not finish, as {by} says, and are left out: {named}{more}"
    kept = [n for n, told in enumerate(said) if told is None]
    return [rows[n] for n in kept], [ids[n] for n in kept], [note]


def _unfinished(column: str, cell: object) -> tuple[str, str] | None:
    """Column and word, where a tracker's column says of a run that it did not finish."""
    kind, text = column.strip().casefold(), str(cell).strip()
    word = text.rpartition(".")[2].casefold()  # TrialState.PRUNED
    if kind in _FAILURES and word == "true":
        return column, FAILED
    return (column, text) if kind in _STATES and word in _UNFINISHED else None


def _spellings(texts: Iterable[str]) -> dict[str, str]:
    """Text -> how its value was first spelt: 1e-4 and 0.0001 are one level, and so are True and true."""
    first: dict[tuple[str, object], str] = {}
    return {text: first.setdefault(_meant(text), text) for text in texts}


def _meant(text: str) -> tuple[str, object]:
    """What a spelling means: a number's value, a truth value, nothing, or else the text."""
    bare = text.strip()
    if bare.casefold() in ("true", "false", "nan", ""):
        return "word", bare.casefold() or "nan"
    if _NUMBER.fullmatch(bare):  # none that begins with a zero, such as 01, which may be a name
        with suppress(InvalidOperation):
            return "number", Decimal(bare)
    return "text", bare


_NUMBER = re.compile(r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)


def _require_columns(
    rows: Sequence[Mapping[str, Any]], factors: Sequence[str], value: str, seed: str, source: str
) -> None:
    if not rows or not factors:
        raise RecordsError(f"{source} must hold runs and factor name a column, got {len(rows)} rows, {list(factors)}.")
    wanted, columns = [*factors, value, *([seed] if seed else [])], [str(key) for key in rows[0]]
    if missing := [column for column in wanted if column not in columns]:
        there = [column for column in columns if not column.startswith(tag_column(MLFLOW))]
        raise RecordsError(f"{source} must have the columns {', '.join(missing)}, got {', '.join(there)}.")
    if twice := [column for column, count in Counter(wanted).items() if count > 1]:
        raise RecordsError(
            f"factor, value and seed must name different columns, got {', '.join(twice)} twice: a column that is "
            "compared tells no runs of one cell apart."
        )


def _of_one_run(column: str) -> bool:
    """Whether MLflow gives each run its own, which tells a run from its copy too."""
    return column in _IDENTITY or column.startswith(tag_column(MLFLOW))


def _axis(factor: str) -> str:
    return f"{factor} (factor)" if factor.rpartition(".")[2] in _OURS else factor


def _point(row: Mapping[str, Any], axes: Mapping[str, str], seed: int) -> str:
    levels = [[axis, str(row[factor])] for factor, axis in axes.items()]
    return json.dumps([*levels, ["seed", seed]], separators=(",", ":"))


def _baselines(baseline: Mapping[str, Any], levels: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Each factor's level that others are held against."""
    named = _flat(baseline)
    if unknown := [factor for factor in named if factor not in levels]:
        raise RecordsError(f"baseline must name a level of {', '.join(levels)}, got one of {', '.join(unknown)}.")
    found = {factor: every[0] for factor, every in levels.items()}
    for factor, level in named.items():
        known = {_meant(each): each for each in levels[factor]}
        if _meant(level) not in known:
            raise RecordsError(f"baseline.{factor} must be one of {', '.join(levels[factor])}, got {level}.")
        found[factor] = known[_meant(level)]
    return found


def _flat(levels: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Mappings in each other, as ``baseline.params.lr=0.1`` is read, by their whole names."""
    out: dict[str, str] = {}
    for key, level in levels.items():
        out |= _flat(level, f"{prefix}{key}.") if isinstance(level, Mapping) else {f"{prefix}{key}": str(level)}
    return out


def _seeds(rows: Sequence[Mapping[str, Any]], factors: Sequence[str], seed: str, ids: Sequence[str]) -> list[int]:
    """Each row's number within its cell where no column tells it; its seed where one does, or the seed's rank."""
    cells = [tuple(str(row[factor]) for factor in factors) for row in rows]
    if not seed:
        met: Counter[tuple[str, ...]] = Counter()
        met_before = []
        for cell in cells:
            met_before.append(met[cell])
            met[cell] += 1
        return met_before
    texts = [str(row[seed]) for row in rows]
    first: dict[tuple[tuple[str, ...], str], int] = {}
    for n, key in enumerate(zip(cells, texts, strict=True)):
        if (before := first.setdefault(key, n)) != n:
            raise RecordsError(_repeated(rows, (before, n), factors, seed, ids))
    numbers = _whole(texts) or {text: rank for rank, text in enumerate(dict.fromkeys(texts))}
    return [numbers[text] for text in texts]


def _whole(texts: Iterable[str]) -> dict[str, int] | None:
    """Seeds as numbers, if all are whole ones and no two of them the same."""
    distinct = set(texts)
    try:
        numbers = {text: int(text) if text.strip("+-").isdecimal() else _integer(float(text)) for text in distinct}
    except ValueError:
        return None
    return numbers if len(set(numbers.values())) == len(distinct) else None


def _integer(number: float) -> int:
    if not number.is_integer():
        raise ValueError(number)
    return int(number)


def _repeated(
    rows: Sequence[Mapping[str, Any]], pair: tuple[int, int], factors: Sequence[str], seed: str, ids: Sequence[str]
) -> str:
    """What to do about two rows of which one would be lost."""
    one, two = (rows[n] for n in pair)
    skipped = (*factors, seed, *_IDENTITY)
    others = [
        column
        for column in one
        if column not in skipped
        and not column.startswith((METRIC_COLUMN, tag_column(MLFLOW)))
        and one[column] != two[column]
    ]
    further = min(others, key=lambda column: len({str(row[column]) for row in rows}), default="ANOTHER")
    where = ", ".join(f"{column} {one[column]}" for column in (*factors, seed))
    return (
        f"runs of one cell must differ in {seed}, got {ids[pair[0]]} and {ids[pair[1]]} of {where}: name what "
        f"else differs, e.g. factor=[{','.join([*factors, further])}], or leave out seed={seed}."
    )


def _results(values: Sequence[Any], name: str, ids: Sequence[str]) -> list[tuple[str, float]]:
    """How each run ended, and its result.

    Raises:
        RecordsError: A value that is no number, or one with a percent sign among others without.
    """
    texts = [str(value).strip() for value in values]
    told = [n for n, text in enumerate(texts) if text]
    signed = [n for n in told if texts[n].endswith("%")]
    if signed and (bare := [n for n in told if n not in signed]):
        raise RecordsError(
            f"{name} must have a percent sign in every row or in none, got {texts[signed[0]]} in {ids[signed[0]]} and "
            f"{texts[bare[0]]} in {ids[bare[0]]}."
        )
    return [_result(text, name, run) for text, run in zip(texts, ids, strict=True)]


def _result(text: str, name: str, run: str) -> tuple[str, float]:
    try:
        number = float(text.removesuffix("%")) if text else math.nan
    except ValueError:
        if re.fullmatch(r"[+-]?\d+,\d+ ?%?", text):
            raise RecordsError(f"{name} must have a decimal point in every row, got {text!r} in {run}.") from None
        raise RecordsError(
            f"{name} must be a number in every row, got {text!r} in {run}: leave it empty where a run has no result, "
            "and nan where it diverged."
        ) from None
    if LARGEST < abs(number) < sys.float_info.max:
        raise RecordsError(f"{name} must be at most {LARGEST:g} in every row, got {text} in {run}: say nan of it.")
    if abs(number) < sys.float_info.max:  # which is what a database of MLflow's has for an infinity
        return FINISHED, number
    return DIVERGED if text else NO_RESULT, math.nan
