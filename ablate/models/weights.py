"""Weights in and out: files of the official code and our own, onto our variables and back.

Our names are the variables' paths, and stay: ``[w.path for w in model.weights]`` (docs/weights.md has a model's whole
table). Official names, and how a tensor is turned:

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

A fork with attention over several manifolds (`ablate.models.manifold_names`) has the same, and beside it, below
``encoder/block_I/attention`` and ``classifier.blocks.I.self_attn``:

    euclid_scale, spd_scale, grassmann_scale  ()    scale, riem_scale, grassman_scale          ()
    scale (spd_distance, grassmann_projection)      scale
    map_norm/…                (maps, tokens, tokens) conv_attn.0.…
    fusion/kernel             (1, 1, maps, heads)   conv_attn.1.weight, 0 where no norm precedes it (heads, maps, 1, 1)
    norm/…                                          norm.…
    unused_table              (tokens, tokens)      attn_matrix

Its observability stage, ``tokenizer/observability``, is ``om_layer`` and ``project``. In late fusion each branch NAME,
``encoder/NAME/…``, is ``NAME_classifier.…``, and the head ``late_fusion_classifier``; its older revision calls the head
of manifold attention ``classifier.head``. A BatchNorm's ``num_batches_tracked`` is neither read nor written.
"""

import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from ablate.models.manifold_names import is_older
from ablate.models.positional.layers import SinePositional, resize, sine_table
from ablate.models.pth import open_pth
from ablate.models.weight_files import (
    KerasArrays,
    StoredWeights,
    Wanted,
    WeightsError,
    below,
    keras_groups,
    open_safetensors,
    read_keras,
    read_safetensors,
    replace_whole,
    shown,
    unwrapped,
    write_safetensors,
)

__all__ = [
    "Loaded",
    "WeightsError",
    "assign",
    "gridded",
    "load_weights",
    "official_name",
    "read_safetensors",
    "save_weights",
    "state_dict",
    "token_grid",
]

logger = logging.getLogger(__name__)

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
    (r"head(?:/linear)?", r"classifier.fc"),
    (r"encoder/block_(\d+)/attention/euclid_scale", r"classifier.blocks.\1.self_attn.scale"),
    (r"encoder/block_(\d+)/attention/spd_scale", r"classifier.blocks.\1.self_attn.riem_scale"),
    (r"encoder/block_(\d+)/attention/grassmann_scale", r"classifier.blocks.\1.self_attn.grassman_scale"),
    (r"encoder/block_(\d+)/attention/scale", r"classifier.blocks.\1.self_attn.scale"),
    (r"encoder/block_(\d+)/attention/unused_table", r"classifier.blocks.\1.self_attn.attn_matrix"),
    (r"encoder/block_(\d+)/attention/(?:map_norm|fusion_alone)", r"classifier.blocks.\1.self_attn.conv_attn.0"),
    (r"encoder/block_(\d+)/attention/fusion", r"classifier.blocks.\1.self_attn.conv_attn.1"),
    (r"encoder/block_(\d+)/attention/norm", r"classifier.blocks.\1.self_attn.norm"),
    (r"tokenizer/observability/norm", r"om_layer.0"),
    (r"tokenizer/observability/dense", r"om_layer.2"),
    (r"tokenizer/observability/dense_alone", r"om_layer.1"),
    (r"tokenizer/observability/joined", r"project.0"),
)
_BRANCH = re.compile(r"encoder/(\w+)/((?:class_token|positional|encoder|pooling|observability)/.+)")
_LEAVES = {
    **{"kernel": "weight", "gamma": "weight", "beta": "bias", "bias": "bias"},
    **{"moving_mean": "running_mean", "moving_variance": "running_var"},
}
_POSITIONAL = "classifier.positional_emb"
_HEAD = ("classifier.fc.weight", "classifier.fc.bias")
_HEADS = ("classifier.head", "late_fusion_classifier", "late_fusion_classifier.0")
"""What the fork calls ``classifier.fc`` in some of its classes."""
_COUNTER = ".num_batches_tracked"
"""End of a name in a BatchNorm's state that nothing computes with."""
_PTH = (".pth", ".pt", ".pth.tar", ".ckpt", ".bin")  # timm's script, Lightning and Hugging Face write the last three
_KERAS = (".weights.h5", ".keras")
_KERAS_READ = (".h5", ".hdf5", ".keras")
_ROOM = 2**28
"""Most bytes of a file that are read for any model: a head of 21,000 classes and more tokens are far fewer."""
_ROOM_PER_PARAM = 64
"""Bytes more for each of its parameters: Keras' files hold an optimizer too, and may be in float64."""
_LISTED = 200
_KEYS = 10
"""Most prefixes that are looked at, and named: each costs a look at all names of a file."""
_BFLOAT16_MAX = 3.3895313892515355e38  # NumPy does not know the type
_KERAS_GROUPS = {
    "layers/dense": "head",
    "layers/learnable_positional": "positional",
    "layers/sine_positional": "positional",
}
"""What a file may hold of a model whose layer is of another class, or is not there: said by its right name."""

