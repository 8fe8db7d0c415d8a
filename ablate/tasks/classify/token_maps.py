"""What a model looks at, drawn: weights of tokens as maps on its images. Arrays and Axes in, Axes filled; no Keras.

    passed = ablate.models.trace(model, images)
    gallery(axes, images, {"SeqPool": passed["pooling.weights"]}, grid, labels, predicted, classes)

Maps are in multiples of the weight that every token would have if all weighed the same, on one logarithmic scale
everywhere: white is no preference, red more, blue less. Over an image, colour is the weight and brightness the image.
"""

import ablate.report.pages.fonts  # noqa: F401  before matplotlib

# isort: split
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import seaborn
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from scipy import ndimage

from ablate.escaping import label as shown
from ablate.report.pages.figures import LONGEST, Array

if TYPE_CHECKING:
    from ablate.models.weights import TokenGrid

SCALE = "weight of a token, in multiples\nof the uniform weight (log scale)"
_TICKS = {1 / 8: "1/8", 1 / 4: "1/4", 1 / 2: "1/2", 1: "1", 2: "2", 4: "4", 8: "8"}
_NORM = LogNorm(min(_TICKS), max(_TICKS), clip=True)
_COLOURS = "vlag"
_DARKEST = 0.6  # brightness of a black pixel below a map: its colour must still be seen
_MISTAKE = "tab:red"


class FigureError(ValueError):
    """Arrays that do not fit each other or the axes; one sentence."""


def rollout(attention: Sequence[Array]) -> Array:
    """How much of each input token is in each output token, as attention alone would mix them.

    Args:
        attention: One array a block, first block first, each ``(batch, heads, tokens, tokens)`` with rows summing to 1.

    Returns:
        ``(batch, tokens, tokens)``, rows summing to 1.

    Source: Abnar and Zuidema 2020, arXiv 2005.00928, section 3: mean over heads, half of it the residual path.
    """
    mixed = np.eye(attention[0].shape[-1])[None]
    for block in attention:
        mean = block.astype("float64").mean(axis=1)
        mixed = (0.5 * mean + 0.5 * np.eye(mean.shape[-1])) @ mixed
    return mixed


def through_blocks(weights: Array, attention: Sequence[Array]) -> Array:
    """SeqPool's weights, ``(batch, tokens)``, followed back through the blocks to the tokens that entered them."""
    followed: Array = np.einsum("bt,bts->bs", weights.astype("float64"), rollout(attention))
    return followed


def token_map(weights: Array, grid: "TokenGrid") -> Array:
    """Weights of tokens on their grid, in multiples of the uniform weight: ``(…, tokens)`` to ``(…, rows, columns)``.

    Raises:
        FigureError: There are not as many weights as the grid has tokens.
    """
    tokens = grid[0] * grid[1]
    if weights.shape[-1] != tokens:
        raise FigureError(
            f"weights must be those of {grid[0]}x{grid[1]} image tokens, got {weights.shape[-1]} weights; leave out "
            "a class token's."
        )
    return weights.reshape(*weights.shape[:-1], *grid) * tokens


def effective_tokens(weights: Array) -> Array:
    """Over how many tokens the weights are spread: the exponential of their entropy.

    From ``(batch, tokens)`` to ``(batch,)``: 1 where one token has all the weight, the number of tokens where all weigh
    the same.
    """
    wide = weights.astype("float64")
    spread: Array = np.exp(-np.sum(wide * np.log(np.where(wide > 0, wide, 1.0)), axis=-1))
    return spread


def one_of_each(labels: Array, among: Array) -> Array:
    """Indices of the first image of each class, in the order of the classes, among those that are marked.

    Args:
        labels: ``(images,)``.
        among: ``(images,)`` bool.
    """
    firsts = (np.flatnonzero((labels == label) & among)[:1] for label in np.unique(labels))
    return np.concatenate([*firsts, np.empty(0, np.int64)]).astype(np.int64)


def overlay(weights: Array, grid: "TokenGrid", image: Array) -> Array:
    """An image under one map, ``(height, width, 3)`` in 0..1: colour says the weight, brightness is the image's.

    Between the centres of tokens weights are interpolated bilinearly, each token as large as its part of the image.

    Args:
        weights: ``(tokens,)``.
        grid: Rows and columns of tokens.
        image: ``(height, width, channels)`` uint8.
    """
    height, width = image.shape[:2]
    zoom = (height / grid[0], width / grid[1])
    spread = ndimage.zoom(token_map(weights, grid), zoom, order=1, mode="nearest", grid_mode=True)
    colours = colormaps[_COLOURS](_NORM(spread))[..., :3]
    bright: Array = _DARKEST + (1 - _DARKEST) * image.mean(axis=-1, keepdims=True) / 255
    seen: Array = colours * bright
    return seen


