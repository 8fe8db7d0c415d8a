"""The tracking store: writes runs to MLflow, reads them into frames; the only importer of mlflow.

Nothing heavy is imported before it is used, and a database is read by plain SQL: ``report`` need not pay the seconds
that importing mlflow costs.

What a run carries besides its parameters (the spec's leaves, in YAML's words) and its metrics:

====================  ==========================================================================
tag                   meaning
====================  ==========================================================================
``ablate.role``       ``sweep`` for a study's parent run, ``run`` for what trains a model
``ablate.study``      the study that the run belongs to
``ablate.point``      the point within it, the same for every attempt at that point
``ablate.serves.…``   on a finished run: the point that it serves in another study, which the key ends in
``ablate.identity``   digest of all that can change the result
``ablate.settings``   the same without the data's content: what ``plan`` can tell before reading it
``ablate.cell``       digest of the settings without seeds and repeat: runs that differ by chance alone
``ablate.sweep``      on the parent: the sweep's definition as JSON
``level.…``           the run's level of an axis, which the key ends in: what the MLflow UI groups by
``ablate.shown.…``    marks the runs of a study, those that serve it among them, which the key ends in
``ablate.view``       on the parent: the key of the study's view in the MLflow UI
``ablate.levels``     of a search's run: what was drawn for it, as JSON
``ablate.status``     ``running``, ``finished``, ``diverged``, ``pruned``, ``failed``, ``killed``
                      or ``superseded`` (finished after another had taken the point over: counts nowhere)
``ablate.reason``     why it diverged, failed or was killed
====================  ==========================================================================
"""

import hashlib
import itertools
import json
import logging
import os
import re
import shlex
import shutil
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from ablate.databases import Lock, probe, remedy, sqlite_file
from ablate.provenance import provenance as provenance
from ablate.spool import About, Journal, left

if TYPE_CHECKING:
    import pandas as pd
    import sqlalchemy

logger = logging.getLogger(__name__)

DEFAULT_URI = "sqlite:///mlflow.db"
"""MLflow's own default, so that plain ``mlflow ui`` in the same folder shows the runs."""

Status = Literal["finished", "diverged", "pruned", "failed", "killed", "superseded"]
Part = Literal["metrics", "params", "tags"]

_MLFLOW_STATUS = {
    "finished": "FINISHED",
    "diverged": "FINISHED",
    "pruned": "FINISHED",
    "failed": "FAILED",
    "killed": "KILLED",
    "superseded": "KILLED",
}
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_PARAM_LIMIT = 6000
_TAG_LIMIT = 8000
_RETRY_SECONDS = 15  # between two tries to reach a store that is away
_MARK = "ablate.attempt"  # a name of our own for a run, from before MLflow has one for it
_UNBORN = "waiting-"
_STARTED = {"ablate.status": "running", "mlflow.source.name": "ablate", "mlflow.source.type": "LOCAL"}
_PER_BATCH = 100  # parameters or tags in one call, MLflow's limit
_TABLES: Mapping[Part, str] = {"metrics": "latest_metrics", "params": "params", "tags": "tags"}


class TrackingError(ValueError):
    """The tracking store cannot be used; one sentence, without passwords."""


@dataclass
class TrackingSpec:
    """Where runs are recorded.

    Attributes:
        uri: MLflow tracking URI, a database or a server; None takes MLFLOW_TRACKING_URI, else ``sqlite:///mlflow.db``.
        spool: Folder for what the store could not be told while it was away; ``python -m ablate sync`` delivers it.
        experiment: MLflow experiment, made where it is missing.
        log_model: Whether each run keeps its trained model among its artifacts.
    """

    uri: str | None = None
    spool: str = "mlflow-spool"
    experiment: str = "ablate"
    log_model: bool = True

    def resolved_uri(self) -> str:
        """The URI in force. It may hold a password: show ``redact`` of it."""
        return self.uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


# ------------------------------------------------------------------------------------------- URIs and their errors


_USERINFO = re.compile(r"(?P<scheme>\b[a-z][\w+.-]*://)(?P<info>[^\s'\"]*)@", re.IGNORECASE)
_SECRET_FIELD = re.compile(r"([?&;](?:\w*password|passwd|pwd|token)=)[^&;\s'\"]*", re.IGNORECASE)


def redact(text: str) -> str:
    """Text with the passwords of all URIs in it replaced by ``***``."""

    def hide(match: re.Match[str]) -> str:
        user, colon, _ = match["info"].partition(":")
        if colon:
            return f"{match['scheme']}{user}:***@"
        is_token = match["scheme"].lower().startswith("http")  # a database's user name alone is no secret
        return f"{match['scheme']}***@" if is_token else match[0]

    return _SECRET_FIELD.sub(r"\1***", _USERINFO.sub(hide, text))


