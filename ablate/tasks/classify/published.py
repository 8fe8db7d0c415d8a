"""The paper's tables with our runs beside them: same rows, same columns, each number of ours traceable to its runs.

A run stands beside a published number where model, positional embedding, data set, image size and the use of
augmentation are the same. A difference is given only where recipe, epochs and selection are the same too, and the
published row was verified and is not contradicted; what a row lacks for that is said in its footnote. What was not run
stays blank.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from ablate import tracking
from ablate.config.compose import compose, to_config
from ablate.identity import LEFT_OUT
from ablate.models import zoo
from ablate.models.spec import ModelSpec
from ablate.report.sources.records import Records
from ablate.report.table import captions, searches
from ablate.report.table.percentages import cut_estimate
from ablate.report.table.runs import Attempt, attempts, by_seed, counted, recorded
from ablate.stats.estimates import Estimate, best_of, mean_interval
from ablate.tasks.classify import paper
from ablate.tasks.classify.published_numbers import (
    BEST_OF,
    COSTS,
    LABELS,
    NOTES,
    TITLES,
    Printed,
    columns,
    cost_images,
    printed,
)
from ablate.tasks.classify.spec import RunSpec
from ablate.tracking.names import FINISHED, param_column

_REGULARISERS = (
    *("dropout", "attention_dropout", "token_dropout", "projection_dropout", "head_dropout"),
    *("stochastic_depth", "drop_path_schedule"),
)
"""Leaves of a model that belong to its recipe."""
_FOLLOW = ("model.key_dim", "model.token_dropout", "model.projection_dropout", "model.activation", "model.options.")
"""Leaves of a model that follow from others where nobody sets them."""
_OF_RECIPE = {f"model.{name}" for name in _REGULARISERS}
_NOT_STRUCTURE = {*_OF_RECIPE, "model.weights", "model.weights_key"}
OUR_COSTS = {"M params": ("params", 1e6), "G MACs": ("macs", 1e9)}
"""Head of a column with costs -> our name of the cost, and the unit in which it is printed."""
_NATIVE = {
    **dict.fromkeys(("mnist", "mnist5k", "fashion_mnist"), (28, 28, 1)),
    **dict.fromkeys(("cifar10", "cifar100"), (32, 32, 3)),
    **dict.fromkeys(("imagenet", "flowers102"), (None, None, 3)),
}
"""Source -> (height, width, channels) of its images where a run sets no other, None where it must."""
_AGAINST = {
    paper.NO: "the published row is not verified",
    paper.CONTRADICTED: "a second source contradicts the published row",
    paper.DIFFERS: "two transcriptions of the published row differ",
}
_CHOSEN = {"best": "epoch chosen by validation", "last": "last epoch", "test": "epoch chosen by the TEST set"}


@dataclass(frozen=True)
class Ours:
    """Our runs beside one published number, or beside none.

    Attributes:
        estimate: Mean and interval over seeds, of the test top-1 in percent.
        best: Expected best of 4 runs, percent; None below 4 runs.
        difference: ``best`` minus the published value, percentage points; None unless all but chance is the same.
        differs: What is not as it was for the published number, a few words each.
        run_ids: Ids of the runs.
        study: Name of the study that the runs belong to.
        row: Levels of the runs, in the words of their sweep.
        data: Data sets that the runs were trained on, in words.
        trained: Length of a run, and its number of training images, in words.
        chosen: Rule by which the tested epoch was chosen, in words.
        cost: ``params`` and ``macs`` of the model, where the runs tell one number.
        images: Height, width and channels of the images that ``cost`` is counted at, as in ``28x28x1``; empty where
            the runs do not tell one size.
    """

    estimate: Estimate
    best: float | None
    difference: float | None
    differs: tuple[str, ...]
    run_ids: tuple[str, ...]
    study: str
    row: str
    data: str
    trained: str
    chosen: str
    cost: Mapping[str, int]
    images: str

    @property
    def budget(self) -> str:
        """Under which data, length and selection the number came about."""
        return f"{self.data}; {self.trained}; {self.chosen}"


@dataclass(frozen=True)
class LayoutRow:
    """A row of a layout.

    Attributes:
        labels: Words of the leading columns, as printed.
        printed: Head of a column with results -> the published number.
        ours: Head of a column with results -> our runs beside the published number.
        cost: Head of a column with costs -> parameters in millions or MACs in billions, as printed.
        cost_images: Height, width and channels of the images that ``cost`` is counted at, as in ``32x32x3``.
        cost_verified: Somebody held ``cost`` against its source.
    """

    labels: tuple[str, ...]
    printed: Mapping[str, Printed]
    ours: Mapping[str, Sequence[Ours]]
    cost: Mapping[str, str]
    cost_images: str
    cost_verified: bool


@dataclass(frozen=True)
class Layout:
    """A published table with ours beside it.

    Attributes:
        name: Name of the table, as sweeps give it in ``table``.
        title: The table's title, for people.
        labels: Heads of the leading columns.
        columns: Heads of the columns with results, percent.
        costs: Heads of the columns with parameters and MACs; empty for a table that does not print them.
        lines: The table's rows, in their order.
        further: Our rows that no published number belongs to.
        notes: What must be known before rows are compared, a sentence each.
    """

    name: str
    title: str
    labels: tuple[str, ...]
    columns: tuple[str, ...]
    costs: tuple[str, ...]
    lines: Sequence[LayoutRow]
    further: Sequence[Ours]
    notes: tuple[str, ...]


# ----------------------------------------------------------------------------------------------------------- our runs


def layout(table: str, studies: Iterable[Records]) -> Layout:
    """A published table with the runs of studies beside it.

    Args:
        table: One of ``TITLES``.
        studies: Studies that answer the table.
    """
    rows = paper.rows(table)
    results = {key: column for key, column in columns(table).items() if key in rows[0]}
    costs = {key: head for key, head in COSTS.items() if key in rows[0]}
    cells = [cell for records in studies for cell in _cells(records)]
    lines, placed = [], set()
    for row in rows:
        numbers = {head: printed(table, row, key, source) for key, (head, source) in results.items() if row[key]}
        ours: dict[str, list[Ours]] = {}
        for head, one in numbers.items():
            for number, cell in enumerate(cells):
                if _same(one, cell):
                    placed.add(number)
                    ours.setdefault(head, []).append(_beside(one, cell))
        cost = {head: row[key] for key, head in costs.items()}
        words, sure = tuple(row[key] for key in LABELS[table]), paper.cost_verified(row)
        lines.append(LayoutRow(words, numbers, ours, cost, cost_images(table, row), sure))
    further = [cell.ours for number, cell in enumerate(cells) if number not in placed]
    heads = tuple(head for head, _ in results.values())
    labels = tuple(LABELS[table].values())
    notes = NOTES.get(table, ())
    return Layout(table, TITLES[table], labels, heads, tuple(costs.values()), lines, further, notes)


@dataclass(frozen=True)
class _Cell:
    """Finished runs of one row of a sweep."""

    runs: Sequence[Attempt]
    ours: Ours

    def leaf(self, name: str) -> set[str]:
        """Values of a leaf among the runs, as recorded; ``None`` where a run is older than the leaf."""
        values = (run.record.get(param_column(name)) for run in self.runs)
        return {value if isinstance(value, str) else "None" for value in values}

    def said(self, name: str, unknown: str) -> str:
        """Values of a leaf for people, ``unknown`` for what is not recorded."""
        return " or ".join(sorted(unknown if each == "None" else each for each in self.leaf(name)))


def _cells(records: Records) -> list[_Cell]:
    frame, definition = searches.rows(records.frame, records.definition)
    grouped: dict[str, list[Attempt]] = {}
    for run in counted(attempts(frame)):
        if run.outcome == FINISHED and run.value is not None:
            levels = [pair for pair in json.loads(run.point) if pair[0] in definition["axes"]]
            grouped.setdefault(" ".join(tracking.param_text(level) for _, level in levels), []).append(run)
    return [_Cell(runs, _ours(row, runs, records.study)) for row, runs in grouped.items()]


def _ours(row: str, runs: Sequence[Attempt], study: str) -> Ours:
    values = list(by_seed(runs).values())
    best = best_of(values, BEST_OF) if len(values) >= BEST_OF else None
    return Ours(
        estimate=cut_estimate(mean_interval(values)),
        best=best,
        difference=None,
        differs=(),
        run_ids=tuple(run.run_id for run in runs),
        study=study,
        row=row,
        data=captions.data(runs),
        trained=captions.trained(runs),
        chosen=" or ".join(_CHOSEN.get(rule, rule) for rule in recorded(runs, "train.select")) or "selection unknown",
        cost={name: one for name, _ in OUR_COSTS.values() if (one := _one_cost(runs, name)) is not None},
        images=_images(runs),
    )


def image_sizes(runs: Sequence[Attempt]) -> list[str]:
    """Sizes of the images that runs were trained on, as in ``28x28x1``: height, width and channels.

    Channels are left out where only the files tell them; a run that tells no size is left out.
    """
    shapes = dict.fromkeys(_shape(run.record) for run in runs)
    return ["x".join(str(length) for length in shape if length) for shape in shapes if None not in shape[:2]]


def _images(runs: Sequence[Attempt]) -> str:
    """Height, width and channels of the images that runs were trained on; empty where they do not tell one size."""
    shapes = {_shape(run.record) for run in runs}
    return image_sizes(runs)[0] if len(shapes) == 1 and None not in next(iter(shapes)) else ""


def _shape(record: Mapping[str, Any]) -> tuple[int | None, ...]:
    """(height, width, channels) by a run's settings, and by what its source has where they set nothing."""
    settings = (record.get(param_column(f"data.{name}")) for name in ("source", "image_size", "channels"))
    source, size, channels = (text if isinstance(text, str) and text != "null" else None for text in settings)
    native = _NATIVE.get(source or "", (None, None, None))
    given = json.loads(size) if size else native[:2]
    height_width = given if isinstance(given, Sequence) else (given, given)
    return (*height_width, int(channels) if channels else native[2])


