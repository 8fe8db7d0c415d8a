"""An MLflow experiment, open for writing: studies, runs, registered models, and delivery of the spool."""

import json
import logging
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from ablate.tracking.client import deleted, deleted_runs, opened
from ablate.tracking.databases import Lock
from ablate.tracking.model_registry import Registered, register
from ablate.tracking.names import (
    ATTEMPT,
    FINISHED,
    IDENTITY,
    KILLED,
    MLFLOW_FINISHED,
    MLFLOW_RUNNING,
    ORIGINAL_RUN,
    PARENT,
    POINT,
    ROLE,
    RUN,
    RUNNING,
    SHARED_VIEW,
    SOURCE_NAME,
    SOURCE_TYPE,
    STATUS,
    STUDY,
    SWEEP,
    VIEW,
    WITHOUT_ID,
    WORKER,
)
from ablate.tracking.spec import TrackingError, TrackingSpec
from ablate.tracking.spool import About, Journal, JournalEntry, left, waiting
from ablate.tracking.tags import fitted_tags, in_batches, noted, redrawn, serves, shown_in, tag_filter
from ablate.tracking.uris import error_of, guard, redact_of, redact_uri
from ablate.tracking.view import view_state
from ablate.tracking.writer import RunWriter, create, deliver_all, is_final, is_gone, milliseconds, refuse

logger = logging.getLogger(__name__)

_T = TypeVar("_T")
_OPEN = f"attributes.status = '{MLFLOW_RUNNING}'"
_STARTED = {STATUS: RUNNING, SOURCE_NAME: "ablate", SOURCE_TYPE: "LOCAL"}


