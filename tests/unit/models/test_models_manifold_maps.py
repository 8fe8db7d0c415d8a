"""Maps on manifolds by their definitions, gradients where tokens repeat, and the layers and specs around them."""

import itertools
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import ops

from ablate.models import at_resolution
from ablate.models.attention.manifold import layers, maps
from ablate.models.classifier import build
from ablate.models.profile import measure, profile
from ablate.models.slots import Geometry, SpecError
from ablate.models.spec import ModelSpec
from ablate.models.weights import WeightsError

# Tokens and features: more, as many, fewer, and a single one of either.
SIZES = [(5, 3), (4, 4), (3, 5), (4, 1), (1, 3)]
GEOMETRY = Geometry((8, 8, 3), (3, 2))
POLICIES = ["float32", "float64", "mixed_bfloat16"]


def _draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def _householder(x):
    """Q of a QR by the sign rule, one reflection after the other; float64."""
    rows, columns = x.shape
    q, r = np.eye(rows), x.copy()
    for j in range(min(rows, columns)):
        below = r[j:, j]
        if not np.any(below[1:]):
            continue
        v = below.copy()
        v[0] += np.linalg.norm(below) * (1 if below[0] >= 0 else -1)
        reflection = np.eye(rows)
        reflection[j:, j:] -= 2 * np.outer(v, v) / (v @ v)
        q, r = q @ reflection, reflection @ r
    return q[:, : min(rows, columns)]


def _covariance(x):
    centred = x - x.mean(axis=1, keepdims=True)
    return centred @ centred.T / max(1, x.shape[1] - 1)


