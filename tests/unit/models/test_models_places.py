"""Positions in two dimensions and inside the blocks: sine2d, rotary, relative, conditional; alone, and in a model."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import ops

from ablate.models import at_resolution, build, load_model, load_weights, save_weights
from ablate.models.positional.conditional import ConditionalPositional
from ablate.models.positional.layers import Sine2dPositional, sine2d_table, sine_table
from ablate.models.positional.relative import RelativePositional, entries_of, relative_index
from ablate.models.positional.rotary import RotaryPositional, rotary_angles
from ablate.models.profile import profile
from ablate.models.slots import SpecError
from ablate.models.spec import ModelSpec

GRID = (3, 4)


def _draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def _array(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


def test_sine2d_has_the_row_on_one_half_of_the_channels_and_the_column_on_the_other():
    table = sine2d_table(GRID, 8).reshape(*GRID, 8)
    np.testing.assert_array_equal(table[2, 3], [*sine_table(3, 4)[2], *sine_table(4, 4)[3]])
    np.testing.assert_array_equal(table[:, 0, :4], table[:, 3, :4])
    np.testing.assert_array_equal(table[0, :, 4:], table[2, :, 4:])
    assert len(np.unique(table.reshape(12, 8), axis=0)) == 12


def test_sine2d_is_no_weight_and_leaves_extra_tokens_as_they_are():
    layer = Sine2dPositional(GRID, extra_tokens=1)
    x = _draw(2, 13, 8)
    added = _array(layer(x)) - x
    assert layer.weights == [] and not added[:, 0].any()
    np.testing.assert_allclose(added[1, 1:], sine2d_table(GRID, 8), atol=1e-6)


def test_rotary_angles_are_those_of_a_row_and_of_a_column():
    np.testing.assert_allclose(rotary_angles(GRID, 8, 2, 100.0)[7], [1, 0.1, 3, 0.3])  # row 1, column 3
    np.testing.assert_allclose(rotary_angles(GRID, 4, 1, 100.0)[7], [7, 0.7])


@pytest.mark.parametrize("axes", [1, 2])
def test_rotary_products_depend_on_the_difference_of_places_alone(axes):
    layer = RotaryPositional((5, 6), axes=axes, theta=30.0)
    query, key = (np.tile(_draw(8, seed=seed), (1, 1, 30, 1)) for seed in (1, 2))  # one vector at all places
    products = _array(ops.matmul(layer(query), ops.transpose(layer(key), (0, 1, 3, 2))))[0, 0].reshape(5, 6, 5, 6)
    assert products[2, 2, 2, 2] == pytest.approx(float((query * key)[0, 0, 0].sum()), abs=1e-5)
    assert products[0, 1, 2, 4] == pytest.approx(products[2, 2, 4, 5], abs=1e-5)  # 2 down, 3 to the right
    assert abs(products[0, 1, 2, 4] - products[0, 1, 2, 5]) > 1e-3
    assert abs(products[0, 1, 2, 4] - products[0, 1, 3, 4]) > 1e-3
    if axes == 2:
        assert products[0, 5, 1, 0] != pytest.approx(products[1, 5, 1, 0], abs=1e-3)
    else:  # the last of a row and the first of the next are neighbours
        assert products[0, 5, 1, 0] == pytest.approx(products[1, 2, 1, 3], abs=1e-5)


@pytest.mark.parametrize("axes", [1, 2])
def test_rotary_keeps_lengths_and_does_not_turn_extra_tokens(axes):
    layer = RotaryPositional(GRID, extra_tokens=2, axes=axes)
    x = _draw(2, 3, 14, 8)
    y = _array(layer(x))
    assert layer.weights == []
    np.testing.assert_array_equal(y[:, :, :2], x[:, :, :2])
    np.testing.assert_allclose(np.linalg.norm(y, axis=-1), np.linalg.norm(x, axis=-1), rtol=1e-5)
    np.testing.assert_allclose(y[:, :, 2], x[:, :, 2], atol=1e-6)  # row 0, column 0
    assert np.abs(y[:, :, 3:] - x[:, :, 3:]).max(axis=(0, 1, 3)).min() > 0.01


def test_relative_index_is_one_entry_for_each_difference_of_rows_and_columns():
    index = relative_index(GRID, 0).reshape(*GRID, *GRID)
    seen = {}
    for query in np.ndindex(GRID):
        for key in np.ndindex(GRID):
            difference = (query[0] - key[0], query[1] - key[1])
            assert seen.setdefault(difference, index[*query, *key]) == index[*query, *key]
    assert sorted(seen.values()) == list(range(entries_of(GRID, 0))) == list(range(5 * 7))
    assert seen[-2, -3] == 0 and seen[-2, -2] == 1 and seen[-1, -3] == 7


def test_relative_index_of_extra_tokens_has_three_entries_in_front():
    index = relative_index((1, 2), 2)
    np.testing.assert_array_equal(index, [[2, 2, 0, 0], [2, 2, 0, 0], [1, 1, 4, 3], [1, 1, 5, 4]])
    assert entries_of((1, 2), 2) == 6 and entries_of((1, 2), 0) == 3


def test_relative_adds_the_entry_of_each_pair_to_each_head():
    layer = RelativePositional(GRID, extra_tokens=1)
    scores = _draw(2, 3, 13, 13)
    layer.build(scores.shape)
    table = _draw(entries_of(GRID, 1), 3, seed=1)
    layer.table.assign(table)
    expected = scores + table[relative_index(GRID, 1)].transpose(2, 0, 1)
    np.testing.assert_allclose(_array(layer(scores)), expected, atol=1e-6)


def test_relative_table_of_another_grid_is_interpolated_and_keeps_extra_entries():
    layer = RelativePositional((4, 6), extra_tokens=1)
    rows, columns = np.meshgrid(np.arange(5.0) - 2, np.arange(7.0) - 3, indexing="ij")
    stored = np.concatenate([[9.0, 8.0, 7.0], (rows + 10 * columns).ravel()])[:, None] * [1.0, 2.0]
    table = layer.from_grid("table", stored, GRID)
    assert table.shape == (entries_of((4, 6), 1), 2)
    np.testing.assert_array_equal(table[:3], stored[:3])
    assert table[3 + 3 * 11 + 5] == pytest.approx([0, 0])  # no difference is no difference on any grid
    np.testing.assert_allclose(table[3:].reshape(7, 11, 2)[::-1, ::-1], -table[3:].reshape(7, 11, 2), atol=1e-12)
    for grid in (GRID, None):
        assert RelativePositional(GRID, 1).from_grid("table", stored, grid) is stored
    square = np.arange(25.0)[:, None]
    np.testing.assert_array_equal(
        RelativePositional(GRID).from_grid("table", square, None),
        RelativePositional(GRID).from_grid("table", square, (3, 3)),
    )


def test_relative_table_of_no_such_grid_is_refused():
    for grid in (None, (3, 3)):
        with pytest.raises(ValueError, match=r"has 35 differences of places, but a grid of 3x3 has 25"):
            RelativePositional((2, 2)).from_grid("table", np.zeros((35, 2)), grid)


@pytest.mark.parametrize(("kernel", "extra"), [(3, 0), (5, 1)])
def test_conditional_adds_a_depthwise_convolution_of_the_grid(kernel, extra):
    layer = ConditionalPositional(GRID, extra_tokens=extra, kernel=kernel)
    x = _draw(2, 12 + extra, 5)
    y = _array(layer(x))
    np.testing.assert_array_equal(y[:, :extra], x[:, :extra])
    weights, bias = _array(layer.kernel)[:, :, 0], _array(layer.bias)
    edge = kernel // 2
    images = x[:, extra:].reshape(2, *GRID, 5)
    padded = np.pad(images, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
    expected = images + bias
    for row, column in np.ndindex(GRID):
        around = padded[:, row : row + kernel, column : column + kernel]
        expected[:, row, column] += (around * weights).sum(axis=(1, 2))
    np.testing.assert_allclose(y[:, extra:].reshape(images.shape), expected, atol=1e-5)


def test_conditional_is_drawn_as_pytorch_draws_a_convolution():
    layer = ConditionalPositional((9, 9), kernel=5)
    layer.build((None, 81, 200))
    for weight in layer.weights:
        assert 0.19 < np.abs(_array(weight)).max() <= 0.2


def test_conditional_that_no_pooling_reads_is_refused():
    for after in ("all", "last", [0, 1]):
        spec = ModelSpec(positional="conditional", pooling="class_token", options={"positional": {"after": after}})
        with pytest.raises(SpecError, match=r"after must leave out the last block with pooling=class_token.*layers=2"):
            spec.check()
        replace(spec, pooling="seqpool").check()


@pytest.mark.parametrize(
    ("positional", "options", "message"),
    [
        ("sine2d", {}, r"model.dim must be divisible by 4 for positional=sine2d, got 6; 8 works"),
        ("rotary", {}, r"a head must be divisible by 4 for positional=rotary with axes=2, got 3"),
        ("rotary", {"axes": 1}, r"a head must be divisible by 2 for positional=rotary with axes=1, got 3"),
        ("rotary", {"axes": 3}, r"positional.axes must be 1 .* or 2 .*, got 3"),
        ("rotary", {"axes": 1.0}, r"positional.axes must be 1 .* or 2 .*, got 1.0"),
        ("rotary", {"theta": 1}, r"positional.theta must be a finite number above 1, got 1"),
        ("rotary", {"theta": "x"}, r"positional.theta must be a finite number above 1, got 'x'"),
        ("conditional", {"kernel": 4}, r"positional.kernel must be odd, from 3 to 99, got 4"),
        ("conditional", {"after": [2]}, r"positional.after must be all, last, or a list of blocks from 0 to 1"),
    ],
)
def test_places_that_make_no_sense_are_refused(positional, options, message):
    spec = ModelSpec(positional=positional, dim=6, heads=2, options={"positional": options})
    with pytest.raises(SpecError, match=message):
        spec.check()


# ------------------------------------------------------------------------------------------------------ in a model

PLACES = {
    "sine2d": ("sine2d", {}),
    "rotary": ("rotary", {}),
    "rotary_along": ("rotary", {"axes": 1, "theta": 1000.0}),
    "relative": ("relative", {}),
    "conditional": ("conditional", {}),
    "conditional_twice": ("conditional", {"after": [0, 1], "kernel": 5}),
}
SHAPE = (16, 24, 3)
each_place = pytest.mark.parametrize("place", PLACES)
each_pooling = pytest.mark.parametrize("pooling", ["seqpool", "class_token"])


def _spec(place, **leaves):
    positional, options = PLACES[place]
    own = {"tokenizer": "patch", "kernel": 4, "convs": 1, "dim": 16, "heads": 2, "layers": 3, "attention_dropout": 0.0}
    return ModelSpec(**own | leaves, positional=positional, options={"positional": options})


def _built(spec, shape=SHAPE):
    """A model none of whose weights is 0 or another's."""
    keras.utils.set_random_seed(0)
    model = build(spec, shape, 5)
    for index, weight in enumerate(model.trainable_variables):
        weight.assign(0.3 * _draw(*weight.shape, seed=index))
    return model


