"""Runs -> the table of a sweep; reads records alone, imports nothing heavy. `rendering` writes it out."""

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ablate import compute, searches, tracking
from ablate.audit import EPOCHS, Side, audit
from ablate.records import Curves, Records
from ablate.rendering import ON_TEST, UNFINISHED
from ablate.rendering import Format as Format
from ablate.rendering import render as render
from ablate.stats import best_of, mean_interval
from ablate.table import COSTS, RANK, Outcome, ReportError, Row, Table, label
from ablate.table import METRIC as METRIC
from ablate.tracking import StudyRecord, TrackingSpec

if TYPE_CHECKING:
    import pandas as pd

    from ablate.audit import Difference
    from ablate.contrasts import Analysis

_REASONS_SHOWN = 5


@dataclass(frozen=True)
class Run:
    """The attempt that counts for a point.

    Attributes:
        value: The metric; None where the run has none.
        cost: ``cost.*`` metrics, by the name after the dot.
        budget: Parameters that belong in the table's title.
        record: All that is recorded of it, in the columns of ``tracking.read_runs``.
    """

    point: str
    run_id: str
    outcome: Outcome
    value: float | None
    reason: str
    cost: Mapping[str, int]
    budget: Mapping[str, str]
    record: Mapping[str, Any] = field(default_factory=dict, repr=False)


def report_study(
    where: TrackingSpec,
    name: str,
    format: Format | str = "text",
    *,
    study: str | None = None,
    margin: float | None = None,
) -> str:
    """The table of a sweep, from the tracking store alone.

    Args:
        where: The tracking store.
        name: The sweep's name, as in ``+sweep=name``.
        format: ``text``, ``md`` or ``csv``.
        study: One study of that name; None takes the one that ran last.
        margin: Smallest effect of interest, in the metric's unit; without one, nothing is called equivalent.

    Raises:
        ReportError: The store knows no such study.
        TrackingError: The store cannot be read.
    """
    chosen, others = choose(where, name, study)
    frame, definition = searches.rows(tracking.read_runs(where, study=chosen.study), chosen.definition)
    table = report_table(frame, definition, margin=margin)
    return render(table, format, [*definition.get("notes", []), *_whereabouts(where, chosen, others)])


def report_records(
    records: Records,
    format: Format | str = "text",
    *,
    metric: str = METRIC,
    margin: float | None = None,
    at: str | None = None,
    images: int | None = None,
) -> str:
    """The table of a study that was read from a file or made of somebody else's runs.

    Args:
        records: The study.
        format: See ``render``.
        metric: The metric in the cells.
        margin: Smallest effect of interest, in the metric's unit; without one, nothing is called equivalent.
        at: Compute at which the validation curves are read instead: ``epoch:3``, ``macs:1e12`` or ``seconds:60``.
        images: Training images of an epoch, for runs that do not record it.

    Raises:
        ReportError: ``at`` is something else, or the runs do not say enough to read them there.
    """
    table, notes = records_table(records, metric=metric, margin=margin, at=at, images=images)
    return render(table, format, notes)


def records_table(
    records: Records,
    *,
    metric: str = METRIC,
    margin: float | None = None,
    at: str | None = None,
    images: int | None = None,
) -> tuple[Table, list[str]]:
    """What ``report_records`` writes: the table, and notes for below it."""
    frame, definition = searches.rows(records.frame, records.definition)
    notes = list(definition.get("notes", []))
    if at is not None:
        if definition.get("foreign"):
            raise ReportError("at= reads the curves of runs of ours, got runs that others made: they have none here.")
        budget = compute.parse(at)
        frame, more = compute.read_at(frame, records.curves, budget, images=images)
        metric, notes = compute.METRIC, [*notes, *more]
    table = report_table(frame, definition, metric=metric, margin=margin, curves=records.curves)
    started = f", started {records.started}" if records.started else ""
    return table, [*notes, f"study {records.study}{started}, from {records.source}"]


def choose(where: TrackingSpec, name: str, study: str | None = None) -> tuple[StudyRecord, list[StudyRecord]]:
    """The study of a name that ran last, or the one that is named whole, and the others of that name.

    Raises:
        ReportError: The store knows no such study.
        TrackingError: The store cannot be read.
    """
    known = tracking.list_studies(where)
    mine = [record for record in known if record.definition.get("name") == name or record.study == name]
    chosen = next((record for record in mine if study in (None, record.study)), None)
    if chosen is None:
        names = sorted({str(record.definition.get("name")) for record in known})
        there = f"it has {', '.join(names)}" if names else "it has none yet: run python -m ablate +sweep=pe_type"
        uri = tracking.redact(where.resolved_uri())
        raise ReportError(
            f"report needs a study that {uri} (experiment {where.experiment}) holds, got {name!r}; {there}."
        )
    return chosen, [record for record in mine if record is not chosen]