DEFINITIONS = {
    maps.euclid: lambda q, k: q @ k.T,
    maps.spd: lambda q, k: np.abs(_covariance(q) @ _covariance(k)),
    maps.spd_distance: lambda q, k: np.abs(_covariance(q) - _covariance(k)),
    maps.grassmann: lambda q, k: (_householder(q) @ _householder(k).T) ** 2,
    # As the fork has it: the outer product of each pair of columns.
    maps.grassmann_projection: lambda q, k: sum(
        np.abs(np.outer(a, b)) ** 2 for a, b in zip(_householder(q).T, _householder(k).T, strict=True)
    ),
}


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("function", DEFINITIONS, ids=lambda function: function.__name__)
def test_map_is_its_definition(function, size):
    query, key = _draw(2, 3, *size), _draw(2, 3, *size, seed=1)
    got = ops.convert_to_numpy(function(ops.convert_to_tensor(query), ops.convert_to_tensor(key)))
    for image, head in itertools.product(range(2), range(3)):
        expected = DEFINITIONS[function](query[image, head], key[image, head])
        np.testing.assert_allclose(got[image, head], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_map_of_narrow_numbers_is_computed_in_float32(kind):
    query, key = (ops.cast(_draw(1, 1, 5, 4, seed=seed), kind) for seed in range(2))
    for function in DEFINITIONS:
        wide = function(ops.cast(query, "float32"), ops.cast(key, "float32"))
        got = function(query, key)
        assert keras.backend.standardize_dtype(got.dtype) == "float32"
        np.testing.assert_array_equal(got, wide)


def _slope(function, x, along):
    return (function(x + 1e-6 * along) - function(x - 1e-6 * along)) / 2e-6


def _gradient(function, x):
    import tensorflow as tf

    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = function(x)
    return tape.gradient(value, x).numpy()


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_gradient_of_orthonormal_is_the_slope(size):
    x, along, weights = (_draw(1, 1, *size, seed=seed) for seed in range(3))
    weights = weights[..., : min(size)]

    def function(x):
        return ops.sum(maps.orthonormal(x) * weights)

    expected = float(_slope(function, x, along))
    assert float(np.sum(_gradient(function, x) * along)) == pytest.approx(expected, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("size", [(49, 64), (64, 64), (65, 64), (110, 100)], ids=str)
@pytest.mark.parametrize("repeats", [False, True])
def test_basis_in_panels_is_that_of_one_qr(size, repeats):
    x, upstream = _draw(2, 3, *size), _draw(2, 3, size[0], min(size), seed=1)
    if repeats:  # from the second panel on, a token is one of the first
        x[..., 50:, :] = x[..., :1, :]

    def function(training):
        return lambda x: ops.sum(maps.orthonormal(x, training=training) * upstream)

    own = slice(None, 50 if repeats else None)  # what repeats leave open is rounding's
    at_once, in_panels = (ops.convert_to_numpy(maps.orthonormal(x, training=each)) for each in (False, True))
    np.testing.assert_allclose(in_panels[..., own], at_once[..., own], rtol=0, atol=1e-11)
    np.testing.assert_allclose(
        np.swapaxes(in_panels, -1, -2) @ in_panels,
        np.broadcast_to(np.eye(min(size)), (2, 3, min(size), min(size))),
        atol=1e-12,
    )
    if not repeats:
        np.testing.assert_allclose(_gradient(function(True), x), _gradient(function(False), x), rtol=0, atol=1e-9)
    assert np.isfinite(_gradient(function(True), x)).all()


def _with_repeats(tokens, features):
    """Tokens as a black border without places leaves them: the first and the last half each the same one."""
    x = _draw(1, 1, tokens, features)
    x[..., : tokens // 2, :] = x[..., :1, :]
    x[..., -tokens // 4 :, :] = x[..., -1:, :]
    return x


REPEATING = {
    "repeating": _with_repeats(16, 8),
    "repeating square": _with_repeats(12, 12),
    "repeating wide": _with_repeats(8, 12),
    "constant": np.ones((1, 1, 9, 4)),
    "zero": np.zeros((1, 1, 9, 4)),
    "zero columns": _draw(1, 1, 9, 4) * [1, 0, 1, 0],
}


@pytest.mark.parametrize("kind", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("name", REPEATING)
@pytest.mark.parametrize("function", DEFINITIONS, ids=lambda function: function.__name__)
def test_gradient_of_map_is_finite_where_tokens_repeat(function, name, kind):
    x, weights = ops.cast(REPEATING[name], kind), _draw(*REPEATING[name].shape[-2:-1], 1)

    def value(x):
        alike = function(x, ops.flip(x, axis=2))
        return ops.sum(alike * ops.cast(weights, alike.dtype))

    assert np.isfinite(float(value(x)))
    largest = float(np.abs(_gradient(value, x).astype("float64")).max())
    assert largest < 1e4


def test_gradient_of_independent_columns_is_exact_beside_one_that_depends_on_others():
    x = _draw(1, 1, 6, 3)
    x[..., 2] = x[..., 0] + x[..., 1]
    along, weights = _draw(1, 1, 6, 3, seed=1), _draw(1, 1, 6, 2, seed=2)

    def function(x):
        return ops.sum(maps.orthonormal(x)[..., :2] * weights)

    gradient = _gradient(function, x)
    assert float(np.sum(gradient * along)) == pytest.approx(float(_slope(function, x, along)), rel=1e-6)
    np.testing.assert_array_equal(gradient[..., 2], 0)


# ------------------------------------------------------------------------------------------------- layers and specs

VARIANTS = [
    ("manifold", {}),
    ("manifold", {"maps": ["euclid"]}),
    ("manifold", {"maps": ["spd", "grassmann"], "map_norm": "none"}),
    ("manifold", {"map_norm": "batchnorm", "spd_dropout": True, "unused_table": True}),
    ("manifold", {"maps": ["euclid", "spd"], "blocks": "last"}),
    ("manifold", {"maps": ["grassmann"], "blocks": [0]}),
    ("spd_distance", {}),
    ("spd_distance", {"map_norm": "rows", "unused_scale": True}),
    ("grassmann_projection", {}),
    ("grassmann_projection", {"unused_scale": True}),
    ("grassmann_projection", {"form": "squared", "blocks": "last"}),
]
each_variant = pytest.mark.parametrize(
    ("attention", "options"), VARIANTS, ids=[f"{name}-{place}" for place, (name, _) in enumerate(VARIANTS)]
)
KINDS = {
    "manifold": layers.ManifoldAttention,
    "spd_distance": layers.SpdDistanceAttention,
    "grassmann_projection": layers.GrassmannProjectionAttention,
}


def _spec(attention="manifold", options=None, **leaves):
    small = {"dim": 8, "heads": 2, "mlp_ratio": 1, "kernel": 3, "qkv_bias": True, "attention_dropout": 0.3}
    return ModelSpec(**{**small, **leaves}, attention=attention, options={"attention": dict(options or {})})


@each_variant
@pytest.mark.parametrize("key_dim", [None, 3])
def test_manifold_costs_in_closed_form_are_those_of_the_graph(attention, options, key_dim):
    spec, shape = _spec(attention, options, key_dim=key_dim), (12, 8, 3)
    model = build(spec, shape, 5)
    assert spec.params(shape, 5) == profile(model).params
    assert spec.trainable_params(shape, 5) == sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    counted, told = measure(model), {c: spec.macs(shape, 5, convention=c) for c in ("macs", "macs_modules")}
    assert told == {c: counted.under(c) for c in told}
    assert spec.macs(shape, 5, convention="macs_fvcore") == counted.under("macs_fvcore")


@each_variant
def test_manifold_layer_survives_saving(attention, options, tmp_path):
    spec = _spec(attention, {**options, "blocks": "all"})
    images = keras.Input((6, 8))
    model = keras.Model(images, KINDS[attention](spec, GEOMETRY, 1, name="attention")(images))
    x = _draw(3, 6, 8).astype("float32")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[1].get_config() == model.layers[1].get_config()
    assert [weight.path for weight in loaded.weights] == [weight.path for weight in model.weights]
    np.testing.assert_array_equal(loaded(x), model(x))


@pytest.fixture
def policy(request):
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx(request.param if request.param.startswith("float") else "float32")
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])


@each_variant
@pytest.mark.parametrize("policy", POLICIES, indirect=True)
def test_manifold_model_has_finite_gradients_on_black_images(attention, options, policy):
    import tensorflow as tf

    model = build(_spec(attention, options, positional="none"), (16, 16, 3), 5)
    images = np.zeros((3, 16, 16, 3), "float32")
    images[1, 6:10, 6:10] = 1
    with tf.GradientTape() as tape:
        loss = ops.mean(model(images, training=True)[:, 0])
    assert np.isfinite(float(loss))
    for variable, gradient in zip(
        model.trainable_variables, tape.gradient(loss, [v.value for v in model.trainable_variables]), strict=True
    ):
        unused = variable.path.rpartition("/")[2] in ("unused_table", "scale") and gradient is None
        assert unused or np.isfinite(np.asarray(gradient, "float64")).all(), variable.path


def test_manifold_weights_are_float32_and_sum_to_1_in_mixed_precision():
    layer = layers.ManifoldAttention(_spec(), GEOMETRY, dtype="mixed_bfloat16")
    assert keras.backend.standardize_dtype(layer(_draw(2, 6, 8)).dtype) == "bfloat16"
    query, key = (ops.cast(_draw(2, 2, 6, 4, seed=seed), "bfloat16") for seed in range(2))
    weights = layer.weigh(query, key, False)
    assert keras.backend.standardize_dtype(weights.dtype) == "float32"
    np.testing.assert_allclose(ops.sum(weights, axis=-1), 1, atol=1e-6)
    assert {weight.dtype for weight in layer.weights} == {"float32"}


def test_spd_dropout_falls_on_the_spd_map_alone():
    layer = layers.ManifoldAttention(_spec(options={"spd_dropout": True}), GEOMETRY)
    layer.build((None, 6, 8))
    query, key = (ops.cast(_draw(2, 2, 6, 4, seed=seed), "float32") for seed in range(2))
    for name in layers.ManifoldAttentionSpec().maps:
        plain, dropped = (np.asarray(layer._map(name, query, key, training)) for training in (False, True))
        kept = dropped != 0
        assert kept.all() == (name != "spd")
        np.testing.assert_allclose(dropped[kept], plain[kept] / (0.7 if name == "spd" else 1), rtol=1e-5)


def test_map_that_is_left_out_changes_the_model_and_order_of_names_does_not_pass():
    with pytest.raises(SpecError, match=r"in this order and each once, got \['spd', 'euclid'\]; write \[euclid, spd\]"):
        _spec(options={"maps": ["spd", "euclid"]}).check()


@pytest.mark.parametrize(
    ("attention", "options"),
    [
        ("manifold", {"maps": []}),
        ("manifold", {"maps": "spd"}),
        ("manifold", {"maps": ["riem"]}),
        ("manifold", {"maps": ["spd", "spd"]}),
        ("manifold", {"map_norm": "rows"}),
        ("manifold", {"spd_dropout": 1}),
        ("manifold", {"maps": ["euclid"], "spd_dropout": True}),
        ("manifold", {"unused_table": "no"}),
        ("manifold", {"blocks": [7]}),
        ("spd_distance", {"map_norm": "layernorm"}),
        ("spd_distance", {"unused_scale": None}),
        ("spd_distance", {"blocks": "first"}),
        ("grassmann_projection", {"form": "self"}),
        ("grassmann_projection", {"form": "squared", "unused_scale": True}),
        ("grassmann_projection", {"blocks": []}),
    ],
)
def test_manifold_option_that_makes_no_sense_is_refused(attention, options):
    with pytest.raises(SpecError, match=r"model\.options\.attention\.[a-z_]+ must be"):
        _spec(attention, options).check()


@each_variant
def test_manifold_takes_another_resolution_only_where_no_weight_is_of_pairs_of_tokens(attention, options):
    model = build(_spec(attention, options, positional="none"), (16, 16, 3), 5)
    images = np.random.default_rng(0).uniform(size=(2, 24, 24, 3)).astype("float32")
    if any(set(w.shape) & {16} for w in model.weights if "attention" in w.path and "projection" not in w.path):
        with pytest.raises(WeightsError, match="does not fit"):
            at_resolution(model, 24)
    else:
        assert at_resolution(model, 24)(images).shape == (2, 5)


def test_batchnorm_of_maps_moves_its_moments_while_training():
    model = build(_spec(options={"map_norm": "batchnorm"}), (16, 16, 3), 5)
    means = [weight for weight in model.non_trainable_weights if weight.path.endswith("moving_mean")]
    model(np.random.default_rng(0).uniform(size=(2, 16, 16, 3)), training=True)
    assert len(means) == 2 and all(np.any(ops.convert_to_numpy(mean)) for mean in means)


def test_other_residuals_and_heads_go_with_manifold_attention():
    spec = replace(_spec(), residual="post", layers=3)
    assert build(spec, (16, 16, 3), 5).count_params() == spec.params((16, 16, 3), 5)
