"""Where a study's records come from, and where they go: a tracking store, a file, somebody else's runs."""

import io
import json
import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from glob import glob
from pathlib import Path
from typing import Any

from ablate import tracking
from ablate.config.overrides import ConfigError
from ablate.config.schema import ReportConfig
from ablate.report.sources.foreign import from_csv, from_experiment
from ablate.report.sources.records import Records, RecordsError, epochs, read, travels
from ablate.report.sources.stored import choose
from ablate.tracking import TrackingSpec
from ablate.tracking.correctness import packed
from ablate.tracking.liveness import lives, sign_of_worker
from ablate.tracking.names import (
    DEFINITION,
    EPOCH_SECONDS,
    FINISHED,
    IMPORTED,
    KILLED,
    LEARNING_RATE,
    MLFLOW_RUNNING,
    ORIGINAL_RUN,
    OUTCOMES,
    POINT,
    PREDICTIONS_FILE,
    REASON,
    ROLE,
    RUN,
    RUNNING,
    STATUS,
    STUDY,
    SWEEP,
    TESTED,
    TRAIN_LOSS,
    TRAIN_TOP1_CURVE,
    VAL_LOSS,
    VAL_TOP1_CURVE,
    WORKER,
    tag_column,
)

CURVES = (TRAIN_LOSS, TRAIN_TOP1_CURVE, VAL_LOSS, VAL_TOP1_CURVE, LEARNING_RATE, EPOCH_SECONDS)
READ = (TRAIN_LOSS, VAL_TOP1_CURVE, EPOCH_SECONDS)
"""Curves that a page draws and readings at equal compute go by."""
SUFFIX = ".jsonl"
STARTED = "%Y-%m-%d %H:%M UTC"
_TESTED = tag_column(TESTED)
_FIRST, _WORKER = tag_column(ORIGINAL_RUN), tag_column(WORKER)
_IMPORTED, _POINT = tag_column(IMPORTED), tag_column(POINT)


def opened(name: str | None, options: ReportConfig) -> Records | None:
    """The study that ``report`` was asked for, where it is not one of the tracking store's own sweeps; else None.

    Raises:
        ConfigError: A source without the columns that say what is compared.
        RecordsError: A file or a table that cannot be read.
    """
    if name is not None and name.endswith(SUFFIX):
        return read(Path(name))
    if options.source is None and not options.factor:
        return None
    factors = [options.factor] if isinstance(options.factor, str) else [str(each) for each in options.factor or []]
    if not factors or not options.value:
        raise ConfigError(
            "runs of your own need factor= and value=, the columns that are compared and measured, e.g. "
            "factor=[model,lr] value=accuracy seed=seed."
        )
    columns = (factors, options.value, options.seed or "", options.baseline)
    if options.source is not None:
        return from_csv(Path(options.source), *columns)
    return from_experiment(options.tracking, *columns)


def gather(files: str | Sequence[str], tracking_uri: str = "", study: str = "") -> list[Records]:
    """What a notebook is about: studies of files, or one of a tracking store.

    Args:
        files: Names or patterns of files that ``export`` wrote; not read where a store is named.
        tracking_uri: A store to read instead.
        study: A sweep of that store, by name; the study of that name that ran last.

    Raises:
        RecordsError: No file fits, or one holds something else.
        ReportError: The store knows no such study.
        TrackingError: The store cannot be read.
    """
    if tracking_uri:
        return [from_store(TrackingSpec(uri=tracking_uri), study)]
    patterns = [files] if isinstance(files, str) else list(files)
    found = [path for pattern in patterns for path in sorted(glob(pattern))]
    if not found:
        raise RecordsError(
            f"records must name files that python -m ablate export wrote, got {', '.join(patterns)}, which none fits "
            f"in {Path.cwd()}."
        )
    return [read(Path(path)) for path in dict.fromkeys(found)]


