"""What is refused, or said above the verdicts: margins in another unit, studies that are half done."""

import json

import pandas as pd
import pytest

from ablate.cli import main as cli
from ablate.report import Reading, ReportError, render, report_table
from ablate.report.pages import html
from ablate.report.sources.foreign import from_rows
from ablate.report.table.cautions import require_margin
from tests.unit.report.tables import AXES, DEFINITION, full, point, run, table_of

BASELINE = {"baseline": {"model": "vit_2_4", "model.positional": "learnable"}}


@pytest.mark.parametrize(
    ("metric", "fine"),
    [("acc", False), ("app_rate", False), ("val_top1_percent", True), ("error_pct", True), ("error [%]", True)],
)
def test_a_metric_that_says_percent_is_no_fraction(metric, fine):
    """Errors of 0.5 and 0.9 % may matter by half a percentage point."""
    if fine:
        return require_margin(0.5, [0.5, 0.9], metric)
    with pytest.raises(
        ReportError, match=r"^margin must be below 0\.5, half of the scale of results from 0 to 1, or .* 0\.9"
    ):
        require_margin(0.5, [0.5, 0.9], metric)


def test_no_margin_and_no_results_are_fine():
    require_margin(None, [0.5], "acc")
    require_margin(1.0, [], "acc")


def _source(path, values):
    path.write_text("model,acc\n" + "".join(f"{'ab'[n % 2]},{value}\n" for n, value in enumerate(values)))
    return f"source={path}"


@pytest.mark.parametrize("format", ["text", "json", "html"])
def test_a_margin_in_percentage_points_is_refused_for_fractions(tmp_path, capsys, format):
    source = _source(tmp_path / "runs.csv", [0.93, 0.50, 0.94, 0.52, 0.935, 0.51])
    with pytest.raises(SystemExit) as stop:
        cli.main(["report", source, "factor=model", "value=acc", "margin=1", f"format={format}"])
    assert stop.value.code == 2
    told = (
        "margin must be below the largest result, 0.94, or everything is equivalent, got 1 where the results are 0.5 "
        "to 0.94: say the smallest difference that matters in their unit."
    )
    assert told in capsys.readouterr().err


def test_a_sweeps_margin_is_held_against_its_results_too():
    with pytest.raises(ReportError, match="margin must be below the largest result, 82"):
        report_table(pd.DataFrame(full()), DEFINITION, Reading(margin=82.0))


def test_percentages_that_agree_within_the_margin_are_equivalent(tmp_path, capsys):
    source = _source(tmp_path / "runs.csv", [93.1, 93.2, 93.15, 93.1, 93.2, 93.12])
    with pytest.raises(SystemExit) as stop:
        cli.main(["report", source, "factor=model", "value=acc", "margin=1"])
    assert stop.value.code == 0 and "equivalent" in capsys.readouterr().out


def _half():
    """A sweep of 12 points: 7 finished, one diverged, one failed, one is running, two were not run."""
    runs = full()[:7]
    model, positional = AXES["model"][1], AXES["model.positional"]
    return [
        *runs,
        run(point(model, positional[0], 1), outcome="diverged"),
        run(point(model, positional[0], 2), outcome="failed"),
        run(point(model, positional[1], 0), outcome="running"),
    ]


def test_a_half_finished_study_says_so_above_its_verdicts():
    table = table_of(_half(), **BASELINE)
    said = "unfinished: 8 of 12 planned runs have ended (1 failed, 1 running, 2 not run)"
    assert [caution.partition(", and")[0] for caution in table.cautions] == [said]
    for format, begin in (("text", "verdicts on"), ("md", "| factor |"), ("latex", "factor &")):
        text = render(table, format)
        assert text.index(said) < text.index(begin)
    assert json.loads(render(table, "json"))["cautions"] == list(table.cautions)


def test_a_finished_study_has_no_caution():
    assert table_of(full(), **BASELINE).cautions == []
    alone = table_of(full()[:2], **BASELINE)
    assert (
        alone.cautions == [] and alone.notes[-1] == "nothing is compared: a verdict needs runs of at least two levels"
    )
    assert "nothing is compared" not in " ".join(table_of(full()).notes)  # no baseline is declared


def test_the_page_says_what_is_unfinished_before_its_verdicts():
    rows = [
        {"m": m, "acc": str(80 + n), "seed": str(n), "State": s}
        for m in "a<"
        for n, s in enumerate(["ok", "ok", "running"])
    ]
    page = html.page(from_rows(rows, ["m"], "acc", "seed", {}, name="mine", source="mine"), Reading("acc"))
    said = "not every cell has a run of every seed: 4 of 6 have ended (2 left out), and more may turn the verdicts."
    assert 0 < page.index(said) < page.index("<h3>m</h3>")


def test_a_missing_baseline_is_named_where_no_verdict_is_left():
    runs = [each for each in full() if "cct_2_3x2" in each["tags.ablate.point"]]
    table = table_of(runs, baseline={"model": "vit_2_4", "model.positional": "rotary"})
    assert table.analysis is not None and not table.analysis.contrasts
    assert (
        "no verdict on model cct_2_3x2 at none: the baseline, model vit_2_4, positional none, was not run"
        in table.notes
    )


def test_runs_that_diverged_above_the_declared_share_help_nowhere(tmp_path, capsys):
    lines = [f"a,{80 + 0.1 * n}" for n in range(10)] + [f"b,{'nan' if n < 6 else 85 + 0.1 * n}" for n in range(10)]
    path = tmp_path / "runs.csv"
    path.write_text("model,acc\n" + "\n".join(lines) + "\n")
    kinds = {}
    for most in ("0.2", "0.6", "1"):
        with pytest.raises(SystemExit):
            cli.main(["report", f"source={path}", "factor=model", "value=acc", f"max_diverged={most}", "format=json"])
        (contrast,) = json.loads(capsys.readouterr().out)["analysis"]["contrasts"]
        kinds[most] = contrast["verdict"]["kind"]
        assert contrast["divergence_p"] == pytest.approx(0.0108, abs=1e-4)
    assert kinds == {"0.2": "undecided", "0.6": "helps", "1": "helps"}
    with pytest.raises(SystemExit) as stop:
        cli.main(["report", f"source={path}", "factor=model", "value=acc", "max_diverged=20"])
    assert stop.value.code == 2 and "max_diverged must lie between 0 and 1, got 20" in capsys.readouterr().err
