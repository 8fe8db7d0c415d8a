"""Published tables with our runs beside them, as pages: letters, footnotes and costs."""

import re

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
    every = {(one.origin, one.verified, one.rule.said) for line in found.lines for one in line.printed.values()}
    assert len(letters) == (len(every) if len(every) > 1 else 0)
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")][2:]
    for line, row in zip(found.lines, rows, strict=True):
        for n, head in enumerate(found.columns):
            if (one := line.printed.get(head)) is not None:
                value, *marks = row[len(found.labels) + 2 * n].split()
                rule = f"{one.origin} ({'verified' if one.verified else 'not verified'}): {one.rule.said}"
                assert value == one.value and ("?" in marks) == (not one.verified)
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