def _redact_of(uri: str, text: str) -> str:
    """``redact``, and the URI's own password wherever it stands alone, as drivers may quote it."""
    password = urlsplit(uri).password or ""
    for secret in {password, unquote(password)}:
        if len(secret) >= 4:  # shorter ones would blank out half of any text
            text = text.replace(secret, "***")
    return redact(text)


def _error(uri: str, cause: object) -> TrackingError:
    """What went wrong with a store, in one sentence, with what can be done."""
    words = str(cause).strip() or type(cause).__name__
    reason = _redact_of(uri, words.splitlines()[0][:300]).rstrip(".")
    advice = remedy(words, setting="tracking.uri", library="MLflow")
    return TrackingError(f"the tracking store {redact(uri)} must be usable, but: {reason}; {advice}.")


@contextmanager
def _guard(uri: str) -> Iterator[None]:
    """Turns whatever MLflow or a driver raises into a TrackingError: their messages may hold the URI.

    ``from None``: a chained traceback would print it all the same.
    """
    try:
        yield
    except TrackingError:
        raise
    except Exception as error:
        raise _error(uri, error) from None


def _is_database(uri: str) -> bool:
    return uri.split(":", 1)[0].split("+", 1)[0] in _DATABASES


def _check(uri: str) -> None:
    """Refuses a store that cannot work, at once: MLflow would try for minutes, or write to a kind of its own choice.

    Raises:
        TrackingError: No URI of a database or a server.
    """
    scheme = uri.split(":", 1)[0] if ":" in uri else ""
    if scheme in ("", "file") or (scheme == "sqlite" and _sqlite_file(uri) is None):
        raise TrackingError(
            f"tracking.uri must name a database or a server (sqlite:///mlflow.db, postgresql://…, http://…), "
            f"got {redact(uri)}."
        )


def _sqlite_file(uri: str) -> Path | None:
    with _guard(uri):
        return sqlite_file(uri)


def ui_hint(tracking: TrackingSpec, experiment_id: str, view: str | None = None) -> str:
    """How to open the records in the MLflow UI: a command bound to this machine, or the server's own address.

    Args:
        tracking: Where they are.
        experiment_id: In which experiment.
        view: What ``Store.share_view`` has shared; None shows all runs of the experiment.
    """
    chosen = f"/runs?viewStateShareKey={quote(view)}" if view else ""
    uri, page = tracking.resolved_uri(), f"/#/experiments/{experiment_id}{chosen}"
    if not _is_database(uri):
        return f"open {redact(uri).rstrip('/')}{page}"
    beside = Path(sys.executable).with_name("mlflow")
    on_path = shutil.which("mlflow")
    command = "mlflow" if on_path and Path(on_path).resolve() == beside.resolve() else _shown(beside)
    fill_in = " (fill in the password)" if redact(uri) != uri else ""
    return (
        f"{command} ui --backend-store-uri {shlex.quote(redact(uri))} --host 127.0.0.1 --port 5000{fill_in}, "
        f"then open http://127.0.0.1:5000{page}"
    )


def _shown(path: Path) -> str:
    """Relative to the working directory where that is shorter."""
    return shlex.quote(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))


# --------------------------------------------------------------------------------------------------------- writing


