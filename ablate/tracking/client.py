"""MLflow's client, the experiment, or a plain SQL connection: a tracking store, opened."""

import hashlib
import logging
import os
import re
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.tracking import databases
from ablate.tracking.databases import Lock, probe
from ablate.tracking.schemas import Schema, make_whole
from ablate.tracking.spec import TrackingError, TrackingSpec
from ablate.tracking.uris import check, check_tls, file_of, guard, is_database, probe_server, redact_uri

if TYPE_CHECKING:
    import sqlalchemy

LONGEST_NAME = 200
"""Bytes of a folder's name; file systems take 255, some that encrypt names fewer."""


def opened(uri: str, experiment: str, lock: Lock) -> tuple[Any, str]:
    """MLflow's client and the experiment's id."""
    check(uri)
    if not experiment.strip() or not experiment.isprintable():
        raise TrackingError(f"tracking.experiment must be a name in printable characters, got {experiment!r}.")
    probe_server(uri)
    made = client_class()
    with guard(uri), lock():  # several processes that make one database at once break each other
        make_whole(uri, _SCHEMA)
        _probe_database(uri)
        client = made(tracking_uri=uri)
        return client, _experiment_id(client, uri, experiment)


def ask(tracking: TrackingSpec) -> None:
    """Asks the store whether it is there, before anything heavy is imported; makes nothing.

    Raises:
        TrackingError: It does not answer, or cannot be written.
    """
    uri = tracking.resolved_uri()
    check(uri)
    probe_server(uri)
    if is_database(uri):
        with guard(uri):
            databases.ask(uri, "mlflow")


def client_class() -> Any:
    """MLflow's client class, imported with its telemetry and its chatter off.

    Raises:
        TrackingError: Its variables for TLS contradict each other.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # its own 7 hold a training up for minutes
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # it would show the URI's password
    check_tls()
    with _some_home():
        from mlflow.tracking import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.CRITICAL)  # what it raises we tell, without its traceback
    logging.getLogger("alembic").setLevel(logging.ERROR)
    return MlflowClient


def _make(uri: str) -> None:
    from mlflow.store.db import utils

    engine = utils.create_sqlalchemy_engine(uri)
    try:
        utils._initialize_tables(engine)  # what its store does where there are none
    finally:
        engine.dispose()


def _tables() -> set[str]:
    from mlflow.store.db.base_sql_model import Base
    from mlflow.store.tracking.dbmodels.initial_models import Base as Oldest

    return {*Base.metadata.tables, *Oldest.metadata.tables}


def _revisions() -> list[str]:
    from alembic.script import ScriptDirectory
    from mlflow.store.db import utils

    scripts = ScriptDirectory.from_config(utils._get_alembic_config(""))
    return [script.revision for script in scripts.walk_revisions()]


_SCHEMA = Schema(_make, _tables, _revisions, seeds={"experiments": 1, "workspaces": 1})


@contextmanager
def _some_home() -> Iterator[None]:
    """A home folder for who has none, as users of containers may: MLflow asks for it while it is imported."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = tempfile.gettempdir()
        try:
            yield
        finally:
            del os.environ["HOME"]
    else:
        yield


def deleted_runs(client: Any, experiment_id: str) -> set[str]:
    """Ids of the experiment's runs that are in MLflow's bin."""
    from mlflow.entities import ViewType

    runs = client.search_runs([experiment_id], run_view_type=ViewType.DELETED_ONLY, max_results=50_000)
    return {run.info.run_id for run in runs}


def _experiment_id(client: Any, uri: str, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        created: str = client.create_experiment(name, artifact_location=_artifact_root(uri, name))
        return created
    if found.lifecycle_stage != "active":
        raise deleted(uri, found)
    return str(found.experiment_id)


def deleted(uri: str, experiment: Any) -> TrackingError:
    """What is said of an experiment that is in MLflow's bin."""
    where = redact_uri(uri)
    return TrackingError(
        f"experiment {experiment.name!r} of {where} was deleted: restore it with `MLFLOW_TRACKING_URI="
        f"{shlex.quote(where)} mlflow experiments restore --experiment-id {experiment.experiment_id}`, or set "
        "tracking.experiment to another name."
    )


def _artifact_root(uri: str, experiment: str) -> str | None:
    """Beside a SQLite file, whatever the working directory; a server decides for itself."""
    if not is_database(uri):
        return None
    file = file_of(uri)
    folder = (file.parent if file else Path.cwd()) / "mlartifacts" / _folder_name(experiment)
    return folder.absolute().as_uri()


def _folder_name(experiment: str) -> str:
    """A name for a folder of its own, inside the one it is put in."""
    name = re.sub(r"[^\w.-]", "_", experiment)
    if not name.strip("."):  # "." and ".." are folders that there are
        return "_" * len(name)
    if len(os.fsencode(name)) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(experiment.encode()).hexdigest()[:16]
    return f"{os.fsencode(name)[: LONGEST_NAME - 17].decode(errors='ignore')}-{digest}"


def _probe_database(uri: str) -> None:
    if is_database(uri):
        with connected(uri) as connection:
            probe(connection)


@contextmanager
def connected(uri: str, *, must_exist: bool = False) -> "Iterator[sqlalchemy.Connection]":
    """A connection to the database, closed and rolled back at the end."""
    import sqlalchemy

    file = file_of(uri)
    if must_exist and file is not None and not file.exists():  # connecting would make it
        raise TrackingError(
            f"there are no records at {redact_uri(uri)} (no file {file.absolute()}): run something first, or set "
            "tracking.uri."
        )
    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool)
    try:
        with engine.connect() as connection:
            yield connection
            connection.rollback()
    finally:
        engine.dispose()
