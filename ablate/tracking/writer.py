"""One MLflow run, open for writing: sent at once, or kept in the spool while the store cannot be reached."""

import logging
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from ablate.tracking.names import ATTEMPT, MLFLOW_STATUS, ORIGINAL_RUN, REASON, STATUS, RunStatus
from ablate.tracking.spec import TrackingError
from ablate.tracking.spool import Journal
from ablate.tracking.tags import fitted_tags, tag_filter
from ablate.tracking.uris import error_of, redact

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 15  # between two tries to reach a store that is away


class RunWriter:
    """One run, open for writing.

    What the store cannot take, because it is away, is kept in the spool and told in the same order once it is back: a
    training is worth more than its record's delay. So is what is told of a run that is gone, as where its database was
    deleted: it is made anew then. What the store refuses raises TrackingError.
    """

    def __init__(self, client: Any, uri: str, run_id: str, experiment_id: str, journal: Journal) -> None:
        """Made by ``Store``; ``journal`` knows what the store does not yet."""
        self._client, self._uri, self._experiment_id, self._journal = client, uri, experiment_id, journal
        self._again = 0.0
        self.run_id = run_id

    def tag(self, tags: Mapping[str, str]) -> None:
        """Sets tags; those that are there already are replaced."""
        self.tell({"kind": "tags", "tags": fitted_tags(tags)})

    def log(self, metrics: Mapping[str, float], *, step: int = 0) -> None:
        """Records metrics in one call. NaN and infinite values are kept as such."""
        values = {key: float(value) for key, value in metrics.items()}
        self.tell({"kind": "metrics", "metrics": values, "step": step})

    def artifact(self, name: str, content: str | bytes) -> None:
        """Stores a file among the run's artifacts.

        Args:
            name: Path among the run's artifacts, e.g. ``tables/report.md``.
            content: Text, kept as UTF-8, or bytes.
        """
        with self.local_artifact(name) as path:
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    @contextmanager
    def local_artifact(self, name: str) -> Iterator[Path]:
        """A path to write a file or a folder to, which becomes the artifact ``name`` when the block ends well.

        Raises:
            TrackingError: The disk of temporary files does not take it.
        """
        folder, _, file = name.rpartition("/")
        with _scratch(name) as scratch:
            path = scratch / file
            yield path
            whole = path.is_dir()
            self.tell({"kind": "artifact", "folder": name if whole else folder, "file": file}, path)

    def finish(self, status: RunStatus, *, reason: str | None = None, ended: datetime | None = None) -> None:
        """Ends the run.

        Args:
            status: How the run ended; ``diverged`` is MLflow's FINISHED, told apart by the tag ``ablate.status``.
            reason: One sentence for a run that did not finish.
            ended: End of the run; None for now.
        """
        self.tag({STATUS: status} | ({REASON: redact(reason)} if reason else {}))
        self.tell({"kind": "finish", "status": MLFLOW_STATUS[status], "time": milliseconds(ended)})
        if self._journal.waits:
            self._journal.release()

    def tell(self, entry: dict[str, Any], file: Path | None = None) -> None:
        """Tells the store one entry, with its file, or keeps both until it can be told."""
        entry.setdefault("time", milliseconds())
        if self._journal.waits:
            self._journal.add(entry, file)  # behind what waits already
            if time.monotonic() > self._again:
                self._catch_up()
            return
        try:
            _send(self._client, self.run_id, entry, file.parent if file else Path())
        except Exception as error:
            if may_pass(error) or not self._journal.before or not is_gone(self._client, self.run_id):
                refuse(self._uri, error)
            self.defer(entry, error, file)
        else:
            self._journal.note([entry])

    def defer(self, entry: dict[str, Any], error: Exception, file: Path | None = None) -> None:
        """Keeps what the store could not be told, because of ``error``."""
        self._journal.add(entry, file)
        self._later(error)

    def _catch_up(self) -> None:
        try:
            self.run_id = deliver_all(self._client, self._journal, self._experiment_id)
        except Exception as error:
            refuse(self._uri, error)
            self._later(error)

    def _later(self, error: Exception) -> None:
        if not self._again:
            logger.warning("run %s: %s; what is logged waits in %s", self.run_id,
                           error_of(self._uri, error), self._journal.folder)  # fmt: skip
        self._again = time.monotonic() + _RETRY_SECONDS