class Store:
    """An experiment of a tracking store, open for writing."""

    def __init__(self, tracking: TrackingSpec) -> None:
        """Opens it, and makes database and experiment where they are missing.

        Raises:
            TrackingError: It cannot be reached, read or written.
        """
        self._uri = tracking.resolved_uri()
        self._experiment, self._spool = tracking.experiment, Path(tracking.spool)
        self._lock = Lock(self._uri, "mlflow")
        self._client, self.experiment_id = _open(self._uri, tracking.experiment, self._lock)

    @property
    def uri_shown(self) -> str:
        """The store's URI without its password."""
        return redact(self._uri)

    def sweep_run(self, study: str, tags: Mapping[str, str]) -> str:
        """Id of the study's parent run, which is made if there is none: workers of one study share it.

        Args:
            study: Name of the study.
            tags: Provenance, and the sweep's definition as JSON under ``ablate.sweep``.
        """
        wanted = f"tags.`ablate.study` = '{study}' and tags.`ablate.role` = 'sweep'"
        with _guard(self._uri), self._lock():
            found = self._client.search_runs([self.experiment_id], wanted, order_by=["attributes.start_time ASC"])
            if found:
                run_id: str = found[0].info.run_id
                self._client.update_run(run_id, status="RUNNING")
                return run_id
            ours = {**_STARTED, "ablate.study": study, "ablate.role": "sweep"}
            made = self._client.create_run(self.experiment_id, tags=_tags({**tags, **ours}), run_name=study)
            return str(made.info.run_id)

    def start_run(
        self, name: str, params: Mapping[str, Any], tags: Mapping[str, str], *, parent: str | None = None
    ) -> "RunWriter":
        """Starts the record of one training.

        Args:
            name: For people.
            params: The spec's leaves; a retry is a new run, since MLflow never changes a parameter.
            tags: Provenance, study and point.
            parent: Run id of the sweep it belongs to.
        """
        joined = {"mlflow.parentRunId": parent} if parent else {}
        self.deliver()
        mark = uuid.uuid4().hex
        ours = {**_STARTED, **joined, "ablate.role": "run", _MARK: mark}
        ours |= _shown_in(tags.get("ablate.study"), tags.get("ablate.point"))
        entry = {
            "kind": "create", "experiment_id": self.experiment_id, "name": name[:250], "tags": _tags({**tags, **ours}),
            "time": int(time.time() * 1000), "again": False,
        }  # fmt: skip
        try:
            writer = self._writer(_create(self._client, entry), name)
        except Exception as error:
            _refuse(self._uri, error)
            writer = self._writer(f"{_UNBORN}{mark}", name)
            writer._journal.add({**entry, "again": True})
            writer._later(error)
        for some in _in_batches(params):
            writer._tell({"kind": "params", "params": some})
        return writer

    def resume(self, run_id: str) -> "RunWriter":
        """A writer for a run that exists, such as a sweep's parent."""
        return self._writer(run_id, run_id)

    def deliver(self) -> "Delivered":
        """Tells the store what it was not told while it was away; stops at the first that it cannot take.

        Runs of living processes are theirs to tell, and so are those of other stores.
        """
        told, waiting, reason = 0, 0, ""
        for journal in left(self._spool):
            about = journal.about
            if not journal.waits or (about.store, about.experiment) != (redact(self._uri), self._experiment) or reason:
                waiting += journal.waits
                continue
            try:
                _deliver(self._client, journal, about.run_id or "")
                told += 1
            except Exception as error:
                waiting, reason = waiting + 1, str(_error(self._uri, error))
        return Delivered(told, waiting, reason)

    def _writer(self, run_id: str, name: str) -> "RunWriter":
        known = None if run_id.startswith(_UNBORN) else run_id
        about = About(redact(self._uri), self._experiment, known, name)
        return RunWriter(self._client, self._uri, run_id, Journal.new(self._spool, about))

    def abandon(self, parent: str, point: str) -> None:
        """Closes the runs of a point that a dead worker left open."""
        wanted = f"tags.`mlflow.parentRunId` = '{parent}' and attributes.status = 'RUNNING'"
        with _guard(self._uri):
            runs = self._client.search_runs([self.experiment_id], wanted)
        for run in runs:
            if run.data.tags.get("ablate.point") == point:
                self.resume(run.info.run_id).finish("killed", reason="its worker died")

    def finished(self, parent: str, point: str) -> "Finished | None":
        """The finished run of a point, if there is one: a worker may die between record and queue."""
        wanted = f"tags.`mlflow.parentRunId` = '{parent}' and tags.`ablate.status` = 'finished'"
        with _guard(self._uri):
            runs = self._client.search_runs([self.experiment_id], wanted, max_results=50_000)
        for run in runs:
            if run.data.tags.get("ablate.point") == point and run.info.status == "FINISHED":
                return Finished(run.info.run_id, run.data.metrics)
        return None

    def serve(self, identity: str, study: str, point: str) -> "Finished | None":
        """A finished run of this identity, linked to a point of the study, so that none need be trained again.

        The run stays one, where it was made; the link is a tag of its. It serves one point of a study at most, and
        none of the study that trained it.

        Args:
            identity: What ``ablate.identity`` says of runs with the same result.
            study: The study that wants it.
            point: Its point.
        """
        wanted = f"tags.`ablate.identity` = '{identity}' and tags.`ablate.status` = 'finished'"
        with _guard(self._uri):
            runs = self._client.search_runs([self.experiment_id], wanted, order_by=["attributes.start_time ASC"])
            for run in runs:
                tags = run.data.tags
                free = tags.get("ablate.study") != study and tags.get(_link(study), point) == point
                if free and run.info.status == "FINISHED":
                    self._client.set_tag(run.info.run_id, _link(study), point)
                    for key, value in _shown_in(study, point).items():
                        self._client.set_tag(run.info.run_id, key, value)
                    return Finished(run.info.run_id, run.data.metrics)
        return None

    def share_view(self, parent: str, study: str, definition: Mapping[str, Any]) -> None:
        """Makes the study's view in the MLflow UI: its runs by level, with means over seeds.

        How the UI keeps views is documented nowhere, so whatever goes wrong here is said and ends nothing.
        """
        try:
            tag = f"mlflow.sharedViewState.{study}"
            self._client.set_experiment_tag(self.experiment_id, tag, json.dumps(view_state(study, definition)))
            self._client.set_tag(parent, "ablate.view", study)
        except Exception as error:
            logger.warning("study %s has no view in the MLflow UI: %s", study, _error(self._uri, error))

    def imported(self, parent: str) -> set[str]:
        """Ids, in the store they came from, of the study's runs that an import has written."""
        wanted = f"tags.`mlflow.parentRunId` = '{parent}' and attributes.status != 'RUNNING'"
        with _guard(self._uri):
            runs = self._client.search_runs([self.experiment_id], wanted, max_results=50_000)
        return {run.data.tags["ablate.imported.run"] for run in runs if "ablate.imported.run" in run.data.tags}