def _one_cost(runs: Sequence[Attempt], name: str) -> int | None:
    """What all runs cost alike."""
    known = {run.cost.get(name) for run in runs}
    return known.pop() if len(known) == 1 else None


def _same(printed: Printed, cell: _Cell) -> bool:
    """Whether runs are of the model and the data that a number is about."""
    if printed.name is None or cell.leaf("data.source") != {printed.source}:
        return False
    if cell.leaf("data.fraction") - {"1.0", "None"} or cell.leaf("data.per_class") - {"null", "None"}:
        return False
    size = zoo.parse(printed.name).image_size
    native = {"null"} if printed.source not in ("imagenet", "flowers102") else set()
    if cell.leaf("data.image_size") - native - {tracking.param_text(list(size or ()))}:
        return False
    if printed.epochs is not None and cell.leaf("train.epochs") != {str(printed.epochs)}:
        return False
    if printed.augmented is not None and _augmented(cell) != printed.augmented:
        return False
    if cell.leaf("model.weights") - {"null", "None"}:
        return False
    wanted, plain = _model(*_variant(printed)), _defaults(*_variant(printed))
    return all(_agrees(cell, leaf, value, plain) for leaf, value in wanted.items() if leaf not in _NOT_STRUCTURE)


def _agrees(cell: _Cell, leaf: str, value: str, plain: Mapping[str, str]) -> bool:
    """Whether all runs have a value; one that does not record the leaf had its default, by ``plain``, if any value."""
    return {plain.get(leaf, each) if each == "None" else each for each in cell.leaf(leaf)} == {value}


