# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # How far do runs differ when nothing was changed?
#
# One model, trained again under other seeds, and again under one seed. Seeds draw initial weights, the order of images,
# dropout and augmentation; repeats of one seed differ by what the machine adds, which is nothing where its arithmetic
# always runs in the same order. The spread says what a difference between two models has to exceed before it means
# anything. It is not the smallest effect that is worth having: that, the margin, is for the reader to declare.
#
# `analysis/README.md` says how to run this on a sweep of yours, and how to edit it.

# %% tags=["parameters"]
records = ["../docs/records/noise_floor-*.jsonl"]  # exported files (or patterns)
tracking_uri = ""  # or your own store, such as sqlite:///../mlflow.db; then records is not read
study = "noise_floor"  # which sweep of that store

# %%
import matplotlib.pyplot as plt
from IPython.display import display

from ablate.report import METRIC
from ablate.report.pages import figures, frames
from ablate.report.sources.studies import gather
from ablate.report.table.table import label
from ablate.stats.estimates import mean_interval
from ablate.stats.power import pooled_std, smallest_difference
from ablate.tasks.classify import published_figures

studies = gather(records, tracking_uri, study)

# %%
for each in studies:
    runs, factors = frames.tidy(each)
    noise = frames.noise(runs)
    display(noise.groupby("cell", sort=False)["value"].agg(["count", "mean", "std", "min", "max"]).round(3))
    figure, ax = plt.subplots(figsize=(8, 1.2 + 0.3 * noise["cell"].nunique()), layout="constrained")
    figure.suptitle(published_figures.figure_title(each), fontsize=10)
    figures.points(noise, ax, ["differs"], label(METRIC))

# %% [markdown]
# ## What so many seeds can show
#
# The difference of two means that a two-sided t test at 5 % finds in 4 of 5 cases, from the standard deviation over
# seeds above. That itself is an estimate from a handful of runs; read the curve as an order of magnitude.

# %%
seeds = [2, 3, 4, 5, 7, 10, 15, 20, 30]
for each in studies:
    runs, factors = frames.tidy(each)
    once = runs[runs["repeat"] == 0]
    known = pooled_std(list(group["value"]) for _, group in once.groupby("cell"))
    if known is None:
        print("no cell has two seeds, so nothing is known of the noise")
    else:
        std, n, cells = known
        differences = [smallest_difference(std, number) for number in seeds]
        print(f"standard deviation over seeds: {std:.2f} points ({n} runs in {cells} cells)")
        print(f"3 seeds a side show {differences[1]:.2f} points, 10 seeds {differences[5]:.2f}")
        figure, ax = plt.subplots(figsize=(8, 3.8), layout="constrained")
        figure.suptitle(published_figures.figure_title(each), fontsize=10)
        figures.visible(seeds, differences, ax, label(METRIC).replace(" %", " points"))

# %% [markdown]
# ## The mean, as it becomes known
#
# Means and intervals of the first 2, 3, … seeds: how little the first few say.

# %%
for each in studies:
    runs, factors = frames.tidy(each)
    for cell, group in runs[runs["repeat"] == 0].groupby("cell", sort=False):
        values = list(group["value"])
        for count in range(2, len(values) + 1):
            found = mean_interval(values[:count])
            print(f"{cell}: {count:>2} seeds  {found.mean:.2f}  [{found.low:.2f}, {found.high:.2f}]")
