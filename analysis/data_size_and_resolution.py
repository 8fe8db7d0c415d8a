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
# # How accuracy follows the data: number of images, and their size
#
# The paper trains on part of CIFAR-10 and on images that were shrunk or enlarged, to show that compact models need
# neither many images nor large ones. Here are small models in short training. Two things to keep in mind: at equal
# epochs fewer images also mean fewer steps, so a falling curve mixes both; and larger images make more tokens, so they
# cost more (MACs stand in the table).
#
# `analysis/README.md` says how to run this on a sweep of yours, and how to edit it.

# %% tags=["parameters"]
records = ["../docs/records/data_size-*.jsonl", "../docs/records/resolution-*.jsonl"]  # exported files (or patterns)
tracking_uri = ""  # or your own store, such as sqlite:///../mlflow.db; then records is not read
study = "data_size"  # which sweep of that store
margin = None  # smallest effect of interest in percentage points; None takes what the sweep declared, if anything

# %%
import matplotlib.pyplot as plt
from IPython.display import Markdown, display

from ablate.report import METRIC, Reading, records_table, render
from ablate.report.pages import figures, frames, sentences
from ablate.report.sources.studies import gather
from ablate.report.table.table import label
from ablate.tasks.classify import published_figures

studies = gather(records, tracking_uri, study)

# %% [markdown]
# ## Curves over the data
#
# Means with 95 % intervals over seeds; an interval of two or three seeds is wide, and often wider than what differs.

# %%
for each in studies:
    runs, factors = frames.tidy(each)
    ours = [factor for axis, factor in zip(each.definition["axes"], factors, strict=True) if axis.startswith("data.")]
    figure, ax = plt.subplots(figsize=(8, 4.4), layout="constrained")
    figure.suptitle(published_figures.figure_title(each), fontsize=10)
    figures.response(runs, ax, (ours or factors)[-1], factors, label(METRIC))

# %% [markdown]
# ## Tables and verdicts

# %%
for each in studies:
    table, notes = records_table(each, Reading(margin=margin))
    display(Markdown("\n\n".join([render(table, "md", notes), *sentences.summaries(table)])))
