"""Who does the work: takes points from the queue, has their runs made and recorded, and says how each ended."""

import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from ablate.contract import Epoch, Observer, task
from ablate.design.points import Point
from ablate.provenance import provenance
from ablate.sweep.interrupts import check
from ablate.sweep.plan import Plan
from ablate.sweep.planned import PlannedPoint
from ablate.sweep.queue import Claim, open_study
from ablate.sweep.run_record import Pruned, Superseded, recorded
from ablate.sweep.sampler import Proposal, Searcher
from ablate.sweep.screen import Screen
from ablate.tracking import Finished, RunWriter, Store, TrackingError, Training
from ablate.tracking.liveness import lives, sign_of_worker
from ablate.tracking.names import IDENTITY, LEVELS, POINT, STUDY, SUPERSEDED, WORKER

logger = logging.getLogger(__name__)
_T = TypeVar("_T")


def work(plan: Plan, parent: str, screen: Screen, *, threads: int | None) -> int:
    """Takes points until the queue is empty.

    Args:
        plan: The sweep.
        parent: Run id of the sweep's record.
        screen: What is told meanwhile.
        threads: Threads of this process, where the plan leaves them open.

    Returns:
        How many points failed.
    """
    return _Worker(plan, parent, screen, threads).work()


class _Watch(Observer):
    """Shows a point's epochs, and ends its run where the point was taken over or the pruner says so."""

    def __init__(self, claim: Claim, screen: Screen, searcher: Searcher | None, proposal: Proposal | None) -> None:
        self._claim, self._screen, self._searcher, self._proposal = claim, screen, searcher, proposal

    def epoch(self, epoch: Epoch) -> None:
        if self._claim.lost.is_set():  # told by the heartbeat: a queue that is away must not hold a training up
            raise Superseded
        self._screen.epoch(epoch.note)
        if self._searcher and self._proposal:
            self._searcher.watch(self._proposal, epoch.number, epoch.metrics)


class _Worker:
    """One process at work on a plan."""

    def __init__(self, plan: Plan, parent: str, screen: Screen, threads: int | None) -> None:
        self._plan, self._parent, self._screen, self._threads = plan, parent, screen, threads
        self._store, self._study = Store(plan.config.tracking), open_study(plan)
        self._planned = {planned.point.key: planned for planned in plan.points}
        self._graphs = {key: task().graph(planned.spec) for key, planned in self._planned.items()}
        self._traced: set[str] = set()
        self._runner = task().runner()
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
        spec = task().with_threads(planned.spec, self._threads)
        tags = provenance() | {STUDY: self._plan.study, POINT: claim.key, WORKER: sign_of_worker()}
        tags |= {LEVELS: json.dumps(levels)} if self._searcher else {}
        writer = self._begin(claim, planned.point, spec, tags)
        if isinstance(writer, Finished):
            self._study.complete(claim, self._value(planned, proposal, writer.metrics), writer.run_id)
            return f"finished already, by run {writer.run_id}, which serves here too", True
        if isinstance(writer, Training):
            self._elsewhere[claim.key] = writer
            self._study.postpone(claim)
            return None
        try:
            result = recorded(
                spec,
                self._runner,
                writer,
                _Watch(claim, self._screen, self._searcher, proposal),
                model=self._plan.config.tracking.log_model,
                still_ours=lambda: self._still_ours(claim),
            )
            if not result.diverged:
                value = self._value(planned, proposal, result.metrics)
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
        if result.diverged:
            self._tell_sampler(planned, proposal, None)
            counts = self._study.diverge(claim, result.diverged, writer.run_id)
        else:
            counts = self._study.complete(claim, value, writer.run_id)
        if not counts:  # taken over in the moment between the last look and the record's end
            writer.finish(SUPERSEDED, reason=str(Superseded()))
            return str(Superseded()), True
        return result.line, True

    def _failed(self, claim: Claim, error: Exception, reason: str) -> tuple[str, bool]:
        again = claim.failures < self._plan.config.retries and task().may_help(error)
        self._study.fail(claim, reason, again=again)
        self._runner = task().runner()  # what filled the memory may be the models of the points before
        if again:
            return f"failed, to be tried again ({claim.failures + 1} of {self._plan.config.retries}): {reason}", True
        return f"failed: {reason}", False

    def _still_ours(self, claim: Claim) -> None:
        if not self._study.holds(claim):
            raise Superseded

    def _value(self, planned: PlannedPoint, proposal: Proposal | None, metrics: Mapping[str, float]) -> float:
        """What the queue keeps of a finished run, of which a sampler hears as well.

        Raises:
            SweepError: The run has no such metric as the search selects by.
        """
        if self._searcher is None or proposal is None:
            return float(next((metrics[name] for name in task().judged_by if name in metrics), 0.0))
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

    def _begin(self, claim: Claim, point: Point, spec: Any, tags: dict[str, str]) -> Finished | Training | RunWriter:
        """A finished run with the point's identity, else one that is in training elsewhere, else a new one.

        Of another study, or of a trial of this one that drew the same. All who use the queue or the store look and
        begin one at a time, so that no two of them begin the same.
        """
        start = partial(self._store.start_run, point.label, spec.leaves(), parent=self._parent)
        names = self._identified(point, spec)
        if not names:
            return start(tags)
        self._tell_what_waits()

        def look() -> Finished | Training | RunWriter:
            found = self._served(names, claim, point) or self._trained(names, point)
            return found or start({**tags, IDENTITY: names[0]})

        def begun() -> Finished | Training | RunWriter:
            return _if_there(lambda: self._study.one_at_a_time(lambda: self._store.one_at_a_time(look))) or start(tags)

        if isinstance(found := begun(), RunWriter):
            _if_there(lambda: self._tell_of_others(names, point))
        return found

    def _identified(self, point: Point, spec: Any) -> Sequence[str]:
        """The run's identity, and what earlier versions called it.

        None where all is to be trained, or its data cannot be read: the attempt reports that.
        """
        if self._plan.config.fresh and point.trial is None:
            return ()
        try:
            return self._runner.identities(spec)
        except Exception:
            return ()

    def _served(self, names: Sequence[str], claim: Claim, point: Point) -> Finished | None:
        # Two points of one study may be the same run: each would find it free, and the later link take it away.
        ways = [] if self._plan.config.fresh else [self._store.serve]
        if point.trial is not None:
            ways.insert(0, self._store.serve_redraw)
        found = (way(name, self._plan.study, claim.key) for way in ways for name in names)
        return next((run for run in found if run is not None), None)

    def _trained(self, names: Sequence[str], point: Point) -> Training | None:
        """The run of another that is about to have the same result, if its worker is seen to live."""
        if self._plan.config.fresh:
            return None
        for each in self._same(names):
            if lives(each.worker):
                self._screen.say(f"{point.label}: in training already, by {each}, which is waited for")
                return each
        return None

    def _tell_of_others(self, names: Sequence[str], point: Point) -> None:
        """Names who may be training the same, now that our own run can be seen as well.

        Machines that share nothing but a server have no lock: both may look before either begins. Each looks once more
        after it has begun, and the later one at least finds the other.
        """
        for each in [] if self._plan.config.fresh else self._same(names):
            if lives(each.worker) is not False:
                place = str(each.worker).rsplit(":", 2)[0]
                self._screen.say(
                    f"{point.label}: {each} may be training the same on {place}, and cannot be waited for from here: "
                    "it is trained twice"
                )

    def _same(self, names: Sequence[str]) -> list[Training]:
        return [each for each in self._store.in_training(self._plan.study) if each.identity in names]

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
