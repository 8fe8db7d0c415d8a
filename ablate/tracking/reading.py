"""Reads runs, studies and curves into data frames: a database by plain SQL, a server by MLflow's client."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlsplit

from ablate.tracking.client import client_class, connected
from ablate.tracking.names import (
    ATTEMPT,
    CELL,
    DEFINITION,
    EARLIER_CELL,
    FINISHED,
    IDENTITY,
    METRIC_COLUMN,
    MLFLOW_FINISHED,
    ORIGINAL_RUN,
    OUTCOMES,
    POINT,
    REDRAWN,
    ROLE,
    RUN,
    SERVES,
    SETTINGS,
    STATUS,
    STUDY,
    TAG_COLUMN,
    TEST_TOP1,
    VIEW,
    WITHOUT_ID,
    metric_column,
    param_column,
    tag_column,
)
from ablate.tracking.spec import TrackingError, TrackingSpec
from ablate.tracking.tags import redrawn, redraws, serves, tag_filter
from ablate.tracking.uris import check, file_of, guard, is_database, probe_server, redact_uri

if TYPE_CHECKING:
    import pandas as pd

Part = Literal["metrics", "params", "tags"]
_TABLES: Mapping[Part, str] = {"metrics": "latest_metrics", "params": "params", "tags": "tags"}
_RUN_COLUMNS = ("run_id", "experiment_id", "status", "artifact_uri", "start_time", "end_time")
_OF_STUDIES = (STUDY, DEFINITION, STATUS, ROLE, POINT, VIEW, SERVES, REDRAWN)
"""How tags begin that tell a study and how far it is."""
_Entries = Mapping[Part, Sequence[Sequence[Any]]]  # of each part: run id, key, value


@dataclass(frozen=True)
class StudyRecord:
    """A study as the store knows it.

    Attributes:
        study: Name of the study: the sweep's name and a digest.
        run_id: Id of the parent run.
        experiment_id: Id of the experiment that holds the runs.
        artifacts: Folder or URI that holds a folder for each run.
        definition: What the sweep recorded of itself: name, question, table, axes, seeds, number of points.
        started: Moment, UTC, at which the study was first started.
        last: Moment, UTC, at which one of its runs last started.
        points: Keys of the points that are through: with a run that finished, diverged or was pruned.
        view: Key of the study's view in the MLflow UI; None for a study without one.
    """

    study: str
    run_id: str
    experiment_id: str
    artifacts: str
    definition: Mapping[str, Any]
    started: datetime
    last: datetime
    points: frozenset[str]
    view: str | None = None

    @property
    def finished(self) -> int:
        """How many points are through."""
        return len(self.points)


def read_runs(
    tracking: TrackingSpec, *, study: str | None = None, parts: Sequence[Part] = ("metrics", "params", "tags")
) -> "pd.DataFrame":
    """Runs of the experiment, oldest first, one row a run, in the columns of ``mlflow.search_runs``.

    Args:
        tracking: Where to read.
        study: Only this study's runs, its parent included, and those of others that serve one of its points: they
            come with its name and that point in ``tags.ablate.study`` and ``tags.ablate.point``.
        parts: What to read besides the run itself; a metric's value is its latest.

    Returns:
        ``run_id``, ``experiment_id``, ``status``, ``artifact_uri``, ``start_time``, ``end_time``, then ``metrics.*`` as
        float, ``params.*`` and ``tags.*`` as text. No runs, no rows.

    Raises:
        TrackingError: There is no such store, or it cannot be read.
    """
    frame = _frame(*_read(tracking, study, parts))
    return frame if study is None else _adopted(frame, study)


def read_logged(tracking: TrackingSpec) -> list[dict[str, Any]]:
    """Runs of the experiment, whoever logged them, oldest first, each with what it has and no blanks.

    A metric of NaN is one here, and none is none: in the columns of ``read_runs`` they are the same.

    Returns:
        ``run_id``, ``status``, and what there is of ``metrics.*`` (float, the latest), ``params.*`` and ``tags.*``.

    Raises:
        TrackingError: There is no such store, or it cannot be read.
    """
    runs, entries = _read(tracking, None, ("params", "metrics", "tags"))
    found: dict[str, dict[str, Any]] = {run[0]: {"run_id": run[0], "status": run[2]} for run in runs}
    for part, lines in entries.items():
        for run_id, key, value in lines:
            if run_id in found:  # and none that was made while this was read
                found[run_id][f"{part}.{key}"] = value
    return list(found.values())


def _read(
    tracking: TrackingSpec, study: str | None, parts: Sequence[Part], keys: Sequence[str] | None = None
) -> tuple[list[tuple[Any, ...]], _Entries]:
    """Runs, the oldest first, and of their entries those whose keys begin so, or all."""
    uri = tracking.resolved_uri()
    check(uri)
    with guard(uri):
        read = _from_database if is_database(uri) else _from_server
        return read(uri, tracking.resolved_experiment(), study, parts, keys)


def _adopted(frame: "pd.DataFrame", study: str) -> "pd.DataFrame":
    """Runs that serve a study, as if they were its own: one a point, the oldest, where it has no outcome of its own."""
    served = tag_column(serves(study))
    if served not in frame:
        return frame
    told = (tag_column(STUDY), tag_column(STATUS), tag_column(POINT))  # runs that were trained alone have no point
    frame = frame.assign(**{column: None for column in told if column not in frame})
    native = frame[tag_column(STUDY)] == study
    through = native & frame[tag_column(STATUS)].isin(OUTCOMES)
    serving = frame[served].notna() & ~native
    needless = serving & frame[served].isin(frame.loc[through, tag_column(POINT)])
    needless |= serving & frame[served].where(serving).duplicated()
    frame = frame.assign(**{tag_column(POINT): frame[served].where(serving, frame[tag_column(POINT)])})
    frame.loc[serving, tag_column(STUDY)] = study
    return frame[~needless].reset_index(drop=True)


def run_names(tracking: TrackingSpec) -> set[str]:
    """What the experiment's runs are called by a queue: their ids, and those from before the store had them.

    Raises:
        TrackingError: There is no such store, or it cannot be read.
    """
    runs, entries = _read(tracking, None, ("tags",), (ATTEMPT, ORIGINAL_RUN))
    earlier = {f"{WITHOUT_ID}{value}" if key == ATTEMPT else value for _, key, value in entries["tags"]}
    return earlier | {run[0] for run in runs}


def has_study(tracking: TrackingSpec, name: str) -> bool:
    """Whether the experiment has a run of a study, without importing pandas.

    Raises:
        TrackingError: The store cannot be read; one that is not there yet has none.
    """
    return not _is_to_be_made(tracking) and bool(_read(tracking, name, ())[0])


def _is_to_be_made(tracking: TrackingSpec) -> bool:
    uri = tracking.resolved_uri()
    check(uri)
    return is_database(uri) and (file := file_of(uri)) is not None and not file.exists()


def finished_settings(tracking: TrackingSpec) -> dict[str, int]:
    """How many finished runs the experiment has of each ``ablate.settings``, without importing pandas.

    Raises:
        TrackingError: The store cannot be read; one that is not there yet has none.
    """
    if _is_to_be_made(tracking):
        return {}
    runs, entries = _read(tracking, None, ("tags",), (STATUS, SETTINGS))
    ended = {run[0] for run in runs if run[2] == MLFLOW_FINISHED}
    tags = entries["tags"]
    whole = {run for run, key, value in tags if (key, value) == (STATUS, FINISHED) and run in ended}
    return dict(Counter(value for run, key, value in tags if key == SETTINGS and run in whole))


def cells(tracking: TrackingSpec, alike: Mapping[str, str]) -> dict[str, list[float]]:
    """Test accuracies of finished runs by ``ablate.cell``: groups that differ by chance alone.

    Copies of one run, imported under two studies or trained again from its seeds, count once: they show no chance.
    Runs of one seed that ``repeat`` keeps apart differ in their identity, and all count.

    Args:
        tracking: Where to read.
        alike: Parameters, as they are recorded, that a run must have.

    Raises:
        TrackingError: There is no such store, or it cannot be read.
    """
    frame = read_runs(tracking)
    names = (tag_column(CELL), metric_column(TEST_TOP1), *(param_column(key) for key in alike))
    if any(name not in frame for name in names):
        return {}
    chosen = frame[(frame[tag_column(STATUS)] == FINISHED) & frame[tag_column(CELL)].notna()]
    for key, value in alike.items():
        chosen = chosen[chosen[param_column(key)] == value]
    chosen = _without_copies(chosen)
    cell = chosen[tag_column(CELL)]
    if (before := tag_column(EARLIER_CELL)) in chosen:  # runs of both versions differ by chance alone
        cell = chosen[before].where(chosen[before].notna(), cell)
    grouped = chosen.groupby(cell)[metric_column(TEST_TOP1)]
    return {str(name): [float(value) for value in values] for name, values in grouped}


def _without_copies(frame: "pd.DataFrame") -> "pd.DataFrame":
    """One row, the oldest, of each identity; of runs that have none, one of each run by its first store's id."""
    same = frame["run_id"]
    for known in (ORIGINAL_RUN, IDENTITY):
        if (tag := tag_column(known)) in frame:
            same = frame[tag].where(frame[tag].notna(), same)
    return frame[~same.duplicated()]


