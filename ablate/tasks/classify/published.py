"""The paper's tables with our runs beside them: same rows, same columns, each number of ours traceable to its runs.

A run stands beside a published number where model, positional embedding, data set, image size and the use of
augmentation are the same. A difference is given only where recipe, epochs and selection are the same too, and the
published row was verified; what a row lacks for that is said in its footnote. What was not run stays blank.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from string import ascii_lowercase
from typing import Any

from ablate import tracking
from ablate.config.compose import compose, to_config
from ablate.escaping import markdown as escaped
from ablate.identity import LEFT_OUT
from ablate.models import zoo
from ablate.models.spec import ModelSpec
from ablate.report.pages.text import markdown_table
from ablate.report.sources.records import Records
from ablate.report.table import captions, searches
from ablate.report.table.runs import Run, attempts, by_seed, counted, recorded
from ablate.stats.estimates import Estimate, best_of, mean_interval
from ablate.tasks.classify import paper
from ablate.tasks.classify.spec import RunSpec
from ablate.tracking.names import FINISHED, param_column

BEST_OF = 4
"""Runs of which the paper prints the best (its Table 1)."""

_DATA = {
    "CIFAR-10_top1_pct": ("CIFAR-10", "cifar10"),
    "CIFAR-100_top1_pct": ("CIFAR-100", "cifar100"),
    "FashionMNIST_top1_pct": ("Fashion-MNIST", "fashion_mnist"),
    "MNIST_top1_pct": ("MNIST", "mnist"),
}
_REGULARISERS = (
    *("dropout", "attention_dropout", "token_dropout", "projection_dropout", "head_dropout"),
    *("stochastic_depth", "drop_path_schedule"),
)
"""Leaves of a model that belong to its recipe."""
_FOLLOW = ("model.key_dim", "model.token_dropout", "model.projection_dropout", "model.options.")
"""Leaves of a model that follow from others where nobody sets them."""
_OF_RECIPE = {f"model.{name}" for name in _REGULARISERS}
_NOT_STRUCTURE = {*_OF_RECIPE, "model.weights", "model.weights_key"}
_POSITIONAL = {"learnable": "learnable", "sinusoidal": "sine", "none": "none"}
_NAMES = {
    "ViT-12/16": "vit_12_16_32",
    "ViT-Lite-7/8": "vit_7_8_32",
    "CVT-7/8": "cvt_7_8_32",
    "CCT-7/7": "cct_7_7x1_32",
    "CCT-7/3x2": "cct_7_3x2_32",
    "CCT-7/3x1": "cct_7_3x1_32",
    "CCT-7/7x1-noSeqPool": "cct_7_7x1_32",
    "CCT-7/7x2": "cct_7_7x2_224",
    "CCT-14/7x2": "cct_14_7x2_384",
}
"""Rows of tables that have no column with our names."""
_PAPER_CIFAR = {"cifar10": "paper_cifar", "cifar100": "paper_cifar100"}


@dataclass(frozen=True)
class Rule:
    """How a number was got, as far as its source says.

    Attributes:
        said: In words.
        runs: The best of how many runs; None where it is not stated.
        select: What chose the epoch, as ``train.select``.
        epochs: As ``train.epochs``.
        recipe: Our recipe of the same settings, with further words; empty where they are not on record.
    """

    said: str
    runs: int | None = None
    select: str | None = None
    epochs: int | None = None
    recipe: tuple[str, ...] = ()


@dataclass(frozen=True)
class Printed:
    """One published number.

    Attributes:
        value: Top-1, percent, with the digits that are printed.
        name: The model as ``python -m ablate models`` knows it; None for one that we do not build, or not so.
        source: Our name of the data set.
        positional: None takes the model's own.
        pooling: Likewise.
        augmented: Whether training images were augmented; None matches either.
        epochs: Where rows differ by them; None matches any.
    """

    value: str
    verified: bool
    origin: str
    rule: Rule
    name: str | None
    source: str
    positional: str | None = None
    pooling: str | None = None
    augmented: bool | None = None
    epochs: int | None = None


@dataclass(frozen=True)
class Ours:
    """Our runs beside one published number, or beside none.

    Attributes:
        estimate: Mean and interval over seeds, of the test top-1 in percent.
        best: Expected best of 4 runs; None below 4.
        difference: ``best`` minus the published value; None unless all but chance is the same.
        differs: What is not the same, a few words each.
        run_ids: The runs.
        study: Whose they are.
        row: What they are, in the words of their sweep.
        data: What they saw.
        trained: For how long, and on how many images.
        chosen: Which epoch's weights were tested.
        cost: ``params`` and ``macs`` of the model, where the runs tell one number.
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

    @property
    def budget(self) -> str:
        """Under which data, length and selection the number came about."""
        return f"{self.data}; {self.trained}; {self.chosen}"


