"""Maps of what a model looks at: the numbers behind them by hand, and what stands on the axes; no pixels compared."""

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

from matplotlib import pyplot as plt

from ablate.tasks.classify import token_maps

UNIFORM = np.full((1, 4, 4), 0.25)


@pytest.fixture
def axes():
    figure, axes = plt.subplots(2, 3, squeeze=False)
    yield axes
    plt.close(figure)


def _softmax(x):
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


def test_token_map_is_in_multiples_of_the_uniform_weight():
    weights = np.array([[0.5, 0.1, 0.1, 0.1, 0.1, 0.1]])
    assert np.allclose(token_maps.token_map(weights, (2, 3)), [[[3.0, 0.6, 0.6], [0.6, 0.6, 0.6]]])
    with pytest.raises(token_maps.FigureError, match="2x2 image tokens, got 6 weights"):
        token_maps.token_map(weights, (2, 2))


def test_rollout_mixes_half_of_the_mean_over_heads_with_the_token_itself():
    heads = np.stack([np.eye(4), np.full((4, 4), 0.25)])[None]  # one image, two heads
    once = 0.5 * np.eye(4) + 0.5 * (0.5 * np.eye(4) + 0.5 * 0.25)
    assert np.allclose(token_maps.rollout([heads]), once[None])
    assert np.allclose(token_maps.rollout([heads, heads]), (once @ once)[None])


def test_rollout_lets_the_first_block_act_first():
    swap, spread = np.eye(4)[[1, 0, 2, 3]], np.full((4, 4), 0.25)
    first, second = (0.5 * (each + np.eye(4)) for each in (swap, spread))
    assert np.allclose(token_maps.rollout([swap[None, None], spread[None, None]]), (second @ first)[None])


def test_through_blocks_keeps_the_sum_and_follows_each_image_by_its_own_attention():
    random = np.random.default_rng(0)
    weights, maps = _softmax(random.normal(size=(3, 4))), [_softmax(random.normal(size=(3, 2, 4, 4)))] * 2
    followed = token_maps.through_blocks(weights, maps)
    assert np.allclose(followed.sum(axis=1), 1)
    alone = token_maps.through_blocks(weights[1:2], [maps[0][1:2]] * 2)
    assert np.allclose(followed[1:2], alone)
    assert np.allclose(token_maps.through_blocks(weights, [np.eye(4)[None, None].repeat(3, 0)]), weights)


def test_effective_tokens_counts_tokens_that_share_the_weight():
    weights = np.array([[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0.25, 0.25, 0.25, 0.25]])
    assert np.allclose(token_maps.effective_tokens(weights), [1, 2, 4])


def test_one_of_each_takes_the_first_marked_image_of_every_class_that_has_one():
    labels, marked = np.array([2, 0, 0, 1, 2]), np.array([False, False, True, False, True])
    assert token_maps.one_of_each(labels, marked).tolist() == [2, 4]
    assert token_maps.one_of_each(labels, np.zeros(5, bool)).tolist() == []


def test_overlay_shows_weights_as_colours_and_the_image_as_brightness():
    image = np.zeros((4, 4, 3), "uint8")
    image[:, 2:] = 255
    uniform = token_maps.overlay(np.full(4, 0.25), (2, 2), image)
    assert uniform.shape == (4, 4, 3)
    assert np.ptp(uniform[0, 3]) < 0.03 and uniform[0, 3].min() > 0.95  # no preference is white
    assert np.allclose(uniform[0, 0] / uniform[0, 3], 0.6)
    left = token_maps.overlay(np.array([0.5, 0, 0.5, 0]), (2, 2), np.full((4, 4, 1), 255, "uint8"))
    assert (left[:, 0, 0] > left[:, 0, 2]).all()  # more than its share: red
    assert (left[:, 3, 2] > left[:, 3, 0]).all()  # less: blue


def test_overlay_interpolates_between_the_centres_of_tokens():
    one = np.array([0.5, 0.25, 0.25, 0.0])
    far = token_maps.overlay(one, (1, 4), np.full((2, 16, 1), 255, "uint8"))
    same = token_maps.overlay(np.full(4, 0.25), (1, 4), np.full((2, 16, 1), 255, "uint8"))
    assert np.allclose(far[:, 6:10], same[:, 6:10])  # between two tokens of the uniform weight
    assert np.allclose(far[0], far[1])
    assert len(np.unique(far[0, :6], axis=0)) > 3  # falling from the first token to the second


@pytest.mark.parametrize("channels", [1, 3])
def test_gallery_names_both_labels_and_the_scale(axes, channels):
    images = np.random.default_rng(0).integers(0, 256, (3, 6, 4, channels)).astype("uint8")
    weights = np.array([[1, 0, 0, 0, 0, 0], [0.5, 0.5, 0, 0, 0, 0], [1 / 6] * 6])
    said, labels = np.array([0, 1, 1]), np.array([0, 0, 1])
    token_maps.gallery(axes, images, {"SeqPool": weights}, (3, 2), labels, said, ("cat", "dog"))
    titles = [ax.get_title() for ax in axes[0]]
    assert titles == ["true cat\npredicted cat", "true cat\npredicted dog", "true dog\npredicted dog"]
    assert [ax.title.get_color() for ax in axes[0]] == ["black", "tab:red", "black"]
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["image", "SeqPool"]
    for ax, own, image in zip(axes[1], weights, images, strict=True):
        assert np.allclose(ax.images[0].get_array(), token_maps.overlay(own, (3, 2), image))
    bar = axes[0, 0].figure.axes[-1]
    assert bar.get_ylabel() == token_maps.SCALE
    assert [tick.get_text() for tick in bar.get_yticklabels()] == ["1/8", "1/4", "1/2", "1", "2", "4", "8"]


def test_gallery_refuses_axes_that_do_not_fit(axes):
    with pytest.raises(token_maps.FigureError, match=r"2 rows of 1, got \(2, 3\)"):
        token_maps.gallery(axes, np.zeros((1, 4, 4, 1), "uint8"), {"a": UNIFORM[:, 0]}, (2, 2), [0], [0], ["x"])


def test_mean_maps_leave_out_classes_without_images_and_hide_what_is_left_over(axes):
    weights = np.array([[0.7, 0.1, 0.1, 0.1], [0.1, 0.7, 0.1, 0.1], [0.25] * 4])
    token_maps.mean_maps(axes, weights, (2, 2), np.array([0, 0, 2]), ("a", "b", "c"))
    assert [ax.get_title() for ax in axes.flat[:2]] == ["a (n = 2)", "c (n = 1)"]
    assert [ax.get_visible() for ax in axes.flat] == [True, True, False, False, False, False]
    assert [text.get_text() for text in axes[0, 0].texts] == ["1.6", "1.6", "0.4", "0.4"]


def test_concentration_says_how_many_images_stand_behind_each_curve(axes):
    weights = np.array([[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0.25] * 4])
    token_maps.concentration(axes[0, 0], weights, np.array([True, True, False]))
    legend = [text.get_text() for text in axes[0, 0].get_legend().get_texts()]
    assert legend == ["right (n = 2), median 1.5", "wrong (n = 1), median 4.0"]
    token_maps.concentration(axes[0, 1], weights, np.array([True, True, True]))
    assert len(axes[0, 1].get_legend().get_texts()) == 1