def _whereabouts(where: TrackingSpec, chosen: StudyRecord, others: Sequence[StudyRecord]) -> list[str]:
    """Where the records lie and how to open them, and which studies of the name there are besides."""
    uri = tracking.redact(where.resolved_uri())
    notes = [
        f"study {chosen.study}, started {chosen.started:%Y-%m-%d %H:%M} UTC, in {uri}, experiment {where.experiment}",
        f"artifacts (config, model, test predictions) of each run: {chosen.artifacts}",
        f"MLflow UI: {tracking.ui_hint(where, chosen.experiment_id, chosen.view)}",
    ]
    for other in others:
        count = f"{other.finished} of {other.definition.get('points', '?')} points"
        notes.append(f"also of this name: {other.study}, last active {other.last:%Y-%m-%d %H:%M} UTC, {count}")
    return notes


# ---------------------------------------------------------------------------------------------------- runs -> table


def report_table(
    frame: "pd.DataFrame",
    definition: Mapping[str, Any],
    *,
    metric: str = METRIC,
    margin: float | None = None,
    curves: Curves | None = None,
) -> Table:
    """Mean and interval per combination of levels, and verdicts on them.

    Args:
        frame: Runs of one study, in the columns of ``tracking.read_runs``; several attempts at a point count once.
        definition: What the sweep recorded: ``name``, ``question``, ``axes`` (axis -> levels), ``seeds``, ``points``,
            and where they are not every combination, ``combinations``: each row's levels, in the order of the axes.
        metric: The metric in the cells.
        margin: Smallest effect of interest, in the metric's unit.
        curves: Of these runs, where they are at hand: they tell the epochs of older runs, which do not record them.
    """
    runs = counted(attempts(_with_epochs(frame, curves or {}), metric))
    by_levels: dict[str, list[Run]] = {}
    for run in runs:
        levels = dict(json.loads(run.point))
        by_levels.setdefault(_key([levels.get(axis) for axis in definition["axes"]]), []).append(run)
    planned = definition.get("runs_per_row", len(definition["seeds"]))
    rows = [_row(levels, by_levels.get(_key(levels), []), planned) for levels in _combinations(definition, by_levels)]
    notes, factors = _outcome_notes(rows, runs), _short(definition["axes"])
    analysis = _analysis(definition, runs, factors, metric, margin)
    audit = _audit(definition, runs, factors, analysis) if analysis else []
    return Table(_title(definition, runs, metric), factors, metric, rows, notes, analysis, audit)


def _with_epochs(frame: "pd.DataFrame", curves: Curves) -> "pd.DataFrame":
    """The epochs that runs really trained, by their curves where they do not record it."""
    if EPOCHS in frame or "run_id" not in frame:
        return frame
    lengths = [len(curves.get(run_id, {}).get("train/loss", ())) or None for run_id in frame["run_id"]]
    return frame.assign(**{EPOCHS: lengths}) if any(lengths) else frame


def _audit(
    definition: Mapping[str, Any], runs: Sequence[Run], factors: Sequence[str], analysis: "Analysis"
) -> list["Difference"]:
    """Both sides of each contrast, run by run."""
    axes = list(definition["axes"])
    names = dict(zip(factors, ([axis] for axis in axes), strict=True))
    zipped = definition.get("method") == "zip"
    cells: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        shown = tuple(tracking.param_text(dict(json.loads(run.point)).get(axis)) for axis in axes)
        cells.setdefault((", ".join(shown),) if zipped else shown, []).append(run)
    if zipped:
        names, factors = {" + ".join(factors): axes}, [" + ".join(factors)]
    sides = {levels: Side(_by_chance(runs), Counter(run.outcome for run in runs)) for levels, runs in cells.items()}
    pairs = []
    for each in analysis.contrasts:
        at = [{**each.at, each.factor: level} for level in (each.level, each.baseline)]
        first, second = (sides[tuple(levels[factor] for factor in factors)] for levels in at)
        pairs.append((first, second))
    declared = ["train.epochs"] if definition.get("budget") in ("macs", "seconds") else []
    return audit(analysis.contrasts, pairs, names, declared=declared)


def _by_chance(runs: Iterable[Run]) -> dict[tuple[Any, Any], Mapping[str, Any]]:
    """Seed and repeat -> the run, of those in the mean."""
    points = [(dict(json.loads(run.point)), run) for run in runs if run.outcome == "finished" and run.value is not None]
    return {(point.get("seed"), point.get("repeat")): run.record for point, run in points}