class Store:
    """An experiment of a tracking store, open for writing."""

    def __init__(self, tracking: TrackingSpec) -> None:
        """Opens it, and makes database and experiment where they are missing.

        Raises:
            TrackingError: It cannot be reached, read or written.
        """
        tracking.check()
        self._uri = tracking.resolved_uri()
        self._experiment, self._spool = tracking.resolved_experiment(), Path(tracking.spool)
        self._lock = Lock(self._uri, "mlflow")
        self._client, self.experiment_id = opened(self._uri, self._experiment, self._lock)

    @property
    def uri_shown(self) -> str:
        """The store's URI without its password."""
        return redact_uri(self._uri)

    def sweep_run(self, study: str, tags: Mapping[str, str], *, started: datetime | None = None) -> str:
        """Id of the study's parent run, which is made if there is none: workers of one study share it.

        Args:
            study: Name of the study.
            tags: Provenance, and the sweep's definition as JSON under ``ablate.sweep``.
            started: Start of a parent run that is made; None for now.

        Raises:
            TrackingError: Somebody has deleted or renamed the experiment since it was opened.
        """
        wanted = tag_filter({STUDY: study, ROLE: SWEEP})
        with guard(self._uri), self._lock():
            self._check_experiment()
            found = self._search(wanted)
            if found:
                run_id: str = found[0].info.run_id
                self._client.update_run(run_id, status=MLFLOW_RUNNING)
                return run_id
            ours = {**_STARTED, STUDY: study, ROLE: SWEEP}
            entries = fitted_tags({**tags, **ours})
            start = milliseconds(started)
            made = self._client.create_run(self.experiment_id, start_time=start, tags=entries, run_name=study)
            run_id = str(made.info.run_id)
            for run in self._search(tag_filter({STUDY: study, ROLE: RUN})):
                self._client.set_tag(run.info.run_id, PARENT, run_id)  # theirs is gone
            return run_id

    def _check_experiment(self) -> None:
        found = self._client.get_experiment(self.experiment_id)
        if found.lifecycle_stage != "active":
            raise deleted(self._uri, found)
        if found.name != self._experiment:
            raise TrackingError(
                f"experiment {self._experiment!r} of {self.uri_shown} was renamed to {found.name!r}: give it its name "
                "back, or set tracking.experiment to the new one."
            )

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
            name: Name of the run, for people.
            params: Settings by their dotted leaves; a retry is a new run, since MLflow never changes a parameter.
            tags: Provenance, study and point.
            parent: Id of the study's parent run; None for a run of its own.
            started: Start of the run; None for now.
        """
        joined = {PARENT: parent} if parent else {}
        for said in self.deliver().aside:
            logger.warning("%s", said)
        mark = uuid.uuid4().hex
        ours = {**_STARTED, **joined, ROLE: RUN, ATTEMPT: mark}
        ours |= shown_in(tags.get(STUDY), tags.get(POINT))
        entry = {
            "kind": "create", "name": name[:250],
            "tags": fitted_tags({**tags, **ours}), "time": milliseconds(started), "again": False,
        }  # fmt: skip
        try:
            writer = self._writer(create(self._client, entry, self.experiment_id), name, [entry])
        except Exception as error:
            refuse(self._uri, error)
            writer = self._writer(f"{WITHOUT_ID}{mark}", name)
            writer.defer({**entry, "again": True}, error)
        for some in in_batches(params):
            writer.tell({"kind": "params", "params": some})
        return writer

    def resume(self, run_id: str, name: str | None = None, *, sweep: bool = False) -> "RunWriter":
        """A writer for a run that exists.

        Args:
            run_id: Id of the run.
            name: Name of the run, for people; None takes the id.
            sweep: Whether the run is a study's parent, which ``sweep_run`` makes anew where it is gone.
        """
        return self._writer(run_id, name or run_id, sweep=sweep)

    def deliver(self) -> "Delivered":
        """Tells the store what it was not told while it was away; stops where it is away still.

        Runs of living processes are theirs to tell, and so are those of other stores. What can never be told is set
        aside, so that it blocks nothing; what waits for a sweep's own record that is gone is dropped, since the
        sweep's next command makes that anew, and all that it holds.
        """
        told, waits, reason, aside, away = 0, 0, "", list[str](), False
        elsewhere = Counter[tuple[str, str]]()
        for journal in left(self._spool):
            if not journal.waits:
                continue
            if journal.about.store and not self._is_ours(journal):
                elsewhere[journal.about.store, journal.about.experiment] += 1
                continue
            if journal.about.store and away:
                waits += 1
                continue
            try:
                self._tell(journal)
                told += 1
            except Exception as error:
                away = not self._answers()
                if not away and journal.about.sweep and self._is_no_more(journal.about.run_id or ""):
                    journal.drop()
                elif not away and is_final(error) and (said := self._set_aside(journal, error)):
                    aside.append(said)
                else:
                    waits, reason = waits + 1, str(error_of(self._uri, error))
        return Delivered(told, waits + elsewhere.total(), reason, tuple(aside), self._addressed(elsewhere))

    def _addressed(self, elsewhere: Mapping[tuple[str, str], int]) -> tuple[str, ...]:
        """For whom the records of other stores and experiments wait, a sentence each."""
        here = redact_uri(self._uri)
        return tuple(
            f"{count} wait{'s' * (count == 1)} for {uri}, experiment {experiment}: set "
            f"{'tracking.experiment' if uri == here else 'tracking.uri'} to it."
            for (uri, experiment), count in elsewhere.items()
        )

    def _tell(self, journal: Journal) -> None:
        if not journal.about.store:
            raise ValueError("which run it is of cannot be read any more")
        deliver_all(self._client, journal, self.experiment_id)

    def waiting(self) -> set[str]:
        """Ids, or names from before they had one, of this store's runs of which something is still to be told."""
        return {each.about.run_id or _without_id(each) for each in waiting(self._spool) if self._is_ours(each)}

    def _is_ours(self, journal: Journal) -> bool:
        about = journal.about  # an older one may show more of its store's URI
        return (redact_uri(about.store), about.experiment) == (redact_uri(self._uri), self._experiment)

    def _answers(self) -> bool:
        """Whether the store is there, and the experiment in it: then it is the journal that is at fault."""
        try:
            return bool(self._client.get_experiment(self.experiment_id).name == self._experiment)
        except Exception:  # whatever it is, the next command asks again
            return False

    def _is_no_more(self, run_id: str) -> bool:
        """Whether a run is gone, or in the bin."""
        return is_gone(self._client, run_id) or run_id in deleted_runs(self._client, self.experiment_id)

    def _set_aside(self, journal: Journal, error: Exception) -> str:
        """Says what became of a journal that cannot be told; nothing, where it cannot be moved either."""
        about = journal.about
        words = redact_of(self._uri, (str(error).strip() or type(error).__name__).splitlines()[0][:300])
        run = f"{about.name} ({about.run_id})" if about.run_id not in (None, about.name) else about.name
        said = f"what waited for the record of run {run} cannot be delivered: {words.rstrip('.')}"
        try:
            return f"{said}; it is set aside in {journal.set_aside(words)}."
        except OSError:
            return ""

    def _writer(
        self, run_id: str, name: str, before: Iterable[JournalEntry] = (), *, sweep: bool = False
    ) -> "RunWriter":
        known = None if run_id.startswith(WITHOUT_ID) else run_id
        about = About(redact_uri(self._uri), self._experiment, known, name, sweep)
        journal = Journal.new(self._spool, about, before)
        return RunWriter(self._client, self._uri, run_id, self.experiment_id, journal)

    def _search(self, wanted: str) -> list[Any]:
        """Runs of the experiment, the oldest first."""
        order = ["attributes.start_time ASC"]
        return list(self._client.search_runs([self.experiment_id], wanted, order_by=order, max_results=50_000))

    def abandon(self, parent: str, point: str) -> None:
        """Closes the runs of a point that a dead worker left open."""
        wanted = f"{tag_filter({PARENT: parent})} and {_OPEN}"
        with guard(self._uri):
            runs = self._client.search_runs([self.experiment_id], wanted)
        for run in runs:
            if run.data.tags.get(POINT) == point:
                self.resume(run.info.run_id).finish(KILLED, reason="its worker died")

    def finished(self, parent: str, point: str) -> "Finished | None":
        """The finished run of a point, if there is one: a worker may die between record and queue."""
        wanted = tag_filter({PARENT: parent, STATUS: FINISHED})
        with guard(self._uri):
            runs = self._client.search_runs([self.experiment_id], wanted, max_results=50_000)
        for run in runs:
            if run.data.tags.get(POINT) == point and run.info.status == MLFLOW_FINISHED:
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
            identity: Value of ``ablate.identity``, the same for runs with the same result.
            study: Name of the study that wants the run.
            point: Key of the point of that study.
        """
        wanted = tag_filter({IDENTITY: identity, STATUS: FINISHED})
        with guard(self._uri):
            for run in self._search(wanted):
                tags = run.data.tags
                free = tags.get(STUDY) != study and tags.get(serves(study), point) == point
                if free and run.info.status == MLFLOW_FINISHED:
                    self._client.set_tag(run.info.run_id, serves(study), point)
                    for key, value in shown_in(study, point).items():
                        self._client.set_tag(run.info.run_id, key, value)
                    return Finished(run.info.run_id, run.data.metrics)
        return None

    def in_training(self, study: str) -> list["Training"]:
        """Runs that are open and no part of the study, the oldest first; whether they live is for who trains to say."""
        wanted = f"{_OPEN} and {tag_filter({ROLE: RUN})}"
        with guard(self._uri):
            tags = [(run.info.run_id, run.data.tags) for run in self._search(wanted)]
        others = [each for each in tags if each[1].get(STUDY) != study and IDENTITY in each[1]]
        return [Training(run_id, told[IDENTITY], told.get(STUDY), told.get(WORKER)) for run_id, told in others]

    def one_at_a_time(self, act: Callable[[], _T]) -> _T:
        """What ``act`` gives, while nobody else who writes to this store does the like, whatever their queues.

        A server has no lock to offer: there this holds for the processes of one machine.
        """
        with guard(self._uri), self._lock():
            return act()

    def serve_redraw(self, identity: str, study: str, point: str) -> "Finished | None":
        """A finished run of a search in which another trial drew the same, so that none need be trained again.

        The run notes the trial's number; the trial has no run of its own.

        Args:
            identity: Value of ``ablate.identity``, the same for runs with the same result.
            study: Name of the search's study.
            point: Key of the trial that drew the same again.
        """
        wanted = tag_filter({IDENTITY: identity, STATUS: FINISHED})
        with guard(self._uri):
            for run in self._search(wanted):
                tags = run.data.tags
                mine = tags.get(STUDY) == study or serves(study) in tags
                if mine and run.info.status == MLFLOW_FINISHED:
                    if point != tags.get(serves(study), tags.get(POINT)):
                        text = noted(tags.get(redrawn(study)), dict(json.loads(point))["trial"])
                        self._client.set_tag(run.info.run_id, redrawn(study), text)
                    return Finished(run.info.run_id, run.data.metrics)
        return None

    def share_view(self, parent: str, study: str, definition: Mapping[str, Any]) -> None:
        """Makes the study's view in the MLflow UI: its runs by level, with means over seeds.

        How the UI keeps views is documented nowhere, so whatever goes wrong here is said and ends nothing.
        """
        try:
            tag = f"{SHARED_VIEW}{study}"
            self._client.set_experiment_tag(self.experiment_id, tag, json.dumps(view_state(study, definition)))
            self._client.set_tag(parent, VIEW, study)
        except Exception as error:
            logger.warning("study %s has no view in the MLflow UI: %s", study, error_of(self._uri, error))

    def register(self, run_id: str, name: str, tags: Mapping[str, str]) -> Registered:
        """Puts a run's model into the model registry under a name, unless it is there.

        Args:
            run_id: A run that keeps its model.
            name: Name of the registered model, of which the run's model becomes a version.
            tags: Tags of the version.

        Raises:
            TrackingError: The run keeps no model, or the registry does not take it.
        """
        with guard(self._uri), self._lock():
            return register(self._client, run_id, name, tags)

    def has_copy(self, study: str, first: str) -> bool:
        """Whether the study has a run here that was imported, or is being imported, from the store that calls it so."""
        wanted = tag_filter({STUDY: study})
        if first.replace("-", "").isalnum():  # a file may call a run anything: a quote would end the question
            wanted += f" and {tag_filter({ORIGINAL_RUN: first})}"
        with guard(self._uri):
            return any(run.data.tags.get(ORIGINAL_RUN) == first for run in self._search(wanted))

    def discard(self, run_id: str) -> None:
        """Moves a run to MLflow's bin: a copy that was not made to its end."""
        with guard(self._uri):
            self._client.delete_run(run_id)


