"""Who does the work: takes points from the queue, trains them, and writes their records."""

import io
import json
import logging
import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import TypeVar

import numpy as np

from ablate.config.recorded import as_yaml
from ablate.data import DataError, Splits
from ablate.data.augment.sheet import contact_sheet
from ablate.design.points import Point
from ablate.identity import backend, cell, content, settings, sources
from ablate.models.profile import Profile
from ablate.models.weights import Loaded
from ablate.sweep.interrupts import check, remembered, terminable, training
from ablate.sweep.output import show
from ablate.sweep.plan import Plan
from ablate.sweep.planned import PlannedPoint
from ablate.sweep.queue import Claim, Superseded, open_study
from ablate.sweep.sampler import Proposal, Pruned, Searcher
from ablate.sweep.screen import RunScreen, Screen, epoch_note
from ablate.tasks.classify.run import RunRecord, Workbench, graph_key, identify, run
from ablate.tasks.classify.spec import Config, RunSpec
from ablate.tracking import WORKER, Finished, RunWriter, Status, Store, TrackingError, Training, provenance
from ablate.tracking.correctness import PREDICTIONS, packed
from ablate.tracking.model_registry import INPUT, MODEL
from ablate.tracking.workers import lives, sign_of_worker
from ablate.training.hardware import prepare
from ablate.training.history import EpochMetrics, History, Predictions

logger = logging.getLogger(__name__)
_T = TypeVar("_T")


def train_one(config: Config) -> int:
    """Trains, records and prints one model.

    Returns:
        Exit code 0: a run that diverges has an outcome too.
    """
    spec = config.point()
    store, screen = Store(config.tracking), RunScreen(spec.train.total_epochs)
    tags = provenance() | {WORKER: sign_of_worker()}
    writer = store.start_run(f"{config.model.tokenizer} {spec.seed}", spec.leaves(), tags)
    shown = screen.epoch, screen.batch, screen.resume
    with remembered(), terminable():
        record = _recorded(spec, Workbench(), writer, config.tracking.log_model, *shown)
    show(outcome(record.history), f"record: run {writer.run_id} in {store.uri_shown}")
    return 0


def may_help(error: Exception) -> bool:
    """Whether another try may go better: memory, disk and network recover; what a definition says wrongly does not."""
    return isinstance(error, DataError) or not isinstance(error, ValueError)


def outcome(history: History) -> str:
    """How a run ended, in one line."""
    if history.status == "diverged":
        return f"diverged: {history.reason}"
    val = "" if history.val_top1_percent is None else f"val {history.val_top1_percent:.2f} %, "
    chosen = ", chosen on the test set" if history.epochs[0].test_top1_percent is not None else ""
    test = f"test {history.test_top1_percent:.2f} % (epoch {history.selected_epoch}{chosen})"
    return f"{val}{test} in {history.seconds:.1f} s"


def work(plan: Plan, parent: str, screen: Screen, *, threads: int | None) -> int:
    """Takes points until the queue is empty.

    Args:
        plan: The sweep.
        parent: Run id of its record.
        screen: What is told meanwhile.
        threads: Of this process, where the plan leaves them open.

    Returns:
        How many points failed.
    """
    return _Worker(plan, parent, screen, threads).work()