def list_studies(tracking: TrackingSpec, name: str | None = None) -> list[StudyRecord]:
    """Studies of a sweep, or all, the one that ran last first.

    Raises:
        TrackingError: There is no such store, or it cannot be read.
    """
    frame = _frame(*_read(tracking, None, ("tags",), _OF_STUDIES))
    if tag_column(DEFINITION) not in frame:
        return []
    records = [_study(row, frame) for row in frame[frame[tag_column(DEFINITION)].notna()].to_dict("records")]
    wanted = [record for record in records if name is None or record.definition.get("name") == name]
    return sorted(wanted, key=lambda record: record.last, reverse=True)


def _study(parent: Mapping[str, Any], frame: "pd.DataFrame") -> StudyRecord:
    pieces = [key for key in parent if key.startswith(tag_column(f"{DEFINITION}.")) and isinstance(parent[key], str)]
    pieces.sort(key=lambda key: int(key.rpartition(".")[2]))
    text = "".join(parent[key] for key in [tag_column(DEFINITION), *pieces])
    study = parent[tag_column(STUDY)]
    runs = _adopted(frame, study)
    runs = runs[runs[tag_column(STUDY)] == study]
    done = runs[runs[tag_column(STATUS)].isin(OUTCOMES) & (runs[tag_column(ROLE)] == RUN)]
    points = set(done[tag_column(POINT)].dropna() if tag_column(POINT) in done else ())
    if (again := tag_column(redrawn(study))) in done:
        pairs = zip(done[tag_column(POINT)], done[again], strict=True)
        points |= {key for point, told in pairs if isinstance(point, str) for key in redraws(point, told)}
    return StudyRecord(
        study=study,
        run_id=parent["run_id"],
        experiment_id=parent["experiment_id"],
        artifacts=_folder_of_runs(parent["artifact_uri"]),
        definition=json.loads(text),
        started=parent["start_time"].to_pydatetime(),
        last=runs["start_time"].max().to_pydatetime(),
        points=frozenset(points),
        view=view if isinstance(view := parent.get(tag_column(VIEW)), str) else None,
    )