def _variant(printed: Printed) -> tuple[str, str | None, str | None]:
    """What names the model of a number that has one."""
    return str(printed.name), printed.positional, printed.pooling


def _augmented(cell: _Cell) -> bool:
    """Whether anything is done to training images, that is, any leaf is not what it is by default."""
    plain = _plain()
    what = [leaf for leaf in plain if leaf.startswith("augment.") and leaf not in LEFT_OUT]
    return any(not _agrees(cell, leaf, plain[leaf], plain) for leaf in what)


@cache
def _plain() -> Mapping[str, str]:
    """Leaves of a run in which nothing is set, as runs record them."""
    return {leaf: tracking.param_text(value) for leaf, value in RunSpec().leaves().items()}


@cache
def _model(name: str, positional: str | None, pooling: str | None) -> Mapping[str, str]:
    """Leaves of a named model, as runs record them."""
    spec = zoo.parse(name).spec
    spec = replace(spec, positional=positional or spec.positional, pooling=pooling or spec.pooling).resolved()
    return _recorded(spec)


def _recorded(spec: ModelSpec) -> Mapping[str, str]:
    leaves = RunSpec(model=spec).leaves()
    return {leaf: tracking.param_text(value) for leaf, value in leaves.items() if leaf.startswith("model.")}


@cache
def _defaults(name: str, positional: str | None, pooling: str | None) -> Mapping[str, str]:
    """Leaf -> what it was in a run that is older than the leaf: its default, or what follows from the other leaves."""
    spec = zoo.parse(name).spec
    spec = replace(spec, positional=positional or spec.positional, pooling=pooling or spec.pooling)
    unset = replace(spec, key_dim=None, token_dropout=None, projection_dropout=None, options={}).resolved()
    rest = {leaf: value for leaf, value in _recorded(unset).items() if leaf.startswith(_FOLLOW)}
    return {**_plain(), **rest}


