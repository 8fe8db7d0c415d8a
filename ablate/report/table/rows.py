"""Runs -> the table of a sweep; reads records alone, imports nothing heavy."""

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ablate import tracking
from ablate.design.sweep import RULE
from ablate.escaping import visible
from ablate.report.errors import ReportError
from ablate.report.sources.records import Curves, Records
from ablate.report.table import cautions, equal_compute, over_examples, searches
from ablate.report.table.analysis import METHODS, analyse_runs
from ablate.report.table.audit import EPOCHS, Difference, Side, audit
from ablate.report.table.captions import outcome_notes, title
from ablate.report.table.declared import declared
from ablate.report.table.notes import Detail
from ablate.report.table.percentages import cut_analysis, cut_estimate, is_percentage
from ablate.report.table.runs import Attempt, Sides, attempts, by_seed, counted, recorded
from ablate.report.table.table import ALPHA, COSTS, METRIC, Row, Table, more_is_better
from ablate.stats.contrasts import Analysis, Rule
from ablate.stats.crossed import Scope
from ablate.stats.design import Levels
from ablate.stats.divergence import MAX_DIVERGED
from ablate.stats.estimates import best_of, mean_interval
from ablate.stats.margins import usable
from ablate.tracking.names import DATA, FINISHED, TRAIN_LOSS, param_column, tag_column

if TYPE_CHECKING:
    import pandas as pd

_DATA = (param_column("data."), tag_column(DATA))


@dataclass(frozen=True)
class Reading:
    """How a study's runs are read.

    Attributes:
        metric: Name of the metric in the cells.
        margin: Smallest effect of interest, in the metric's unit; None goes by what the study declared, and without
            one nothing is called equivalent.
        at: Compute at which the validation curves are read instead: ``epoch:3``, ``macs:1e12`` or ``seconds:60``.
        images: Training images of an epoch, for runs that do not record it.
        alpha: Rate of false verdicts of the whole table, 0 to 0.5: intervals are of 1 - alpha. Smaller where runs are
            looked at more than once. None goes by what the study declared, else ``ALPHA``.
        higher_is_better: Whether more of the metric is better; None goes by its name, and a report with verdicts asks
            where that says nothing.
        blocks: Seeds are blocks: what differs between them, and is the same on both sides of a contrast, is taken out.
        max_diverged: Share of a side's runs, 0 to 1: where more diverged, the mean of the rest is too good to judge by.
        scope: Whom verdicts speak for: other seeds and other test images, where runs keep which images they got right,
            or other seeds alone. None goes by what the study declared, else the first.
        compare: Axes whose levels are compared, the others being where, by their names in the table or the whole ones;
            None goes by what the study declared, else all.
    """

    metric: str = METRIC
    margin: float | None = None
    at: str | None = None
    images: int | None = None
    alpha: float | None = None
    higher_is_better: bool | None = None
    blocks: bool = False
    max_diverged: float = MAX_DIVERGED
    scope: Scope | None = None
    compare: Sequence[str] | None = None

    def of(self, definition: Mapping[str, Any]) -> tuple["Reading", list[str]]:
        """This reading of a study, with what the study declared where this one says nothing.

        Returns:
            The reading, and a sentence for each thing in which it differs from what was declared.

        Raises:
            ReportError: ``compare`` names no axis of the study.
        """
        said = {key: getattr(self, key) for key in RULE}
        found, notes = declared(definition, said, short(definition["axes"]))
        if "scope" in found:
            found["scope"] = Scope(found["scope"])
        return replace(self, **found), notes

    @property
    def better(self) -> bool | None:
        """Whether more is better, as was said or else by the metric's name; None where neither says it."""
        return more_is_better(self.metric) if self.higher_is_better is None else self.higher_is_better

    @property
    def rule(self) -> Rule:
        """How its verdicts are made; up is taken for better where nobody knows, until a verdict depends on it."""
        alpha = ALPHA if self.alpha is None else self.alpha
        return Rule(self.margin, self.better is not False, alpha, self.blocks, max_diverged=self.max_diverged)


def records_table(records: Records, reading: Reading | None = None) -> tuple[Table, list[str]]:
    """What ``report_records`` writes: the table, and notes for below it."""
    reading = reading or Reading()
    frame, definition = searches.rows(records.frame, records.definition)
    notes = list(definition.get("notes", []))
    if reading.at is not None:
        if definition.get("foreign"):
            raise ReportError("at= reads the curves of runs of ours, got runs that others made: they have none here.")
        budget = equal_compute.parse(reading.at)
        frame, more = equal_compute.read_at(frame, records.curves, budget, images=reading.images)
        reading, notes = replace(reading, metric=equal_compute.METRIC), [*notes, *more]
    table = report_table(frame, definition, reading, curves=records.curves)
    started = f", started {records.started}" if records.started else ""
    return table, [*notes, Detail(f"study {records.study}{started}, from {records.source}")]


