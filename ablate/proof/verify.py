"""Do the published numbers, and the official code's, come out here, on this machine?

A published figure is matched with every way of counting it, at the digits that are printed. What is found must be
what ``ablate/tasks/classify/paper/expected.csv`` records, a figure that no count gives included: then a difference is
news. Keras is imported by the parts that compute alone (``WITH_KERAS``).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from ablate.models import zoo
from ablate.models.cost import InputShape, MacsConvention
from ablate.models.spec import ModelSpec
from ablate.proof import manifold as fork
from ablate.proof import reference
from ablate.tasks.classify import paper
from ablate.words import unknown

if TYPE_CHECKING:
    from ablate.proof.parity import Check

CONVENTIONS: tuple[MacsConvention, ...] = get_args(MacsConvention)
CsvRow = dict[str, str]
"""A row of a CSV file: column -> cell."""

NOTHING = "nothing"
_UNITS = {"params": ("params_M", 6, "M"), "macs": ("MACs_G", 9, "G")}  # column, power of ten, sign


class VerifyError(ValueError):
    """There is no such part of the proof."""


class PublishedFigure(NamedTuple):
    """A published figure.

    Attributes:
        name: Model, by our name.
        quantity: ``params`` or ``macs``.
        published: In millions or thousands of millions, with the digits that are printed.
    """

    name: str
    quantity: str
    published: str


@dataclass
class Section:
    """One part of the proof.

    Attributes:
        title: What is compared.
        lines: A table for the screen.
        held: How many comparisons came out as recorded.
        differences: One sentence for each that did not.
    """

    title: str
    lines: list[str] = field(default_factory=list)
    held: int = 0
    differences: list[str] = field(default_factory=list)

    def compare(self, difference: str | None) -> None:
        """Counts a comparison: as recorded where there is no difference to tell."""
        if difference is None:
            self.held += 1
        else:
            self.differences.append(difference)


# -------------------------------------------------------------------------------------------------- published figures


def published(rows: Sequence[CsvRow] | None = None, expected: Sequence[CsvRow] | None = None) -> Section:
    """Published parameters and MACs against ours under every convention.

    Args:
        rows: Rows of published tables; all of `ablate.tasks.classify.paper`'s where None.
        expected: What is recorded of them; ``expected.csv`` where None.
    """
    rows = [row for table in paper.TABLES for row in paper.rows(table)] if rows is None else rows
    expected = paper.rows("expected") if expected is None else expected
    recorded = {PublishedFigure(row["name"], row["quantity"], row["published"]): row for row in expected}
    sources = _sources(rows, verified=True)
    unverified = {figure: s for figure, s in _sources(rows, verified=False).items() if figure not in sources}
    section = Section("published parameters and MACs, and how we count to them")
    section.lines += [*_counts_table([*sources, *unverified]), "", *_by_source(sources), "", _ROW.format(*_HEAD)]
    for figure in sorted({*sources, *unverified}):
        matches = find(figure)
        if figure in sources:
            section.compare(_difference(figure, matches, recorded.get(figure)))
        where = sources.get(figure) or [f"unverified, not held: {source}" for source in unverified[figure]]
        note = recorded[figure]["note"] if figure in sources and figure in recorded else ""
        section.lines.append(_line(figure, matches, "; ".join(where) + (f" [{note}]" if note else "")))
    for figure in recorded.keys() - sources.keys():
        section.compare(f"{_words(figure)} is recorded as expected, but no table has it.")
    return section


def find(figure: PublishedFigure) -> list[str]:
    """The counts that give a published figure at its digits; ``["nothing"]`` where none does.

    A figure that rounding does not give may be one whose further digits were cut off: marked ``(cut)``.
    """
    found = counts(figure.name, figure.quantity)
    for rounding, mark in ((ROUND_HALF_UP, ""), (ROUND_DOWN, " (cut)")):
        hits = [f"{way}{mark}" for way, count in found.items() if _printed(count, figure, rounding) == figure.published]
        if hits:
            return hits
    return [NOTHING]


@cache
def counts(name: str, quantity: str) -> dict[str, int]:
    """Every way of counting a named model's ``params`` or ``macs``, with its count.

    Raises:
        ValueError: No such model, or a name without a size.
    """
    named = zoo.parse(name)
    if named.image_size is None or named.num_classes is None:
        raise ValueError(f"a published model's name must have a size, got {name!r}; {name}_32 has one.")
    spec, shape, classes = named.spec, (*named.image_size, 3), named.num_classes
    if quantity == "macs":
        return {way: spec.macs(shape, classes, convention=way) for way in CONVENTIONS}
    without = zoo.parse(f"{name}_none").spec
    return {"params": spec.params(shape, classes), "params_without_pe": without.params(shape, classes)}


def _printed(count: int, figure: PublishedFigure, rounding: str) -> str:
    _, power, _ = _UNITS[figure.quantity]
    digits = Decimal(figure.published).as_tuple().exponent
    return str(Decimal(count).scaleb(-power).quantize(Decimal(1).scaleb(int(digits)), rounding=rounding))


def _sources(rows: Sequence[CsvRow], *, verified: bool) -> dict[PublishedFigure, list[str]]:
    """Where each figure of a model that we build is printed."""
    found: dict[PublishedFigure, list[str]] = {}
    for row in rows:
        if not row.get("name") or paper.cost_verified(row) != verified:
            continue
        for quantity, (column, _, _) in _UNITS.items():
            if row.get(column):
                where = found.setdefault(PublishedFigure(row["name"], quantity, row[column]), [])
                where += [] if row["source"] in where else [row["source"]]
    return found


def _difference(figure: PublishedFigure, matches: list[str], row: CsvRow | None) -> str | None:
    got = "; ".join(matches)
    if row is None:
        return f"{_words(figure)} is published, but expected.csv has no row for it; here {got} gives it."
    if row["matches"] == got:
        return None
    return (
        f"{_words(figure)} must be given by {row['matches']}, as recorded, but {got} gives it; ours: {_ours(figure)}."
    )


def _words(figure: PublishedFigure) -> str:
    return f"{figure.name}: {figure.published} {_UNITS[figure.quantity][2]} {figure.quantity}"


def _ours(figure: PublishedFigure) -> str:
    return ", ".join(f"{way} {count:,}" for way, count in counts(figure.name, figure.quantity).items())


_ROW = "{:<16}{:>10}  {:>15}  {:<42}{}"
_HEAD = ("model", "published", "ours", "counted as", "where")


def _line(figure: PublishedFigure, matches: list[str], where: str) -> str:
    found = counts(figure.name, figure.quantity)
    said = f"{figure.published} {_UNITS[figure.quantity][2]}"
    if matches == [NOTHING]:
        target = Decimal(figure.published).scaleb(_UNITS[figure.quantity][1])
        nearest = min(found, key=lambda way: abs(found[way] - target))
        return _ROW.format(figure.name, said, f"{found[nearest]:,}", f"NOTHING (nearest: {nearest})", where)
    return _ROW.format(
        figure.name, said, f"{found[matches[0].removesuffix(' (cut)')]:,}", _shortened(matches, found), where
    )


def _shortened(matches: list[str], found: dict[str, int]) -> str:
    return "every way" if len(matches) == len(found) > 2 else ", ".join(matches)


def _counts_table(figures: Sequence[PublishedFigure]) -> list[str]:
    ways = ("params", "params_without_pe", *CONVENTIONS)
    lines = [f"{'model':<16}" + "".join(f"{way:>18}" for way in ways)]
    for name in sorted({figure.name for figure in figures}):
        found = counts(name, "params") | counts(name, "macs")
        lines.append(f"{name:<16}" + "".join(f"{found[way]:>18,}" for way in ways))
    return lines


def _by_source(sources: dict[PublishedFigure, list[str]]) -> list[str]:
    """How many of a source's MACs each convention gives: each source followed one, and never said which."""
    given = {
        source: [find(figure) for figure in sources if figure.quantity == "macs" and source in sources[figure]]
        for source in dict.fromkeys(source for where in sources.values() for source in where)
    }
    lines = [f"{'MACs given by':<52}{'figures':>8}" + "".join(f"{way:>16}" for way in CONVENTIONS)]
    for source, found in given.items():
        counts_by_way = "".join(f"{sum(way in hits for hits in found):>16}" for way in CONVENTIONS)
        lines.append(f"{source:<52}{len(found):>8}{counts_by_way}")
    return lines


