"""How kinds of verdict look: none is forgotten, and no two can be taken for each other."""

import pytest

from ablate.report.pages.kinds import LOOKS, rules
from ablate.stats.verdicts import Kind


def test_every_kind_of_verdict_has_words_a_marker_and_colours_of_its_own():
    assert set(LOOKS) == set(Kind)
    for each in zip(*LOOKS.values(), strict=True):
        assert len(set(each)) == len(Kind)


@pytest.mark.parametrize("kind", Kind)
def test_page_draws_every_kind_in_its_colours_light_and_dark(kind):
    light, dark = rules().split("@media (prefers-color-scheme: dark)")
    assert f".verdicts .{kind} {{ border-color: {LOOKS[kind].light} }}" in light
    assert f".verdicts .{kind} {{ border-color: {LOOKS[kind].dark} }}" in dark