def report_table(
    frame: "pd.DataFrame",
    definition: Mapping[str, Any],
    reading: Reading | None = None,
    *,
    curves: Curves | None = None,
) -> Table:
    """Mean and interval per combination of levels, and verdicts on them.

    Args:
        frame: Runs of one study, in the columns of ``tracking.read_runs``; several attempts at a point count once.
        definition: What the sweep recorded: ``name``, ``question``, ``axes`` (axis -> levels), ``seeds``, ``points``,
            and where they are not every combination, ``combinations``: each row's levels, in the order of the axes.
        reading: How the runs are read; ``at`` was done before.
        curves: Curves of these runs, where they are at hand: they tell the epochs of older runs, which do not record
            them.

    Raises:
        ReportError: Alpha is out of range, ``compare`` names no axis, the margin that the reader gives is wider than
            results differ, seeds are no blocks, or nobody knows which way the metric is better.
    """
    given = (reading or Reading()).margin
    reading, otherwise = (reading or Reading()).of(definition)
    metric, rule, better = reading.metric, reading.rule, reading.better
    alpha, percent = rule.alpha, is_percentage(metric, definition)
    if not 0 < alpha < 0.5:
        raise ReportError(f"alpha must lie between 0 and 0.5, got {alpha:g}; 0.05 is usual.")
    if not 0 <= reading.max_diverged <= 1:
        raise ReportError(f"max_diverged must lie between 0 and 1, got {reading.max_diverged:g}; 0.2 is usual.")
    runs = counted(attempts(_with_epochs(frame, curves or {}), metric))
    if rule.blocks:
        _require_blocks(runs)
    by_levels: dict[str, list[Attempt]] = {}
    for run in runs:
        levels = dict(json.loads(run.point))
        by_levels.setdefault(_key([levels.get(axis) for axis in definition["axes"]]), []).append(run)
    planned = definition.get("runs_per_row", len(definition["seeds"]))
    rows = [
        _row(levels, by_levels.get(_key(levels), []), planned, alpha=alpha, better=better, percent=percent)
        for levels in _combinations(definition, by_levels)
    ]
    results = [run.value for run in runs if run.outcome == FINISHED and run.value is not None]
    cautions.require_margin(given, results, metric)
    margin, unit = usable(rule.margin, results)
    rule = replace(rule, margin=margin)
    notes, factors = [*otherwise, *unit, *outcome_notes(rows, runs)], short(definition["axes"])
    names, cells = _cells(definition, runs, factors)
    compared = cells if "baseline" in definition else {}  # else nobody asks for the images of thousands of runs
    known = over_examples.tested(compared, metric, foreign=bool(definition.get("foreign")))
    scope = reading.scope or Scope.population
    sampling = known.sampling(scope, blocks=rule.blocks)
    analysis = analyse_runs({**definition, "compare": reading.compare}, runs, factors, rule, sampling)
    if analysis is None and "baseline" in definition and definition.get("method", "grid") in METHODS:
        notes.append("nothing is compared: a verdict needs runs of at least two levels")
    audit: list[Difference] = []
    warned: list[str] = []
    if analysis is not None:
        if analysis.contrasts and better is None:
            raise ReportError(_WHICH_WAY.format(metric=visible(metric)))
        warned = [*cautions.unfinished(rows, definition), *definition.get("cautions", [])]
        notes += [] if analysis.contrasts else analysis.notes  # which are said with verdicts, where there are any
        places = _places(names, analysis)
        audit = _audit(definition, names, [(cells[one], cells[other]) for one, other in places], analysis)
        if definition.get("foreign"):
            notes += [_NOT_AUDITED] if analysis.contrasts else []
        analysis = over_examples.over_images(
            analysis, known, places, scope=scope, sampled=sampling is not None, alpha=alpha
        )
        analysis = cut_analysis(analysis) if percent else analysis
    head = title(definition, runs, metric, alpha=alpha, higher_is_better=better)
    return Table(head, factors, metric, rows, notes, analysis, audit, alpha, better, margin, warned)


_WHICH_WAY = (
    "higher_is_better must be given, since the name {metric} does not say which way it is better: add "
    "higher_is_better=true or higher_is_better=false."
)
_NOT_AUDITED = Detail(
    "not audited: these records hold no configuration, data or versions, so what else differs between the sides of a "
    "contrast is not known beyond seeds and how runs ended"
)


def _require_blocks(runs: Iterable[Attempt]) -> None:
    """Runs of one seed must share split, subset and data order, as far as their records tell."""
    seen: dict[Any, dict[str, Any]] = {}
    for run in runs:
        seed = dict(json.loads(run.point)).get("seed")
        data = {key: value for key, value in run.record.items() if key.startswith(_DATA)}
        first = seen.setdefault(seed, data)
        if differ := sorted(key for key in first.keys() & data.keys() if str(first[key]) != str(data[key])):
            raise ReportError(
                "blocks=true takes runs of one seed to share split, subset and data order, and those of seed "
                f"{seed} differ in {', '.join(key.partition('.')[2] for key in differ)}; leave out blocks=true."
            )