@cache
def _settings(words: tuple[str, ...]) -> Mapping[str, str]:
    """Leaves of data and training under a recipe, as runs record them."""
    leaves = to_config(compose(list(words))).point().leaves()
    heads = ("train.", "augment.", "data.")
    return {leaf: tracking.param_text(value) for leaf, value in leaves.items() if leaf.startswith(heads)}


def _beside(printed: Printed, cell: _Cell) -> Ours:
    """Ours with a difference, or with what stands against one."""
    differs = _against(printed, cell)
    if differs or cell.ours.best is None:
        return replace(cell.ours, differs=tuple(differs))
    return replace(cell.ours, difference=cell.ours.best - float(printed.value))


def _against(printed: Printed, cell: _Cell) -> list[str]:
    """What is not as it was for the published number, or not known to be."""
    rule, said = printed.rule, []
    if not printed.verified:
        said.append(_AGAINST[printed.standing])
    if rule.runs is None:
        said.append("the published number's runs are not stated")
    elif cell.ours.estimate.n < rule.runs:
        few = "1 run" if cell.ours.estimate.n == 1 else f"{cell.ours.estimate.n} runs"
        said.append(f"{few}, too few for the best of {rule.runs}")
    if rule.select is not None and cell.leaf("train.select") != {rule.select}:
        said.append(f"epoch chosen by {cell.said('train.select', 'a rule not recorded')}, not by {rule.select}")
    if rule.epochs is not None and cell.leaf("train.epochs") != {str(rule.epochs)}:
        said.append(f"{cell.said('train.epochs', 'an unrecorded number of')} epochs, not {rule.epochs}")
    if not rule.recipe:
        return [*said, "the published recipe is not on record"]
    told = {"train.select", "train.epochs", *LEFT_OUT}
    expected = {**_settings((*rule.recipe, f"data={printed.source}")), **_recipe_of_model(printed)}
    plain = _defaults(*_variant(printed))
    other = [leaf for leaf, value in expected.items() if leaf not in told and not _agrees(cell, leaf, value, plain)]
    if other:
        more = f" and {len(other) - 3} more" if len(other) > 3 else ""
        said.append(f"another recipe ({', '.join(other[:3])}{more})")
    return said


def _recipe_of_model(printed: Printed) -> Mapping[str, str]:
    leaves = _model(*_variant(printed))
    return {leaf: value for leaf, value in leaves.items() if leaf in _OF_RECIPE}
