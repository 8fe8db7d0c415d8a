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
# # Where does SeqPool look?
#
# A Compact Transformer has no class token: SeqPool weighs the tokens that leave the encoder (a softmax over them) and
# the head sees their weighted mean. The weights say which parts of an image the decision is read from. Here they are,
# for a model that this command trained (in the repository's folder, from its own record):
#
#     python -m ablate model=cct_2_3x2 data=mnist5k train.epochs=10 train.batch_size=64 train.lr=3e-3
#
# `analysis/seqpool.py` is the text of this notebook, and is what to edit; `analysis/README.md` says how to run both.

# %% tags=["parameters"]
tracking_uri = "sqlite:///../mlflow.db"  # the repository's own records, seen from analysis/
run_id = ""  # empty: the run that finished last
model_file = ""  # weights of a model (.keras, .safetensors, .pth) to show instead of a run's
words = ["model=cct_2_3x2", "data=mnist5k"]  # with model_file: what it is and which images to show it, as overrides
shown = 10  # images in a gallery

# %%
import tempfile
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from ablate import data, models, tracking
from ablate.config.compose import compose, to_config
from ablate.config.recorded import read_spec
from ablate.tasks.classify import token_maps
from ablate.training import hardware

warnings.filterwarnings("ignore", message="IProgress not found")  # MLflow asks for a progress bar that nobody needs
hardware.import_keras()

# %% [markdown]
# ## The model, and the test images

# %%
if model_file:
    spec = to_config(compose(words)).point()
    weights_file = Path(model_file)
else:
    store, folder = tracking.TrackingSpec(uri=tracking_uri), Path(tempfile.mkdtemp())
    run_id = run_id or tracking.latest_run(store)
    spec = read_spec(tracking.fetch_artifact(store, run_id, "config.yaml", folder))
    weights_file = tracking.fetch_artifact(store, run_id, "model.keras", folder)

splits = data.load(spec.data)
model = models.build(spec.model, splits.input_shape, splits.num_classes)
models.load_weights(model, weights_file)
grid = spec.model.grid(splits.input_shape)

images, labels = splits.test.x[:1000], splits.test.y[:1000]
print(f"{spec.model.tokenizer} tokenizer, {grid[0]}x{grid[1]} tokens, {spec.model.pooling}; {len(images)} test images")

# %% [markdown]
# `trace` runs the model once and names what passed through it: tokens, attention, SeqPool's weights, logits.

# %%
passed = models.trace(model, ((images / 255 - splits.mean) / splits.std).astype("float32"))
for name, value in passed.items():
    print(f"{name:<20}{value.shape}")

weights = passed["pooling.weights"]
attention = [value for name, value in passed.items() if name.endswith(".attention")]
predicted = passed["logits"].argmax(axis=1)
right = predicted == labels
print(f"\n{100 * right.mean():.1f} % of these images are classified rightly")

# %% [markdown]
# ## One image of each class
#
# Below each image are SeqPool's weights on the tokens that leave the encoder, and the same weights followed back
# through the blocks' attention to the tokens that entered it (attention rollout, Abnar and Zuidema 2020). Within the
# encoder tokens exchange what they know, so the first map says which tokens are *read*, the second, roughly, which
# parts of the image went into them. Colour is the weight, brightness the image.

# %%
maps = {"SeqPool": weights, "through the\nblocks": token_maps.through_blocks(weights, attention)}
chosen = token_maps.one_of_each(labels, right)[:shown]
if len(chosen):
    figure, axes = plt.subplots(3, len(chosen), figsize=(1.35 * len(chosen), 4.6), squeeze=False, layout="constrained")
    own = {name: each[chosen] for name, each in maps.items()}
    token_maps.gallery(axes, images[chosen], own, grid, labels[chosen], predicted[chosen], splits.classes)
    figure.suptitle("SeqPool's weights: images that are classified rightly")

# %% [markdown]
# ## Mistakes

# %%
chosen = np.flatnonzero(~right)[:shown]
if len(chosen):
    figure, axes = plt.subplots(3, len(chosen), figsize=(1.35 * len(chosen), 4.6), squeeze=False, layout="constrained")
    own = {name: each[chosen] for name, each in maps.items()}
    token_maps.gallery(axes, images[chosen], own, grid, labels[chosen], predicted[chosen], splits.classes)
    figure.suptitle("SeqPool's weights: mistakes")

# %% [markdown]
# ## The mean of each class
#
# A token that is blue everywhere is one that this model never reads. Were all maps alike, SeqPool would have learned a
# place, and not what is there.

# %%
columns = 5
rows = -(-len(splits.classes) // columns)
figure, axes = plt.subplots(rows, columns, figsize=(11, 2.2 * rows), squeeze=False, layout="constrained")
figure.suptitle("SeqPool's weights on the token grid, mean over the test images of a class")
token_maps.mean_maps(axes, weights, grid, labels, splits.classes)

# %% [markdown]
# ## How sharply it looks
#
# The exponential of the weights' entropy: 1 if one token has all the weight, the number of tokens if all weigh alike.

# %%
figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
ax.set_title("Over how many tokens SeqPool reads")
token_maps.concentration(ax, weights, right)
