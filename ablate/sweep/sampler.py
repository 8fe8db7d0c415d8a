"""Searches: who proposes a trial's levels, what it is told of the outcome, and which trial won.

The queue hands out a search's trials as it does points: numbered, each once, again where a worker died. What a trial
means is drawn when it starts, by a sampler with a study of its own in the same storage; a trial that is taken over
keeps what was drawn for it. With ``method: tuned`` every level of the factor has such a study, so that none learns from
another.
"""

import hashlib
import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.samplers import BaseSampler, CmaEsSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import Trial, TrialState

from ablate.design.points import Point
from ablate.design.search import Search, Searched
from ablate.design.sweep import Pruner, Sampler, SweepError
from ablate.sweep.run_record import Pruned

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


@dataclass(frozen=True)
class Proposal:
    """What was drawn for a trial: axis -> level."""

    levels: Mapping[str, Any]
    trial: Trial

    def report(self, epoch: int, value: float) -> bool:
        """Tells the pruner an epoch's value; returns whether to stop here."""
        if epoch not in self.trial.storage.get_trial(self.trial._trial_id).intermediate_values:
            self.trial.report(value, epoch)
        return self.trial.should_prune()


ABSENT_SECONDS = 30.0
"""Seconds after which a trial that was taken and never drawn counts as failed: its level's winner waits no longer."""


class Searcher:
    """The samplers' studies of one sweep.

    Args:
        storage: Storage of the queue, whose tables are there already.
        study: The sweep's study.
        search: What is searched.
    """

    def __init__(self, storage: str, study: str, search: Search) -> None:
        self._storage = optuna.storages.RDBStorage(storage, skip_compatibility_check=True)
        self._name, self._search = study, search
        self._studies: dict[str, optuna.Study] = {}
        self._absent_since: dict[str, float] = {}

    def ready(self, waiting: Sequence[str], points: Mapping[str, Point]) -> list[str]:
        """Those of the waiting points that may start: a winner does when its level's trials are through."""
        trials = {key: point for key, point in points.items() if point.trial is not None}
        held = {_level(point) for key, point in trials.items() if not self._through(key, point, waiting)}
        return [key for key in waiting if points[key].trial is not None or _level(points[key]) not in held]

    def _through(self, key: str, point: Point, waiting: Sequence[str]) -> bool:
        if key in waiting:
            return False
        states = [t.state for t in self._of(point).get_trials(deepcopy=False) if t.user_attrs.get("point") == key]
        if not states:
            return time.monotonic() - self._absent_since.setdefault(key, time.monotonic()) > ABSENT_SECONDS
        return states[-1].is_finished()

    def settle(self, point: Point) -> tuple[dict[str, Any], Proposal | None]:
        """What a point means: a trial's levels are drawn, a winner's are those of the best trial.

        Raises:
            SweepError: No trial of the level was finished, so that nothing won.
        """
        if point.trial is not None:
            proposal = self.propose(point)
            return dict(proposal.levels), proposal
        found = self.winner(point.levels)
        if found is None:
            raise SweepError(f"a winner needs a finished trial, but {point.label} has none: see why they failed.")
        return found, None

    def watch(self, proposal: Proposal, epoch: int, metrics: Mapping[str, float]) -> None:
        """Tells the pruner how an epoch went.

        Raises:
            Pruned: The trial is to stop here.
        """
        curve = self._search.objectives[0].curve
        if self._search.pruner == Pruner.none or curve is None:
            return
        if curve not in metrics:
            raise SweepError(f"a pruner needs {curve} of every epoch, but runs log {', '.join(sorted(metrics))}.")
        if proposal.report(epoch, metrics[curve]):
            raise Pruned(f"after epoch {epoch}, at {curve} {metrics[curve]:.4g}: behind earlier trials")

    def propose(self, point: Point) -> Proposal:
        """Levels for a trial: those it had, where a worker before this one started it, or new ones."""
        study = self._of(point)
        begun = [t for t in study.get_trials(deepcopy=False) if t.user_attrs.get("point") == point.key]
        if begun and begun[-1].state == TrialState.RUNNING:
            trial = Trial(study, begun[-1]._trial_id)
        elif begun:
            study.enqueue_trial(begun[-1].params, user_attrs={"point": point.key})
            trial = study.ask()
        else:
            trial = study.ask()
            trial.set_user_attr("point", point.key)
        return Proposal(self._drawn(trial, point), trial)

    def _drawn(self, trial: Trial, point: Point) -> dict[str, Any]:
        levels: dict[str, Any] = {}
        for axis in self._search.axes:
            if axis.applies({**point.levels, **levels}):
                levels[axis.axis] = _suggest(trial, axis)
        trial.set_user_attr("levels", levels)
        return levels

    def tell(
        self, point: Point, proposal: Proposal, metrics: Mapping[str, float] | None, *, pruned: bool = False
    ) -> None:
        """What became of a trial; None where it diverged or failed: no score is made up for it."""
        if proposal.trial.storage.get_trial(proposal.trial._trial_id).state.is_finished():
            return
        study = self._of(point)
        if metrics is not None and not pruned:
            study.tell(proposal.trial, self.values(metrics))
        else:
            study.tell(proposal.trial, state=TrialState.PRUNED if pruned else TrialState.FAIL)

    def values(self, metrics: Mapping[str, float]) -> list[float]:
        """The objectives' values.

        Raises:
            SweepError: A run has no such metric.
        """
        for objective in self._search.objectives:
            if objective.metric not in metrics:
                there = ", ".join(sorted(metrics))
                raise SweepError(f"objective must be a metric that runs log, got {objective.metric}; they log {there}.")
        return [metrics[objective.metric] for objective in self._search.objectives]

    def winner(self, levels: Mapping[str, Any]) -> dict[str, Any] | None:
        """The levels of the best trial beside these; None where no trial was finished."""
        study = self._of(Point(levels, 0))
        done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if not done:
            return None
        sign = 1 if self._search.objectives[0].maximize else -1
        best = max(done, key=lambda trial: (sign * trial.values[0], -trial.number))
        return dict(best.user_attrs["levels"])

    def _of(self, point: Point) -> optuna.Study:
        name = "/".join([self._name, "search", *(f"{axis}={level}" for axis, level in point.levels.items())])
        study = self._studies.get(name)
        if study is None:
            kinds = optuna.study.StudyDirection
            directions = [kinds.MAXIMIZE if each.maximize else kinds.MINIMIZE for each in self._search.objectives]
            study = optuna.create_study(
                storage=self._storage,
                study_name=name
                if len(name) < 500
                else f"{name[:400]}…{hashlib.sha256(name.encode()).hexdigest()[:16]}",
                directions=directions,
                load_if_exists=True,
                pruner=_pruner(self._search),
            )
            self._studies[name] = study
        study.sampler = _sampler(self._search, f"{self._name}{point.key}")
        return study