@dataclass(frozen=True)
class Line:
    """A row of a layout.

    Attributes:
        labels: As printed.
        printed: Numbers by column.
        ours: Runs beside each of them.
        cost: Parameters and MACs by their column, as printed.
        verified: Whether somebody held the row against its source.
    """

    labels: tuple[str, ...]
    printed: Mapping[str, Printed]
    ours: Mapping[str, Sequence[Ours]]
    cost: Mapping[str, str]
    verified: bool


@dataclass(frozen=True)
class Layout:
    """A published table with ours beside it.

    Attributes:
        name: Of the table, as sweeps name it in ``table``.
        title: For people.
        labels: Heads of the leading columns.
        columns: Heads of the columns with results.
        costs: Heads of those with parameters and MACs, of a table that prints them.
        further: Our rows that no published number belongs to.
    """

    name: str
    title: str
    labels: tuple[str, ...]
    columns: tuple[str, ...]
    costs: tuple[str, ...]
    lines: Sequence[Line]
    further: Sequence[Ours]


# ---------------------------------------------------------------------------------------------------- what was printed


_ON_TEST = "best of 4 runs, each at the epoch that was best on the test set"
_UNKNOWN = Rule("number of runs and settings not stated")
_README = Rule("one number, number of runs not stated")
TITLES = {
    "table1": "Table 1: from scratch on small images",
    "pe_ablation": "Positional embeddings",
    "vit_to_cct_steps": "From ViT to CCT, step by step",
    "longer_training": "Longer training",
    "imagenet": "ImageNet",
    "flowers102": "Flowers-102",
}
"""Table -> its title; the layouts there are."""
SUBTITLE = "Test top-1 in percent: as published, and ours as mean ± 95 % interval over seeds."

_LABELS = {
    "table1": {"model": "model"},
    "pe_ablation": {
        "model": "model",
        "positional_embedding": "positional embedding",
        "extra_augmentation_and_tuning": "augmentation and tuning",
    },
    "vit_to_cct_steps": {
        "model": "model",
        **{name: name for name in ("cls_or_pool", "n_conv", "conv_size", "augmentation", "tuning")},
    },
    "longer_training": {"model": "model", "epochs": "epochs", "positional_embedding": "positional embedding"},
    "imagenet": {"model": "model", "resolution": "resolution", "epochs": "epochs"},
    "flowers102": {
        "model": "model",
        "resolution": "resolution",
        "pretraining": "pretraining",
        "positional_embedding": "positional embedding",
    },
}
_COLUMNS = {
    "imagenet": {"top1_pct": ("ImageNet-1k", "imagenet")},
    "flowers102": {"top1_pct": ("Flowers-102", "flowers102")},
}


_COSTS = {"params_M": "M params", "MACs_G": "G MACs"}
_OUR_COSTS = {"M params": ("params", 1e6), "G MACs": ("macs", 1e9)}
_CHOSEN = {"best": "epoch chosen by validation", "last": "last epoch", "test": "epoch chosen by the TEST set"}


def _printed(table: str, row: Mapping[str, str], source: str, value: str) -> Printed:
    name = row.get("name") or _NAMES.get(row["model"])
    positional = _POSITIONAL.get(row.get("positional_embedding", ""))
    augmented = {"no": False, "yes": True, "yes(dagger)": True}.get(
        row.get("augmentation") or row.get("extra_augmentation_and_tuning", "")
    )
    tuned = row.get("tuning") == "yes"  # which settings the tuning ended in is not on record
    other = row["model"].endswith(("*", "Distilled")) or row.get("pretraining", "none") != "none"
    epochs = int(row["epochs"]) if table == "longer_training" else None
    return Printed(
        value=value,
        verified=row["verified"] == "yes",
        origin=row["source"],
        rule=_rule(table, row, source, name),
        name=None if other or tuned else name or None,
        source=source,
        positional=positional,
        pooling="class_token" if row["model"].endswith("noSeqPool") else None,
        augmented=augmented,
        epochs=epochs,
    )


def _rule(table: str, row: Mapping[str, str], source: str, name: str | None) -> Rule:
    tuned = table == "table1" or row.get("extra_augmentation_and_tuning") == "yes(dagger)"
    if tuned and name and source in _PAPER_CIFAR and not row["model"].endswith("*"):
        # the official file for this model and data set turns erasing off
        more = ("augment.erasing_probability=0",) if (name, source) == ("cct_7_3x1_32", "cifar10") else ()
        recipe = (f"recipe={_PAPER_CIFAR[source]}", *more)
        return Rule(f"{_ON_TEST}; 300 epochs", BEST_OF, "test", 300, recipe)
    if table in ("table1", "pe_ablation", "vit_to_cct_steps"):
        return Rule("best of 4 runs; settings not on record", BEST_OF)
    return _README if "README" in row["source"] else _UNKNOWN


