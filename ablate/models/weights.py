"""Weights in: official state dicts, in the safetensors format, onto our variables.

Our names are the variables' paths, and stay: ``[w.path for w in model.weights]``. Official names, and how a tensor is
turned:

    ours                                            official                                   turned
    tokenizer/conv_I/kernel   (side, side, in, out) tokenizer.conv_layers.I.0.weight           (out, in, side, side)
    tokenizer/conv_I/bias                           tokenizer.conv_layers.I.0.bias
    class_token/token         (1, 1, dim)           classifier.class_emb
    positional/embedding      (1, tokens, dim)      classifier.positional_emb
    encoder/block_I/norm_1/gamma, beta              classifier.blocks.I.pre_norm.weight, bias
    encoder/block_I/attention/qkv/kernel            classifier.blocks.I.self_attn.qkv.weight   (out, in)
    encoder/block_I/attention/projection/…          classifier.blocks.I.self_attn.proj.…       (out, in)
    encoder/block_I/norm_2/gamma, beta              classifier.blocks.I.norm1.weight, bias
    encoder/block_I/mlp/dense_N/…                   classifier.blocks.I.linearN.…              (out, in)
    encoder/norm/gamma, beta                        classifier.norm.weight, bias
    pooling/attention/…       (dim, 1)              classifier.attention_pool.…                (1, dim)
    head/…                    (dim, classes)        classifier.fc.…                            (classes, dim)
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from ablate.models.positional import SinePositional, sine_table

_OFFICIAL = (
    (r"tokenizer/conv_(\d+)", r"tokenizer.conv_layers.\1.0"),
    (r"class_token/token", r"classifier.class_emb"),
    (r"positional/embedding", r"classifier.positional_emb"),
    (r"encoder/block_(\d+)/norm_1", r"classifier.blocks.\1.pre_norm"),
    (r"encoder/block_(\d+)/norm_2", r"classifier.blocks.\1.norm1"),
    (r"encoder/block_(\d+)/attention/qkv", r"classifier.blocks.\1.self_attn.qkv"),
    (r"encoder/block_(\d+)/attention/projection", r"classifier.blocks.\1.self_attn.proj"),
    (r"encoder/block_(\d+)/mlp/dense_(\d+)", r"classifier.blocks.\1.linear\2"),
    (r"encoder/norm", r"classifier.norm"),
    (r"pooling/attention", r"classifier.attention_pool"),
    (r"head", r"classifier.fc"),
)
_LEAVES = {"kernel": "weight", "gamma": "weight", "beta": "bias", "bias": "bias"}
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
_HEADER_LIMIT = 100_000_000  # bytes, the format's own limit


class WeightsError(ValueError):
    """A file whose weights are not this model's, or no weights at all; the message says which."""


def official_name(path: str) -> str | None:
    """The official state dict's name for one of our variables' paths, or None where it has none."""
    layer, _, leaf = path.rpartition("/")
    for ours, theirs in _OFFICIAL:
        if re.fullmatch(ours, path):
            return re.sub(ours, theirs, path)
        if leaf in _LEAVES and re.fullmatch(ours, layer):
            return f"{re.sub(ours, theirs, layer)}.{_LEAVES[leaf]}"
    return None


def load_weights(model: keras.Model, path: str | Path) -> None:
    """Sets a model's weights from a file of the official code's.

    Args:
        model: One that `ablate.models` built.
        path: A ``.safetensors`` file under the official state-dict names.

    Raises:
        WeightsError: The file is no such file; or a weight is missing, extra, or of another shape (all are listed);
            or it holds a positional embedding that is not the sine formula, for a model that has a sine embedding.
        FileNotFoundError: There is no such file.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise WeightsError(f"weights must be a .safetensors file, got {path.name!r}.")
    assign(model, read_safetensors(path), source=path.name)


def assign(model: keras.Model, tensors: Mapping[str, np.ndarray], *, source: str) -> None:
    """Sets a model's weights from a state dict under the official names; all of them, or none and a WeightsError."""
    targets = {official_name(weight.path) or weight.path: weight for weight in model.weights}
    problems = [f"missing {name}" for name in targets if name not in tensors]
    problems += [f"extra {name}" for name in tensors if name not in targets]
    turned = {name: from_official(tensor, targets[name]) for name, tensor in tensors.items() if name in targets}
    for name, tensor in turned.items():
        if tensor.shape != tuple(targets[name].shape):
            problems.append(
                f"{name} has shape {tensors[name].shape}, {targets[name].path} is {tuple(targets[name].shape)}"
            )
    if problems:
        raise WeightsError(f"{source} does not fit model {model.name!r}: {'; '.join(problems)}.")
    for name, tensor in turned.items():
        if _is_sine(model, targets[name]):
            _check_sine(tensor, source)
    for name, tensor in turned.items():
        targets[name].assign(ops.cast(tensor, targets[name].dtype))


def from_official(tensor: np.ndarray, weight: Any) -> np.ndarray:
    """Turns a tensor from PyTorch's layout, outputs first, into the one of our variable; shapes are not checked
    here."""
    if not weight.path.endswith("/kernel"):
        return tensor
    return tensor.transpose(2, 3, 1, 0) if tensor.ndim == 4 else tensor.T


def _is_sine(model: keras.Model, weight: Any) -> bool:
    return weight.path == "positional/embedding" and isinstance(model.get_layer("positional"), SinePositional)


def _check_sine(tensor: np.ndarray, source: str) -> None:
    # The official tables are computed in float32: up to 2e-6 off for 64 tokens, growing with their number.
    off = float(np.abs(tensor[0] - sine_table(*tensor.shape[1:])).max())
    if not off < 1e-3:
        raise WeightsError(
            f"{source} holds a positional embedding that is not the sine formula (off by up to {off:.3g}), but the "
            "model's is fixed to it; official cct and cvt models named _sine were built with a learned one: build "
            "positional=learnable."
        )


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Reads a safetensors file: 8 bytes of header length, a JSON header, then the tensors' bytes; nothing in it is run.

    Raises:
        WeightsError: The file is truncated, or is something else.
        FileNotFoundError: There is no such file.
    """
    content = path.read_bytes()
    try:
        length = int.from_bytes(content[:8], "little")
        if len(content) < 8 + length or not 2 <= length <= _HEADER_LIMIT:
            raise ValueError("its header is cut off")
        header = json.loads(content[8 : 8 + length])
        return {name: _tensor(content[8 + length :], entry) for name, entry in header.items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"{path.name} must be a whole safetensors file, but {error or type(error).__name__}."
        ) from None


def _tensor(data: bytes, entry: dict[str, Any]) -> np.ndarray:
    begin, end = entry["data_offsets"]
    if entry["dtype"] not in _DTYPES:
        raise ValueError(f"dtype {entry['dtype']} is none of {', '.join(_DTYPES)}")
    dtype, shape = np.dtype(_DTYPES[entry["dtype"]]), tuple(int(n) for n in entry["shape"])
    if not 0 <= begin <= end <= len(data) or end - begin != dtype.itemsize * int(np.prod(shape, dtype=np.int64)):
        raise ValueError("a tensor lies outside of the file, or has another size than its shape says")
    return np.frombuffer(data[begin:end], dtype).reshape(shape)
