"""The models that benchmarks compare, described by numbers alone, as a peer without ablate can build them."""

from dataclasses import replace
from typing import Any

from ablate.models import zoo
from ablate.models.spec import ModelSpec

MODELS = ("cct_2_3x2_32", "cvt_7_4_32", "vit_7_4_32", "cct_7_3x1_32")
INPUT_SHAPE, NUM_CLASSES = (32, 32, 3), 10


def spec(name: str, dropout: float) -> ModelSpec:
    """A model by its name, with a dropout of its tokens; on attention weights and paths it is the paper's."""
    return replace(zoo.parse(name).spec, dropout=dropout)


def described(name: str, dropout: float) -> dict[str, Any]:
    """What a side needs to build it, and its multiply-adds for an image's forward pass."""
    model = spec(name, dropout)
    axis = model.variant("tokenizer")
    strides = {"stride": axis.stride(model), "padding": axis.padding(model)} if model.tokenizer == "conv" else {}
    return strides | {
        "name": name,
        "input_shape": INPUT_SHAPE,
        "num_classes": NUM_CLASSES,
        "tokenizer": model.tokenizer,
        "kernel": model.kernel,
        "convs": model.convs,
        "pooling": model.pooling,
        "tokens": model.tokens(INPUT_SHAPE),
        "dim": model.width,
        "layers": model.layers,
        "heads": model.attention_heads,
        "mlp_ratio": model.mlp_width / model.width,
        "dropout": model.dropout,
        "attention_dropout": model.attention_dropout,
        "stochastic_depth": model.stochastic_depth,
        "parameters": model.params(INPUT_SHAPE, NUM_CLASSES),
        "macs": model.macs(INPUT_SHAPE, NUM_CLASSES),
    }