@each_pooling
@each_place
def test_places_cost_in_closed_form_what_the_built_model_does(place, pooling):
    spec = _spec(place, pooling=pooling)
    measured = profile(build(spec, SHAPE, 5))
    assert (measured.tokens, measured.params) == (spec.tokens(SHAPE), spec.params(SHAPE, 5))
    assert measured.trainable_params == spec.trainable_params(SHAPE, 5)
    for convention in ("macs", "macs_modules", "macs_fvcore"):
        assert getattr(measured, convention) == spec.macs(SHAPE, 5, convention=convention)


@each_place
def test_places_tell_tokens_apart_that_none_does_not(place):
    x = _draw(2, *SHAPE)
    turned = np.concatenate([x[:, 4:], x[:, :4]], axis=1)  # the same patches, each a row higher
    outputs = [_array(_built(_spec(place))(images)) for images in (x, turned)]
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-4
    plain = _built(replace(_spec(place), positional="none", options={}))
    np.testing.assert_allclose(_array(plain(x)), _array(plain(turned)), atol=1e-5)


@each_pooling
@each_place
def test_places_survive_saving_and_another_resolution(place, pooling, tmp_path):
    model = _built(_spec(place, pooling=pooling))
    x = _draw(2, *SHAPE)
    model.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(_array(loaded(x)), _array(model(x)))
    for file in ("model.safetensors", "model.weights.h5"):
        save_weights(model, tmp_path / file)
        same = build(_spec(place, pooling=pooling), SHAPE, 5)
        load_weights(same, tmp_path / file)
        np.testing.assert_array_equal(_array(same(x)), _array(model(x)))
    wide = at_resolution(loaded, (32, 24))
    other = _built(_spec(place, pooling=pooling), (32, 24, 3))
    told = load_weights(other, tmp_path / "model.safetensors")
    images = _draw(2, 32, 24, 3)
    assert wide(images).shape == (2, 5)
    np.testing.assert_array_equal(_array(wide(images)), _array(other(images)))
    assert len(told.interpolated) == (3 if place == "relative" else 0)
    np.testing.assert_array_equal(_array(at_resolution(wide, SHAPE[:2])(x)).shape, (2, 5))
    if place != "relative":  # whose table has been interpolated twice
        np.testing.assert_array_equal(_array(at_resolution(wide, SHAPE[:2])(x)), _array(model(x)))