# ----------------------------------------------------------------------------------------------------------- our runs


def layout(table: str, studies: Iterable[Records]) -> Layout:
    """A published table with the runs of studies beside it.

    Args:
        table: One of ``TITLES``.
        studies: Those that answer it.
    """
    columns = _COLUMNS.get(table, _DATA)
    rows = paper.rows(table)
    columns = {key: column for key, column in columns.items() if key in rows[0]}
    costs = {key: head for key, head in _COSTS.items() if key in rows[0]}
    cells = [cell for records in studies for cell in _cells(records)]
    lines, placed = [], set()
    for row in rows:
        printed = {head: _printed(table, row, source, row[key]) for key, (head, source) in columns.items() if row[key]}
        ours: dict[str, list[Ours]] = {}
        for head, one in printed.items():
            for number, cell in enumerate(cells):
                if _same(one, cell):
                    placed.add(number)
                    ours.setdefault(head, []).append(_beside(one, cell))
        cost = {head: row[key] for key, head in costs.items()}
        lines.append(Line(tuple(row[key] for key in _LABELS[table]), printed, ours, cost, row["verified"] == "yes"))
    further = [cell.ours for number, cell in enumerate(cells) if number not in placed]
    heads = tuple(head for head, _ in columns.values())
    labels = tuple(_LABELS[table].values())
    return Layout(table, TITLES[table], labels, heads, tuple(costs.values()), lines, further)


@dataclass(frozen=True)
class _Cell:
    """Finished runs of one row of a sweep."""

    runs: Sequence[Run]
    ours: Ours

    def leaf(self, name: str) -> set[str]:
        """Values of a leaf among the runs, as recorded; ``None`` where a run is older than the leaf."""
        values = (run.record.get(param_column(name)) for run in self.runs)
        return {value if isinstance(value, str) else "None" for value in values}

    def said(self, name: str, unknown: str) -> str:
        """The same for people, with words for what is not recorded."""
        return " or ".join(sorted(unknown if each == "None" else each for each in self.leaf(name)))


def _cells(records: Records) -> list[_Cell]:
    frame, definition = searches.rows(records.frame, records.definition)
    grouped: dict[str, list[Run]] = {}
    for run in counted(attempts(frame)):
        if run.outcome == FINISHED and run.value is not None:
            levels = [pair for pair in json.loads(run.point) if pair[0] in definition["axes"]]
            grouped.setdefault(" ".join(tracking.param_text(level) for _, level in levels), []).append(run)
    return [_Cell(runs, _ours(row, runs, records.study)) for row, runs in grouped.items()]


def _ours(row: str, runs: Sequence[Run], study: str) -> Ours:
    values = list(by_seed(runs).values())
    best = best_of(values, BEST_OF) if len(values) >= BEST_OF else None
    return Ours(
        estimate=mean_interval(values),
        best=best,
        difference=None,
        differs=(),
        run_ids=tuple(run.run_id for run in runs),
        study=study,
        row=row,
        data=captions.data(runs),
        trained=captions.trained(runs),
        chosen=" or ".join(_CHOSEN.get(rule, rule) for rule in recorded(runs, "train.select")) or "selection unknown",
        cost={name: one for name, _ in _OUR_COSTS.values() if (one := _one_cost(runs, name)) is not None},
    )


def _one_cost(runs: Sequence[Run], name: str) -> int | None:
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
        said.append("the published row is not verified")
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


# -------------------------------------------------------------------------------------------------------- written out


def markdown(found: Layout) -> str:
    """The layout as a page: the table, a footnote for each of ours, how numbers were got, and our further rows."""
    notes: list[str] = []
    rules = _rules(found)
    compared = {head for line in found.lines for head, all_ours in line.ours.items()
                if any(one.difference is not None for one in all_ours)}  # fmt: skip
    heads = [part for head in found.columns for part in _heads(head, compared=head in compared)]
    heads += [part for head in found.costs for part in _heads(head, compared=False)]
    body = []
    for line in found.lines:
        words = list(line.labels)
        marks: dict[str, Ours] = {}
        for head in found.columns:
            words += _words(line, head, notes, marks, rules, compared=head in compared)
        body.append(words + [word for head in found.costs for word in _cost_words(line, head, marks)])
    table = markdown_table([*found.labels, *heads], body, len(found.labels))
    costs = " Parameters in millions and MACs in billions: as published, and of our runs' models." * bool(found.costs)
    return "\n".join([
        f"# {found.title}", "",
        f"{SUBTITLE}{costs}", "",
        *table, "", *_legend(found, notes), "", *_how(rules), *_further(found),
    ])  # fmt: skip


def _heads(head: str, *, compared: bool) -> list[str]:
    return [f"{head} published", "ours", *["difference"] * compared]