def _folder_of_runs(artifact_uri: str) -> str:
    """``…/RUN/artifacts`` -> ``…``, as a plain path where it is one."""
    folder = redact_uri(artifact_uri.rstrip("/").rsplit("/", 2)[0])
    return unquote(urlsplit(folder).path) if folder.startswith("file://") else folder


def read_curves(tracking: TrackingSpec, run_ids: Iterable[str], metric: str) -> "pd.DataFrame":
    """Every recorded value of one metric.

    Returns:
        ``run_id``, ``step``, ``value``; in the order of the run ids, then of the steps.

    Raises:
        TrackingError: There is no such store, or it cannot be read.
    """
    import pandas as pd

    uri, ids = tracking.resolved_uri(), list(run_ids)
    check(uri)
    with guard(uri):
        rows = _curves_from_database(uri, ids, metric) if is_database(uri) else _curves_from_server(uri, ids, metric)
    order = {run_id: number for number, run_id in enumerate(ids)}
    rows.sort(key=lambda row: (order[row[0]], row[1]))
    return pd.DataFrame(rows, columns=["run_id", "step", "value"])


def _frame(runs: Sequence[Sequence[Any]], entries: _Entries) -> "pd.DataFrame":
    import pandas as pd

    row = {run[0]: number for number, run in enumerate(runs)}
    columns: dict[str, list[Any]] = {}
    for part, lines in entries.items():
        mine: dict[str, list[Any]] = {}
        for run_id, key, value in lines:
            if run_id not in row:  # a run that was made while this was read
                continue
            if key not in mine:
                mine[key] = columns[f"{part}.{key}"] = [float("nan") if part == "metrics" else None] * len(runs)
            mine[key][row[run_id]] = value
    frame = pd.DataFrame([tuple(run) for run in runs], columns=list(_RUN_COLUMNS))
    for name in ("start_time", "end_time"):
        frame[name] = pd.to_datetime(frame[name].astype("Int64"), unit="ms", utc=True)
    kinds = {name: "float64" if name.startswith(METRIC_COLUMN) else object for name in sorted(columns)}
    # Text stays as it is: as pandas' own type it would be converted here, and again where rows are made of it.
    values = {name: pd.Series(columns[name], dtype=kind, index=frame.index) for name, kind in kinds.items()}
    return pd.concat([frame, pd.DataFrame(values, index=frame.index)], axis=1)