@each_place
def test_places_train_in_bfloat16(place):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build(_spec(place, pooling="class_token"), SHAPE, 5)
    finally:
        keras.config.set_dtype_policy("float32")
    model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = [_array(weight) for weight in model.trainable_variables]
    loss = model.train_on_batch(_draw(4, *SHAPE), np.arange(4))
    moved = [np.abs(_array(w) - old).max() for w, old in zip(model.trainable_variables, before, strict=True)]
    assert np.isfinite(loss) and min(moved) > 0, [w.path for w in model.trainable_variables]
    block = model.get_layer("encoder").blocks[0]
    inside = [part for part in (block.positional, block.attention.places, block.attention.bias) if part is not None]
    assert all(part.dtype_policy.name == "mixed_bfloat16" for part in inside)
    assert len(inside) == (0 if place == "sine2d" else 1)


@pytest.mark.parametrize(
    ("positional", "options"),
    [
        ("rotary", {"axes": 1}),
        ("rotary", {"theta": 1000.0}),
        ("conditional", {"after": [1]}),
        ("conditional", {"after": "all"}),
        ("conditional", {"kernel": 5}),
    ],
)
def test_places_options_change_what_the_model_says(positional, options):
    x = _draw(2, *SHAPE)
    said = []
    for own in ({}, options):
        spec = replace(_spec("rotary"), positional=positional, options={"positional": own})
        said.append(_array(_built(spec)(x)))
    assert np.abs(said[0] - said[1]).max() > 1e-5


def test_relative_table_that_was_trained_on_more_tokens_means_the_same_differences():
    spec = _spec("relative")
    model = _built(spec)
    wide = at_resolution(model, (32, 48))
    tables = [_array(of.get_layer("encoder").blocks[1].attention.bias.table) for of in (model, wide)]
    assert tables[0].shape == (7 * 11, 2) and tables[1].shape == (15 * 23, 2)
    np.testing.assert_allclose(tables[1][7 * 23 + 11], tables[0][3 * 11 + 5], atol=1e-6)


def test_conditional_stands_after_the_blocks_that_are_named():
    where = {}
    for after in ([0], "last", "all", [1]):
        spec = _spec("conditional")
        spec.options["positional"] = {"after": after}
        encoder = build(spec, SHAPE, 5).get_layer("encoder")
        where[str(after)] = [block.positional is not None for block in encoder.blocks]
    assert where["[0]"] == [True, False, False] and where["last"] == [False, False, True]
    assert where["all"] == [True] * 3 and where["[1]"] == [False, True, False]