def _with_epochs(frame: "pd.DataFrame", curves: Curves) -> "pd.DataFrame":
    """The epochs that runs really trained, by their curves where they do not record it."""
    if EPOCHS in frame or "run_id" not in frame:
        return frame
    lengths = [len(curves.get(run_id, {}).get(TRAIN_LOSS, ())) or None for run_id in frame["run_id"]]
    return frame.assign(**{EPOCHS: lengths}) if any(lengths) else frame


def _cells(
    definition: Mapping[str, Any], runs: Sequence[Attempt], factors: Sequence[str]
) -> tuple[Mapping[str, Sequence[str]], Mapping[Levels, Sequence[Attempt]]]:
    """Each factor's axes, and the runs of each cell, by the levels that the analysis knows it by."""
    axes = list(definition["axes"])
    zipped = definition.get("method") == "zip"
    cells: dict[Levels, list[Attempt]] = {}
    for run in runs:
        shown = tuple(tracking.param_text(dict(json.loads(run.point)).get(axis)) for axis in axes)
        cells.setdefault((", ".join(shown),) if zipped else shown, []).append(run)
    if zipped:
        return {" + ".join(factors): axes}, cells
    return dict(zip(factors, ([axis] for axis in axes), strict=True)), cells


def _places(factors: Iterable[str], analysis: Analysis) -> list[tuple[Levels, Levels]]:
    """The cells of each contrast's treatment and of its baseline."""
    order = list(factors)
    at = [[{**each.at, each.factor: level} for level in (each.level, each.baseline)] for each in analysis.contrasts]
    return [(tuple(one[factor] for factor in order), tuple(other[factor] for factor in order)) for one, other in at]


def _audit(
    definition: Mapping[str, Any], names: Mapping[str, Sequence[str]], sides: Sequence[Sides], analysis: Analysis
) -> list[Difference]:
    """Both sides of each contrast, run by run."""
    cells = {id(runs): runs for pair in sides for runs in pair}  # a baseline has many pairs
    side = {key: Side(_by_chance(runs), Counter(run.outcome for run in runs)) for key, runs in cells.items()}
    pairs = [(side[id(first)], side[id(second)]) for first, second in sides]
    declared = ["train.epochs"] if definition.get("budget") in ("macs", "seconds") else []
    return audit(analysis.contrasts, pairs, names, declared=declared)


def _by_chance(runs: Iterable[Attempt]) -> dict[tuple[Any, Any], Mapping[str, Any]]:
    """Seed and repeat -> the run, of those in the mean."""
    points = [(dict(json.loads(run.point)), run) for run in runs if run.outcome == FINISHED and run.value is not None]
    return {(point.get("seed"), point.get("repeat")): run.record for point, run in points}


def _row(
    levels: Sequence[Any], runs: Sequence[Attempt], planned: int, *, alpha: float, better: bool | None, percent: bool
) -> Row:
    finished = [run for run in runs if run.outcome == FINISHED and run.value is not None]
    outcomes: Counter[str] = Counter(run.outcome for run in runs)
    values, sign = list(by_seed(finished).values()), -1 if better is False else 1
    several = len(values) >= 4 and better is not None
    estimate = mean_interval(values, confidence=1 - alpha) if values else None
    return Row(
        levels=tuple(map(tracking.param_text, levels)),
        estimate=cut_estimate(estimate) if estimate is not None and percent else estimate,
        cost={name: sorted({run.cost[name] for run in runs if name in run.cost}) for name in COSTS},
        outcomes={**outcomes, "not run": max(0, planned - len(runs))},
        run_ids=tuple(run.run_id for run in finished),
        select=tuple(recorded(finished, "train.select")),
        best_of_4=sign * best_of([sign * value for value in values], 4) if several else None,
        read=tuple(
            dict.fromkeys(read for run in finished if isinstance(read := run.record.get(equal_compute.READ), str))
        ),
        unfinished=any(run.record.get(equal_compute.UNFINISHED) == "true" for run in finished),
        ended=any(run.record.get(equal_compute.ENDED) == "true" for run in finished),
    )


def _key(levels: Iterable[Any]) -> str:
    return json.dumps(list(levels), separators=(",", ":"))


def _combinations(definition: Mapping[str, Any], seen: Iterable[str]) -> list[list[Any]]:
    """The table's rows. A sweep that does not say which it spans has every combination, if that is what it counts."""
    if "combinations" in definition:
        return [list(levels) for levels in definition["combinations"]]
    every = [list(levels) for levels in itertools.product(*definition["axes"].values())]
    if len(every) * len(definition["seeds"]) == definition.get("points", len(every) * len(definition["seeds"])):
        return every
    met = set(seen)
    return [levels for levels in every if _key(levels) in met]


def short(axes: Iterable[str]) -> tuple[str, ...]:
    """Axes by their last word, where that names one of them only."""
    words = [axis.rpartition(".")[2] for axis in axes]
    return tuple(word if words.count(word) == 1 else axis for word, axis in zip(words, axes, strict=True))
