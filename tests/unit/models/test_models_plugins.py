"""The plugins that docs/architecture.md shows, verbatim: complete, 40 lines at most, and able to do what ours do."""

import re
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

import ablate
from ablate.config.compose import load_plugins
from ablate.models import registry
from ablate.models.profile import profile
from ablate.models.slots import SpecError
from ablate.models.spec import ModelSpec

PAGE = Path(__file__).parents[3] / "docs" / "architecture.md"
FILES = dict(re.findall(r"^```python\n# (my_\w+\.py)\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S))
VARIANTS = {"my_rotary": {"positional": "my_rotary"}, "my_linear": {"attention": "my_linear"}}
SHAPE = (16, 24, 3)
each_plugin = pytest.mark.parametrize("plugin", VARIANTS)


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """The pages' files in a working directory of their own, imported as the command line does."""
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).write_text(f"# {name}\n{text}", "utf-8")
    load_plugins(VARIANTS)
    yield
    for name in FILES:
        sys.modules.pop(name.removesuffix(".py"), None)


def _spec(plugin, **leaves):
    own = {"tokenizer": "patch", "kernel": 4, "convs": 1, "dim": 16, "heads": 2, "layers": 2, "positional": "none"}
    return ModelSpec(**own | VARIANTS[plugin] | leaves)


def _draw(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def _array(x):
    return ops.convert_to_numpy(x)


def test_plugins_of_the_pages_are_two_complete_files_of_at_most_forty_lines():
    assert set(FILES) == {f"{plugin}{part}.py" for plugin in VARIANTS for part in ("", "_layers")}
    for plugin in VARIANTS:
        assert sum(1 + FILES[f"{plugin}{part}.py"].count("\n") for part in ("", "_layers")) <= 40


@each_plugin
def test_plugin_of_the_pages_costs_what_it_says(plugins, plugin):
    spec = _spec(plugin, pooling="class_token")
    measured = profile(ablate.build(spec, SHAPE, 5))
    assert (measured.params, measured.tokens) == (spec.params(SHAPE, 5), spec.tokens(SHAPE))
    for convention in ("macs", "macs_modules", "macs_fvcore"):
        assert getattr(measured, convention) == spec.macs(SHAPE, 5, convention=convention)


@each_plugin
def test_plugin_of_the_pages_trains_saves_loads_and_changes_resolution(plugins, plugin, tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = ablate.build(_spec(plugin), SHAPE, 5)
    finally:
        keras.config.set_dtype_policy("float32")
    model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert np.isfinite(model.train_on_batch(_draw(4, *SHAPE), np.arange(4)))
    x = _draw(2, *SHAPE)
    model = ablate.build(_spec(plugin), SHAPE, 5)
    model.save(tmp_path / "model.keras")
    ablate.save_weights(model, tmp_path / "model.safetensors")
    loaded = ablate.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(_array(loaded(x)), _array(model(x)))
    wide = ablate.at_resolution(loaded, (32, 24))
    other = ablate.build(_spec(plugin), (32, 24, 3), 5)
    ablate.load_weights(other, tmp_path / "model.safetensors")
    images = _draw(2, 32, 24, 3)
    np.testing.assert_array_equal(_array(wide(images)), _array(other(images)))
    assert np.abs(_array(wide(images))).max() > 0


def test_plugin_rotary_is_ours(plugins):
    outputs = []
    for positional in ("my_rotary", "rotary"):
        keras.utils.set_random_seed(0)
        model = ablate.build(_spec("my_rotary", positional=positional, pooling="class_token"), SHAPE, 5)
        for weight in model.trainable_variables:
            weight.assign(10 * weight)  # so that places matter to the softmax
        outputs.append(_array(model(_draw(2, *SHAPE))))
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-5)
    with pytest.raises(SpecError, match="a head must be divisible by 4 for my_rotary, got 3"):
        _spec("my_rotary", dim=6).check()


def test_plugin_linear_reads_a_weighted_mean_of_all_values(plugins):
    model = ablate.build(_spec("my_linear"), SHAPE, 5)
    attention = model.get_layer("encoder").blocks[0].attention
    x = _draw(1, 24, 16)
    query, key, value = (part.reshape(24, 2, 8) for part in np.split(_array(attention.qkv(x))[0], 3, axis=-1))
    query, key = (np.where(part > 0, part + 1, np.exp(part)) for part in (query, key))
    weights = np.einsum("thd,shd->hts", query, key)
    mixed = np.einsum("hts,shd->thd", weights / weights.sum(-1, keepdims=True), value).reshape(1, 24, 16)
    np.testing.assert_allclose(_array(attention(x)), _array(attention.projection(mixed)), atol=1e-6)