def _analysis(
    definition: Mapping[str, Any], runs: Sequence[Run], factors: Sequence[str], metric: str, margin: float | None
) -> "Analysis | None":
    """Finished runs and diverged ones, which have an outcome and no value, by their levels as the table shows them."""
    if "baseline" not in definition:
        return None
    from ablate import findings
    from ablate.contrasts import Observation

    observations = []
    for run in runs:
        levels = dict(json.loads(run.point))
        value = run.value if run.outcome == "finished" else None
        if value is not None or run.outcome == "diverged":
            shown = tuple(tracking.param_text(levels.get(axis)) for axis in definition["axes"])
            observations.append(Observation(shown, int(levels["seed"]), float("nan") if value is None else value))
    place = [[tracking.param_text(level) for level in levels] for levels in definition["axes"].values()]
    observations.sort(key=lambda each: [at.index(level) for at, level in zip(place, each.levels, strict=True)])
    baseline = [tracking.param_text(definition["baseline"][axis]) for axis in definition["axes"]]
    better = not metric.endswith("loss")
    return findings.find(observations, factors, definition, baseline, margin=margin, higher_is_better=better)


def attempts(frame: "pd.DataFrame", metric: str = METRIC) -> list[Run]:
    """The runs that belong to a point of the study, oldest first."""
    if "tags.ablate.point" not in frame:
        return []
    rows = frame[frame["tags.ablate.point"].notna()].to_dict("records")
    return [_run(row, metric) for row in rows if row.get("tags.ablate.status") != "superseded"]


def _run(row: Mapping[str, Any], metric: str) -> Run:
    params = {key.removeprefix("params."): value for key in _BUDGET if isinstance(value := row.get(key), str)}
    costs = {name: _metric(row, f"cost.{name}") for name in COSTS}
    reason = row.get("tags.ablate.reason")
    return Run(
        point=row["tags.ablate.point"],
        run_id=row["run_id"],
        outcome=_outcome(row),
        value=_metric(row, metric),
        reason=reason if isinstance(reason, str) else "",
        cost={name: int(value) for name, value in costs.items() if value is not None},
        budget=params,
        record=row,
    )


def _metric(row: Mapping[str, Any], name: str) -> float | None:
    """A frame has NaN where a run has no such metric."""
    value = row.get(f"metrics.{name}")
    return None if value is None or value != value else float(value)


def _outcome(row: Mapping[str, Any]) -> Outcome:
    """By our own tag; by MLflow's status where a run was ended from outside."""
    status = row.get("tags.ablate.status")
    ended: dict[str, Outcome] = {"FAILED": "failed", "KILLED": "killed"}
    if status == "running" and row["status"] in ended:
        return ended[row["status"]]
    return next((outcome for outcome in RANK if outcome == status), "running")


def counted(runs: Iterable[Run]) -> list[Run]:
    """One run a point: of several attempts the one with the best outcome, the latest of equals."""
    best: dict[str, Run] = {}
    for run in runs:
        present = best.get(run.point)
        if present is None or RANK.index(run.outcome) <= RANK.index(present.outcome):
            best[run.point] = run
    return list(best.values())


def _row(levels: Sequence[Any], runs: Sequence[Run], planned: int) -> Row:
    finished = [run for run in runs if run.outcome == "finished" and run.value is not None]
    outcomes: Counter[str] = Counter(run.outcome for run in runs)
    values = list(by_seed(finished).values())
    return Row(
        levels=tuple(map(tracking.param_text, levels)),
        estimate=mean_interval(values) if values else None,
        cost={name: sorted({run.cost[name] for run in runs if name in run.cost}) for name in COSTS},
        outcomes={**outcomes, "not run": max(0, planned - len(runs))},
        run_ids=tuple(run.run_id for run in finished),
        select=tuple(_distinct(finished, "train.select")),
        best_of_4=best_of(values, 4) if len(values) >= 4 else None,
        read=tuple(dict.fromkeys(read for run in finished if isinstance(read := run.record.get(compute.READ), str))),
        unfinished=any(run.record.get(compute.UNFINISHED) == "true" for run in finished),
    )


def by_seed(runs: Iterable[Run]) -> dict[int, float]:
    """Seed -> the mean of its repeats: a repeat is no further draw of what the interval is over."""
    values: dict[int, list[float]] = {}
    for run in runs:
        if run.value is not None:
            values.setdefault(dict(json.loads(run.point)).get("seed", 0), []).append(run.value)
    return {seed: sum(several) / len(several) for seed, several in values.items()}


def _repeat_notes(runs: Sequence[Run]) -> list[str]:
    """What repeats of one seed differ by: the part of the noise that is the machine's."""
    cells: dict[str, list[float]] = {}
    for run in runs:
        if run.outcome == "finished" and run.value is not None:
            rest = [pair for pair in json.loads(run.point) if pair[0] != "repeat"]
            cells.setdefault(_name(json.dumps(rest)), []).append(run.value)
    stds = [(name, len(several), mean_interval(several).std) for name, several in cells.items() if len(several) > 1]
    said = "a seed's repeats enter the mean as one"
    return [f"{n} repeats of {name}: standard deviation {std:.3f}; {said}" for name, n, std in stds]


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