# ---------------------------------------------------------------------------- models that the official code built


_COLUMNS: dict[str, Callable[[ModelSpec, InputShape, int], int]] = {
    "total_params": lambda spec, shape, classes: spec.params(shape, classes),
    "trainable_params": lambda spec, shape, classes: spec.trainable_params(shape, classes),
    "seq_len": lambda spec, shape, classes: spec.tokens(shape),
    "macs_with_attention": lambda spec, shape, classes: spec.macs(shape, classes),
    "macs_matmul_only": lambda spec, shape, classes: spec.macs(shape, classes, convention="macs_modules"),
    "macs_fvcore_incl_layernorm": lambda spec, shape, classes: spec.macs(shape, classes, convention="macs_fvcore"),
    "macs_ptflops06_modules": lambda spec, shape, classes: spec.macs(shape, classes, convention="macs_ptflops06"),
}


def variants(rows: Sequence[CsvRow] | None = None) -> Section:
    """Ours against the counts measured on the official code, to the last digit.

    Args:
        rows: Rows of ``ablate/proof/reference/variants.csv``; all of them where None.
    """
    rows = reference.variant_rows() if rows is None else rows
    section = Section(f"{len(rows)} models of the official code: parameters, tokens and MACs, each equal")
    section.lines.append(f"columns of variants.csv: {', '.join(_COLUMNS)}")
    for row in rows:
        spec, shape = _as_built(row), (int(row["img_size"]), int(row["img_size"]), int(row["in_channels"]))
        for column, count in _COLUMNS.items():
            ours, theirs = count(spec, shape, int(row["num_classes"])), int(row[column])
            section.compare(None if ours == theirs else f"{row['name']}: {column} must be {theirs:,}, got {ours:,}.")
    return section