@dataclass(frozen=True)
class Delivered:
    """What became of what waited.

    Attributes:
        told: Runs that were told whole.
        waiting: Runs that still wait.
        reason: Why, in one sentence; empty where they belong to other stores.
    """

    told: int
    waiting: int
    reason: str


@dataclass(frozen=True)
class Finished:
    """A run that was recorded whole, and its metrics."""

    run_id: str
    metrics: Mapping[str, float]

    @property
    def value(self) -> float:
        """The metric that a queue keeps of it."""
        return float(self.metrics.get("final.val_top1_percent", self.metrics.get("final.test_top1_percent", 0.0)))


class RunWriter:
    """One run, open for writing.

    What the store cannot take, because it is away, is kept in the spool and told in the same order once it is back: a
    training is worth more than its record's delay. What the store refuses raises TrackingError.
    """

    def __init__(self, client: Any, uri: str, run_id: str, journal: Journal) -> None:
        """Made by ``Store``; ``journal`` knows what the store does not yet."""
        self._client, self._uri, self._journal = client, uri, journal
        self._again = 0.0
        self.run_id = run_id

    def tag(self, tags: Mapping[str, str]) -> None:
        """Sets tags; those that are there already are replaced."""
        self._tell({"kind": "tags", "tags": _tags(tags)})

    def log(self, metrics: Mapping[str, float], *, step: int = 0) -> None:
        """Records metrics in one call. NaN and infinite values are kept as such."""
        values = {key: float(value) for key, value in metrics.items()}
        self._tell({"kind": "metrics", "metrics": values, "step": step})

    def artifact(self, name: str, content: str | bytes) -> None:
        """Stores a file among the run's artifacts.

        Args:
            name: Its path there, e.g. ``tables/report.md``.
            content: Text, kept as UTF-8, or bytes.
        """
        with self.local_artifact(name) as path:
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    @contextmanager
    def local_artifact(self, name: str) -> Iterator[Path]:
        """A path to write a file or a folder to, which becomes the artifact ``name`` when the block ends well."""
        folder, _, file = name.rpartition("/")
        with tempfile.TemporaryDirectory(prefix="ablate-") as scratch:
            path = Path(scratch) / file
            yield path
            whole = path.is_dir()
            self._tell({"kind": "artifact", "folder": name if whole else folder, "file": file}, path)

    def finish(self, status: Status, *, reason: str | None = None) -> None:
        """Ends the run.

        Args:
            status: ``diverged`` is MLflow's FINISHED: an outcome like any other, told apart by its tag.
            reason: One sentence for what did not finish.
        """
        self.tag({"ablate.status": status} | ({"ablate.reason": redact(reason)} if reason else {}))
        self._tell({"kind": "finish", "status": _MLFLOW_STATUS[status]})
        if self._journal.waits:
            self._journal.release()

    def _tell(self, entry: dict[str, Any], file: Path | None = None) -> None:
        entry["time"] = int(time.time() * 1000)
        if self._journal.waits:
            self._journal.add(entry, file)  # behind what waits already
            if time.monotonic() > self._again:
                self._catch_up()
            return
        try:
            _send(self._client, self.run_id, entry, file.parent if file else Path())
        except Exception as error:
            _refuse(self._uri, error)
            self._journal.add(entry, file)
            self._later(error)

    def _catch_up(self) -> None:
        try:
            self.run_id = _deliver(self._client, self._journal, self.run_id)
        except Exception as error:
            _refuse(self._uri, error)
            self._later(error)

    def _later(self, error: Exception) -> None:
        if not self._again:
            logger.warning("run %s: %s; what is logged waits in %s", self.run_id,
                           _error(self._uri, error), self._journal.folder)  # fmt: skip
        self._again = time.monotonic() + _RETRY_SECONDS


def _send(client: Any, run_id: str, entry: Mapping[str, Any], files: Path) -> None:
    """Tells MLflow one entry; twice the same does no harm."""
    from mlflow.entities import Metric, Param, RunTag

    match entry["kind"]:
        case "params":
            client.log_batch(run_id, params=[Param(key, value) for key, value in entry["params"].items()])
        case "tags":
            client.log_batch(run_id, tags=[RunTag(key, value) for key, value in entry["tags"].items()])
        case "metrics":
            told = [Metric(key, value, entry["time"], entry["step"]) for key, value in entry["metrics"].items()]
            client.log_batch(run_id, told)
        case "artifact":
            path = files / entry["file"]
            send = client.log_artifacts if path.is_dir() else client.log_artifact
            send(run_id, str(path), entry["folder"] or None)
        case "finish":
            client.set_terminated(run_id, entry["status"], end_time=entry["time"])


