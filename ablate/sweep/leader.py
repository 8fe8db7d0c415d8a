"""A sweep from its first point to its table: the queue and the parent's record, who works, and what is told at the end.

The leader works itself where one process is enough; any number of leaders may share one queue.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from ablate.config.schema import Engine
from ablate.contract import task
from ablate.design.sweep import Sampler, SweepError
from ablate.installation import require
from ablate.provenance import provenance
from ablate.report import report_study
from ablate.report.sources.stored import choose, opened_by
from ablate.sweep.crew import work_together
from ablate.sweep.engines import work_elsewhere
from ablate.sweep.interrupts import remembered, terminable
from ablate.sweep.output import show
from ablate.sweep.plan import Plan, redeclared
from ablate.sweep.queue import Standing, Study, open_study
from ablate.sweep.screen import SweepScreen
from ablate.tracking import Delivered, RunWriter, Store, TrackingError, list_studies, redact_uri, run_names
from ablate.tracking.names import DEFINITION, FAILED, FINISHED, KILLED, REPORT_FILE, STUDY, TABLE_FILE


def run_sweep(plan: Plan) -> int:
    """Works on the sweep's queue until it is empty, then prints the table.

    Returns:
        Exit code: 1 where a point failed or is left, where the table lacks one that is through, or where a search has
        no finished trial. A point that diverged has an outcome.

    Raises:
        MissingPackageError: The engine or the sampler is not installed.
        SweepError: ``workers`` is below 1.
    """
    workers = plan.config.workers
    if workers < 1:
        raise SweepError(f"workers must be at least 1, got {workers}.")
    _require_packages(plan)
    store, study = Store(plan.config.tracking), open_study(plan)
    with study.alone():  # two leaders at once would make two parents, where a server has no lock to offer
        _reconcile(plan, store, study)
        parent = _parent(plan, store)
        orphans = study.fill(recorded=not study.begun and bool(_recorded(plan)))
    store.share_view(parent, plan.study, plan.definition())
    for key in orphans:
        store.abandon(parent, key)
    record, before = store.resume(parent, plan.study, sweep=True), study.progress()
    with _closed_if_cut_short(record):
        with (
            terminable(),
            SweepScreen(len(plan.points), before.done + before.diverged + before.pruned, workers) as screen,
        ):
            if plan.config.engine != Engine.local:
                work_elsewhere(plan, parent, screen, lambda: _standing(study.progress()))
            elif workers == 1:
                _alone(plan, parent, screen)
            else:
                work_together(plan, parent, screen, lambda: study.progress().left > 0)
        troubles = _end(plan, store, study, record)
    if troubles:
        show(*troubles)
    return int(bool(troubles))


_PACKAGES = {Engine.ray: "ray", Engine.slurm: "submitit"}


def _require_packages(plan: Plan) -> None:
    """Looks for what starts the workers and draws the points, before anything is recorded."""
    if plan.config.engine in _PACKAGES:
        require(f"engine={plan.config.engine}", _PACKAGES[plan.config.engine])
    if plan.search is not None and plan.search.sampler == Sampler.cmaes:
        require("sampler=cmaes", "cmaes")


def _parent(plan: Plan, store: Store) -> str:
    """Id of the sweep's own run, which is made if there is none."""
    tags = provenance() | {STUDY: plan.study, DEFINITION: json.dumps(plan.definition())}
    return store.sweep_run(plan.study, tags)


@contextmanager
def _closed_if_cut_short(record: RunWriter) -> Iterator[None]:
    """A sweep's record never says that it runs when it does not, whatever ended it."""
    try:
        yield
    except KeyboardInterrupt as stop:
        with suppress(TrackingError):
            record.finish(KILLED, reason=str(stop) or "interrupted")
        if not str(stop):
            print("interrupted: the same command goes on from here.")
        raise
    except BaseException as error:
        with suppress(TrackingError):  # what ended the sweep is what must be told
            record.finish(FAILED, reason=f"{type(error).__name__}: {error}")
        raise


def _end(plan: Plan, store: Store, study: Study, record: RunWriter) -> list[str]:
    """Prints the table and closes the sweep's record. Returns what keeps the sweep from being whole, in sentences."""
    after = study.progress()
    troubles = _unfinished(after)
    if plan.search and not after.done:
        troubles.append(f"the search has no finished trial ({_standing(after)}), so it has found nothing")
    try:
        delivered = store.deliver()
        show(*delivered.aside)
        record = _standing_record(plan, store, study, record)
        troubles += _lacking(plan, store, study, delivered)
        print(_table(plan, "text"))
        show(opened_by(plan.config.tracking, choose(plan.config.tracking, plan.sweep.name, plan.study)[0]))
        show(*redeclared(plan))
        _tell(plan, record)
        if not after.left and plan.config.tracking.register_model and plan.config.tracking.log_model:
            with study.alone():  # several leaders end at once
                show(task().register_best(plan, store))
    except TrackingError as error:  # all is trained, and what was logged is kept
        waits = f" {count} records wait in {plan.config.tracking.spool}." if (count := len(store.waiting())) else ""
        troubles.append(f"{error}{waits} Then: python -m ablate sync, and python -m ablate report {plan.sweep.name}.")
    try:
        record.finish(FAILED if troubles else FINISHED, reason="; ".join(troubles) or None)
    except TrackingError as error:
        troubles.append(str(error))
    return troubles


def _standing_record(plan: Plan, store: Store, study: Study, record: RunWriter) -> RunWriter:
    """The sweep's record, without which there is no table: made anew where somebody deleted it meanwhile."""
    with study.alone():
        parent = _parent(plan, store)
    if parent == record.run_id:
        return record
    show("the sweep's own record was deleted meanwhile, and is made anew")
    store.share_view(parent, plan.study, plan.definition())
    return store.resume(parent, plan.study, sweep=True)