def _as_built(row: CsvRow) -> ModelSpec:
    """By the column ``pe``, which is not always what a factory's name says."""
    return ModelSpec(
        tokenizer="conv" if row["family"] == "cct" else "patch",
        kernel=int(row["P"]),
        convs=int(row["C"]),
        positional=row["pe"],
        pooling="class_token" if row["family"] == "vit" else "seqpool",
        layers=int(row["L"]),
    )


def manifold(rows: Sequence[CsvRow] | None = None) -> Section:
    """Ours against the counts measured on a fork with attention over several manifolds, to the last digit.

    Args:
        rows: Rows of ``ablate/proof/reference/manifold_variants.csv``; all of them where None.
    """
    rows = reference.manifold_rows() if rows is None else rows
    columns = {column: count for column, count in _COLUMNS.items() if column != "macs_ptflops06_modules"}
    section = Section(f"{len(rows)} models of a fork with attention over several manifolds: each count equal")
    section.lines.append(f"columns of manifold_variants.csv: {', '.join(columns)}")
    for row in rows:
        spec = fork.counted(row).spec
        shape = (int(row["img_size"]), int(row["img_size"]), int(row["in_channels"]))
        for column, count in columns.items():
            ours, theirs = count(spec, shape, int(row["num_classes"])), int(row[column])
            wrong = f"{row['name']}, {row['source']}: {column} must be {theirs:,}, got {ours:,}."
            section.compare(None if ours == theirs else wrong)
    return section


# -------------------------------------------------------------------------------------------------------------- golden


def golden() -> Section:
    """Forward pass and gradients of the packaged golden models; imports Keras."""
    from ablate.proof import parity

    title = "golden models: the official weights through our layers, the official numbers out"
    return _golden(title, reference.MODELS, parity.forward, parity.gradients)


def manifold_golden() -> Section:
    """Forward pass and gradients of the packaged golden models of the fork; imports Keras."""
    title = "golden models of a fork: its weights through our layers, its numbers out"
    return _golden(title, reference.MANIFOLD_MODELS, fork.forward, fork.gradients)


def _golden(title: str, names: Iterable[str], forward: Callable[..., Any], gradients: Callable[..., Any]) -> Section:
    from ablate.proof import parity

    section = Section(title)
    section.lines.append(_GOLDEN.format("model", "what", "computed in", "comparisons", "worst", "allowed", ""))
    for precision in parity.precisions():
        for name in names:
            model = parity.packaged(name)
            _hold(section, name, "forward", precision, forward(model, precision))
            _hold(section, name, "gradients", precision, gradients(model, precision))
    return section


def training() -> Section:
    """Ten training steps under both decay rules; imports Keras."""
    from ablate.proof import parity

    section = Section("ten steps of AdamW from the official weights, the official losses and logits out")
    section.lines.append(_GOLDEN.format("model", "what", "computed in", "comparisons", "worst", "allowed", ""))
    trace = parity.training_trace()
    for precision in parity.precisions():
        for what, decay_1d in (("all decay", True), ("1-D do not", False)):
            checks = parity.training(trace, precision, decay_1d=decay_1d)
            _hold(section, parity.TRACED, what, precision, checks)
    return section


_GOLDEN = "{:<41}{:<12}{:<13}{:>11}{:>10}{:>10}  {}"


def _hold(section: Section, name: str, what: str, precision: str, checks: Sequence["Check"]) -> None:
    """Adds comparisons, and a line that shows the one that came nearest to its tolerance."""
    worst = max(checks, key=lambda check: check.share)
    off, allowed = f"{worst.off:.1e}", f"{worst.tolerance:.1e}"
    section.lines.append(_GOLDEN.format(name, what, precision, len(checks), off, allowed, worst.what))
    for check in checks:
        section.compare(None if check.holds else f"{name}, {what}, {precision}: {check}")


# ----------------------------------------------------------------------------------------------------------------- all


PARTS: dict[str, Callable[[], Section]] = {
    "published": published,
    "variants": variants,
    "golden": golden,
    "training": training,
    "manifold": manifold,
    "manifold_golden": manifold_golden,
}
WITH_KERAS = {"golden", "training", "manifold_golden"}
"""Parts that compute; the others count."""


def choose(part: str | None) -> list[str]:
    """Names of the parts to go through: one, or all.

    Raises:
        VerifyError: There is no such part.
    """
    if part is None:
        return list(PARTS)
    if part not in PARTS:
        raise VerifyError(unknown("a part of verify", part, PARTS))
    return [part]


def summary(sections: Sequence[Section]) -> list[str]:
    """What differs, then one line that says whether all is as recorded."""
    differences = [difference for section in sections for difference in section.differences]
    lines = [f"DIFFERS  {difference}" for difference in differences]
    held = sum(section.held for section in sections)
    verdict = "all as recorded" if not differences else f"{len(differences)} not as recorded"
    return [*lines, f"{held + len(differences):,} comparisons, {verdict}."]