class _Worker:
    """One process at work on a plan."""

    def __init__(self, plan: Plan, parent: str, screen: Screen, threads: int | None) -> None:
        self._plan, self._parent, self._screen, self._threads = plan, parent, screen, threads
        self._store, self._study = Store(plan.config.tracking), open_study(plan)
        self._planned = {planned.point.key: planned for planned in plan.points}
        self._graphs = {key: graph_key(planned.spec) for key, planned in self._planned.items()}
        self._traced: set[str] = set()
        self._workbench = Workbench()
        self._elsewhere: dict[str, Training] = {}
        self._searcher = Searcher(plan.config.study.storage, plan.study, plan.search) if plan.search else None

    def work(self) -> int:
        failed = 0
        for claim in self._study.claims(self._order):
            planned = self._planned[claim.key]
            self._traced.add(self._graphs[claim.key])
            self._screen.start(planned.point.label)
            try:
                ended = self._attempt(claim, planned)
            except KeyboardInterrupt:
                self._study.interrupt(claim)
                raise
            if ended is None:
                self._screen.start("")
                continue
            text, ok = ended
            self._screen.end(text, failed=not ok)
            failed += not ok
        return failed

    def _order(self, waiting: list[str], taken: Collection[str]) -> list[str]:
        """First the points whose graph this process has traced, then those whose graph no worker has yet."""
        check()  # also between points, where a free worker waits for others
        if not self._elsewhere.keys().isdisjoint(waiting):
            waiting = self._free(waiting)
        if self._searcher:
            waiting = self._searcher.ready(waiting, {key: planned.point for key, planned in self._planned.items()})
        begun = {self._graphs[key] for key in taken}
        return sorted(waiting, key=lambda key: (self._graphs[key] not in self._traced, self._graphs[key] in begun))

    def _free(self, waiting: list[str]) -> list[str]:
        """The points among these that no other study has in training still."""
        try:
            self._tell_what_waits()  # whoever waits for a run of this process must hear that it has ended
            open_ = {each.run_id for each in self._store.in_training(self._plan.study)}
        except TrackingError:  # the store is away: what it said last holds as long as the other's process lives
            open_ = {each.run_id for each in self._elsewhere.values()}
        found = self._elsewhere.items()
        self._elsewhere = {key: run for key, run in found if run.run_id in open_ and lives(run.worker)}
        return [key for key in waiting if key not in self._elsewhere]

    def _tell_what_waits(self) -> None:
        for said in self._store.deliver().aside:
            self._screen.say(said)

    def _attempt(self, claim: Claim, planned: PlannedPoint) -> tuple[str, bool] | None:
        """One point, whatever becomes of it: a line for the screen, and whether it did not fail.

        None for a point that was put back, since another study trains the same.
        """
        proposal, levels = None, dict(planned.point.levels)
        if self._searcher:
            try:
                drawn, proposal = self._searcher.settle(planned.point)
                levels |= drawn
                planned = self._plan.at(planned.point, drawn)
            except ValueError as error:
                self._tell_sampler(planned, proposal, None)
                self._study.fail(claim, str(error))
                return f"failed: {error}", False
        if claim.retry and (found := _if_there(lambda: self._left(claim))):
            self._study.complete(claim, self._value(planned, proposal, found.metrics), found.run_id)
            cut = "an interrupt came between its record and its mark in the queue"
            return f"finished already: {cut if claim.begun else 'the store has its record'}", True
        spec = planned.spec
        if spec.hardware.threads is None:
            spec = replace(spec, hardware=replace(spec.hardware, threads=self._threads))
        tags = provenance() | {"ablate.study": self._plan.study, "ablate.point": claim.key, WORKER: sign_of_worker()}
        tags |= {"ablate.levels": json.dumps(levels)} if self._searcher else {}
        writer = self._begin(claim, planned.point, spec, tags)
        if isinstance(writer, Finished):
            self._study.complete(claim, self._value(planned, proposal, writer.metrics), writer.run_id)
            return f"finished already, by run {writer.run_id}, which serves here too", True
        if isinstance(writer, Training):
            self._elsewhere[claim.key] = writer
            self._study.postpone(claim)
            return None
        try:
            record = _recorded(
                spec,
                self._workbench,
                writer,
                self._plan.config.tracking.log_model,
                lambda metrics: self._epoch(claim, metrics, spec.train.total_epochs, proposal),
                still_ours=lambda: self._still_ours(claim),
            )
            if record.history.status != "diverged":
                value = self._value(planned, proposal, _metrics(record))
        except Superseded as late:
            return str(late), True
        except Pruned as stop:
            self._tell_sampler(planned, proposal, None, pruned=True)
            self._study.prune(claim, str(stop), writer.run_id)
            return f"pruned {stop}", True
        except Exception as error:  # whatever it is, it is this point's outcome and no other's
            reason = f"{type(error).__name__}: {error}"
            self._tell_sampler(planned, proposal, None)
            return self._failed(claim, error, reason)
        if record.history.status == "diverged":
            self._tell_sampler(planned, proposal, None)
            counts = self._study.diverge(claim, record.history.reason, writer.run_id)
        else:
            counts = self._study.complete(claim, value, writer.run_id)
        if not counts:  # taken over in the moment between the last look and the record's end
            writer.finish("superseded", reason=str(Superseded()))
            return str(Superseded()), True
        return outcome(record.history), True

    def _failed(self, claim: Claim, error: Exception, reason: str) -> tuple[str, bool]:
        again = claim.failures < self._plan.config.retries and may_help(error)
        self._study.fail(claim, reason, again=again)
        self._workbench = Workbench()  # what filled the memory may be the models of the points before
        if again:
            return f"failed, to be tried again ({claim.failures + 1} of {self._plan.config.retries}): {reason}", True
        return f"failed: {reason}", False

    def _still_ours(self, claim: Claim) -> None:
        if not self._study.holds(claim):
            raise Superseded

    def _epoch(self, claim: Claim, metrics: EpochMetrics, epochs: int | None, proposal: Proposal | None) -> None:
        if claim.lost.is_set():  # told by the thread that signs: a queue that is away must not hold a training up
            raise Superseded
        self._screen.epoch(epoch_note(metrics, epochs))
        if self._searcher and proposal:
            self._searcher.watch(proposal, metrics.epoch, _epoch(metrics))

    def _value(self, planned: PlannedPoint, proposal: Proposal | None, metrics: Mapping[str, float]) -> float:
        """What the queue keeps of a finished run, of which a sampler hears as well.

        Raises:
            SweepError: The run has no such metric as the search selects by.
        """
        if self._searcher is None or proposal is None:
            return float(metrics.get("final.val_top1_percent", metrics.get("final.test_top1_percent", 0.0)))
        value = self._searcher.values(metrics)[0]
        self._tell_sampler(planned, proposal, metrics)
        return value

    def _tell_sampler(
        self,
        planned: PlannedPoint,
        proposal: Proposal | None,
        metrics: Mapping[str, float] | None,
        *,
        pruned: bool = False,
    ) -> None:
        if self._searcher and proposal:
            self._searcher.tell(planned.point, proposal, metrics, pruned=pruned)

    def _begin(
        self, claim: Claim, point: Point, spec: RunSpec, tags: dict[str, str]
    ) -> Finished | Training | RunWriter:
        """A finished run with the point's identity, else one that is in training elsewhere, else a new one.

        Of another study, or of a trial of this one that drew the same. All who use the queue or the store look and
        begin one at a time, so that no two of them begin the same.
        """
        start = partial(self._store.start_run, point.label, spec.leaves(), parent=self._parent)
        name = self._identified(point, spec)
        if name is None:
            return start(tags)
        self._tell_what_waits()

        def look() -> Finished | Training | RunWriter:
            found = self._served(name, claim, point) or self._trained(name, point)
            return found or start({**tags, "ablate.identity": name})

        def begun() -> Finished | Training | RunWriter:
            return _if_there(lambda: self._study.one_at_a_time(lambda: self._store.one_at_a_time(look))) or start(tags)

        if isinstance(found := begun(), RunWriter):
            _if_there(lambda: self._tell_of_others(name, point))
        return found

    def _identified(self, point: Point, spec: RunSpec) -> str | None:
        """The run's identity; None where all is to be trained, or its data cannot be read: the attempt reports that."""
        if self._plan.config.fresh and point.trial is None:
            return None
        try:
            prepare(spec.hardware)
            return identify(spec, self._workbench.splits(spec.data))
        except Exception:
            return None

    def _served(self, name: str, claim: Claim, point: Point) -> Finished | None:
        # Two points of one study may be the same run: each would find it free, and the later link take it away.
        ways = [] if self._plan.config.fresh else [self._store.serve]
        if point.trial is not None:
            ways.insert(0, self._store.serve_redraw)
        found = (way(name, self._plan.study, claim.key) for way in ways)
        return next((run for run in found if run is not None), None)

    def _trained(self, name: str, point: Point) -> Training | None:
        """The run of another that is about to have the same result, if its worker is seen to live."""
        if self._plan.config.fresh:
            return None
        for each in self._same(name):
            if lives(each.worker):
                self._screen.say(f"{point.label}: in training already, by {each}, which is waited for")
                return each
        return None

    def _tell_of_others(self, name: str, point: Point) -> None:
        """Names who may be training the same, now that our own run can be seen as well.

        Machines that share nothing but a server have no lock: both may look before either begins. Each looks once more
        after it has begun, and the later one at least finds the other.
        """
        for each in [] if self._plan.config.fresh else self._same(name):
            if lives(each.worker) is not False:
                place = str(each.worker).rsplit(":", 2)[0]
                self._screen.say(
                    f"{point.label}: {each} may be training the same on {place}, and cannot be waited for from here: "
                    "it is trained twice"
                )

    def _same(self, name: str) -> list[Training]:
        return [each for each in self._store.in_training(self._plan.study) if each.identity == name]

    def _left(self, claim: Claim) -> Finished | None:
        """What the attempts before this one left: a finished run, or an open one, which is closed."""
        self._store.abandon(self._parent, claim.key)
        return self._store.finished(self._parent, claim.key)