def _rules(found: Layout) -> dict[str, str]:
    """How numbers were got -> the letter that stands by those of which it holds; none where it holds of all."""
    said = list(dict.fromkeys(_provenance(one) for line in found.lines for one in line.printed.values()))
    return {each: f" {letter}" if len(said) > 1 else "" for each, letter in zip(said, ascii_lowercase, strict=False)}


def _how(rules: Mapping[str, str]) -> list[str]:
    """What the letters mean."""
    by = ", by the letter beside them" * (len(rules) > 1)
    told = [f"- {letter.strip()}: {rule}" if letter else f"- {rule}" for rule, letter in rules.items()]
    return [f"How the published numbers were got{by}:", "", *told]


def _words(
    line: Line, head: str, notes: list[str], marks: dict[str, Ours], rules: Mapping[str, str], *, compared: bool
) -> list[str]:
    """Published, ours, and the difference where the column has one; ``marks`` gets ours by the mark of its footnote."""
    printed, all_ours = line.printed.get(head), line.ours.get(head, ())
    value = "" if printed is None else printed.value + _unsure(printed.verified) + rules[_provenance(printed)]
    shown, differences = [], []
    for ours in all_ours:
        notes.append(_footnote(ours, printed))
        mark = f"[{len(notes)}]"
        marks[mark] = ours
        shown.append(f"{_interval(ours.estimate)} {mark}")
        differences += [] if ours.difference is None else [f"{ours.difference:+.2f} {mark}"]
    return [value, "; ".join(shown), *["; ".join(differences)] * compared]


def _unsure(verified: bool) -> str:
    return "" if verified else " ?"


def _cost_words(line: Line, head: str, marks: Mapping[str, Ours]) -> list[str]:
    """A cost as published, and that of the models of all our runs in the row."""
    printed = line.cost[head]
    name, unit = _OUR_COSTS[head]
    by_count: dict[int, list[str]] = {}
    for mark, ours in marks.items():
        if name in ours.cost:
            by_count.setdefault(ours.cost[name], []).append(mark)
    shown = [f"{count / unit:.3f} {' '.join(several)}" for count, several in by_count.items()]
    return [printed + _unsure(line.verified) if printed else "", "; ".join(shown)]


def _interval(estimate: Estimate) -> str:
    return f"{estimate.mean:.2f}" + (f" ± {estimate.half:.2f}" if estimate.half is not None else "")


def _footnote(ours: Ours, printed: Printed | None) -> str:
    best = "" if ours.best is None else f", expected best of {BEST_OF}: {ours.best:.2f}"
    blank = f"; no difference is given: {'; '.join(ours.differs)}" if printed is not None and ours.differs else ""
    runs = " ".join(run_id[:8] for run_id in ours.run_ids)
    return f"{ours.study}, {ours.row}: {ours.budget}; n {ours.estimate.n}{best}{blank}; runs {runs}"


def _legend(found: Layout, notes: Sequence[str]) -> list[str]:
    out = [f"- [{number}] {escaped(note)}" for number, note in enumerate(notes, start=1)]
    every = [one for line in found.lines for one in line.printed.values()]
    if any(not one.verified for one in every):
        out.append("- ? a transcription that nobody has held against the paper; nothing is claimed from it")
    if not notes:
        out.append("- blank: not run")
    if any(one.difference is not None for line in found.lines for each in line.ours.values() for one in each):
        out.append(f"- difference: our expected best of {BEST_OF} runs minus the published best, which has no interval")
    return out


def _provenance(printed: Printed) -> str:
    mark = "verified" if printed.verified else "not verified"
    return f"{printed.origin} ({mark}): {printed.rule.said}"


def _further(found: Layout) -> list[str]:
    """Runs that were made to answer the same question, with other models or on other data."""
    if not found.further:
        return []
    body = [
        [
            *(one.study, one.row, one.data, f"{one.trained}; {one.chosen}"),
            *(_interval(one.estimate), str(one.estimate.n)),
            *("" if one.best is None else f"{one.best:.2f}", " ".join(run_id[:8] for run_id in one.run_ids)),
        ]
        for one in found.further
    ]
    head = ["study", "levels", "data", "trained", "test top-1 %", "n", "best of 4", "runs"]
    said = "Ours on the same question, of models or data that the table does not have; nothing above compares with it:"
    return ["", said, "", *markdown_table(head, body, 4)]


def content(found: Layout) -> dict[str, Any]:
    """All of a layout in JSON's own types, run ids whole."""
    return json.loads(json.dumps(asdict(found), default=str), parse_float=_rounded)  # type: ignore[no-any-return]


def _rounded(text: str) -> float:
    """9 significant digits: sums come out the same on every machine."""
    return float(f"{float(text):.9g}")