def show(ax: Axes, image: Array) -> None:
    """An image, ``(height, width, channels)``, uint8 or in 0..1, without ticks; one channel is shown in grey."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.imshow(image[..., 0] if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")


def gallery(
    axes: Array,
    images: Array,
    maps: Mapping[str, Array],
    grid: "TokenGrid",
    labels: Array,
    predicted: Array,
    classes: Sequence[str],
) -> None:
    """Images in the first row, and a row of maps for each kind of weights below.

    Args:
        axes: ``(1 + kinds, images)`` Axes, as `matplotlib.pyplot.subplots` gives them with ``squeeze=False``.
        images: ``(images, height, width, channels)`` uint8.
        maps: Name of a row -> weights, ``(images, tokens)``.
        grid: Rows and columns of tokens.
        labels: True class of each image.
        predicted: Class that the model predicted for each image; a mistake's title is red.
        classes: Names, by label.

    Raises:
        FigureError: The axes are not as many as the rows and images.
    """
    if axes.shape != (1 + len(maps), len(images)):
        raise FigureError(f"axes must be {1 + len(maps)} rows of {len(images)}, got {axes.shape}.")
    names = [shown(name, LONGEST) for name in classes]
    for ax, image, label, said in zip(axes[0], images, labels, predicted, strict=True):
        show(ax, image)
        colour = _MISTAKE if said != label else "black"
        ax.set_title(f"true {names[label]}\npredicted {names[said]}", color=colour, fontsize=9)
    for row, (name, weights) in zip(axes[1:], maps.items(), strict=True):
        for ax, image, own in zip(row, images, weights, strict=True):
            show(ax, overlay(own, grid, image))
        row[0].set_ylabel(shown(name), fontsize=9)
    axes[0, 0].set_ylabel("image", fontsize=9)
    _colour_bar(axes[1:])


def mean_maps(axes: Array, weights: Array, grid: "TokenGrid", labels: Array, classes: Sequence[str]) -> None:
    """The mean map of each class on the token grid, with its numbers.

    Args:
        axes: At least as many Axes as classes; those left over are hidden.
        weights: ``(images, tokens)``.
        grid: Rows and columns of tokens.
        labels: ``(images,)``.
        classes: Names, by label; a class without an image is left out.
    """
    there = [label for label in range(len(classes)) if np.any(labels == label)]
    for ax in axes.flat[len(there) :]:
        ax.set_visible(False)
    for ax, label in zip(axes.flat, there, strict=False):
        seaborn.heatmap(
            token_map(weights[labels == label].mean(axis=0), grid), ax=ax, cmap=_COLOURS, norm=_NORM, cbar=False,
            square=True, xticklabels=False, yticklabels=False, annot=True, fmt=".1f", annot_kws={"fontsize": 6},
        )  # fmt: skip
        ax.set_title(f"{shown(classes[label], LONGEST)} (n = {int(np.sum(labels == label))})", fontsize=9)
    _colour_bar(axes)


def concentration(ax: Axes, weights: Array, right: Array) -> None:
    """Over how many tokens SeqPool's weights are spread, for images that were classified rightly and wrongly.

    Args:
        ax: Axes that are filled.
        weights: ``(images, tokens)``.
        right: ``(images,)`` bool.
    """
    spread = effective_tokens(weights)
    for name, chosen, colour in (("right", right, "tab:blue"), ("wrong", ~right, _MISTAKE)):
        if chosen.any():
            label = f"{name} (n = {int(chosen.sum())}), median {np.median(spread[chosen]):.1f}"
            seaborn.ecdfplot(x=spread[chosen], ax=ax, color=colour, label=label)
    ax.set_xlabel(f"effective number of tokens, of {weights.shape[-1]}")
    ax.set_ylabel("share of images with at most as many")
    ax.legend(loc="lower right", frameon=False)


def _colour_bar(axes: Array) -> None:
    scale = ScalarMappable(_NORM, cmap=_COLOURS)
    bar = axes.flat[0].figure.colorbar(scale, ax=list(axes.flat), extend="both", fraction=0.02, pad=0.01)
    bar.minorticks_off()
    bar.set_ticks(list(_TICKS), labels=list(_TICKS.values()), fontsize=8)
    bar.set_label(SCALE, fontsize=8)
