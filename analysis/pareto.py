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
# # Accuracy against what it costs
#
# A model is on the Pareto front if no other one is as cheap and as good, and better in one of both. Filled marks are on
# the front, which the dashed line joins. Costs are MACs of one image's forward pass and parameters; neither is time.
#
# `analysis/README.md` says how to run this on a sweep of yours, and how to edit it.

# %% tags=["parameters"]
records = ["../docs/records/pareto-*.jsonl", "../docs/records/variants-*.jsonl"]  # exported files (or patterns)
tracking_uri = ""  # or your own store, such as sqlite:///../mlflow.db; then records is not read
study = "pareto"  # which sweep of that store
metric = "final.val_top1_percent"  # a front is a choice among models, which the test set must not make
published = "CIFAR-10_top1_pct"  # the column of Table 1 that is drawn

# %%
import matplotlib.pyplot as plt
from IPython.display import display

from ablate.report.pages import figures, frames
from ablate.report.sources.studies import gather
from ablate.report.table.table import label
from ablate.tasks.classify import published_figures

studies = gather(records, tracking_uri, study)
costs = {"macs": "MACs of an image's forward pass", "params": "parameters"}

# %% [markdown]
# ## As published
#
# Table 1 of the paper, best of 4 runs (two rows are other papers' numbers), costs for images of 32x32x3 as printed, its
# MACs with two digits, and counts differ in what they leave out. Rows with a star had more than the others, such as
# longer training. Ours, below, are for images of their own size (MNIST: 28x28x1): costs of the two do not compare.

# %%
printed = published_figures.printed(published)
figure, axes = plt.subplots(1, 2, figsize=(11, 4.4), sharey=True, layout="constrained")
figure.suptitle(f"Table 1 as published, {published}")
for ax, (cost, said) in zip(axes, costs.items(), strict=True):
    figures.pareto(printed, ax, cost, said, "top-1 %", ["family"])

# %%
for cost in costs:
    best = printed[figures.front(printed[cost].to_numpy(), printed["value"].to_numpy())]
    print(f"not beaten in {cost}: {', '.join(best.sort_values(cost)['cell'])}")

# %% [markdown]
# ## Ours
#
# Models after short training, by validation accuracy. A point is a cell's mean; where a search has one run a point, a
# neighbour on the front may well be better: the noise floor has its own notebook. Early in training, accuracy rewards
# models that learn fast, and a front after 300 epochs would have other models on it.

# %%
for each in studies:
    runs, factors = frames.tidy(each, metric=metric)
    shown = factors[:1] if "trial" in runs else factors
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), sharey=True, layout="constrained")
    figure.suptitle(published_figures.figure_title(each), fontsize=10)
    for ax, (cost, said) in zip(axes, costs.items(), strict=True):
        figures.pareto(runs, ax, cost, said, label(metric), shown)

# %% [markdown]
# What is on the front of accuracy and MACs, the cheapest first:

# %%
for each in studies:
    runs, factors = frames.tidy(each, metric=metric)
    cells = runs.groupby(["cell", *factors], sort=False, as_index=False)[["macs", "params", "value"]].mean()
    best = cells[figures.front(cells["macs"].to_numpy(), cells["value"].to_numpy())]
    print(published_figures.figure_title(each))
    display(best.sort_values("macs", ignore_index=True).round(2))
