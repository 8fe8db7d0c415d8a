"""What the two sides of a contrast differ in besides the factor that is compared: flagged, never corrected for.

Compared are the leaves of the spec, how the weights were selected, the epochs that were really trained, the digests of
data and sources, versions of what computes, the machine, and how the runs ended. Seeds are chance, and what only says
where or with how many hands (`identity.LEFT_OUT`) changes nothing.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ablate.identity import LEFT_OUT
from ablate.report.sources.records import is_blank
from ablate.stats.contrasts import Contrast
from ablate.tracking.names import (
    BACKEND,
    COMMIT,
    CPU,
    DATA_DIGEST,
    DIRTY,
    EPOCHS_TRAINED,
    PARAM_COLUMN,
    PLATFORM,
    SOURCES,
    VERSION,
    metric_column,
    param_column,
    tag_column,
)

EPOCHS = metric_column(EPOCHS_TRAINED)
_SHOWN = 3

_TAGS = {
    tag_column(SOURCES): "sources",
    tag_column(DATA_DIGEST): "data digest",
    tag_column(DIRTY): "uncommitted changes",
    tag_column(BACKEND): "backend",
    tag_column(CPU): "processor",
    tag_column(PLATFORM): "platform",
}
_LIBRARIES = ("keras", "tensorflow", "jax", "numpy", "python", "ablate")
_COMMIT = tag_column(COMMIT)
_LENGTH = ("train.epochs", "train.cooldown_epochs", "train.patience")
_DERIVED = {
    "model.dim": ("model.key_dim",),
    "model.heads": ("model.key_dim",),
    "model.dropout": ("model.token_dropout", "model.projection_dropout"),
}
"""Leaves that follow another one while they are not set themselves."""
_GROUPS = {"recipe": ("train", "augment", "data")}


@dataclass(frozen=True)
class Difference:
    """One thing in which two sides differ and should not.

    Attributes:
        kind: What differs: a leaf under its config name, or words.
        treatment: Values on the treatment's side, for people.
        baseline: Values on the baseline's side, for people.
        contrasts: Indices of the contrasts that the difference touches.
    """

    kind: str
    treatment: str
    baseline: str
    contrasts: tuple[int, ...]


@dataclass(frozen=True)
class Side:
    """The runs of one combination of levels.

    Attributes:
        runs: Seed and repeat -> the run, of those behind the mean, in the columns of ``tracking.read_runs``.
        outcomes: Outcome -> number of runs, those without a result among them.
    """

    runs: Mapping[tuple[Any, Any], Mapping[str, Any]]
    outcomes: Mapping[str, int]


def audit(
    contrasts: Sequence[Contrast],
    sides: Sequence[tuple[Side, Side]],
    factors: Mapping[str, Sequence[str]],
    *,
    declared: Iterable[str] = (),
) -> list[Difference]:
    """What should not differ and does.

    Args:
        contrasts: Contrasts of one analysis.
        sides: Treatment and baseline of each contrast.
        factors: Factor as the contrasts name it -> its axes' config names.
        declared: Leaves that the sweep itself sets from point to point, such as epochs at equal training MACs.

    Returns:
        Each difference once, with all contrasts it touches.
    """
    every = {id(run): run for pair in sides for side in pair for run in side.runs.values()}  # a baseline has many pairs
    names = _columns(every.values())
    found: dict[tuple[str, str, str], list[int]] = {}
    for number, (contrast, (treatment, baseline)) in enumerate(zip(contrasts, sides, strict=True)):
        entailed = _entailed([*factors[contrast.factor], *declared])
        for kind, values in _differences(treatment, baseline, names, entailed):
            found.setdefault((kind, *values), []).append(number)
    return [Difference(*what, tuple(where)) for what, where in found.items()]


def lines(differences: Sequence[Difference], contrasts: Sequence[Contrast]) -> list[str]:
    """One line for each kind of difference: what it is, between which levels, and in which contrasts."""
    kinds: dict[str, list[Difference]] = {}
    for each in differences:
        kinds.setdefault(each.kind, []).append(each)
    return [_line(kind, several, contrasts) for kind, several in kinds.items()]


def _line(kind: str, several: Sequence[Difference], contrasts: Sequence[Contrast]) -> str:
    said = [f"{one.treatment} against {one.baseline}" for one in several[:_SHOWN]]
    if len(several) > _SHOWN:
        said.append(f"{len(several) - _SHOWN} more pairs")
    touched = sorted({index for one in several for index in one.contrasts})
    if len(touched) == len(contrasts):
        where = "all contrasts" if len(contrasts) > 1 else "the contrast"
    else:
        shown = [_name(contrasts[index]) for index in touched[:_SHOWN]]
        where = ", ".join([*shown, *([f"{len(touched) - _SHOWN} more"] if len(touched) > _SHOWN else [])])
    return f"not only the factor differs: {kind} {'; '.join(said)} ({where})"


def _name(contrast: Contrast) -> str:
    at = ", ".join(contrast.at.values())
    return f"{contrast.level} against {contrast.baseline}" + (f" at {at}" if at else "")


# ---------------------------------------------------------------------------------------------------- what is compared


_NAMES = {**_TAGS, _COMMIT: "commit", EPOCHS: "epochs trained", param_column("train.select"): "selection rule",
          **{tag_column(f"{VERSION}{name}"): f"version of {name}" for name in _LIBRARIES}}  # fmt: skip


def _columns(runs: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Columns to compare, those alike in all runs left out, and what people call them."""
    runs = list(runs)
    total = len(runs)
    heads = [column for column in set().union(*runs) if column.startswith(PARAM_COLUMN) or column in _NAMES]
    counts = {column: Counter(run.get(column) for run in runs) for column in heads}
    values = {
        column: known for column in heads if (known := {value for value in counts[column] if not is_blank(value)})
    }
    present = Counter({column: sum(counts[column][value] for value in known) for column, known in values.items()})
    names = {column: _NAMES.get(column, column.removeprefix(PARAM_COLUMN)) for column in sorted(values)}
    if present[tag_column(SOURCES)] == total:
        names.pop(_COMMIT, None)  # which also moves with the documentation
    return {
        column: name
        for column, name in names.items()
        if not _chance(name) and (len(values[column]) > 1 or present[column] < total)
    }


