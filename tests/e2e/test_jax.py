"""The same numbers under ``KERAS_BACKEND=jax``, each in a process of its own, since a backend is chosen once."""

import os
import re
import subprocess
import sys

import pytest

from tests.e2e.test_cli import ablate

pytest.importorskip("jax", reason="pip install 'ablate-study[jax]' brings it")
pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]  # XLA compiles for a minute on a busy machine


def test_jax_gives_the_official_forward_pass_gradients_and_training(tmp_path):
    for part, comparisons in (("golden", 379), ("training", 24)):
        result = ablate("verify", part, cwd=tmp_path, KERAS_BACKEND="jax")
        assert result.returncode == 0, result.stdout + result.stderr
        assert result.stdout.splitlines()[-1] == f"{comparisons} comparisons, all as recorded."
        assert "float64" not in result.stdout  # where Keras computes means in float32 whatever the type


PREDICTED = """
import numpy as np
from ablate.models import create_model
from ablate.models.inference import Predictor

model = create_model("cct_2_3x2_32")
predictor = Predictor(model, np.full(3, 1 / 127.5), np.full(3, -1.0), dtype="uint8")
for images in (0, 1, 3, 130):
    x = np.random.default_rng(images).integers(0, 256, (images, 32, 32, 3), dtype="uint8")
    expected = model((x / 127.5 - 1).astype("float32"), training=False) if images else np.zeros((0, 10))
    np.testing.assert_allclose(predictor(x), expected, atol=1e-4)
"""