def _if_there(ask: Callable[[], _T | None]) -> _T | None:
    """What the store knows; nothing, while it is away: then the point is trained."""
    try:
        return ask()
    except TrackingError as error:
        logger.warning("%s", error)
        return None


def _recorded(
    spec: RunSpec,
    workbench: Workbench,
    writer: RunWriter,
    log_model: bool,
    show_epoch: Callable[[EpochMetrics], None],
    show_batch: Callable[[int, int], None] = lambda step, steps: None,
    show_resume: Callable[[int], None] = lambda epochs: None,
    *,
    still_ours: Callable[[], None] = lambda: None,
) -> RunRecord:
    """Runs the point and writes its record, how ever it ends; ``still_ours`` raises where others have taken it over.

    Raises:
        Exception: What the run raised, after it was recorded.
    """

    def on_loaded(loaded: Loaded) -> None:
        digest = content(spec.model.weights or "")
        told = {"digest": digest, "head": loaded.head, "loaded": str(loaded)}
        told |= {"key": loaded.key} if loaded.key is not None else {}
        writer.tag({f"ablate.weights.{name}": text for name, text in told.items()})

    def on_start(identity: str, data_digest: str, cost: Profile) -> None:
        told = settings(spec.leaves(), backend=backend(), modules=spec.modules())
        tags = {"ablate.identity": identity, "ablate.settings": told, "ablate.cell": cell(spec.leaves())}
        writer.tag(tags | {"ablate.data.digest": data_digest, "ablate.sources": sources(), "ablate.backend": backend()})
        writer.log(_cost(cost))

    def on_epoch(metrics: EpochMetrics) -> None:
        writer.log(_epoch(metrics), step=metrics.epoch)
        show_epoch(metrics)

    def on_batch(step: int, steps: int) -> None:
        check()
        show_batch(step, steps)

    def on_resume(epochs: int) -> None:
        writer.tag({"ablate.resumed_after_epoch": str(epochs)})
        show_resume(epochs)

    try:
        with training():
            record = run(
                spec,
                workbench,
                on_loaded=on_loaded,
                on_start=on_start,
                on_epoch=on_epoch,
                on_batch=on_batch,
                on_resume=on_resume,
            )
        still_ours()
        try:
            _write(writer, spec, record, log_model)
        except TrackingError as error:
            raise TrackingError(f"the training ended ({outcome(record.history)}), but {error}") from None
        record.checkpoint.remove()
    except Pruned as stop:
        _close(writer, "pruned", str(stop))
        raise
    except Superseded as late:
        _close(writer, "superseded", str(late))
        raise
    except KeyboardInterrupt as stop:
        _close(writer, "killed", str(stop) or "interrupted")
        raise
    except Exception as error:
        # A worker's process has no log, so that Python prints warnings and errors to the terminal.
        if _in_our_words(error):
            logger.info("run %s failed: %s", writer.run_id, error)
        else:
            logger.exception("run %s failed", writer.run_id)
        _close(writer, "failed", f"{type(error).__name__}: {error}", traceback.format_exc())
        raise
    return record


