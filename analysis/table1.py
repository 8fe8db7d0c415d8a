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
# # Table 1: the families from scratch on small images
#
# The paper's Table 1 gives the best of 4 runs for each model, of 300 epochs on CIFAR. Ours stand beside a number where
# model, data, image size and augmentation are the same; a difference is given only where recipe, epochs, the number of
# runs and the choice of the epoch are the same too. The runs that ship with the repository are small and trained
# shortly: each figure's title says on what, how long, and how many seeds.
#
# `analysis/README.md` says how to run this on a sweep of yours, and how to edit it.

# %% tags=["parameters"]
records = ["../docs/records/variants-*.jsonl"]  # exported files (or patterns)
tracking_uri = ""  # or your own store, such as sqlite:///../mlflow.db; then records is not read
study = "variants"  # which sweep of that store
others = ["../docs/records/canonical-*.jsonl"]  # files of runs that stand in the published table alone
margin = None  # smallest effect of interest in percentage points; None takes what the sweep declared, if anything

# %%
import matplotlib.pyplot as plt
from IPython.display import Markdown, display

from ablate.report import METRIC, Reading, records_table, render
from ablate.report.pages import figures, frames, sentences
from ablate.report.sources.studies import gather
from ablate.report.table.table import label
from ablate.tasks.classify import published, published_figures, published_text

studies = gather(records, tracking_uri, study)

# %% [markdown]
# ## The published table, and ours beside it

# %%
beside = [*studies, *(gather(others) if others else [])]
layout = published.layout("table1", beside)
display(Markdown(published_text.markdown(layout)))

# %% [markdown]
# The same for the data sets on which one of our runs has a published counterpart. A gap between the two marks is no
# failure to reproduce unless the table gives a difference: a mean of short runs at the epoch that validation chose is
# not the best of 4 long ones at the epoch that the test set chose.

# %%
told = published_figures.beside(layout)
common = list(told.loc[told["ours"].notna(), "data"].drop_duplicates())
print(f"data sets with a published counterpart of our runs: {', '.join(common) or 'none'}")
if common:
    figure, axes = plt.subplots(1, len(common), figsize=(5.5 * len(common), 5), squeeze=False, layout="constrained")
    trained = [published_figures.figure_title(each, asked=False) for each in beside]
    figure.suptitle("\n".join(["Table 1 as published (best of 4 runs), and our means", *trained]), fontsize=10)
    for ax, data in zip(axes.flat, common, strict=True):
        figures.beside(told[told["data"] == data].reset_index(drop=True), ax, f"{data}, {label(METRIC)}")

# %% [markdown]
# ## Our own comparison
#
# Families at one small budget, which says who learns fast, not who ends up best.

# %%
for each in studies:
    table, notes = records_table(each, Reading(margin=margin))
    display(Markdown("\n\n".join([render(table, "md", notes), *sentences.summaries(table)])))

# %%
for each in studies:
    runs, factors = frames.tidy(each)
    rows = runs["cell"].nunique()
    figure, ax = plt.subplots(figsize=(8, 1.2 + 0.3 * rows), layout="constrained")
    figure.suptitle(published_figures.figure_title(each), fontsize=10)
    figures.points(runs, ax, factors, label(METRIC))
