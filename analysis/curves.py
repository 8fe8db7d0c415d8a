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
# # Curves: who learns fast, and what is equal compute?
#
# Validation accuracy and training loss after each epoch, and the same trainings read at equal epochs, equal training
# MACs and equal seconds. A curve that still rises at its end says that the comparison is of early training. A reading
# before the end of a schedule (marked °) is lower than a training of that length would reach, since the learning rate
# had not come down.
#
# `analysis/README.md` says how to run this on a sweep of yours, and how to edit it.

# %% tags=["parameters"]
records = [  # exported files (or patterns)
    "../docs/records/variants-*.jsonl",
    "../docs/records/canonical-*.jsonl",
    "../docs/records/families-*.jsonl",
    "../docs/records/keras_io-*.jsonl",
]
tracking_uri = ""  # or your own store, such as sqlite:///../mlflow.db; then records is not read
study = "variants"  # which sweep of that store
images = None  # training images of an epoch, for runs too old to record them

# %%
import matplotlib.pyplot as plt
from IPython.display import Markdown, display

from ablate.report import Reading, records_table
from ablate.report.pages import figures, frames, grids, text
from ablate.report.sources.studies import gather
from ablate.report.table import equal_compute
from ablate.tasks.classify import published_figures

studies = gather(records, tracking_uri, study)
accuracies = {
    "val/top1_percent": "validation top-1 %",
    "train/top1_percent": "training top-1 %, augmented (no validation split)",
}

# %% [markdown]
# ## After each epoch
#
# Lines are means over seeds, bands reach from the lowest to the highest seed. Training loss (and training accuracy,
# where no images were kept back to validate on) is taken during the epoch, under augmentation, dropout and label
# smoothing, validation after it: they are not on one scale.

# %%
for each in studies:
    runs, factors = frames.tidy(each)
    shown = ["cell"] if each.definition.get("method") == "zip" else factors  # axes that move together are one
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    figure.suptitle(published_figures.figure_title(each), fontsize=10)
    accuracy = frames.logged(each, list(accuracies))
    figures.learning_curves(frames.curves(each, runs, accuracy), left, shown, accuracies[accuracy])
    figures.learning_curves(frames.curves(each, runs, "train/loss"), right, shown, "training loss")

# %% [markdown]
# ## At equal compute
#
# Each unit's budget is what the cheapest run of the study spent in all: the most at which nothing is missing by design.
# Seconds are those of the machine that trained. Where it did other work as well, as for the records in this repository,
# they say little. Runs that are too old to record their number of training
# images are not read at equal MACs, unless `images` says it.

# %%
for each in studies:
    print(published_figures.figure_title(each))
    for unit in equal_compute.readable(each, images=images):
        budget = equal_compute.shared(each, unit, images=images)
        table, notes = records_table(each, Reading(at=f"{unit}:{budget.amount}", images=images))
        head, body = text.cells(table)
        lines = grids.markdown_table(head, body, len(table.factors))
        display(Markdown("\n".join([f"**at {budget}**", "", *lines])))