def _unfinished(after: Standing) -> list[str]:
    """What is not through, in sentences: points that failed, and those that nobody could begin or end."""
    told = []
    if after.failed:
        told.append("1 point failed" if after.failed == 1 else f"{after.failed} points failed")
    if after.left == 1:
        told.append("1 point is left; the same command trains it")
    elif after.left:
        told.append(f"{after.left} points are left; the same command trains them")
    return told


def _lacking(plan: Plan, store: Store, study: Study, delivered: Delivered) -> list[str]:
    """What the table lacks, though the queue calls it through; nothing, or a sentence."""
    through = study.through()  # before the store is asked: what ends meanwhile is in neither
    recorded, trials, waits = _recorded(plan), _trials(plan), store.waiting()
    # A trial that was not trained, since a finished run had drawn the same, may be noted nowhere: the note is full. And
    # a search is whole without a trial that was deleted, of which _reconcile told.
    lacks = [key for key, runs in through.items() if key not in recorded and (key not in trials or runs & waits)]
    if not lacks:
        return []
    said = f"the table lacks {len(lacks)} of the {len(through)} points that are through"
    where = plan.config.tracking.spool
    if delivered.elsewhere and not delivered.reason:
        return [f"{said}: records wait in {where}, and of them {' '.join(delivered.elsewhere)}"]
    if delivered.waiting:
        because = f", since: {delivered.reason.rstrip('.')}" if delivered.reason else ""
        return [f"{said}: {delivered.waiting} records wait in {where}{because}; python -m ablate sync delivers them."]
    shown = redact_uri(plan.config.tracking.resolved_uri())
    return [
        f"{said}: their runs are not whole in {shown}; delete those in the MLflow UI, and the same command trains "
        "their points again, or train all anew with fresh=true."
    ]


def _recorded(plan: Plan) -> frozenset[str]:
    """Points of the study that have a record that counts."""
    known = list_studies(plan.config.tracking, plan.sweep.name)
    return next((each.points for each in known if each.study == plan.study), frozenset())


def _reconcile(plan: Plan, store: Store, study: Study) -> None:
    """Delivers what waits, and lets points be trained again that the queue calls through and whose record is gone.

    Raises:
        SweepError: The store has none of what the queue calls through: one of them is the wrong one.
    """
    through = study.through()  # before the spool and the store are asked: what ends meanwhile is in neither
    delivered = store.deliver()
    show(*delivered.aside)
    there = store.waiting()
    there |= run_names(plan.config.tracking)
    gone = {key: runs for key, runs in through.items() if not runs & there}
    if gone and len(gone) == len(through) and (plan.search or not _is_known(plan, store, gone.values())):
        experiment = plan.config.tracking.resolved_experiment()
        last = ", or train all anew with fresh=true."
        if delivered.elsewhere:
            last = f"; records wait in {plan.config.tracking.spool}: {' '.join(delivered.elsewhere)}"
        raise SweepError(
            f"the tracking store must hold the runs of {plan.study}, but {store.uri_shown} (experiment {experiment}) "
            f"has none of the {len(gone)} points that are through according to "
            f"{redact_uri(plan.config.study.storage)}: set tracking.experiment (or MLFLOW_EXPERIMENT_NAME), "
            f"tracking.uri or study.storage to the one that belongs to the others{last}"
        )
    trials = gone.keys() & _trials(plan)  # what was drawn after them has learnt from them: none is trained again
    if trials:
        were = "1 trial was" if len(trials) == 1 else f"{len(trials)} trials were"
        show(f"{were} deleted from {store.uri_shown}, and the table counts no such trial any more")
    if points := gone.keys() - trials:
        study.forget(set().union(*(gone[key] for key in points)))
        show(f"run again, since their record was deleted from {store.uri_shown}: {len(points)} points")


def _trials(plan: Plan) -> set[str]:
    """Keys of the points that a search draws."""
    return {planned.point.key for planned in plan.points if planned.point.trial is not None}


def _is_known(plan: Plan, store: Store, runs: Iterable[set[str]]) -> bool:
    """Whether the store has had the study: it holds its parent's run, or one of these in its bin."""
    known = list_studies(plan.config.tracking, plan.sweep.name)
    return any(each.study == plan.study for each in known) or not store.deleted().isdisjoint(set().union(*runs))


def _tell(plan: Plan, record: RunWriter) -> None:
    """The report in every form that people look for beside the runs, figures included."""
    from ablate.report.pages import html
    from ablate.report.sources import studies

    record.artifact(REPORT_FILE, _table(plan, "md", full=True))
    record.artifact(TABLE_FILE, _table(plan, "csv"))
    records = studies.from_store(plan.config.tracking, plan.sweep.name, study=plan.study)
    for name, content in html.files(records).items():
        record.artifact(name, content)


def _table(plan: Plan, format: str, *, full: bool = False) -> str:
    return report_study(plan.config.tracking, plan.sweep.name, format, study=plan.study, full=full)


def _standing(after: Standing) -> str:
    names = ("done", "diverged", "pruned", "failed", "left")
    return ", ".join(f"{count} {name}" for name in names if (count := getattr(after, name)) or name == "left")


def _alone(plan: Plan, parent: str, screen: SweepScreen) -> None:
    task().start()
    from ablate.sweep.worker import work

    with remembered():
        try:
            work(plan, parent, screen.of(0), threads=None)
        except (SweepError, TrackingError) as error:  # their disk is full: the next command goes on
            screen.say(f"no point can be begun or ended: {error}")