def _from_database(
    uri: str, experiment: str, study: str | None, parts: Sequence[Part], keys: Sequence[str] | None = None
) -> tuple[list[tuple[Any, ...]], _Entries]:
    """Runs and their entries out of MLflow's tables (its schema of 2018 to date, as far as used here).

    Entries are those whose keys begin so, or all.
    """
    from sqlalchemy import column, or_, select, table

    runs = table("runs", *map(column, ("run_uuid", "experiment_id", "status", "artifact_uri", "start_time", "end_time",
                                       "lifecycle_stage")))  # fmt: skip
    experiments = table("experiments", column("experiment_id"), column("name"))
    tags = table("tags", column("run_uuid"), column("key"), column("value"))
    of_experiment = select(experiments.c.experiment_id).where(experiments.c.name == experiment)
    chosen = (runs.c.lifecycle_stage == "active") & runs.c.experiment_id.in_(of_experiment)
    if study is not None:
        mine = (tags.c.key == STUDY) & (tags.c.value == study)
        members = select(tags.c.run_uuid).where(mine | (tags.c.key == serves(study)))
        chosen &= runs.c.run_uuid.in_(members)
    listing = select(*list(runs.c)[:6]).where(chosen).order_by(runs.c.start_time, runs.c.run_uuid)
    with connected(uri, must_exist=True) as connection:
        found = [(run[0], str(run[1]), *run[2:]) for run in connection.execute(listing)]
        entries: dict[Part, Sequence[Sequence[Any]]] = {}
        for part in parts:
            names = ("run_uuid", "key", "value", *(["is_nan"] if part == "metrics" else []))
            source = table(_TABLES[part], *map(column, names))
            query = select(*source.c).where(source.c.run_uuid.in_(select(runs.c.run_uuid).where(chosen)))
            if keys is not None:
                query = query.where(or_(*(source.c.key.like(f"{key}%") for key in keys)))
            lines = connection.execute(query).all()  # at once: line by line takes three times as long
            entries[part] = [_number(*line) for line in lines] if part == "metrics" else lines
    return found, entries


def _number(run_id: str, key: str, value: float, nan: bool) -> tuple[str, str, float]:
    """MLflow keeps a NaN as a mark beside a number."""
    return run_id, key, float("nan") if nan else value


