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
# # Who still needs a positional embedding?
#
# The paper's ablation trains ViT-Lite, CVT and CCT with a learnable, a sine and no positional embedding. It claims that
# convolutions make the embedding dispensable. Most of its rows are known from a transcription only (marked ?, and ≠
# where another one differs), and enter no claim here. What follows is the same question asked of small models in short
# training: each figure's title says on what, how long, and how many seeds.
#
# `analysis/README.md` says how to run this on a sweep of yours, and how to edit it.

# %% tags=["parameters"]
records = ["../docs/records/pe_type-*.jsonl"]  # exported files (or patterns)
tracking_uri = ""  # or your own store, such as sqlite:///../mlflow.db; then records is not read
study = "pe_type"  # which sweep of that store
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
# ## Ours: means, intervals, verdicts
#
# An interval over three seeds is wide; `undecided` says that these runs do not tell, not that there is no difference.

# %%
for each in studies:
    table, notes = records_table(each, Reading(margin=margin))
    display(Markdown("\n\n".join([render(table, "md", notes), *sentences.summaries(table)])))

# %% [markdown]
# Lines that are not parallel are an interaction: what the embedding brings depends on the family.

# %%
for each in studies:
    runs, factors = frames.tidy(each)
    figure, ax = plt.subplots(figsize=(8, 4.2), layout="constrained")
    figure.suptitle(published_figures.figure_title(each), fontsize=10)
    figures.response(runs, ax, factors[-1], factors, label(METRIC))

# %% [markdown]
# Each level against its baseline, with intervals that hold for all of them together.

# %%
for each in studies:
    table, notes = records_table(each, Reading(margin=margin))
    if table.analysis is not None and table.analysis.contrasts:
        effects = frames.contrasts(table.analysis)
        rows = len(effects) + effects.groupby(["factor", "baseline"]).ngroups
        figure, ax = plt.subplots(figsize=(8, 1.4 + 0.27 * rows), layout="constrained")
        figure.suptitle(published_figures.figure_title(each), fontsize=10)
        figures.effects(effects, ax, label(METRIC), margin=table.margin)

# %% [markdown]
# ## The published table, and ours beside it

# %%
display(Markdown(published_text.markdown(published.layout("pe_ablation", studies))))
