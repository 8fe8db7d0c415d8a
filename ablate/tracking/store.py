"""An experiment of a tracking store, open for writing: studies, runs, and what waits to be told."""

import json
import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ablate.databases import Lock
from ablate.tracking.client import deleted_runs, opened
from ablate.tracking.registry import Registered, register
from ablate.tracking.spec import TrackingSpec
from ablate.tracking.spool import About, Journal, left
from ablate.tracking.tags import fitted_tags, in_batches, noted, redrawn, serves, shown_in
from ablate.tracking.uris import error_of, guard, redact
from ablate.tracking.view import view_state
from ablate.tracking.writer import MARK, RunWriter, create, deliver_all, milliseconds, refuse

logger = logging.getLogger(__name__)

_UNBORN = "waiting-"
_STARTED = {"ablate.status": "running", "mlflow.source.name": "ablate", "mlflow.source.type": "LOCAL"}


class Store:
    """An experiment of a tracking store, open for writing."""

    def __init__(self, tracking: TrackingSpec) -> None:
        """Opens it, and makes database and experiment where they are missing.

        Raises:
            TrackingError: It cannot be reached, read or written.
        """
        self._uri = tracking.resolved_uri()
        self._experiment, self._spool = tracking.resolved_experiment(), Path(tracking.spool)
        self._lock = Lock(self._uri, "mlflow")
        self._client, self.experiment_id = opened(self._uri, self._experiment, self._lock)

    @property
    def uri_shown(self) -> str:
        """The store's URI without its password."""
        return redact(self._uri)

    def sweep_run(self, study: str, tags: Mapping[str, str], *, started: datetime | None = None) -> str:
        """Id of the study's parent run, which is made if there is none: workers of one study share it.

        Args:
            study: Name of the study.
            tags: Provenance, and the sweep's definition as JSON under ``ablate.sweep``.
            started: When it was, of one that is made; None for now.
        """
        wanted = f"tags.`ablate.study` = '{study}' and tags.`ablate.role` = 'sweep'"
        with guard(self._uri), self._lock():
            found = self._client.search_runs([self.experiment_id], wanted, order_by=["attributes.start_time ASC"])
            if found:
                run_id: str = found[0].info.run_id
                self._client.update_run(run_id, status="RUNNING")
                return run_id
            ours = {**_STARTED, "ablate.study": study, "ablate.role": "sweep"}
            entries = fitted_tags({**tags, **ours})
            start = milliseconds(started)
            made = self._client.create_run(self.experiment_id, start_time=start, tags=entries, run_name=study)
            return str(made.info.run_id)

    def start_run(
        self,
        name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        *,
        parent: str | None = None,
        started: datetime | None = None,
    ) -> "RunWriter":
        """Starts the record of one training.

        Args:
            name: For people.
            params: The spec's leaves; a retry is a new run, since MLflow never changes a parameter.
            tags: Provenance, study and point.
            parent: Run id of the sweep it belongs to.
            started: When it was; None for now.
        """
        joined = {"mlflow.parentRunId": parent} if parent else {}
        self.deliver()
        mark = uuid.uuid4().hex
        ours = {**_STARTED, **joined, "ablate.role": "run", MARK: mark}
        ours |= shown_in(tags.get("ablate.study"), tags.get("ablate.point"))
        entry = {
            "kind": "create", "experiment_id": self.experiment_id, "name": name[:250],
            "tags": fitted_tags({**tags, **ours}), "time": milliseconds(started), "again": False,
        }  # fmt: skip
        try:
            writer = self._writer(create(self._client, entry), name)
        except Exception as error:
            refuse(self._uri, error)
            writer = self._writer(f"{_UNBORN}{mark}", name)
            writer.defer({**entry, "again": True}, error)
        for some in in_batches(params):
            writer.tell({"kind": "params", "params": some})
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
                deliver_all(self._client, journal, about.run_id or "")
                told += 1
            except Exception as error:
                waiting, reason = waiting + 1, str(error_of(self._uri, error))
        return Delivered(told, waiting, reason)

    def _writer(self, run_id: str, name: str) -> "RunWriter":
        known = None if run_id.startswith(_UNBORN) else run_id
        about = About(redact(self._uri), self._experiment, known, name)
        return RunWriter(self._client, self._uri, run_id, Journal.new(self._spool, about))

    def abandon(self, parent: str, point: str) -> None:
        """Closes the runs of a point that a dead worker left open."""
        wanted = f"tags.`mlflow.parentRunId` = '{parent}' and attributes.status = 'RUNNING'"
        with guard(self._uri):
            runs = self._client.search_runs([self.experiment_id], wanted)
        for run in runs:
            if run.data.tags.get("ablate.point") == point:
                self.resume(run.info.run_id).finish("killed", reason="its worker died")

    def finished(self, parent: str, point: str) -> "Finished | None":
        """The finished run of a point, if there is one: a worker may die between record and queue."""
        wanted = f"tags.`mlflow.parentRunId` = '{parent}' and tags.`ablate.status` = 'finished'"
        with guard(self._uri):
            runs = self._client.search_runs([self.experiment_id], wanted, max_results=50_000)
        for run in runs:
            if run.data.tags.get("ablate.point") == point and run.info.status == "FINISHED":
                return Finished(run.info.run_id, run.data.metrics)
        return None

    def deleted(self) -> set[str]:
        """Ids of the experiment's runs that somebody deleted, as in the MLflow UI; none of them counts."""
        with guard(self._uri):
            return deleted_runs(self._client, self.experiment_id)

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
        with guard(self._uri):
            runs = self._client.search_runs([self.experiment_id], wanted, order_by=["attributes.start_time ASC"])
            for run in runs:
                tags = run.data.tags
                free = tags.get("ablate.study") != study and tags.get(serves(study), point) == point
                if free and run.info.status == "FINISHED":
                    self._client.set_tag(run.info.run_id, serves(study), point)
                    for key, value in shown_in(study, point).items():
                        self._client.set_tag(run.info.run_id, key, value)
                    return Finished(run.info.run_id, run.data.metrics)
        return None

    def serve_redraw(self, identity: str, study: str, point: str) -> "Finished | None":
        """A finished run of a search in which another trial drew the same, so that none need be trained again.

        The run notes the trial's number; the trial has no run of its own.

        Args:
            identity: What ``ablate.identity`` says of runs with the same result.
            study: The search's.
            point: The trial that drew it again.
        """
        wanted = f"tags.`ablate.identity` = '{identity}' and tags.`ablate.status` = 'finished'"
        with guard(self._uri):
            for run in self._client.search_runs([self.experiment_id], wanted, order_by=["attributes.start_time ASC"]):
                tags = run.data.tags
                mine = tags.get("ablate.study") == study or serves(study) in tags
                if mine and run.info.status == "FINISHED":
                    if point != tags.get(serves(study), tags.get("ablate.point")):
                        text = noted(tags.get(redrawn(study)), dict(json.loads(point))["trial"])
                        self._client.set_tag(run.info.run_id, redrawn(study), text)
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
            logger.warning("study %s has no view in the MLflow UI: %s", study, error_of(self._uri, error))

    def register(self, run_id: str, name: str, tags: Mapping[str, str]) -> Registered:
        """Puts a run's model into the model registry under a name, unless it is there.

        Args:
            run_id: A run that keeps its model.
            name: Of the registered model, of which this becomes a version.
            tags: Of the version.

        Raises:
            TrackingError: The run keeps no model, or the registry does not take it.
        """
        with guard(self._uri), self._lock():
            return register(self._client, run_id, name, tags)

    def imported(self, parent: str) -> set[str]:
        """Ids, in the store they came from, of the study's runs that an import has written."""
        wanted = f"tags.`mlflow.parentRunId` = '{parent}' and attributes.status != 'RUNNING'"
        with guard(self._uri):
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