def _deliver(client: Any, journal: Journal, run_id: str) -> str:
    """Tells MLflow all that waits in a journal. Returns the run's id, which is MLflow's from now on."""
    now_id = run_id

    def send(entry: Mapping[str, Any], files: Path) -> None:
        nonlocal now_id
        if entry["kind"] == "create":
            now_id = _create(client, entry)
        else:
            _send(client, now_id, entry, files)

    journal.deliver(send)
    return now_id


def _create(client: Any, entry: Mapping[str, Any]) -> str:
    """A run, made unless an earlier try made it, whose answer was lost on its way."""
    wanted = f"tags.`{_MARK}` = '{entry['tags'][_MARK]}'"
    found = client.search_runs([entry["experiment_id"]], wanted) if entry["again"] else []
    if not found:
        experiment_id, start = entry["experiment_id"], entry["time"]
        found = [client.create_run(experiment_id, start_time=start, tags=entry["tags"], run_name=entry["name"])]
    return str(found[0].info.run_id)


def _refuse(uri: str, error: Exception) -> None:
    """Raises what no waiting mends: what the store was asked is wrong, or not allowed.

    Raises:
        TrackingError: In one sentence.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    status = error.get_http_status_code() if isinstance(error, MlflowException) else 0
    may_pass = isinstance(error, (MlflowException, OSError, SQLAlchemyError))
    if (400 <= status < 500 and status not in (408, 429)) or not may_pass:
        raise _error(uri, error) from None


def _in_batches(params: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    entries = [(key, _fitted(param_text(value), _PARAM_LIMIT)) for key, value in params.items()]
    for start in range(0, len(entries), _PER_BATCH):
        yield dict(entries[start : start + _PER_BATCH])


def _link(study: str) -> str:
    return f"ablate.serves.{study}"


def param_text(value: Any) -> str:
    """A leaf as the command line would write it, which is how MLflow shows it."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _fitted(text: str, limit: int) -> str:
    """Text within MLflow's limit; a digest stands for what was cut off, so that two different ones stay different."""
    if len(text) <= limit:
        return text
    return f"{text[: limit - 24]}… sha256:{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags within MLflow's limit; a sweep's definition is spread over ``ablate.sweep``, ``ablate.sweep.2``, …"""
    out = {key: _fitted(value, _TAG_LIMIT) for key, value in tags.items()}
    definition = tags.get("ablate.sweep", "")
    for number, start in enumerate(range(0, len(definition), _TAG_LIMIT), 1):
        out["ablate.sweep" if number == 1 else f"ablate.sweep.{number}"] = definition[start : start + _TAG_LIMIT]
    return out


def _open(uri: str, experiment: str, lock: Lock) -> tuple[Any, str]:
    """MLflow's client and the experiment's id."""
    _check(uri)
    _probe_server(uri)
    client_class = _mlflow_client()
    with _guard(uri), lock():  # several processes that make one database at once break each other
        _probe_database(uri)
        client = client_class(tracking_uri=uri)
        return client, _experiment_id(client, uri, experiment)