def _level(point: Point) -> str:
    return json.dumps(point.levels)


def _suggest(trial: Trial, axis: Searched) -> Any:
    if axis.levels:
        shown = {_shown(level): level for level in axis.levels}
        return shown[trial.suggest_categorical(axis.axis, list(shown))]
    if axis.whole:
        return trial.suggest_int(axis.axis, int(axis.low), int(axis.high), step=int(axis.step or 1), log=axis.log)
    return trial.suggest_float(axis.axis, axis.low, axis.high, step=axis.step, log=axis.log)


def _shown(level: Any) -> Any:
    """A level as Optuna can keep it: what is no scalar as text."""
    return level if isinstance(level, str | int | float | bool | None) else json.dumps(level)


def _sampler(search: Search, point: str) -> BaseSampler:
    """Seeded by the point: workers draw apart, and the same search in one process draws the same."""
    seed = int(hashlib.sha256(point.encode()).hexdigest()[:8], 16)
    first = max(2, min(10, search.trials // 3))
    samplers: dict[Sampler, Callable[[], BaseSampler]] = {
        Sampler.random: lambda: RandomSampler(seed=seed),
        Sampler.tpe: lambda: TPESampler(
            seed=seed, n_startup_trials=first, multivariate=True, group=True, constant_liar=len(search.objectives) == 1
        ),
        Sampler.nsga2: lambda: NSGAIISampler(seed=seed, population_size=max(4, min(50, search.trials // 4))),
        Sampler.cmaes: lambda: CmaEsSampler(seed=seed, n_startup_trials=first, warn_independent_sampling=False),
    }
    return samplers[search.sampler]()


def _pruner(search: Search) -> optuna.pruners.BasePruner:
    pruners: dict[Pruner, Callable[[], optuna.pruners.BasePruner]] = {
        Pruner.none: optuna.pruners.NopPruner,
        Pruner.median: lambda: optuna.pruners.MedianPruner(max(2, min(5, search.trials // 4)), n_warmup_steps=2),
        Pruner.halving: optuna.pruners.SuccessiveHalvingPruner,
        Pruner.hyperband: lambda: optuna.pruners.HyperbandPruner(max_resource=search.epochs),
    }
    return pruners[search.pruner]()