def _without_id(journal: Journal) -> str:
    """What a run is called that MLflow has no id for yet."""
    try:
        told = [*journal.before, *journal.entries()]
    except ValueError:  # damaged: to be set aside when its turn comes
        return ""
    return next((f"{WITHOUT_ID}{entry['tags'][ATTEMPT]}" for entry in told if entry["kind"] == "create"), "")


@dataclass(frozen=True)
class Delivered:
    """What became of what waited.

    Attributes:
        told: Number of runs whose journals were delivered whole.
        waiting: Number of runs whose journals still wait.
        reason: Why they wait, in one sentence; empty where all of them belong to other stores.
        aside: One sentence for each run whose journal can never be delivered.
        elsewhere: One sentence for each other store or experiment that journals wait for.
    """

    told: int
    waiting: int
    reason: str
    aside: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()


@dataclass(frozen=True)
class Training:
    """A run that is open.

    Attributes:
        run_id: Id of the run.
        identity: Value of ``ablate.identity``, the same for runs with the same result.
        study: Name of the study that the run is a point of; None for a run of its own.
        worker: Value of ``ablate.worker``, the process that trains; None where it did not say.
    """

    run_id: str
    identity: str
    study: str | None
    worker: str | None

    def __str__(self) -> str:
        return f"run {self.run_id}" + (f" of study {self.study}" if self.study else "")


@dataclass(frozen=True)
class Finished:
    """A run that was recorded whole, and its metrics."""

    run_id: str
    metrics: Mapping[str, float]