def _mlflow_client() -> Any:
    """MLflow's client class, imported with its telemetry and its chatter off."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # its own 7 hold a training up for minutes
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # it would show the URI's password
    from mlflow.tracking import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return MlflowClient


def _experiment_id(client: Any, uri: str, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        created: str = client.create_experiment(name, artifact_location=_artifact_root(uri, name))
        return created
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"experiment {name!r} of {redact(uri)} was deleted: restore it with `mlflow experiments restore "
            f"--experiment-id {found.experiment_id}`, or set tracking.experiment to another name."
        )
    return str(found.experiment_id)


def _artifact_root(uri: str, experiment: str) -> str | None:
    """Beside a SQLite file, whatever the working directory; a server decides for itself."""
    if not _is_database(uri):
        return None
    file = _sqlite_file(uri)
    folder = (file.parent if file else Path.cwd()) / "mlartifacts" / re.sub(r"[^\w.-]", "_", experiment)
    return folder.absolute().as_uri()


def _probe_database(uri: str) -> None:
    if _is_database(uri):
        with _connection(uri) as connection:
            probe(connection)


def _probe_server(uri: str) -> None:
    """One quick try at a server, likewise."""
    if not uri.startswith(("http://", "https://")):
        return
    parts = urlsplit(uri)
    bare = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/") + "/health", "", ""))
    try:
        urllib.request.urlopen(bare, timeout=10).close()
    except urllib.error.HTTPError:
        pass  # it answers; whether it lets us in is for MLflow to find out
    except OSError as error:
        raise TrackingError(
            f"the tracking server {redact(uri)} must answer, but: {getattr(error, 'reason', error)}; start it, or set "
            f"tracking.uri to another."
        ) from None


# --------------------------------------------------------------------------------------------------------- reading


@dataclass(frozen=True)
class StudyRecord:
    """A study as the store knows it.

    Attributes:
        study: Its name: the sweep's and a digest.
        run_id: The parent run.
        experiment_id: Where the runs are.
        artifacts: Folder or URI that holds a folder for each run.
        definition: What the sweep recorded of itself: name, question, table, axes, seeds, points.
        started: When it was first started, UTC.
        last: When one of its runs last started, UTC.
        finished: Points with a finished or diverged run.
        view: Key of its view in the MLflow UI; None for one without.
    """

    study: str
    run_id: str
    experiment_id: str
    artifacts: str
    definition: Mapping[str, Any]
    started: datetime
    last: datetime
    finished: int
    view: str | None = None


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
    uri = tracking.resolved_uri()
    _check(uri)
    with _guard(uri):
        read = _from_database if _is_database(uri) else _from_server
        frame = _frame(*read(uri, tracking.experiment, study, parts))
    return frame if study is None else _adopted(frame, study)


def _adopted(frame: "pd.DataFrame", study: str) -> "pd.DataFrame":
    """Runs that serve a study, as if they were its own."""
    served = f"tags.{_link(study)}"
    if served in frame:
        frame = frame.assign(**{"tags.ablate.point": frame[served].fillna(frame["tags.ablate.point"])})
        frame.loc[frame[served].notna(), "tags.ablate.study"] = study
    return frame


def finished_settings(tracking: TrackingSpec) -> dict[str, int]:
    """How many finished runs the experiment has of each ``ablate.settings``, without importing pandas.

    Raises:
        TrackingError: The store cannot be read; one that is not there yet has none.
    """
    uri = tracking.resolved_uri()
    _check(uri)
    with _guard(uri):
        if _is_database(uri) and (file := _sqlite_file(uri)) is not None and not file.exists():
            return {}
        read = _from_database if _is_database(uri) else _from_server
        runs, entries = read(uri, tracking.experiment, None, ("tags",))
    ended = {run[0] for run in runs if run[2] == "FINISHED"}
    whole = {run for _, run, key, value in entries if (key, value) == ("ablate.status", "finished") and run in ended}
    return dict(Counter(value for _, run, key, value in entries if key == "ablate.settings" and run in whole))


def cells(tracking: TrackingSpec, alike: Mapping[str, str]) -> dict[str, list[float]]:
    """Test accuracies of finished runs by ``ablate.cell``: groups that differ by chance alone.

    Args:
        tracking: Where to read.
        alike: Parameters, as they are recorded, that a run must have.

    Raises:
        TrackingError: There is no such store, or it cannot be read.
    """
    frame = read_runs(tracking)
    names = ("tags.ablate.cell", "metrics.final.test_top1_percent", *(f"params.{key}" for key in alike))
    if any(name not in frame for name in names):
        return {}
    chosen = frame[(frame["tags.ablate.status"] == "finished") & frame["tags.ablate.cell"].notna()]
    for key, value in alike.items():
        chosen = chosen[chosen[f"params.{key}"] == value]
    grouped = chosen.groupby("tags.ablate.cell")["metrics.final.test_top1_percent"]
    return {str(name): [float(value) for value in values] for name, values in grouped}


def list_studies(tracking: TrackingSpec, name: str | None = None) -> list[StudyRecord]:
    """Studies of a sweep, or all, the one that ran last first.

    Raises:
        TrackingError: There is no such store, or it cannot be read.
    """
    frame = read_runs(tracking, parts=("tags",))
    if "tags.ablate.sweep" not in frame:
        return []
    records = [_study(row, frame) for row in frame[frame["tags.ablate.sweep"].notna()].to_dict("records")]
    wanted = [record for record in records if name is None or record.definition.get("name") == name]
    return sorted(wanted, key=lambda record: record.last, reverse=True)


def _study(parent: Mapping[str, Any], frame: "pd.DataFrame") -> StudyRecord:
    pieces = [key for key in parent if key.startswith("tags.ablate.sweep.") and isinstance(parent[key], str)]
    pieces.sort(key=lambda key: int(key.rpartition(".")[2]))
    text = "".join(parent[key] for key in ["tags.ablate.sweep", *pieces])
    study = parent["tags.ablate.study"]
    runs = _adopted(frame, study)
    runs = runs[runs["tags.ablate.study"] == study]
    done = runs[
        runs["tags.ablate.status"].isin(["finished", "diverged", "pruned"]) & (runs["tags.ablate.role"] == "run")
    ]
    points = done["tags.ablate.point"].nunique() if "tags.ablate.point" in done else 0
    return StudyRecord(
        study=study,
        run_id=parent["run_id"],
        experiment_id=parent["experiment_id"],
        artifacts=_folder_of_runs(parent["artifact_uri"]),
        definition=json.loads(text),
        started=parent["start_time"].to_pydatetime(),
        last=runs["start_time"].max().to_pydatetime(),
        finished=int(points),
        view=view if isinstance(view := parent.get("tags.ablate.view"), str) else None,
    )


def _folder_of_runs(artifact_uri: str) -> str:
    """``…/RUN/artifacts`` -> ``…``, as a plain path where it is one."""
    folder = redact(artifact_uri.rstrip("/").rsplit("/", 2)[0])
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
    _check(uri)
    with _guard(uri):
        rows = _curves_from_database(uri, ids, metric) if _is_database(uri) else _curves_from_server(uri, ids, metric)
    order = {run_id: number for number, run_id in enumerate(ids)}
    rows.sort(key=lambda row: (order[row[0]], row[1]))
    return pd.DataFrame(rows, columns=["run_id", "step", "value"])


_RUN_COLUMNS = ("run_id", "experiment_id", "status", "artifact_uri", "start_time", "end_time")
_Entry = tuple[str, str, str, Any]  # part, run id, key, value


def _frame(runs: Sequence[Sequence[Any]], entries: Iterable[_Entry]) -> "pd.DataFrame":
    import pandas as pd

    row = {run[0]: number for number, run in enumerate(runs)}
    columns: dict[str, list[Any]] = {}
    for part, run_id, key, value in entries:
        name = f"{part}.{key}"
        if name not in columns:
            columns[name] = [float("nan") if part == "metrics" else None] * len(runs)
        columns[name][row[run_id]] = value
    frame = pd.DataFrame([tuple(run) for run in runs], columns=list(_RUN_COLUMNS))
    for name in ("start_time", "end_time"):
        frame[name] = pd.to_datetime(frame[name].astype("Int64"), unit="ms", utc=True)
    values = pd.DataFrame({name: columns[name] for name in sorted(columns)}, index=frame.index)
    return pd.concat([frame, values], axis=1)


@contextmanager
def _connection(uri: str, *, must_exist: bool = False) -> "Iterator[sqlalchemy.Connection]":
    """A connection to the database, closed and rolled back at the end."""
    import sqlalchemy

    file = _sqlite_file(uri)
    if must_exist and file is not None and not file.exists():  # connecting would make it
        raise TrackingError(
            f"there are no records at {redact(uri)} (no file {file.absolute()}): run something first, or set "
            "tracking.uri."
        )
    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool)
    try:
        with engine.connect() as connection:
            yield connection
            connection.rollback()
    finally:
        engine.dispose()


def _from_database(
    uri: str, experiment: str, study: str | None, parts: Sequence[Part]
) -> tuple[list[tuple[Any, ...]], list[_Entry]]:
    """Runs and their entries out of MLflow's tables (its schema of 2018 to date, as far as used here)."""
    from sqlalchemy import column, select, table

    runs = table("runs", *map(column, ("run_uuid", "experiment_id", "status", "artifact_uri", "start_time", "end_time",
                                       "lifecycle_stage")))  # fmt: skip
    experiments = table("experiments", column("experiment_id"), column("name"))
    tags = table("tags", column("run_uuid"), column("key"), column("value"))
    of_experiment = select(experiments.c.experiment_id).where(experiments.c.name == experiment)
    chosen = (runs.c.lifecycle_stage == "active") & runs.c.experiment_id.in_(of_experiment)
    if study is not None:
        mine = (tags.c.key == "ablate.study") & (tags.c.value == study)
        members = select(tags.c.run_uuid).where(mine | (tags.c.key == _link(study)))
        chosen &= runs.c.run_uuid.in_(members)
    listing = select(*list(runs.c)[:6]).where(chosen).order_by(runs.c.start_time, runs.c.run_uuid)
    with _connection(uri, must_exist=True) as connection:
        found = [(run[0], str(run[1]), *run[2:]) for run in connection.execute(listing)]
        known, entries = {run[0] for run in found}, []
        for part in parts:
            names = ("run_uuid", "key", "value", *(["is_nan"] if part == "metrics" else []))
            source = table(_TABLES[part], *map(column, names))
            query = select(*source.c).where(source.c.run_uuid.in_(select(runs.c.run_uuid).where(chosen)))
            entries += [_entry(part, line) for line in connection.execute(query) if line[0] in known]
    return found, entries