def _short(axes: Iterable[str]) -> tuple[str, ...]:
    """Axes by their last word, where that names one of them only."""
    words = [axis.rpartition(".")[2] for axis in axes]
    return tuple(word if words.count(word) == 1 else axis for word, axis in zip(words, axes, strict=True))


# ----------------------------------------------------------------------------------------------- what is said about it


_BUDGET = (
    *("params.data.source", "params.data.root"),
    *("params.train.epochs", "params.train.seconds", "params.train.cooldown_epochs", "params.train.select"),
)
_SELECTED = {
    "best": "weights of the epoch with the best validation accuracy",
    "last": "weights of the last epoch",
    "test": "weights of the epoch with the best TEST accuracy, which flatters: no honest result",
}


def _title(definition: Mapping[str, Any], runs: Sequence[Run], metric: str) -> str:
    """What was asked, what is in the cells, and under which budget and rule: a small budget is not to be overlooked."""
    asked = f"{definition['name']}: {definition.get('question', '')}".rstrip(": ")
    seeds = ", ".join(map(str, definition["seeds"]))
    if definition.get("foreign"):  # runs that others made: nobody recorded how
        return f"{asked}\n{label(metric)}, mean ± 95 % interval over seeds (Student's t); {len(runs)} runs"
    parts = [
        f"{label(metric)}, mean ± 95 % interval over seeds (Student's t)",
        f"data {_data(runs)}",
        _length(runs),
        f"seeds {seeds}" if len(definition["seeds"]) > 1 else f"seed {seeds}",
        _selected(runs, metric),
    ]
    return f"{asked}\n{'; '.join(parts)}"


def _selected(runs: Sequence[Run], metric: str) -> str:
    if metric == compute.METRIC:
        return "weights of the epoch that is read, none selected"
    return " or ".join(_SELECTED.get(rule, rule) for rule in _distinct(runs, "train.select")) or "no run yet"


def _length(runs: Sequence[Run]) -> str:
    """How long a run trained: epochs, or seconds where time ended it."""
    times = [time for time in _distinct(runs, "train.seconds") if time != "null"]
    if times:
        return f"{' or '.join(times)} s of training steps"
    return f"{_values(runs, 'train.epochs')} epochs{_cooldown(runs)}"


def _cooldown(runs: Sequence[Run]) -> str:
    """What comes on top of the epochs, where anything does."""
    extra = _distinct(runs, "train.cooldown_epochs")
    return f" + {' or '.join(extra)} of cooldown" if set(extra) - {"0"} else ""


def _distinct(runs: Iterable[Run], name: str) -> list[str]:
    return list(dict.fromkeys(run.budget[name] for run in runs if name in run.budget))


def _values(runs: Sequence[Run], name: str) -> str:
    return " or ".join(_distinct(runs, name)) or "?"


def _data(runs: Sequence[Run]) -> str:
    """The sources, and for local files their last name: the full path is the reader's own affair."""
    names = (
        (run.budget.get("data.source", "?"), run.budget.get("data.root", "null").rstrip("/").rpartition("/")[2])
        for run in runs
    )
    return " or ".join(s if root == "null" else f"{s} {root}" for s, root in dict.fromkeys(names)) or "?"


def _outcome_notes(rows: Sequence[Row], runs: Sequence[Run]) -> list[str]:
    total: Counter[str] = Counter()
    for row in rows:
        total.update(row.outcomes)
    rest = [f"{total[name]} {name}" for name in (*RANK[1:], "not run") if total[name]]
    notes = [f"{total['finished']} of {sum(total.values())} points finished" + "".join(f", {words}" for words in rest)]
    bad = [run for run in runs if run.reason and run.outcome != "finished"]
    notes += [f"{_name(run.point)} {run.outcome}: {run.reason.splitlines()[0]}" for run in bad[:_REASONS_SHOWN]]
    if len(bad) > _REASONS_SHOWN:
        notes.append(f"and {len(bad) - _REASONS_SHOWN} more, with their reasons in the tag ablate.reason")
    if any(row.estimate is not None and row.estimate.n == 1 for row in rows):
        notes.append("a cell of one run has no interval: run more seeds before you compare")
    notes += _repeat_notes(runs)
    if any(row.unfinished for row in rows):
        notes.append(f"{UNFINISHED} read before the schedule had ended: a training of that length would do better")
    if any("test" in row.select for row in rows):
        notes.append(f"{ON_TEST} the test set chose the epoch (train.select=test): more than new images would give")
    if any(row.outcomes.get("diverged") for row in rows):
        notes.append("means are over finished runs: a row with diverged ones looks better than it is")
    return notes


def _name(point: str) -> str:
    return " ".join(f"{axis}={tracking.param_text(level)}" for axis, level in json.loads(point))
