"""Writes the models beside it and their logits, with commit f6fe46a: ``PYTHONPATH=CHECKOUT python write.py``."""

from pathlib import Path

import keras
import numpy as np

from ablate.models import create_model, encoder

FOLDER = Path(__file__).parent
EVERY_LEAF = {
    **{"dim": 16, "heads": 2, "mlp_ratio": 1.5, "dropout": 0.1, "attention_dropout": 0.2, "stochastic_depth": 0.3},
    **{"drop_path_schedule": "constant", "token_dropout": 0.05, "projection_dropout": 0.15, "head_dropout": 0.25},
    **{"qkv_bias": True, "key_dim": 5, "residual": "plain", "mlp_second_activation": True, "norm_eps": 1e-3},
}


def randomise(model: keras.Model) -> None:
    """So that no branch is negligible, and no bias 0."""
    rng = np.random.default_rng(5)
    for weight in model.weights:
        if weight.path.endswith(("bias", "beta", "gamma")):
            weight.assign(rng.normal(1, 0.3, weight.shape))
        elif not weight.path.startswith(("tokenizer", "positional", "pooling", "head")):
            weight.assign(rng.normal(0, 0.4, weight.shape))


def write(name: str, model: keras.Model) -> None:
    randomise(model)
    x = np.random.default_rng(0).normal(size=(4, *model.input_shape[1:])).astype("float32")
    model.save(FOLDER / f"{name}.keras")
    np.save(FOLDER / f"{name}.npy", np.asarray(model(x, training=False)))


def layers_alone() -> keras.Model:
    images = keras.Input((5, 8))
    y = encoder.Attention(2, dropout=0.1, attention_dropout=0.2, qkv_bias=True, key_dim=3)(images)
    y = encoder.Mlp(12, dropout=0.1, second_activation=True)(y)
    y = encoder.Block(2, 12, drop_path=0.3, projection_dropout=0.2, residual="plain", norm_eps=1e-3)(y)
    return keras.Model(images, y)


keras.utils.set_random_seed(11)
sizes = {"image_size": 16, "in_channels": 1, "num_classes": 3}
write("defaults", create_model("cct_1_3x1_32", **sizes, dim=8, heads=2))
write("every_leaf", create_model("cvt_2_4_32_sine", **sizes, **EVERY_LEAF))
write("layers_alone", layers_alone())
