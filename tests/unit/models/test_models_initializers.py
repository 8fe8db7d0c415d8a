"""Initial draws follow PyTorch's and the seed."""

import keras
import numpy as np
from keras import ops

from ablate.models import encoder, initializers
from ablate.models.positional import layers as positional
from ablate.models.slots import Geometry
from ablate.models.spec import ModelSpec
from ablate.models.tokenizer import layers as tokenizers


def _spec(**fields):
    rates = {"attention_dropout": 0.0, "stochastic_depth": 0.0}
    return ModelSpec(**{"layers": 2, "heads": 2, "dim": 8, "mlp_ratio": 1.5, **rates, **fields})


def _array(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


def test_truncated_normal_is_cut_at_its_absolute_limit():
    wide = _array(initializers.TruncatedNormal(0.02, seed=1)((200, 500)))
    assert abs(wide.std() - 0.02) < 1e-4 and abs(wide.mean()) < 2e-4
    assert 4 < np.abs(wide).max() / 0.02 < 5.5  # Keras' own would end at 2
    narrow = _array(initializers.TruncatedNormal(1.0, limit=0.5, seed=1)((200, 500)))
    assert np.abs(narrow).max() <= 0.5
    assert abs(narrow.std() - 0.2843) < 2e-3  # of a standard normal within ±0.5, from its closed form


def test_initial_draws_follow_the_official_code():
    keras.utils.set_random_seed(3)
    conv = tokenizers.ConvTokenizer([64, 64], kernel=3)
    conv.build((None, 16, 16, 3))
    assert abs(_array(conv.weights[1]).std() - np.sqrt(2 / (9 * 64))) < 1e-3
    block = encoder.Block(_spec(dim=128, mlp_ratio=1.0), Geometry((2, 2, 1), (2, 2)))
    block.build((None, 4, 128))
    by_path = {weight.path.removeprefix(f"{block.name}/"): _array(weight) for weight in block.weights}
    assert all(abs(by_path[f"{name}/kernel"].std() - 0.02) < 1e-3 for name in ("attention/qkv", "mlp/dense_2"))
    assert not any(by_path[name].any() for name in by_path if name.endswith(("bias", "beta")))
    embedding = positional.LearnablePositional()
    embedding.build((None, 64, 128))
    assert abs(_array(embedding.embedding).std() - 0.2) < 0.01


def test_initial_draws_follow_the_seed():
    def draw(seed):
        keras.utils.set_random_seed(seed)
        block = encoder.Block(_spec(mlp_ratio=1.0), Geometry((2, 2, 1), (2, 2)))
        block.build((None, 4, 8))
        return np.concatenate([weight.ravel() for weight in block.get_weights()])

    np.testing.assert_array_equal(draw(1), draw(1))
    assert (draw(1) != draw(2)).any()
