"""A published table with our runs beside it, written out: as a page in Markdown, and whole in JSON's own types."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from string import ascii_lowercase
from typing import Any

from ablate.escaping import markdown as escaped
from ablate.report.pages.grids import markdown_table
from ablate.report.table.numbers import PERCENT, Digits, estimate_text
from ablate.stats.estimates import Estimate
from ablate.tasks.classify import paper
from ablate.tasks.classify.published import OUR_COSTS, Layout, LayoutRow, Ours
from ablate.tasks.classify.published_numbers import BEST_OF, Printed

SUBTITLE = "Test top-1 in percent: as published, and ours as mean ± 95 % interval over seeds."

MARKS = {paper.YES: "", paper.NO: " ?", paper.CONTRADICTED: " !", paper.DIFFERS: " ≠"}
"""Word of the column ``verified`` -> what stands behind a number."""
_UNSURE = {
    paper.NO: "a transcription that nobody has held against the paper; nothing is claimed from it",
    paper.CONTRADICTED: "a second source has other numbers, given below; nothing is claimed from it",
    paper.DIFFERS: "two transcriptions of the paper have different numbers, given below; nothing is claimed from them",
}


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
    return "\n".join([
        f"# {found.title}", "",
        f"{SUBTITLE}{_about_costs(found)}", "",
        *table, "", *_legend(found, notes), "", *_how(rules), *_before_comparing(found), *_further(found),
    ])  # fmt: skip


def _about_costs(found: Layout) -> str:
    """What the columns with costs hold, and at which size of images; empty for a table without them."""
    if not found.costs:
        return ""
    sizes = list(dict.fromkeys(line.cost_images for line in found.lines))
    at = f"{sizes[0]} (height, width, channels)" if len(sizes) == 1 else "their row's resolution and 3 channels"
    return (
        f" Parameters in millions and MACs in billions: as published, for images of {at}, and of our runs' models, for "
        "the images that they were trained on; a footnote says where these differ."
    )


def _before_comparing(found: Layout) -> list[str]:
    """What must be known before rows are compared."""
    return ["", "Before rows are compared:", "", *(f"- {note}" for note in found.notes)] if found.notes else []


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
    line: LayoutRow, head: str, notes: list[str], marks: dict[str, Ours], rules: Mapping[str, str], *, compared: bool
) -> list[str]:
    """Published, ours, and the difference where the column has one; ``marks`` gets ours by the mark of its footnote."""
    printed, all_ours = line.printed.get(head), line.ours.get(head, ())
    value = "" if printed is None else printed.value + MARKS[printed.standing] + rules[_provenance(printed)]
    shown, differences = [], []
    for ours in all_ours:
        notes.append(_footnote(ours, printed, _other_images(line, ours)))
        mark = f"[{len(notes)}]"
        marks[mark] = ours
        shown.append(f"{_interval(ours.estimate)} {mark}")
        differences += [] if ours.difference is None else [f"{ours.difference:+.2f} {mark}"]
    return [value, "; ".join(shown), *["; ".join(differences)] * compared]


def _other_images(line: LayoutRow, ours: Ours) -> str:
    """What is said where the costs of a row are of images of another size than ours; else empty."""
    if not ours.cost or not any(line.cost.values()) or ours.images == line.cost_images:
        return ""
    mine = f"images of {ours.images}" if ours.images else "images of a size that is not on record"
    return f"parameters and MACs are for {mine}, and as published for {line.cost_images}: they do not compare"


def _cost_words(line: LayoutRow, head: str, marks: Mapping[str, Ours]) -> list[str]:
    """A cost as published, and that of the models of all our runs in the row."""
    printed = line.cost[head]
    name, unit = OUR_COSTS[head]
    by_count: dict[int, list[str]] = {}
    for mark, ours in marks.items():
        if name in ours.cost:
            by_count.setdefault(ours.cost[name], []).append(mark)
    shown = [f"{count / unit:.3f} {' '.join(several)}" for count, several in by_count.items()]
    unsure = "" if line.cost_verified else MARKS[paper.NO]
    return [printed + unsure if printed else "", "; ".join(shown)]


def _interval(estimate: Estimate) -> str:
    return estimate_text(estimate, Digits(PERCENT))


def _footnote(ours: Ours, printed: Printed | None, images: str) -> str:
    best = "" if ours.best is None else f", expected best of {BEST_OF}: {ours.best:.2f}"
    blank = f"; no difference is given: {'; '.join(ours.differs)}" if printed is not None and ours.differs else ""
    runs = " ".join(run_id[:8] for run_id in ours.run_ids)
    size = f"; {images}" if images else ""
    return f"{ours.study}, {ours.row}: {ours.budget}; n {ours.estimate.n}{best}{blank}{size}; runs {runs}"


def _legend(found: Layout, notes: Sequence[str]) -> list[str]:
    out = [f"- [{number}] {escaped(note)}" for number, note in enumerate(notes, start=1)]
    standings = {one.standing for line in found.lines for one in line.printed.values()}
    unsure = any(any(line.cost.values()) and not line.cost_verified for line in found.lines)
    standings |= {paper.NO} if unsure else set()
    out += [f"-{MARKS[standing]} {said}" for standing, said in _UNSURE.items() if standing in standings]
    if not notes:
        out.append("- blank: not run")
    if any(one.difference is not None for line in found.lines for each in line.ours.values() for one in each):
        out.append(f"- difference: our expected best of {BEST_OF} runs minus the published best, which has no interval")
    return out


def _provenance(printed: Printed) -> str:
    return f"{printed.origin} ({printed.evidence}): {printed.rule.said}"


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