def from_store(
    where: TrackingSpec, name: str, *, study: str | None = None, curves_of: Sequence[str] = CURVES
) -> Records:
    """A study of the tracking store, with curves of these metrics.

    Raises:
        ReportError: The store knows no such study.
        TrackingError: The store cannot be read.
    """
    chosen, _ = choose(where, name, study)
    frame = tracking.read_runs(where, study=chosen.study)
    frame = frame[frame[tag_column(ROLE)] == RUN].reset_index(drop=True)
    ids = list(frame["run_id"])
    curves: dict[str, dict[str, Any]] = {run_id: {} for run_id in ids}
    for metric in curves_of:
        rows = tracking.read_curves(where, ids, metric).itertuples(index=False)
        for run_id, values in epochs((row.run_id, row.step, row.value) for row in rows).items():
            curves[run_id][metric] = values
    started = chosen.started.strftime(STARTED)
    return Records(chosen.study, chosen.definition, started, frame, curves, tracking.redact_uri(where.resolved_uri()))


def with_test_images(records: Records, where: TrackingSpec) -> Records:
    """Which test images each run got right, for runs that were made before they told: from their artifacts.

    Raises:
        RecordsError: An artifact holds something else.
        TrackingError: The store cannot be read.
    """
    frame = records.frame.assign(**{_TESTED: records.frame.get(_TESTED)})
    lacking = frame["run_id"][(frame[tag_column(STATUS)] == FINISHED) & frame[_TESTED].isna()]
    contents = tracking.read_artifacts(where, list(lacking), PREDICTIONS_FILE) if len(lacking) else {}
    found = {run_id: _right(run_id, content) for run_id, content in contents.items()}
    for key in dict.fromkeys(key for tags in found.values() for key in tags):
        read = frame["run_id"].map({run_id: tags.get(key) for run_id, tags in found.items()})
        frame[tag_column(key)] = read.where(read.notna(), frame.get(tag_column(key)))
    return replace(records, frame=frame)