def _in_our_words(error: Exception) -> bool:
    """Whether its sentence, which stands on the point's line, says all; libraries raise ValueError for what is not."""
    return isinstance(error, ValueError) and type(error).__module__.startswith("ablate.")


def _close(writer: RunWriter, status: Status, reason: str, trace: str = "") -> None:
    """Ends the record of a run that did not finish; where even that cannot be written, why it ended is still told."""
    try:
        if trace:
            writer.artifact("traceback.txt", trace)
        writer.finish(status, reason=reason)
    except TrackingError as error:
        logger.warning("%s", error)


def _write(writer: RunWriter, spec: RunSpec, record: RunRecord, log_model: bool) -> None:
    history = record.history
    writer.artifact("config.yaml", as_yaml(spec))
    if spec.augment.active:
        writer.artifact("augmented.png", contact_sheet(record.splits, spec.augment, spec.seeds.augment))
    if record.splits.notes:
        writer.tag({"ablate.data.notes": "\n".join(record.splits.notes)})
    told = {"final.seconds": history.seconds, "final.epochs_trained": len(history.epochs)}
    writer.log(told | {"data.train_images": len(record.splits.train)})
    if history.status == "diverged":
        writer.finish("diverged", reason=history.reason)
        return
    if (test := history.test_predictions) is not None:
        writer.artifact(PREDICTIONS, _archive(test))
        writer.tag(packed(test.predicted == test.label, test.label))
    if log_model:
        with writer.local_artifact(MODEL) as path:
            record.model.save(path)
        writer.artifact(INPUT, _input(spec, record.splits))
    writer.log(_final(history))
    writer.finish("finished")


