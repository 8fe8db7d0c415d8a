"""What is said above and below a table: what was asked, under which budget and rule, and how the runs ended."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ablate.escaping import sentence
from ablate.report.table import equal_compute
from ablate.report.table.marks import ON_TEST, UNFINISHED
from ablate.report.table.numbers import significant
from ablate.report.table.runs import Attempt, point_name, recorded
from ablate.report.table.table import ALPHA, RANK, Row, confidence, direction_words, label
from ablate.stats.estimates import mean_interval
from ablate.tracking.names import DIVERGED, FINISHED, REASON

_REASONS_SHOWN = 5
_SELECTED = {
    "best": "weights of the epoch with the best validation accuracy",
    "last": "weights of the last epoch",
    "test": "weights of the epoch with the best TEST accuracy, which flatters: no honest result",
}


def title(
    definition: Mapping[str, Any],
    runs: Sequence[Attempt],
    metric: str,
    *,
    alpha: float = ALPHA,
    higher_is_better: bool | None = True,
) -> str:
    """What was asked, what is in the cells, and under which budget and rule: a small budget is not to be overlooked."""
    cells = f"{label(metric)}, mean ± {confidence(alpha)} interval over seeds (Student's t)"
    cells += f"; {better}" if (better := direction_words(higher_is_better)) else ""
    asked = sentence(f"{definition['name']}: {definition.get('question', '')}".rstrip(": "))
    seeds = ", ".join(map(str, definition["seeds"]))
    if definition.get("foreign"):  # runs that others made: nobody recorded how
        return f"{asked}\n{cells}; {len(runs)} runs"
    parts = [
        cells,
        f"data {data(runs)}",
        _length(runs),
        f"seeds {seeds}" if len(definition["seeds"]) > 1 else f"seed {seeds}",
        _selected(runs, metric),
    ]
    return f"{asked}\n{'; '.join(parts)}"


def trained(runs: Sequence[Attempt]) -> str:
    """How long runs trained, and on how many images where they tell."""
    images = sorted(
        {int(count) for run in runs if (count := run.record.get(equal_compute.IMAGES, 0)) and count == count}
    )
    return f"{_length(runs)}{f' of {span(images)} images' if images else ''}"


def span(values: Sequence[int]) -> str:
    """Counts in rising order as people read them: one, or the first to the last."""
    return " to ".join(f"{value:,}" for value in dict.fromkeys((values[0], values[-1])))


def _selected(runs: Sequence[Attempt], metric: str) -> str:
    if metric == equal_compute.METRIC:
        return "weights of the epoch that is read, none selected"
    return " or ".join(_SELECTED.get(rule, rule) for rule in recorded(runs, "train.select")) or "no run yet"


def _length(runs: Sequence[Attempt]) -> str:
    """How long a run trained: epochs, or seconds where time ended it."""
    times = [time for time in recorded(runs, "train.seconds") if time != "null"]
    if times:
        return f"{' or '.join(times)} s of training steps"
    epochs = _values(runs, "train.epochs")
    return f"{epochs} epoch{'' if epochs == '1' else 's'}{_cooldown(runs)}"


def _cooldown(runs: Sequence[Attempt]) -> str:
    """What comes on top of the epochs, where anything does."""
    extra = recorded(runs, "train.cooldown_epochs")
    return f" + {' or '.join(extra)} of cooldown" if set(extra) - {"0"} else ""


def _values(runs: Sequence[Attempt], name: str) -> str:
    return " or ".join(recorded(runs, name)) or "?"


def data(runs: Sequence[Attempt]) -> str:
    """The sources, and for local files their last name, if it says more: the full path is the reader's own affair."""
    names = (
        (run.budget.get("data.source", "?"), run.budget.get("data.root", "null").rstrip("/").rpartition("/")[2])
        for run in runs
    )
    same = ("null", "", *dict.fromkeys(run.budget.get("data.source", "?") for run in runs))
    said = (s if root.replace("-", "_") in same else f"{s} {root}" for s, root in dict.fromkeys(names))
    return " or ".join(dict.fromkeys(said)) or "?"


def outcome_notes(rows: Sequence[Row], runs: Sequence[Attempt]) -> list[str]:
    """How many points ended how, the first reasons, and what the marks beside means say."""
    total: Counter[str] = Counter()
    for row in rows:
        total.update(row.outcomes)
    rest = [f"{total[name]} {name}" for name in (*RANK[1:], "not run") if total[name]]
    flatter = ": means are over finished runs, so a row with diverged ones looks better than it is"
    told = f"{total[FINISHED]} of {sum(total.values())} points finished" + "".join(f", {words}" for words in rest)
    notes = [told + flatter * bool(total[DIVERGED])]
    bad = [run for run in runs if run.reason and run.outcome != FINISHED]
    notes += [f"{point_name(run.point)} {run.outcome}: {run.reason.splitlines()[0]}" for run in bad[:_REASONS_SHOWN]]
    if len(bad) > _REASONS_SHOWN:
        notes.append(f"and {len(bad) - _REASONS_SHOWN} more, with their reasons in the tag {REASON}")
    if any(row.estimate is not None and row.estimate.n == 1 for row in rows):
        notes.append("a cell of one run has no interval: run more seeds before you compare")
    notes += _repeat_notes(runs)
    if any(row.unfinished for row in rows):
        notes.append(f"{UNFINISHED} read before the schedule had ended: a training of that length would do better")
    if any("test" in row.select for row in rows):
        notes.append(f"{ON_TEST} the test set chose the epoch (train.select=test): more than new images would give")
    return notes


def _repeat_notes(runs: Sequence[Attempt]) -> list[str]:
    """What repeats of one seed differ by: the part of the noise that is the machine's."""
    cells: dict[str, list[float]] = {}
    for run in runs:
        if run.outcome == FINISHED and run.value is not None:
            rest = [pair for pair in json.loads(run.point) if pair[0] != "repeat"]
            cells.setdefault(point_name(json.dumps(rest)), []).append(run.value)
    stds = [(name, len(several), mean_interval(several).std) for name, several in cells.items() if len(several) > 1]
    said = "a seed's repeats enter the mean as one"
    return [f"{n} repeats of {name}: standard deviation {significant(std or 0.0, 2)}; {said}" for name, n, std in stds]