def _from_server(
    uri: str, experiment: str, study: str | None, parts: Sequence[Part], keys: Sequence[str] | None = None
) -> tuple[list[tuple[Any, ...]], _Entries]:
    probe_server(uri)
    client = client_class()(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    of_study = (tag_filter({STUDY: study}), f"{TAG_COLUMN}`{serves(study)}` != ''") if study is not None else ("",)
    runs = [run for wanted in of_study if found for run in _search(client, found.experiment_id, wanted)]
    runs.sort(key=lambda run: (run.info.start_time, run.info.run_id))
    rows = [tuple(getattr(run.info, name) for name in _RUN_COLUMNS) for run in runs]
    entries: dict[Part, Sequence[Sequence[Any]]] = {
        part: [
            (run.info.run_id, key, value)
            for run in runs
            for key, value in getattr(run.data, part).items()
            if keys is None or key.startswith(tuple(keys))
        ]
        for part in parts
    }
    return rows, entries


def _search(client: Any, experiment_id: str, wanted: str) -> Iterator[Any]:
    token: str | None = None
    while True:
        page = client.search_runs([experiment_id], wanted, max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _curves_from_database(uri: str, run_ids: Sequence[str], metric: str) -> list[tuple[str, int, float]]:
    from sqlalchemy import column, select, table

    metrics = table("metrics", *map(column, ("run_uuid", "step", "value", "is_nan", "key")))
    rows: list[tuple[str, int, float]] = []
    with connected(uri, must_exist=True) as connection:
        for start in range(0, len(run_ids), 500):  # SQLite takes 999 values a statement in old versions
            some = metrics.c.run_uuid.in_(run_ids[start : start + 500])
            found = connection.execute(select(*metrics.c).where(some & (metrics.c.key == metric))).all()
            rows += [(run_id, step, float("nan") if nan else value) for run_id, step, value, nan, _ in found]
    return rows


def _curves_from_server(uri: str, run_ids: Sequence[str], metric: str) -> list[tuple[str, int, float]]:
    probe_server(uri)
    client = client_class()(tracking_uri=uri)
    return [(run_id, m.step, m.value) for run_id in run_ids for m in client.get_metric_history(run_id, metric)]


def latest_run(tracking: TrackingSpec) -> str:
    """Id of the run that finished and started last, alone or within a sweep.

    Raises:
        TrackingError: There is no such store, or no run in it has finished.
    """
    frame = read_runs(tracking, parts=("tags",))
    tags = frame.reindex(columns=["run_id", tag_column(ROLE), tag_column(STATUS)])
    done = tags[(tags[tag_column(ROLE)] == RUN) & (tags[tag_column(STATUS)] == FINISHED)]
    if done.empty:
        raise TrackingError(
            f"a finished run must be in {redact_uri(tracking.resolved_uri())} (experiment "
            f"{tracking.resolved_experiment()}), and there is none: train one, or set tracking.uri to another store."
        )
    return str(done["run_id"].iloc[-1])


def fetch_artifact(tracking: TrackingSpec, run_id: str, name: str, folder: Path) -> Path:
    """Copies an artifact of a run, such as ``model.keras`` or ``config.yaml``, into a folder.

    Returns:
        Where it lies then.

    Raises:
        TrackingError: There is no such store, run or artifact.
    """
    uri = tracking.resolved_uri()
    runs = set(read_runs(tracking, parts=())["run_id"])
    if run_id not in runs:
        raise TrackingError(
            f"a run of {redact_uri(uri)} (experiment {tracking.resolved_experiment()}) must be named, got {run_id!r}; "
            f"it has {len(runs)} runs, which the MLflow UI lists."
        )
    with guard(uri):
        client = client_class()(tracking_uri=uri)
        there = [entry.path for entry in client.list_artifacts(run_id)]
        if name not in there:
            raise TrackingError(
                f"run {run_id} must hold the artifact {name}, it has {', '.join(there) or 'none'}; a model is kept "
                "with tracking.log_model=true."
            )
        return Path(client.download_artifacts(run_id, name, str(folder)))


def read_artifacts(tracking: TrackingSpec, run_ids: Iterable[str], name: str) -> dict[str, bytes]:
    """Content of one artifact of each run that has it, by run id.

    Raises:
        TrackingError: There is no such store or run, or an artifact cannot be read.
    """
    uri = tracking.resolved_uri()
    found: dict[str, bytes] = {}
    with guard(uri), TemporaryDirectory(prefix="ablate-") as scratch:
        client = client_class()(tracking_uri=uri)
        for run_id in run_ids:
            if name in [entry.path for entry in client.list_artifacts(run_id)]:
                path = Path(client.download_artifacts(run_id, name, scratch))
                found[run_id] = path.read_bytes()
    return found