def _input(spec: RunSpec, splits: Splits) -> str:
    """What the model takes and what its outputs are called, as JSON: its file knows neither pixels nor names."""
    told = {"shape": splits.input_shape, "mean": splits.mean, "std": splits.std, "classes": splits.classes}
    return json.dumps({**told, "modules": spec.modules()}, indent=1, ensure_ascii=False)


def _metrics(record: RunRecord) -> dict[str, float]:
    """What a search may select by: cost, the last epoch, and what is known in the end."""
    history = record.history
    return _cost(record.cost) | _epoch(history.epochs[-1]) | _final(history) | {"final.seconds": history.seconds}


def _cost(cost: Profile) -> dict[str, float]:
    names = ("params", "trainable_params", "macs", "macs_modules", "macs_fvcore", "tokens")
    return {f"cost.{name}": getattr(cost, name) for name in names}


def _epoch(metrics: EpochMetrics) -> dict[str, float]:
    values = {
        "train/loss": metrics.train_loss,
        "train/top1_percent": metrics.train_top1_percent,
        "val/loss": metrics.val_loss,
        "val/top1_percent": metrics.val_top1_percent,
        "test/top1_percent": metrics.test_top1_percent,
        "train/lr": metrics.lr,
        "train/seconds_per_epoch": metrics.seconds,
    }
    return {name: value for name, value in values.items() if value is not None}


def _final(history: History) -> dict[str, float]:
    values = {
        "final.val_top1_percent": history.val_top1_percent,
        "final.test_top1_percent": history.test_top1_percent,
        "final.test_loss": history.test_loss,
        "final.epoch": history.selected_epoch,
    }
    return {name: value for name, value in values.items() if value is not None}


def _archive(predictions: Predictions) -> bytes:
    """The test set's labels and what the model said, as an .npz file's bytes."""
    content = io.BytesIO()
    np.savez_compressed(content, **asdict(predictions))
    return content.getvalue()
