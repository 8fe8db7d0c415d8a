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
from ablate.tasks.classify.published import OUR_COSTS, Layout, LayoutRow, Ours
from ablate.tasks.classify.published_numbers import BEST_OF, Printed

SUBTITLE = "Test top-1 in percent: as published, and ours as mean ± 95 % interval over seeds."


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
    line: LayoutRow, head: str, notes: list[str], marks: dict[str, Ours], rules: Mapping[str, str], *, compared: bool
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


def _cost_words(line: LayoutRow, head: str, marks: Mapping[str, Ours]) -> list[str]:
    """A cost as published, and that of the models of all our runs in the row."""
    printed = line.cost[head]
    name, unit = OUR_COSTS[head]
    by_count: dict[int, list[str]] = {}
    for mark, ours in marks.items():
        if name in ours.cost:
            by_count.setdefault(ours.cost[name], []).append(mark)
    shown = [f"{count / unit:.3f} {' '.join(several)}" for count, several in by_count.items()]
    return [printed + _unsure(line.verified) if printed else "", "; ".join(shown)]


def _interval(estimate: Estimate) -> str:
    return estimate_text(estimate, Digits(PERCENT))


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