def _chance(name: str) -> bool:
    return name in LEFT_OUT or name == "repeat" or name.startswith("seeds.")


def _entailed(axes: Sequence[str]) -> Callable[[str], bool]:
    """Whether a column is what axes set, or follows from it."""
    leaves = {*axes, *(leaf for axis in axes for leaf in _DERIVED.get(axis, ()))}
    heads = [f"{group}." for axis in axes for group in _GROUPS.get(axis, (axis,))]
    heads += [f"model.options.{axis.removeprefix('model.')}." for axis in axes if axis.startswith("model.")]
    data = {axis for axis in axes if axis.partition(".")[0] in ("data", "recipe")}
    follows = {EPOCHS: leaves & {*_LENGTH, "train", "recipe"}, tag_column(DATA_DIGEST): data}

    def entailed(column: str) -> bool:
        leaf = column.removeprefix(PARAM_COLUMN)
        return bool(follows.get(column)) or leaf in leaves or any(leaf.startswith(head) for head in heads)

    return entailed


# --------------------------------------------------------------------------------------------------------- two sides


def _differences(
    treatment: Side, baseline: Side, names: Mapping[str, str], entailed: Callable[[str], bool]
) -> list[tuple[str, tuple[str, str]]]:
    found = []
    for column, name in names.items():
        if not entailed(column) and _unlike(treatment, baseline, column):
            found.append((name, (_said(treatment, column), _said(baseline, column))))
    seeds = [sorted({seed for seed, _ in side.runs}) for side in (treatment, baseline)]
    if treatment.runs and baseline.runs and seeds[0] != seeds[1]:
        found.append(("seeds", (_listed(seeds[0]), _listed(seeds[1]))))
    ended = [{name: count for name, count in side.outcomes.items() if count} for side in (treatment, baseline)]
    if ended[0] != ended[1]:
        found.append(("status", (_counted(ended[0]), _counted(ended[1]))))
    return found


def _unlike(treatment: Side, baseline: Side, column: str) -> bool:
    """Whether runs of one seed differ, or what there is on one side at all from what there is on the other."""
    sides = [{seed: run.get(column) for seed, run in side.runs.items()} for side in (treatment, baseline)]
    sides = [{seed: None if is_blank(value) else value for seed, value in side.items()} for side in sides]
    if not sides[0] or not sides[1]:
        return False
    shared = sides[0].keys() & sides[1].keys()
    return set(sides[0].values()) != set(sides[1].values()) or any(sides[0][key] != sides[1][key] for key in shared)


def _said(side: Side, column: str) -> str:
    values = dict.fromkeys(_word(run.get(column), column) for run in side.runs.values())
    return _listed(list(values))


def _word(value: Any, column: str) -> str:
    if is_blank(value):
        return "not recorded"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)[:8] if column.endswith((".sources", ".digest", ".commit")) else str(value)


def _listed(values: Sequence[Any]) -> str:
    words = [str(value) for value in sorted(values, key=str)]
    return ", ".join(words) if len(words) <= _SHOWN else f"{', '.join(words[:_SHOWN])}, …"


def _counted(outcomes: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in outcomes.items()) or "no run"