@contextmanager
def _scratch(artifact: str) -> Iterator[Path]:
    """A folder of temporary files, gone with the block."""
    try:
        with tempfile.TemporaryDirectory(prefix="ablate-", ignore_cleanup_errors=True) as scratch:
            yield Path(scratch)
    except OSError as error:
        raise TrackingError(
            f"the folder of temporary files must take the artifact {artifact}, but {tempfile.gettempdir()}: "
            f"{error.strerror or error}; make room there, or set TMPDIR to another."
        ) from None


def milliseconds(moment: datetime | None = None) -> int:
    """A moment as MLflow keeps it; None is now."""
    return int(time.time() * 1000) if moment is None else round(moment.timestamp() * 1000)


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
            if not path.exists():
                raise ValueError(f"the file {path} of an artifact is gone")
            send = client.log_artifacts if path.is_dir() else client.log_artifact
            send(run_id, str(path), entry["folder"] or None)
        case "finish":
            client.set_terminated(run_id, entry["status"], end_time=entry["time"])


def deliver_all(client: Any, journal: Journal, experiment_id: str) -> str:
    """Tells MLflow all that waits in a journal, and makes the run anew where it is gone.

    Returns:
        The run's id, which is MLflow's from now on.
    """
    now_id = journal.about.run_id
    if journal.before and (now_id is None or is_gone(client, now_id)):
        now_id = _made_anew(client, journal, experiment_id)

    def send(entry: Mapping[str, Any], files: Path) -> None:
        nonlocal now_id
        if entry["kind"] == "create":
            now_id = create(client, entry, experiment_id)
        else:
            _send(client, now_id or "", entry, files)

    journal.deliver(send)
    journal.about = replace(journal.about, run_id=now_id)
    return now_id or ""


def is_gone(client: Any, run_id: str) -> bool:
    """Whether the store knows no such run, not even in its bin."""
    from mlflow.exceptions import MlflowException

    try:
        client.get_run(run_id)
    except MlflowException as error:
        return bool(error.error_code == "RESOURCE_DOES_NOT_EXIST")
    except Exception:  # away: it may be there
        return False
    return False


def _made_anew(client: Any, journal: Journal, experiment_id: str) -> str:
    """The run as it was when the journal was begun, files left out; an earlier try is gone on with."""
    born, *rest = journal.before
    tags = born["tags"] | ({ORIGINAL_RUN: journal.about.run_id} if journal.about.run_id else {})
    run_id = create(client, {**born, "tags": tags, "again": True}, experiment_id)
    for entry in rest:
        _send(client, run_id, entry, Path())
    return run_id


def create(client: Any, entry: Mapping[str, Any], experiment_id: str) -> str:
    """A run, made unless an earlier try made it, whose answer was lost on its way."""
    wanted = tag_filter({ATTEMPT: entry["tags"][ATTEMPT]})
    found = client.search_runs([experiment_id], wanted) if entry["again"] else []
    if not found:
        start = entry["time"]
        found = [client.create_run(experiment_id, start_time=start, tags=entry["tags"], run_name=entry["name"])]
    return str(found[0].info.run_id)


def may_pass(error: Exception) -> bool:
    """Whether waiting may mend it: not where what the store was asked is wrong, or not allowed."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    status = error.get_http_status_code() if isinstance(error, MlflowException) else 0
    refused = 400 <= status < 500 and status not in (408, 429)
    return not refused and isinstance(error, (MlflowException, OSError, SQLAlchemyError))


def is_final(error: Exception) -> bool:
    """Whether no later try can go better, whoever makes it: the run is no more, or what is told of it is damaged."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    if isinstance(error, MlflowException):
        return error.error_code in ("RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "INVALID_PARAMETER_VALUE")
    return not isinstance(error, (OSError, SQLAlchemyError))


def refuse(uri: str, error: Exception) -> None:
    """Raises what no waiting mends.

    Raises:
        TrackingError: In one sentence.
    """
    if not may_pass(error):
        raise error_of(uri, error) from None
