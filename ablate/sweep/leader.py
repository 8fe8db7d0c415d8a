"""A sweep from its first point to its table: the queue and the parent's record, who works, and what is told at the end.

The leader works itself where one process is enough; any number of leaders may share one queue.
"""

import json

from ablate.config import Engine
from ablate.hardware import import_keras
from ablate.progress import SweepScreen
from ablate.provenance import provenance
from ablate.report import report_study
from ablate.report.rendering import Format
from ablate.sweep.best import register_best
from ablate.sweep.crew import work_together
from ablate.sweep.engines import work_elsewhere
from ablate.sweep.interrupts import remembered, terminable
from ablate.sweep.plan import Plan
from ablate.sweep.space import SweepError
from ablate.sweep.study import Progress, Study, open_study
from ablate.tracking import RunWriter, Store, TrackingError, list_studies, redact


def run_sweep(plan: Plan) -> int:
    """Works on the sweep's queue until it is empty, then prints the table.

    Returns:
        Exit code: 1 where a point failed, or is left since all workers died.

    Raises:
        SweepError: ``workers`` is below 1.
    """
    workers = plan.config.workers
    if workers < 1:
        raise SweepError(f"workers must be at least 1, got {workers}.")
    store, study = Store(plan.config.tracking), open_study(plan)
    tags = provenance() | {"ablate.study": plan.study, "ablate.sweep": json.dumps(plan.definition())}
    with study.alone():  # two leaders at once would make two parents, where a server has no lock to offer
        recorded = _recorded(plan, store, study)
        parent = store.sweep_run(plan.study, tags)
        orphans = study.fill(recorded=recorded > 0 and not study.begun)
    store.share_view(parent, plan.study, plan.definition())
    for key in orphans:
        store.abandon(parent, key)
    record, before = store.resume(parent), study.progress()
    try:
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
    except KeyboardInterrupt as stop:
        record.finish("killed", reason=str(stop) or "interrupted")
        if not str(stop):
            print("interrupted: the same command goes on from here.")
        raise
    after = study.progress()
    failed = after.failed + after.left
    try:
        store.deliver()
        print(_table(plan, "text"))
        _tell(plan, record)
    except TrackingError as error:  # all is trained, and what was logged is kept
        print(f"{error} Then: python -m ablate sync, and python -m ablate report {plan.sweep.name}.")
    else:
        if not after.left and plan.config.tracking.register_model and plan.config.tracking.log_model:
            with study.alone():  # several leaders end at once
                print(register_best(plan, store))
    try:
        record.finish("failed" if failed else "finished", reason=f"{failed} points failed" if failed else None)
    except TrackingError as error:
        print(error)
        failed += 1
    return int(failed > 0)


def _recorded(plan: Plan, store: Store, study: Study) -> int:
    """How many points of the study have a record that counts.

    Raises:
        SweepError: The queue knows of points that are through, and the store of none: one of them is the wrong one.
    """
    waits = store.deliver().waiting
    if plan.search is None and (gone := study.forget(store.deleted())):
        print(f"run again, since their record was deleted from {store.uri_shown}: {len(gone)} points")
    found = sum(
        each.finished for each in list_studies(plan.config.tracking, plan.sweep.name) if each.study == plan.study
    )
    told = study.progress()
    through = told.done + told.diverged + told.pruned
    if through and not found and not waits:
        raise SweepError(
            f"the tracking store must hold the runs of {plan.study}, but {store.uri_shown} has none of the {through} "
            f"points that are through according to {redact(plan.config.study.storage)}: set tracking.uri or "
            "study.storage to the one that belongs to the other, or train all anew with fresh=true."
        )
    return found


def _tell(plan: Plan, record: RunWriter) -> None:
    """The report in every form that people look for beside the runs, figures included."""
    from ablate.report import page, studies

    record.artifact("report.md", _table(plan, "md"))
    record.artifact("table.csv", _table(plan, "csv"))
    records = studies.from_store(plan.config.tracking, plan.sweep.name, study=plan.study)
    for name, content in page.files(records).items():
        record.artifact(name, content)


def _table(plan: Plan, format: Format) -> str:
    return report_study(plan.config.tracking, plan.sweep.name, format, study=plan.study)


def _standing(progress: Progress) -> str:
    names = ("done", "diverged", "pruned", "failed", "left")
    return ", ".join(f"{count} {name}" for name in names if (count := getattr(progress, name)) or name == "left")


def _alone(plan: Plan, parent: str, screen: SweepScreen) -> None:
    import_keras()
    from ablate.sweep.worker import work

    with remembered():
        try:
            work(plan, parent, screen.of(0), threads=None)
        except (SweepError, TrackingError) as error:  # their disk is full: the next command goes on
            screen.say(f"no point can be begun or ended: {error}")