def _entry(part: Part, line: Any) -> _Entry:
    """One line of an MLflow table, which keeps a NaN as a mark beside a number."""
    return part, line[0], line[1], float("nan") if part == "metrics" and line[3] else line[2]


def _from_server(
    uri: str, experiment: str, study: str | None, parts: Sequence[Part]
) -> tuple[list[tuple[Any, ...]], list[_Entry]]:
    _probe_server(uri)
    client = _mlflow_client()(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    of_study = (f"tags.`ablate.study` = '{study}'", f"tags.`{_link(study)}` != ''") if study is not None else ("",)
    runs = [run for wanted in of_study if found for run in _search(client, found.experiment_id, wanted)]
    runs.sort(key=lambda run: (run.info.start_time, run.info.run_id))
    rows = [tuple(getattr(run.info, name) for name in _RUN_COLUMNS) for run in runs]
    entries: list[_Entry] = [
        (part, run.info.run_id, key, value)
        for run in runs
        for part in parts
        for key, value in getattr(run.data, part).items()
    ]
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
    with _connection(uri, must_exist=True) as connection:
        for start in range(0, len(run_ids), 500):  # SQLite takes 999 values a statement in old versions
            some = metrics.c.run_uuid.in_(run_ids[start : start + 500])
            found = connection.execute(select(*metrics.c).where(some & (metrics.c.key == metric)))
            rows += [(run_id, step, float("nan") if nan else value) for run_id, step, value, nan, _ in found]
    return rows


def _curves_from_server(uri: str, run_ids: Sequence[str], metric: str) -> list[tuple[str, int, float]]:
    _probe_server(uri)
    client = _mlflow_client()(tracking_uri=uri)
    return [(run_id, m.step, m.value) for run_id in run_ids for m in client.get_metric_history(run_id, metric)]


def latest_run(tracking: TrackingSpec) -> str:
    """Id of the run that finished and started last, alone or within a sweep.

    Raises:
        TrackingError: There is no such store, or no run in it has finished.
    """
    frame = read_runs(tracking, parts=("tags",))
    tags = frame.reindex(columns=["run_id", "tags.ablate.role", "tags.ablate.status"])
    done = tags[(tags["tags.ablate.role"] == "run") & (tags["tags.ablate.status"] == "finished")]
    if done.empty:
        raise TrackingError(
            f"a finished run must be in {redact(tracking.resolved_uri())} (experiment {tracking.experiment}), and "
            "there is none: train one, or set tracking.uri to another store."
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
            f"a run of {redact(uri)} (experiment {tracking.experiment}) must be named, got {run_id!r}; it has "
            f"{len(runs)} runs, which the MLflow UI lists."
        )
    with _guard(uri):
        client = _mlflow_client()(tracking_uri=uri)
        there = [entry.path for entry in client.list_artifacts(run_id)]
        if name not in there:
            raise TrackingError(
                f"run {run_id} must hold the artifact {name}, it has {', '.join(there) or 'none'}; a model is kept "
                "with tracking.log_model=true."
            )
        return Path(client.download_artifacts(run_id, name, str(folder)))


# ------------------------------------------------------------------------------------------------- view in MLflow's UI

_WIDTHS = {"attributes.`Run Name`": 480, "metrics": 190, "tags": 150}
_SHOWN_METRICS = ("final.test_top1_percent", "final.val_top1_percent", "cost.params", "cost.macs")


def view_state(study: str, definition: Mapping[str, Any]) -> dict[str, Any]:
    """What the MLflow UI keeps of a shared view (read from the UI of 3.17.2; an older or newer one may differ).

    Args:
        study: Name of the study.
        definition: What the sweep records: ``axes``, and ``combinations`` of their levels.
    """
    axes = list(definition["axes"])
    levels = [f"level.{axis}" for axis in axes]
    columns = [*(f"metrics.`{name}`" for name in _SHOWN_METRICS), *(f"tags.`{name}`" for name in levels)]
    name, *_ = _WIDTHS
    widths = {column: _WIDTHS[column.partition(".")[0]] for column in columns} | {name: _WIDTHS[name]}
    state = {
        "searchFilter": f"tags.`ablate.shown.{study}` = 'run'",
        "orderByKey": f"metrics.`{_SHOWN_METRICS[0]}`",
        "orderByAsc": False,
        "selectedColumns": columns,
        "columnOrder": [name, *columns],
        "columnWidths": widths,
        "runsHiddenMode": "SHOW_ALL",
        "useGroupedValuesInCharts": True,
    }
    if "searched" in definition:  # each trial is a combination of its own
        return state
    keys = [{"mode": "tag", "groupByData": level} for level in levels]
    cells = definition.get("combinations") or itertools.product(*definition["axes"].values())
    groups = (",".join(f"tag.{key}.{param_text(at)}" for key, at in zip(levels, cell, strict=True)) for cell in cells)
    grouped = {"aggregateFunction": "average", "groupByKeys": keys}
    return state | {"groupBy": grouped, "groupsExpanded": dict.fromkeys(groups, False)}


def _shown_in(study: str | None, point: str | None) -> dict[str, str]:
    """Tags by which the study's view finds a run and groups it."""
    if study is None or point is None or not point.startswith("["):  # a point that lists no levels
        return {}
    levels = {axis: level for axis, level in json.loads(point) if axis not in ("seed", "repeat", "trial")}
    return {f"ablate.shown.{study}": "run"} | {f"level.{axis}": param_text(level) for axis, level in levels.items()}