def test_jax_serves_what_the_model_says():
    env = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run([sys.executable, "-c", PREDICTED], env=env, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr


PLACES = """
import keras
import numpy as np
from ablate.models import build
from ablate.models.profile import profile
from ablate.models.spec import ModelSpec

for positional in ("sine2d", "rotary", "relative", "conditional"):
    spec = ModelSpec("patch", 4, 1, positional, "class_token", dim=16, heads=2)
    model = build(spec, (8, 12, 3), 5)
    assert profile(model).params == spec.params((8, 12, 3), 5), positional
    assert profile(model).macs == spec.macs((8, 12, 3), 5), positional
    model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x = np.random.default_rng(0).normal(size=(4, 8, 12, 3)).astype("float32")
    losses = [model.train_on_batch(x, np.arange(4)) for _ in range(5)]
    assert losses[-1] < losses[0], positional
"""


def test_jax_builds_counts_and_trains_each_kind_of_position():
    env = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run([sys.executable, "-c", PLACES], env=env, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stderr


def test_jax_trains_to_where_tensorflow_does(tmp_path):
    words = ["model=tiny", "data=digits", "train.epochs=20", "train.batch_size=32", "tracking.log_model=false"]

    def test_percent(backend):
        (tmp_path / backend).mkdir()
        result = ablate(*words, cwd=tmp_path / backend, KERAS_BACKEND=backend)
        assert result.returncode == 0, result.stdout + result.stderr
        return float(re.search(r"test ([\d.]+) %", result.stdout)[1])

    # The backends draw other initial weights from one seed: 93.6 and 94.2 % here.
    ours, theirs = test_percent("tensorflow"), test_percent("jax")
    assert min(ours, theirs) > 88
    assert abs(ours - theirs) < 6


SLOTS = """
import sys
import jax
import keras
import numpy as np
from ablate.models import build, load_weights, registry, save_weights
from ablate.models.profile import profile
from ablate.models.spec import ModelSpec

folder, backend = sys.argv[1], keras.backend.backend()
x = np.random.default_rng(0).normal(size=(4, 8, 8, 1)).astype("float32")
specs = {registry.get(slot, name).spec for slot in registry.slots() for name in registry.names(slot)}
for slot in registry.slots():
    for name in registry.names(slot):
        if specs & set(registry.get(slot, name).spec.__mro__[1:]):
            continue  # manifold with fewer maps: the layer is the same, and XLA compiles for long
        spec = ModelSpec(**({"convs": 1, "dim": 16, "heads": 2, "layers": 1, "kernel": 2} | {slot: name}))
        model, path = build(spec, (8, 8, 1), 3), f"{folder}/{slot}-{name}"
        if backend == "tensorflow":
            save_weights(model, f"{path}.safetensors")
            np.save(f"{path}.npy", model(x, training=False))
            continue
        measured = profile(model)
        assert measured.params == spec.params((8, 8, 1), 3), (slot, name)
        assert measured.macs_fvcore == spec.macs((8, 8, 1), 3, convention="macs_fvcore"), (slot, name)
        load_weights(model, f"{path}.safetensors")
        trainable, fixed = ([w.value for w in ws] for ws in (model.trainable_variables, model.non_trainable_variables))
        logits = jax.jit(lambda x: model.stateless_call(trainable, fixed, x, training=False)[0])(x)
        np.testing.assert_allclose(logits, np.load(f"{path}.npy"), atol=2e-5, err_msg=f"{slot} {name}")

        def loss(trainable):
            logits = model.stateless_call(trainable, fixed, x, training=True)[0]
            labels = np.array([0, 1, 2, 0])
            return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True))

        gradients = jax.jit(jax.grad(loss))(trainable)
        for weight, gradient in zip(model.trainable_variables, gradients, strict=True):
            assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0, (slot, name, weight.path)
"""


def test_jax_computes_costs_and_trains_every_variant_as_tensorflow_does(tmp_path):
    for backend in ("tensorflow", "jax"):
        env = {**os.environ, "KERAS_BACKEND": backend}
        command = [sys.executable, "-c", SLOTS, str(tmp_path)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, done.stderr


def _run_on_jax(script):
    """In a process of its own, whose end is waited for: a hang is a failure."""
    env = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr


TRAINED = """
import keras, numpy
from ablate.models import build
from ablate.models.spec import ModelSpec

options = {"tokenizer": {"observability": [4, 3]}}
spec = ModelSpec(attention="manifold", layers=1, convs=1, dim=32, heads=2, options=options)
model = build(spec, (8, 8, 1), 10)
model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
images = numpy.random.default_rng(0).normal(size=(512, 8, 8, 1)).astype("float32")
losses = model.fit(images, numpy.arange(512) % 10, batch_size=128, epochs=1, verbose=0).history["loss"]
assert numpy.isfinite(losses).all(), losses
"""


def test_orthonormal_bases_of_a_whole_batch_do_not_wait_for_each_other():
    """On two cores, XLA once hung where it ran the QRs of queries and of keys side by side."""
    _run_on_jax(TRAINED)


FUSED = """
import keras, numpy
from ablate.models import build
from ablate.models.spec import ModelSpec

images = numpy.random.default_rng(0).normal(size=(512, 16, 16, 1)).astype("float32")
for attention in ("manifold", "grassmann_projection"):
    branches = {name: {"attention": attention} for name in "ab"}
    model = build(ModelSpec(layers=1, convs=1, dim=32, heads=2, branches=branches), images.shape[1:], 10)
    assert numpy.isfinite(model.predict(images, batch_size=128, verbose=0)).all()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    losses = model.fit(images, numpy.arange(512) % 10, batch_size=128, epochs=1, verbose=0).history["loss"]
    assert numpy.isfinite(losses).all(), losses
"""


def test_branches_of_late_fusion_do_not_wait_for_each_other():
    """On two cores, XLA hung where it ran a branch's QRs beside the triangular systems of another one's gradient."""
    _run_on_jax(FUSED)


ORDERED = """
import jax, numpy
from ablate.models.numerics import after

odd = numpy.array([numpy.inf, -numpy.inf, numpy.nan, 0.0, -0.0, 3.0], "float32")
x = numpy.array([[1.0, -0.0], [numpy.nan, -numpy.inf]], "float32")
ordered = jax.jit(after).lower(odd, x).compile()
assert "reduce" in ordered.as_text()  # XLA has not found out that it may leave the first array unread
numpy.testing.assert_array_equal(numpy.asarray(ordered(odd, x)).view("int32"), x.view("int32"))
backward = jax.jit(lambda upstream: jax.vjp(after, odd, x)[1](upstream)).lower(x).compile()
assert "reduce" in backward.as_text()
of_odd, of_x = backward(x)
assert not numpy.any(of_odd)
numpy.testing.assert_array_equal(numpy.asarray(of_x).view("int32"), x.view("int32"))
"""


def test_order_of_computation_changes_no_number_not_beside_infinities_either():
    _run_on_jax(ORDERED)
