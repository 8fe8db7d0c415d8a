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
# # From ViT-Lite over CVT to CCT, one step at a time
#
# The class token gives way to sequence pooling (CVT), then patches to convolutions (CCT), then one large convolution to
# two small ones. The packaged sweep has ViT-Lite-2/4, CVT-2/4, CCT-2/7x1 and CCT-2/3x2, in this order, named here by
# tokenizer, pooling, kernel and number of convolutions. The last step changes kernel and number together, so it tells
# neither from the other. The published table has larger models and is known from a transcription, of which a second
# source confirms few rows; what is marked ?, ! or ≠ there enters no claim. Each figure's title says on what ours
# trained, how long, and n.
#
# `analysis/README.md` says how to run this on a sweep of yours, and how to edit it.

# %% tags=["parameters"]
records = ["../docs/records/tokenizer-*.jsonl"]  # exported files (or patterns)
tracking_uri = ""  # or your own store, such as sqlite:///../mlflow.db; then records is not read
study = "tokenizer"  # which sweep of that store
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
# ## Ours, against where the steps begin

# %%
for each in studies:
    table, notes = records_table(each, Reading(margin=margin))
    display(Markdown("\n\n".join([render(table, "md", notes), *sentences.summaries(table)])))

# %%
for each in studies:
    runs, factors = frames.tidy(each)
    figure, ax = plt.subplots(figsize=(8, 1.2 + 0.3 * runs["cell"].nunique()), layout="constrained")
    figure.suptitle(published_figures.figure_title(each), fontsize=10)
    figures.points(runs, ax, ["cell"], label(METRIC))

# %% [markdown]
# ## Step by step
#
# What each step adds to the one before it. The first has the verdict of the table above; the others are judged by the
# same method and share alpha out. Steps also change what a model costs (the table above has parameters and MACs), so a
# step that helps is not free.

# %%
for each in studies:
    runs, factors = frames.tidy(each)
    table, notes = records_table(each, Reading(margin=margin))
    steps = frames.steps(runs, table)
    display(steps.drop(columns=["factor", "baseline"]).round(2))
    figure, ax = plt.subplots(figsize=(8, 1.7 + 0.3 * len(steps)), layout="constrained")
    figure.suptitle(published_figures.figure_title(each), fontsize=10)
    figures.effects(steps, ax, label(METRIC), margin=table.margin)

# %% [markdown]
# ## The published table, and ours beside it

# %%
display(Markdown(published_text.markdown(published.layout("vit_to_cct_steps", studies))))