TokenGrid = tuple[int, int]
"""Rows and columns of tokens."""


@dataclass(frozen=True)
class Loaded:
    """What became of a file's weights and of the model's, under the official names.

    Attributes:
        source: Name of the file.
        loaded: Set as the file has them.
        interpolated: Set from the file's, for another resolution.
        kept: Still as the model had them: a head of another number of classes, a sine table of another resolution.
        unused: In the file only: the head, where the model ends in features.
        key: Key of the file under which the tensors lie; None where it holds no others, or they lie at its top.
        others: Keys of the file under which other tensors lie, such as an average of the weights.
    """

    source: str
    loaded: tuple[str, ...]
    interpolated: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    key: str | None = None
    others: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One line, which names whatever was not simply loaded."""
        told = [f"{what} {', '.join(names)}" for what, names in self.exceptions() if names]
        head = ", the head's among them" if self.head == "loaded" else ""
        under = "" if self.key is None else f" of {shown(self.key)}"
        if self.others:
            there = ", ".join(shown(other) for other in self.others[:10])
            told.insert(0, f"not those of {there} (model.weights_key=NAME takes them)")
        return "; ".join([f"{self.source}: loaded {len(self.loaded)} weights{under}{head}", *told])

    @property
    def head(self) -> str:
        """What became of the head: ``loaded``, ``drawn`` anew for other classes, or ``none`` in model or file."""
        return "loaded" if _HEAD[0] in self.loaded else "drawn" if _HEAD[0] in self.kept else "none"

    def exceptions(self) -> list[tuple[str, tuple[str, ...]]]:
        """What was done otherwise, and to which weights."""
        kept = "kept as they are in the model, since the file's are of another shape:"
        return [("interpolated", self.interpolated), (kept, self.kept), ("left unused", self.unused)]


def official_name(path: str) -> str | None:
    """The official state dict's name for one of our variables' paths, or None where it has none."""
    if branch := _BRANCH.fullmatch(path):
        return _branch_name(*branch.groups())
    layer, _, leaf = path.rpartition("/")
    for ours, theirs in _OFFICIAL:
        if re.fullmatch(ours, path):
            return re.sub(ours, theirs, path)
        if leaf in _LEAVES and re.fullmatch(ours, layer):
            return f"{re.sub(ours, theirs, layer)}.{_LEAVES[leaf]}"
    return None


def _branch_name(branch: str, path: str) -> str | None:
    """The name of a weight within a branch of late fusion; one observability stage has no branch in its name."""
    name = official_name(f"tokenizer/{path}" if path.startswith("observability/") else path)
    if name is None or (name.startswith("om_layer") and branch != "om"):
        return None
    return name.replace("classifier.", f"{branch}_classifier.", 1)


def load_weights(
    model: keras.Model,
    path: str | Path,
    *,
    key: str | None = None,
    grid: TokenGrid | None = None,
    warn: bool = True,
) -> Loaded:
    """Sets a model's weights from a file; all that it holds, or none and a WeightsError.

    Two things may differ between file and model. Another number of classes keeps the model's own head. Another
    resolution interpolates a learned positional embedding (`ablate.models.positional.layers.resize`) and what a layer
    can turn by its ``from_grid``, and keeps the model's sine table. Both are in what is returned, and are logged as a
    warning.

    Args:
        model: One that `ablate.models` built.
        path: A ``.safetensors`` or ``.pth`` file (``.pt``, ``.pth.tar``, ``.ckpt``, ``.bin``) under the official
            state-dict names, with or without the prefixes of trainers; the index of ``.safetensors`` or ``.bin`` files;
            or a ``.weights.h5``, ``.keras`` or whole-model ``.h5`` file of such a model. No code in it is run.
        key: Where a file of several state dicts is to be read, such as ``state_dict_ema``; or what the names of its
            tensors begin with. None takes the weights as trained.
        grid: Rows and columns of tokens in the file, where its images were not square and it does not say so itself
            (`save_weights` does, in ``.safetensors``).
        warn: Whether to log what was not simply loaded; False leaves that to whoever reads what is returned.

    Returns:
        What was loaded, interpolated, kept and left unused.

    Raises:
        WeightsError: The file is none of these, or is truncated; or a number in it is NaN or infinite; or a weight is
            missing, extra, of another shape, or a positional embedding that is not the sine formula where the model's
            is fixed to it. All are listed.
        FileNotFoundError: There is no such file.
    """
    path = Path(path).expanduser()
    wanted = _wanted(model)
    stored = _read(model, path, key, wanted)
    stored = stored._replace(tensors=_renamed(stored.tensors))
    _require_finite(path.name, {n: t for n, t in stored.tensors.items() if wanted.takes(n, t.shape)})
    loaded = assign(model, stored.tensors, source=path.name, grid=grid or stored.grid, key=stored.key)
    loaded = replace(loaded, key=stored.key, others=(*stored.others, *loaded.others))
    if warn and (loaded.others or any(names for _, names in loaded.exceptions())):
        logger.warning("%s", loaded)
    return loaded


def save_weights(model: keras.Model, path: str | Path) -> None:
    """Writes a model's weights to a file, which is complete or not there.

    Args:
        model: One that `ablate.models` built.
        path: ``.safetensors`` writes the official names and layouts, which the official code can load (a weight that it
            has none for, such as a plugin's, goes under its own path); ``.weights.h5`` and ``.keras`` are Keras' own.

    Raises:
        WeightsError: The suffix is none of these.
        OSError: It cannot be written.
    """
    path = Path(path)
    if path.name.endswith(".safetensors"):
        write_safetensors(path, state_dict(model), grid=token_grid(model))
    elif path.name.endswith(_KERAS):
        replace_whole(path, model.save if path.suffix == ".keras" else model.save_weights)
    else:
        raise WeightsError(f"weights are written to a .safetensors, .weights.h5 or .keras file, got {path.name!r}.")


def state_dict(model: keras.Model) -> dict[str, np.ndarray]:
    """A model's weights under the official names, in PyTorch's layouts; `assign` is the way back.

    The head has the name that the class of the fork has for it which alone builds such a model.
    """
    found = {_name(weight): to_official(_wide(weight), weight.path) for weight in model.weights}
    head = _head_name(model)
    return {name.replace("classifier.fc", head) if name in _HEAD else name: array for name, array in found.items()}


def assign(
    model: keras.Model,
    tensors: Mapping[str, np.ndarray],
    *,
    source: str,
    grid: TokenGrid | None = None,
    key: str | None = None,
) -> Loaded:
    """Sets a model's weights from a state dict under the official names, as `load_weights` does from a file.

    A whole second set of the model's names below a prefix, such as an average of the weights, is left out, and is among
    the others of what is returned.

    Args:
        model: One that `ablate.models` built.
        tensors: In PyTorch's layouts.
        source: What an error calls them.
        grid: Rows and columns of tokens that the state dict's positional embedding is for; None takes a square.
        key: Key under which the tensors lie in their file, for a message that names a key within it.

    Raises:
        WeightsError: They do not fit; all misfits are listed, and nothing was set.
    """
    targets, tensors = {_name(weight): weight for weight in model.weights}, _renamed(tensors)
    kept = _HEAD if _other_classes(tensors, targets) else ()
    unused = () if any(name in targets for name in _HEAD) else tuple(name for name in _HEAD if name in tensors)
    turned = {n: from_official(t, targets[n].path) for n, t in tensors.items() if n in targets and n not in kept}
    repeats = _repeats(tensors, targets, key)
    if not turned:
        raise WeightsError(_unrelated(source, tensors, model, targets) + _advice(repeats, tensors) + ".")

    stored = dict(turned)
    problems = [f"missing {name}" for name in targets if name not in tensors]
    apart = {name for repeat in repeats for name in repeat.names}.union(targets, unused)
    problems += [f"extra {shown(name)}" for name in tensors if name not in apart]
    problems += [f"extra {len(part.names)} below {shown(part.key)}" for part in repeats if not part.whole]
    problems += _place(model, turned, targets, grid) + _onto_grid(model, turned, targets, grid)
    problems += [problem for name in turned if (problem := _misfit(name, tensors[name], turned[name], targets[name]))]
    if problems:
        more = [f"and {len(problems) - _LISTED} more"] if len(problems) > _LISTED else []
        listed = "; ".join([*problems[:_LISTED], *more])
        raise WeightsError(f"{source} does not fit model {model.name!r}: {listed}{_advice(repeats)}.")

    for name, tensor in turned.items():
        targets[name].assign(ops.cast(tensor, targets[name].dtype))
    changed = tuple(name for name in turned if turned[name] is not stored[name])
    interpolated, kept = ((), (*kept, *changed)) if _is_sine(model) else (changed, kept)
    others = tuple(repeat.key for repeat in repeats)
    loaded = tuple(name for name in turned if name not in changed)
    return Loaded(source, loaded, interpolated, kept, unused, others=others)


def _place(
    model: keras.Model, turned: dict[str, np.ndarray], targets: Mapping[str, Any], grid: TokenGrid | None
) -> list[str]:
    """Puts each positional embedding onto the model's grid, in ``turned``, or takes it out and says why not."""
    problems = []
    for name in [name for name in turned if _is_positional(name)]:
        stored = turned.pop(name)
        try:
            turned[name] = _embedding(model, stored, targets[name], grid)
        except WeightsError as misfit:
            problems.append(f"{name} {misfit}")
    return problems


def _is_positional(name: str) -> bool:
    return name == _POSITIONAL or name.endswith("_classifier.positional_emb")


def _onto_grid(
    model: keras.Model, turned: dict[str, np.ndarray], targets: Mapping[str, Any], grid: TokenGrid | None
) -> list[str]:
    """Turns weights of layers that know a grid (`gridded`) into those of the model's, or says why not."""
    layers, problems = gridded(model), []
    for name in [name for name in turned if targets[name].path in layers]:
        try:
            turned[name] = layers[targets[name].path].from_grid(targets[name].name, turned[name], grid)
        except ValueError as misfit:
            problems.append(f"{name} {misfit}")
            del turned[name]
    return problems


def gridded(model: keras.Model) -> dict[str, Any]:
    """Our path of each weight whose layer can turn it into that of another grid (docs/architecture.md) -> the layer."""
    layers = [layer for layer in model._flatten_layers(include_self=False) if hasattr(layer, "from_grid")]
    return {weight.path: layer for layer in layers for weight in layer.weights}


def from_official(tensor: np.ndarray, path: str) -> np.ndarray:
    """Turns a tensor from PyTorch's layout, outputs first, into that of our variable at a path; checks no shapes."""
    if not path.endswith("/kernel"):
        return tensor
    return tensor.transpose(2, 3, 1, 0) if tensor.ndim == 4 else tensor.T


def to_official(array: np.ndarray, path: str) -> np.ndarray:
    """The inverse of `from_official`."""
    if not path.endswith("/kernel"):
        return array
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T


def _renamed(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Tensors with one name for the head, and without counters."""
    return {one_head(name): tensor for name, tensor in tensors.items() if not name.endswith(_COUNTER)}


def one_head(name: str) -> str:
    """An official name, with ``classifier.fc`` for what the fork calls the head in some of its classes."""
    head, _, leaf = name.rpartition(".")
    return f"classifier.fc.{leaf}" if head in _HEADS else name


def _head_name(model: keras.Model) -> str:
    """What the fork calls the head of such a model, where its class calls it otherwise than ``classifier.fc``."""
    spec = getattr(next((layer for layer in model.layers if layer.name == "encoder"), None), "spec", None)
    if spec is None:
        return "classifier.fc"
    if spec.branches:
        return "late_fusion_classifier.0" if list(spec.branches) == ["img", "om"] else "late_fusion_classifier"
    return "classifier.head" if is_older(spec) else "classifier.fc"


def _name(weight: Any) -> str:
    return official_name(weight.path) or str(weight.path)


def _wide(weight: Any) -> np.ndarray:
    """In float32 at least: NumPy, and so the file, has no bfloat16, and float32 has all of its numbers."""
    wide = weight if weight.dtype in ("float32", "float64") else ops.cast(weight, "float32")
    return np.asarray(ops.convert_to_numpy(wide))


def _read(model: keras.Model, path: Path, key: str | None, wanted: Wanted) -> StoredWeights:
    name = path.name.lower()
    if name.endswith((".safetensors", ".safetensors.index.json")):
        return open_safetensors(path, key, wanted)
    if name.endswith((*_PTH, ".bin.index.json")):
        return open_pth(path, key, wanted)
    if not name.endswith(_KERAS_READ):
        raise WeightsError(
            f"weights must be a .safetensors, .pth, .weights.h5 or .keras file, got {path.name!r}; a .pth file may be "
            f"called {', '.join(_PTH[1:])} too, and .h5, .safetensors.index.json and .bin.index.json are read."
        )
    if key is not None:
        raise WeightsError(
            f"model.weights_key must be null for {path.name}, which holds one set of weights, got {key}."
        )
    return _from_keras(model, read_keras(path, wanted))


def _wanted(model: keras.Model) -> Wanted:
    """What a model can take of a file: its own weights, and those that may have another shape than its own."""
    sizes = {_name(weight): math.prod(weight.shape) for weight in model.weights}
    own = sum(sizes.values())
    layers = gridded(model)
    of_any_shape = {_POSITIONAL, *_HEAD, *(_name(weight) for weight in model.weights if weight.path in layers)}

    def takes(name: str, shape: tuple[int, ...]) -> bool:
        name = one_head(name)
        free = name in of_any_shape or _is_positional(name)
        return name in sizes and (free or math.prod(shape) == sizes[name])

    return Wanted(takes, _ROOM + _ROOM_PER_PARAM * own)


def _require_finite(source: str, tensors: Mapping[str, np.ndarray]) -> None:
    """Raises WeightsError where a training that starts from them could only diverge."""
    for name, tensor in tensors.items():
        if tensor.dtype.kind == "f" and (broken := tensor.size - int(np.isfinite(tensor).sum())):
            raise WeightsError(
                f"{source} must hold finite numbers, but {broken:,} of {tensor.size:,} in {name} are NaN or infinite; "
                "take a checkpoint from before its training diverged."
            )


def _from_keras(model: keras.Model, stored: KerasArrays) -> StoredWeights:
    """What Keras saved, under the official names."""
    tensors = {official_name(path) or path: to_official(array, path) for path, array in stored.paths.items()}
    if stored.groups:
        tensors = _from_groups(model, stored.groups)
    # As many tokens as in the model are taken for the same grid: the file is from this code, square or not.
    positional = next((w for w in model.weights if w.path == "positional/embedding"), None)
    same = positional is not None and _POSITIONAL in tensors and tensors[_POSITIONAL].shape == tuple(positional.shape)
    return StoredWeights(tensors, token_grid(model) if same else None)


def _from_groups(model: keras.Model, groups: Mapping[str, list[np.ndarray]]) -> dict[str, np.ndarray]:
    """What Keras numbers within a layer, under the official names."""
    layers = {**_KERAS_GROUPS, **keras_groups(model)}
    ours: dict[str, list[str]] = {}
    for weight in model.weights:
        ours.setdefault(weight.path.rpartition("/")[0], []).append(weight.path)
    ours.setdefault("head", ["head/kernel", "head/bias"])
    tensors: dict[str, np.ndarray] = {}
    for group, arrays in groups.items():
        paths = ours.get(layers.get(group, ""), [])
        for number, array in enumerate(arrays):
            if number < len(paths):
                tensors[official_name(paths[number]) or paths[number]] = to_official(array, paths[number])
            elif not group.rpartition("/")[2].startswith("seed_generator"):  # the state of dropout's draws
                tensors[f"{group.removeprefix('layers/')}/{number}"] = array
    return tensors


def _other_classes(tensors: Mapping[str, np.ndarray], targets: Mapping[str, Any]) -> bool:
    """Whether the file has a whole head on the same features, for another number of classes."""
    if not all(name in tensors and name in targets for name in _HEAD):
        return False
    (classes, dim), stored = targets[_HEAD[0]].shape[::-1], tensors[_HEAD[0]].shape
    return len(stored) == 2 and stored[1] == dim and stored[0] != classes and tensors[_HEAD[1]].shape == stored[:1]


def _misfit(name: str, tensor: np.ndarray, turned: np.ndarray, weight: Any) -> str | None:
    if turned.shape != tuple(weight.shape):
        return f"{name} has shape {tensor.shape}, {weight.path} is {tuple(weight.shape)}"
    if tensor.dtype.kind != "f":
        return f"{name} has dtype {tensor.dtype}, {weight.path} is {weight.dtype}"
    largest = _BFLOAT16_MAX if weight.dtype == "bfloat16" else float(np.finfo(weight.dtype).max)
    beyond = tensor.size and tensor.itemsize > 2 and float(np.abs(tensor).max()) > largest
    return f"{name} has numbers beyond {largest:.3g}, the largest of {weight.path}'s {weight.dtype}" if beyond else None


def _unrelated(source: str, tensors: Mapping[str, Any], model: keras.Model, targets: Mapping[str, Any]) -> str:
    theirs, ours = (", ".join([*map(shown, list(names)[:3]), "…"]) for names in (tensors, targets))
    names = f"its names are {theirs}" if tensors else "it has no tensors"
    return f"{source} holds none of the weights of model {model.name!r}: {names}, the model's {ours}"


class _Repeat(NamedTuple):
    """Tensors below a prefix that have the model's names.

    Attributes:
        key: The prefix, with the key under which all lie in their file.
        names: Full names of these tensors.
        whole: Whether they are all of the model's, but for what may differ, and no other tensors lie below the prefix.
    """

    key: str
    names: tuple[str, ...]
    whole: bool


def _repeats(tensors: Mapping[str, Any], targets: Mapping[str, Any], key: str | None) -> list[_Repeat]:
    """What lies below prefixes under the model's names: an average, or weights that a trainer has wrapped."""
    own = {*targets, *_HEAD}
    longest = max(map(len, own))
    prefixes = dict.fromkeys(filter(None, (_prefix(name, own, longest) for name in tensors)))
    shorter = dict.fromkeys(_outermost(prefix, tensors, own) for prefix in list(prefixes)[:_KEYS])
    return [_repeat(prefix, tensors, targets, key) for prefix in shorter]


def _repeat(prefix: str, tensors: Mapping[str, Any], targets: Mapping[str, Any], key: str | None) -> _Repeat:
    inside = {name: f"{prefix}.{name}" for name in below(tensors, prefix)}
    own, found = {*targets, *_HEAD}, unwrapped(inside)
    whole = own >= found.keys() >= targets.keys() - {_POSITIONAL, *_HEAD}
    names = inside.values() if whole else (full for name, full in found.items() if name in own)
    return _Repeat(prefix if key is None else f"{key}.{prefix}", tuple(names), whole)


def _prefix(name: str, own: set[str], longest: int) -> str | None:
    """What stands before one of the model's names in a name; None where nothing does."""
    if name in own:
        return None
    dots = (place for place in range(max(0, len(name) - longest - 1), len(name)) if name[place] == ".")
    return next((name[:dot] for dot in dots if name[dot + 1 :] in own), None)


def _outermost(prefix: str, tensors: Mapping[str, Any], own: set[str]) -> str:
    """A prefix without what trainers put before every name within it: ``ema`` for ``ema.module``."""
    while shorter := prefix.rpartition(".")[0]:
        inside = below(tensors, shorter)
        if own & inside.keys() or not own & unwrapped(inside).keys():
            break
        prefix = shorter
    return prefix


def _advice(repeats: list[_Repeat], tensors: Mapping[str, Any] | None = None) -> str:
    """Which keys take weights of the model; where there is one, and tensors are told, which of these it leaves out."""
    if not repeats:
        return ""
    if len(repeats) > 1:
        return f"; model.weights_key=NAME takes those below one of {', '.join(shown(part.key) for part in repeats)}"
    (part,) = repeats
    odd = [shown(name) for name in tensors or () if name not in part.names]
    without = f", without {', '.join([*odd[:3], *(['…'] if odd[3:] else [])])}" if odd else ""
    return f"; model.weights_key={shown(part.key)} takes those below it{without}"


def _is_sine(model: keras.Model) -> bool:
    around = [model.get_layer("encoder")] if any(layer.name == "encoder" for layer in model.layers) else []
    branches = [branch.positional for layer in around for branch in getattr(layer, "branches", [])]
    return any(isinstance(layer, SinePositional) for layer in [*model.layers, *branches] if layer is not None)


def _embedding(model: keras.Model, stored: np.ndarray, weight: Any, grid: TokenGrid | None) -> np.ndarray:
    """The stored positional embedding for the model's grid; the very same array where nothing had to be done.

    Raises:
        WeightsError: It cannot be: the message goes on where the embedding's name stands.
    """
    if stored.ndim != 3 or len(stored) != 1 or stored.shape[2] != weight.shape[2] or stored.dtype.kind != "f":
        return stored
    if _is_sine(model):
        _check_sine(stored)
        return stored if stored.shape == tuple(weight.shape) else sine_table(*weight.shape[1:])[None]
    new = token_grid(model)
    if new is None:
        return stored
    extra = weight.shape[1] - new[0] * new[1]
    old = _stored_grid(stored.shape[1] - extra, new, grid)
    return stored if old == new else resize(stored, old, new)


def _check_sine(stored: np.ndarray) -> None:
    # The official tables are computed in float32: up to 2e-6 off for 64 tokens, growing with their number.
    off = float(np.abs(stored[0] - sine_table(*stored.shape[1:])).max(initial=0))
    if not off < 1e-3:
        raise WeightsError(
            f"is not the sine formula (off by up to {off:.3g}), to which the model's is fixed: official cct and cvt "
            "models named _sine were built with a learned one; build the model with positional=learnable"
        )


def _stored_grid(tokens: int, new: TokenGrid, grid: TokenGrid | None) -> TokenGrid:
    """Rows and columns of the image tokens in a file: as it says, or square, as the official code's images are."""
    if grid is not None and grid[0] * grid[1] != tokens:
        raise WeightsError(f"has {tokens} image tokens, which are not the {grid[0]}x{grid[1]} of its grid")
    side = math.isqrt(max(tokens, 0))
    if grid is not None or side * side == tokens > 0:
        return grid or (side, side)
    if tokens == new[0] * new[1]:
        return new
    raise WeightsError(f"has {tokens} image tokens, which are no square: say grid=(rows, columns) of the file's images")


def token_grid(model: keras.Model) -> TokenGrid | None:
    """Rows and columns of a model's tokens, found by showing its tokenizer square images of either side; None for a
    plugin's that treats rows and columns differently."""
    height, width, channels = model.input_shape[1:]
    tokenizer = model.get_layer("tokenizer")
    squares = [
        tokenizer.compute_output_spec(keras.KerasTensor((1, side, side, channels))).shape[1] for side in (height, width)
    ]
    rows, columns = (math.isqrt(count) for count in squares)
    return (rows, columns) if rows * columns == tokenizer.output.shape[1] else None
