"""Verdicts in sentences: effect, interval and n, and where a level does what."""

import pytest

from ablate.report.pages.findings import Verdicts, lines, markdown
from ablate.report.pages.sentences import sentence, summary
from ablate.stats.contrasts import Analysis, Contrast
from ablate.stats.verdicts import Kind, Verdict


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        (Verdict(Kind.hurts, -1.5, -2.0, -1.0, 0.01, 3, None), "hurts: \N{MINUS SIGN}1.50 points"),
        (Verdict(Kind.undecided, 0.2, -1.0, 1.4, 0.6, 3, 9), "n = 3 a side); 9 seeds a side decide in 4 of 5 cases."),
        (Verdict(Kind.undecided, None, None, None, None, 0, None), "not enough results (n = 0 a side)."),
    ],
)
def test_sentence_says_effect_interval_and_n(verdict, said):
    contrast = Contrast("pooling", "mean", "seqpool", {"model": "cct"}, verdict)
    text = sentence(contrast, "points")
    assert text.startswith("pooling = mean instead of seqpool, at model = cct,") and said in text


def test_summary_names_where_a_level_does_what():
    def at(model, kind):
        return Contrast("pe", "none", "sine", {"model": model}, Verdict(kind, 1.0, 0.0, 2.0, 0.1, 3, None))

    found = [at("vit", Kind.hurts), at("cvt", Kind.hurts), at("cct", Kind.undecided)]
    assert summary("pe", "sine", found) == "Against pe = sine: none hurts at vit / cvt and is undecided at cct."
    everywhere = "Against pe = sine: none hurts everywhere (2 comparisons)."
    assert summary("pe", "sine", found[:2]) == everywhere


def test_summary_marks_the_places_that_are_flagged():
    found = [
        Contrast("pe", "none", "sine", {"model": model}, Verdict(kind, 1.0, 0.0, 2.0, 0.1, 3, None))
        for model, kind in (("vit", Kind.hurts), ("cvt", Kind.hurts), ("cct", Kind.undecided))
    ]
    said = summary("pe", "sine", found, found[1:2])
    assert said == "Against pe = sine: none hurts at vit / cvt ‡ and is undecided at cct (‡ not only pe differs)."
    said = summary("pe", "sine", found[:2], found[1:2])
    assert said == "Against pe = sine: none hurts ‡ everywhere (2 comparisons) (‡ not only pe differs)."


def test_sentence_says_n_of_both_sides_where_they_differ():
    found = Verdict(Kind.hurts, -2.7, -3.9, -1.6, 0.01, 2, None)
    contrast = Contrast("model", "c", "a", {}, found, diverged=(1, 0), runs=(3, 3))
    assert "; n = 2 and 3)" in sentence(contrast, "points")
    contrast = Contrast("model", "c", "a", {}, found, diverged=(1, 1), runs=(3, 3))
    assert "; n = 2 a side)" in sentence(contrast, "points")


def test_sentence_compares_the_rates_of_divergence():
    found = Verdict(Kind.undecided, 2.0, 1.0, 3.0, 0.01, 4)
    contrast = Contrast("model", "c", "a", {}, found, diverged=(6, 0), runs=(10, 10), divergence_p=0.0108)
    said = "6 of 10 runs diverged, baseline 0 of 10: Fisher p 0.011"
    assert sentence(contrast, "points").endswith(f"; {said}.")
    told = Verdicts(Analysis([contrast], [], None, 0, None, "", []), "points")
    assert any(line.endswith(said) for line in lines(told)) and any(f"| {said} |" in line for line in markdown(told))
