"""Figures: the numbers behind them by hand, and what stands on the axes; nothing is compared by pixels."""

import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")

from matplotlib.figure import Figure

from ablate.report.pages import figures


def _axes():
    return Figure().subplots()


def _results():
    rows = [
        {"model": model, "pe": pe, "cell": f"{model}, {pe}", "seed": seed, "value": value + seed, "macs": macs}
        for model, pe, value, macs in [("vit", "sine", 60, 10), ("vit", "none", 50, 10), ("cct", "sine", 90, 300)]
        for seed in range(2)
    ]
    return pd.DataFrame(rows)


def test_front_keeps_what_none_beats_and_equals_both():
    cost, value = np.array([1, 1, 2, 3, 3.0]), np.array([5, 4, 5, 9, 9.0])
    assert figures.front(cost, value).tolist() == [True, False, False, True, True]


def test_effects_draw_a_row_a_level_below_its_factor_and_leave_out_what_has_none():
    frame = pd.DataFrame(
        [
            ("pe", "sine", "none at vit", "hurts", -3.0, -4.0, -2.0),
            ("pe", "sine", "none at cct", "undecided", None, None, None),
            ("pool", "mean", "seqpool", "helps", 2.0, 1.0, 3.0),
        ],
        columns=["factor", "baseline", "level", "kind", "effect", "low", "high"],
    )
    ax = figures.effects(frame, _axes(), "points", margin=0.5)
    ticks = [tick.get_text() for tick in ax.get_yticklabels()]
    assert ticks == ["pe (against sine)", "none at vit", "none at cct", "pool (against mean)", "seqpool"]
    drawn = {tuple(line.get_xdata()): line.get_ydata()[0] for line in ax.lines if len(line.get_xdata())}
    assert drawn[(-3.0,)] == drawn[(-4.0, -2.0)] == 1 and drawn[(2.0,)] == 4
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["helps", "hurts", "undecided"]


def test_pareto_fills_the_front_alone_and_takes_a_log_scale_for_wide_costs():
    ax = figures.pareto(_results(), _axes(), "macs", "MACs", "top-1 %", ["model", "pe"])
    marks = {(line.get_xdata()[0], line.get_ydata()[0]): line.get_markerfacecolor() for line in ax.lines[1:]}
    assert marks[(10.0, 50.5)] == "none" and "none" not in (marks[(10.0, 60.5)], marks[(300.0, 90.5)])
    assert ax.get_xscale() == "log" and (ax.get_xlabel(), ax.get_ylabel()) == ("MACs", "top-1 %")


def test_points_show_each_run_and_the_mean_of_its_cell():
    ax = figures.points(_results(), _axes(), ["model", "pe"], "top-1 %")
    shown = [line.get_xdata() for line in ax.lines]
    assert [list(each) for each in shown[:2]] == [[60, 61], [60.5]]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["vit, sine", "vit, none", "cct, sine"]


def test_learning_curves_tell_every_combination_apart_in_plot_and_legend():
    frame = pd.concat([_results().assign(epoch=epoch) for epoch in (1, 2)])
    ax = figures.learning_curves(frame, _axes(), ["model", "pe"], "val top-1 %")
    marks = ax.get_legend().legend_handles
    assert [mark.get_label() for mark in marks] == ["vit", "cct", "sine", "none"]
    looks = {(mark.get_color(), str(mark._unscaled_dash_pattern)) for mark in marks}
    assert len(looks) == 4
    means = [list(line.get_ydata()) for line in ax.lines if len(line.get_xdata())]
    assert [60.5, 60.5] in means and [90.5, 90.5] in means


def test_learning_curves_of_one_factor_need_no_dashes():
    frame = pd.concat([_results().assign(epoch=epoch) for epoch in (1, 2)])
    ax = figures.learning_curves(frame, _axes(), ["model"], "val top-1 %")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["vit", "cct"]


def test_response_puts_numbers_at_their_place_and_draws_students_interval():
    frame = _results().assign(size=["20", "20", "50", "50", "400", "400"])
    ax = figures.response(frame.assign(model="one"), _axes(), "size", ["model", "size"], "top-1 %")
    assert ax.get_xscale() == "log" and [tick.get_text() for tick in ax.get_xticklabels()] == ["20", "50", "400"]
    means = next(line for line in ax.lines if len(line.get_xdata()) == 3)
    assert list(means.get_xdata()) == [20, 50, 400] and list(means.get_ydata()) == [60.5, 50.5, 90.5]
    low, high = ax.containers[0].lines[2][0].get_segments()[0][:, 1]
    assert (high - low) / 2 == pytest.approx(12.706 * np.std([60, 61], ddof=1) / np.sqrt(2), rel=1e-4)


def test_response_takes_words_as_they_are_and_one_factor_alone():
    ax = figures.response(_results(), _axes(), "pe", ["model", "pe"], "top-1 %")
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["sine", "none"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["vit", "cct"]
    alone = figures.response(_results(), _axes(), "model", ["model"], "top-1 %")
    assert alone.get_xlabel() == "model"


@pytest.mark.parametrize(("levels", "numbers"), [(["[16, 16]", "32"], [16, 32]), (["1e-3", "0.5"], [0.001, 0.5])])
def test_response_reads_levels_as_numbers(levels, numbers):
    assert list(figures._numbers(pd.Series(levels))) == numbers
    assert figures._numbers(pd.Series([*levels, "null"])) is None


def test_beside_draws_ours_at_the_row_of_the_published_number():
    blank = float("nan")
    frame = pd.DataFrame(
        [("ViT", 90.0, True, blank, blank, blank, blank), ("CCT", 95.0, False, 93.0, 92.0, 94.0, 3.0)],
        columns=["row", "published", "verified", "ours", "low", "high", "n"],
    )
    ax = figures.beside(frame, _axes(), "top-1 %")
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["ViT", "CCT"]
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == ["published", "published, not verified", "ours (n = 3)"]
    shown = {tuple(line.get_xdata()): list(line.get_ydata()) for line in ax.lines}
    assert shown[(90.0,)] == [0] and shown[(95.0,)] == shown[(93.0,)] == [1] and shown[(92.0, 94.0)] == [1, 1]


def test_visible_draws_differences_over_seeds():
    ax = figures.visible([2, 3, 10], [8.0, 5.0, 2.0], _axes(), "points")
    assert list(ax.lines[0].get_ydata()) == [8.0, 5.0, 2.0]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["2", "3", "5", "10"]


def test_a_home_that_cannot_be_written_leaves_matplotlib_quiet_and_its_fonts_listed_once(tmp_path):
    env = {"HOME": os.devnull, "TMPDIR": str(tmp_path), "PATH": os.defpath, "PYTHONPATH": os.pathsep.join(sys.path)}
    code = "import ablate.report.pages.figures, matplotlib as m, matplotlib.font_manager; print(m.get_cachedir())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert (done.returncode, done.stderr) == (0, "") and Path(done.stdout.strip()).parent == tmp_path
    given = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                           env=env | {"MPLCONFIGDIR": str(tmp_path / "mine")})  # fmt: skip
    assert given.stdout.strip() == str(tmp_path / "mine")
