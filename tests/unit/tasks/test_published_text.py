"""Published tables with our runs beside them, as pages: letters, footnotes and costs."""

import re
from dataclasses import replace

import pytest

from ablate.tasks.classify import published_text
from ablate.tasks.classify.published import layout
from ablate.tasks.classify.published_numbers import TITLES
from tests.unit.tasks.test_published import recorded


@pytest.mark.parametrize("table", TITLES)
def test_page_puts_each_rule_by_the_values_that_it_covers(table: str) -> None:
    found = layout(table, [])
    page = published_text.markdown(found)
    letters = dict(re.findall(r"^- ([a-z]): (.*)$", page, flags=re.MULTILINE))
    every = {(one.origin, one.evidence, one.rule.said) for line in found.lines for one in line.printed.values()}
    assert len(letters) == (len(every) if len(every) > 1 else 0)
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")][2:]
    for line, row in zip(found.lines, rows, strict=True):
        for n, head in enumerate(found.columns):
            if (one := line.printed.get(head)) is not None:
                value, *marks = row[len(found.labels) + 2 * n].split()
                rule = f"{one.origin} ({one.evidence}): {one.rule.said}"
                assert value == one.value and bool({"?", "!", "≠"} & set(marks)) == (not one.verified)
                assert letters[marks[-1]] == rule if letters else f"- {rule}" in page


def test_page_has_published_parameters_and_macs_with_ours_beside() -> None:
    ours = recorded(**{"metrics.cost.params": 3760522.0, "metrics.cost.macs": 946.9e6})
    page = published_text.markdown(layout("table1", [ours]))
    assert "| M params published | ours | G MACs published | ours |" in page
    assert page.split("| CCT-7/3x1 |")[1].splitlines()[0].endswith("| 3.76 | 3.761 [1] | 1.19 | 0.947 [1] |")
    assert page.split("| Proxyless-G |")[1].splitlines()[0].endswith("| 5.7 |  |  |  |")
    steps = published_text.markdown(layout("vit_to_cct_steps", []))
    assert steps.split("| CVT-7/2 |")[1].splitlines()[0].endswith("| 3.76 ? |  | 1.18 ? |  |")
    assert "| 22.36 |  | 5.53 |  |" in published_text.markdown(layout("imagenet", []))
    assert "M params" not in published_text.markdown(layout("pe_ablation", []))


@pytest.mark.parametrize("table", ["table1", "vit_to_cct_steps", "imagenet"])
def test_page_with_costs_says_at_which_image_size_they_are(table: str) -> None:
    said = published_text.markdown(layout(table, [])).splitlines()[2]
    assert ("32x32x3" if table != "imagenet" else "their row's resolution and 3 channels") in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("data=mnist",), "for images of 28x28x1, and as published for 32x32x3"),
        (("data=fashion_mnist",), "for images of 28x28x1, and as published for 32x32x3"),
        (("data=mnist", "data.image_size=32"), "for images of 32x32x1, and as published for 32x32x3"),
        (("data=mnist", "data.image_size=[32, 32]", "data.channels=3"), ""),
        (("data=cifar10",), ""),
        (("data=cifar10", "data.channels=1"), "for images of 32x32x1, and as published for 32x32x3"),
    ],
)
def test_page_says_beside_a_cost_that_it_is_of_another_image_size(words: tuple[str, ...], said: str) -> None:
    costs = {"metrics.cost.params": 3760522.0, "metrics.cost.macs": 946.9e6}
    base = ("model=cct_7_3x1", *words)
    page = published_text.markdown(layout("table1", [recorded(base=base, **costs)]))
    (footnote,) = re.findall(r"^- \[1\] (.*)$", page, flags=re.MULTILINE)
    assert "0.947 [1]" in page
    assert said in footnote if said else "they do not compare" not in footnote


@pytest.mark.parametrize("gone", [["params.data.image_size"], ["params.data.image_size", "params.data.channels"]])
def test_page_takes_the_image_size_of_the_source_where_a_run_records_none(gone: list[str]) -> None:
    mine = recorded(base=("model=cct_7_3x1", "data=mnist"))
    for frame in (mine.frame.drop(columns=gone), mine.frame.assign(**dict.fromkeys(gone, float("nan")))):
        found = layout("table1", [replace(mine, frame=frame)])
        placed = [one for line in found.lines for ours in line.ours.values() for one in ours]
        assert [one.images for one in (*placed, *found.further)] == ["28x28x1"]


def test_page_says_where_our_image_size_is_not_on_record() -> None:
    costs = {"metrics.cost.params": 3760522.0, "metrics.cost.macs": 946.9e6}
    ours = layout("table1", [recorded(**costs)])
    for line in ours.lines:
        for one in (each for several in line.ours.values() for each in several):
            assert one.images == "32x32x3"
            told = published_text._other_images(line, replace(one, images=""))
            assert "a size that is not on record, and as published for 32x32x3" in told