def _right(run_id: str, archive: bytes) -> dict[str, str]:
    import numpy as np

    try:
        with np.load(io.BytesIO(archive)) as found:
            return packed(found["predicted"] == found["label"], found["label"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise RecordsError(f"{PREDICTIONS_FILE} of run {run_id} must hold predicted and label, got {error}.") from None


def to_store(records: Records, where: TrackingSpec, *, tell: Callable[[str], None] = lambda said: None) -> int:
    """Writes a study's runs into a tracking store, and changes nothing that is there.

    Runs that the store has are left out, whether they were made there or imported before; so are runs of a point that
    has a result there by another run.

    Args:
        records: The study that is written.
        where: The tracking store that is written to.
        tell: Called with one sentence for each thing that became of the runs.

    Returns:
        How many runs were written.

    Raises:
        RecordsError: The records are somebody else's runs, which no sweep describes.
        TrackingError: The store cannot be written.
    """
    if records.definition.get("foreign"):
        raise RecordsError("import needs a file that python -m ablate export wrote, got runs of another kind.")
    started = _start(records)
    store = tracking.Store(where)
    # Two imports of one file at once share its runs out: the lock is held for a look, and for each run's beginning.
    parent, runs = store.one_at_a_time(lambda: _there(store, records, where))
    due, outdone = _due(records, runs)
    ours = parent is None or parent.get(_IMPORTED) == "true"
    run_id = _parent(store, records, started) if ours or parent is None else parent["run_id"]
    last, written = started, 0
    for number, row in enumerate(records.frame.to_dict("records")):
        begun = started + timedelta(milliseconds=number)  # a file tells their order, not when each began
        took = float(row.get("seconds", 0.0))
        ended = begun + timedelta(seconds=took if math.isfinite(took) else 0.0)
        last = max(last, ended)
        if number in due:
            written += _copy(store, run_id, records, row, begun, ended)
    if ours:
        store.resume(run_id, records.study, sweep=True).finish(FINISHED, ended=last)
    there = len(records.frame) - written - outdone
    tell(f"{written} runs of study {records.study} were written, {there} were there already.")
    if outdone:
        tell(f"{outdone} were left out: the store has results of their points by other runs, which stay as they are.")
    return written


def _due(records: Records, there: Sequence[Mapping[str, Any]]) -> tuple[set[int], int]:
    """Which rows are to be written, and of how many the store has the point's result by another run."""
    rows = records.frame.to_dict("records")
    own = {row["run_id"] for row in rows}
    names = [{row["run_id"], row.get(_FIRST)} for row in there]
    taken = {row.get(_POINT) for row, called in zip(there, names, strict=True) if not own & called and _is_through(row)}
    present = set[object]().union(*names)
    new: dict[str, int] = {}
    for number, row in enumerate(rows):
        if row["run_id"] not in present:
            new.setdefault(row["run_id"], number)
    due = {number for number in new.values() if rows[number].get(_POINT) not in taken}
    return due, len(new) - len(due)


def _parent(store: tracking.Store, records: Records, started: datetime) -> str:
    tags = {STUDY: records.study, DEFINITION: json.dumps(dict(records.definition))}
    run_id = store.sweep_run(records.study, {**tags, IMPORTED: "true"}, started=started)
    store.share_view(run_id, records.study, records.definition)
    return run_id


def _there(
    store: tracking.Store, records: Records, where: TrackingSpec
) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """What the store has of a study: its parent's run, and those of its points. A dead import's half run is removed."""
    rows = tracking.read_runs(where, study=records.study, parts=("tags",)).to_dict("records")
    kept = [{key: value for key, value in row.items() if value == value and value is not None} for row in rows]
    half = [row for row in kept if row["status"] == MLFLOW_RUNNING and _is_half(row)]
    for row in half:
        store.discard(row["run_id"])
    runs = [row for row in kept if row.get(tag_column(ROLE)) == RUN and row not in half]
    return next((row for row in kept if row.get(tag_column(ROLE)) == SWEEP), None), runs


def _is_half(row: Mapping[str, Any]) -> bool:
    """Whether an open run is a copy that nobody goes on with; imports of earlier versions signed nothing."""
    if _WORKER not in row:
        return _FIRST in row
    return row.get(_IMPORTED) == "true" and lives(row[_WORKER]) is False


def _is_through(row: Mapping[str, Any]) -> bool:
    return row.get(tag_column(STATUS)) in OUTCOMES and _POINT in row


def _start(records: Records) -> datetime:
    """When a study began, to the minute.

    Raises:
        RecordsError: It does not say.
    """
    try:
        return datetime.strptime(records.started, STARTED).replace(tzinfo=UTC)
    except ValueError:
        raise RecordsError(
            f"import needs records that say when their study started, like 2026-01-31 09:30 UTC, got "
            f"{records.started!r} in {records.source}."
        ) from None


def _copy(
    store: tracking.Store, parent: str, records: Records, row: dict[str, Any], begun: datetime, ended: datetime
) -> bool:
    """Writes a run, unless another import has begun to meanwhile. Returns whether it did."""

    def part(name: str) -> dict[str, Any]:
        head = f"{name}."
        return {key.removeprefix(head): value for key, value in row.items() if key.startswith(head) and value == value}

    left = (STATUS, ROLE)
    tags = {key: str(value) for key, value in part("tags").items() if travels(tag_column(key), records.study)}
    tags = {key: text for key, text in tags.items() if key not in left}
    tags |= {STUDY: records.study, ORIGINAL_RUN: row["run_id"], IMPORTED: "true"}
    tags[WORKER] = sign_of_worker()
    label, curves = " ".join(str(level) for _, level in _point(row)), records.curves.get(row["run_id"], {})

    def begin() -> tracking.RunWriter | None:
        if store.has_copy(records.study, row["run_id"]):
            return None
        return store.start_run(label, part("params"), tags, parent=parent, started=begun)

    writer = store.one_at_a_time(begin)
    if writer is None:
        return False
    shown = {metric for metric, values in curves.items() if values}
    for metric in shown:
        for step, value in enumerate(curves[metric], start=1):
            writer.log({metric: float("nan") if value is None else value}, step=step)
    writer.log({key: float(value) for key, value in part("metrics").items() if key not in shown})
    status = row.get(tag_column(STATUS), FINISHED)
    writer.finish(status if status != RUNNING else KILLED, reason=tags.get(REASON), ended=ended)
    return True


def _point(row: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(axis, level) for axis, level in json.loads(row[tag_column(POINT)])]
