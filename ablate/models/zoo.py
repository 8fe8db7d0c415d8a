"""Official names and what they mean: presets over the slots, never branches in the code that builds.

Names: ``vit_L_P_SIZE`` and ``cvt_L_P_SIZE`` for patches of P pixels, ``cct_L_PxC_SIZE`` for C convolutions of kernel
P, then ``_sine`` or ``_none``, then ``_c100`` or ``_fl`` (Flowers-102). Any L, P, C and size is a name, listed or
not. A name means what it says: the official factories drop their ``positional_embedding``, so that their
``cct_…_sine`` learn it; ours do not.

``cct_keras_L_PxC_SIZE`` is what CCT-keras (github.com/johnypark/CCT-keras) builds, ``keras_io_cct`` the example of
keras.io "Compact Convolutional Transformers". Each is a set of options, which any run may change. Three things stand
outside of the model here: logits instead of probabilities (CCT-keras ends in a softmax), pixels scaled by the data
instead of inside of the model (keras.io divides by 255: data.mean=[0], data.std=[1]), and the initial draws of
convolutions and dense layers, which are the official code's.

``manifold_…``, ``riemmanian_…``, ``grassmanian_…`` and the fusions are a fork's (`ablate.models.manifold_names`).
"""

import inspect
import re
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import fields, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

from ablate.installation import needed_by
from ablate.models import manifold_names
from ablate.models.spec import DropPathSchedule, ModelSpec, Residual
from ablate.words import unknown

if TYPE_CHECKING:
    import keras

_NAME = re.compile(
    r"(?P<family>vit_lite|vit|cvt|cct_keras|cct)_(?P<layers>\d+)_(?P<kernel>\d+)(?:x(?P<convs>\d+))?"
    r"(?:_(?P<size>\d+))?(?:_(?P<positional>sine|none))?(?:_(?P<classes>c100|fl))?"
)
FORMS = ("vit_L_P", "cvt_L_P", "cct_L_PxC", "cct_keras_L_PxC", *manifold_names.forms())
"""Names of models without a size, for any L, P and C; what is in brackets may be left out."""
_GRAMMAR = (
    "vit_L_P_SIZE, cvt_L_P_SIZE or cct_L_PxC_SIZE, or one of these with its kind in front "
    "(manifold_vit_6_4_32, grassmanian_cct_7_3x1_32), then _sine or _none, then _c100 or _fl"
)

_FAMILIES: dict[str, dict[str, Any]] = {
    "vit": {"tokenizer": "patch", "pooling": "class_token"},
    "cvt": {"tokenizer": "patch", "pooling": "seqpool"},
    "cct": {"tokenizer": "conv", "pooling": "seqpool"},
    "cct_keras": {
        "tokenizer": "conv",
        "pooling": "seqpool",
        "dropout": 0.1,
        "drop_path_schedule": DropPathSchedule.constant,
        "head_dropout": 0.3,
        "qkv_bias": True,
        "residual": Residual.plain,
        "mlp_second_activation": True,
        "norm_eps": 1e-6,
        "options": {
            "tokenizer": {"conv_widths": "doubling", "conv_padding": "same", "pool_padding": "same"},
            "pooling": {"sums": True},
        },
    },
}
_KERAS_IO = "keras_io_cct"


def _keras_io() -> ModelSpec:
    return ModelSpec(
        dropout=0.1,
        token_dropout=0.0,
        projection_dropout=0.0,
        qkv_bias=True,
        key_dim=128,
        residual=Residual.plain,
        mlp_second_activation=True,
        options={
            "tokenizer": {"conv_padding": "after", "pool_padding": "same"},
            "positional": {"trained": False, "draw": "uniform"},
        },
    )


# The official factories (SHI-Labs/Compact-Transformers), without their _sine forms.
_OFFICIAL = (
    *("vit_2_4_32", "vit_4_4_32", "vit_6_4_32", "vit_7_4_32"),
    *("cvt_2_4_32", "cvt_4_4_32", "cvt_6_4_32", "cvt_7_4_32"),
    *("cct_2_3x2_32", "cct_4_3x2_32", "cct_6_3x1_32", "cct_6_3x2_32"),
    *("cct_7_3x1_32", "cct_7_3x2_32", "cct_7_3x1_32_c100"),
    *("cct_7_7x2_224", "cct_14_7x2_224", "cct_14_7x2_384", "cct_14_7x2_384_fl"),
)
# Further models of the paper's Table 1, which have no factory.
_PAPER = ("vit_7_8_32", "vit_7_16_32", "vit_12_16_32", "cvt_7_8_32")
_PORTS = ("cct_keras_14_7x2_224", _KERAS_IO)

_OURS = {
    "img_size": "image_size",
    "n_input_channels": "in_channels",
    "positional_embedding": "positional",
    "n_conv_layers": "convs",
    "kernel_size": "kernel",
    "patch_size": "kernel",
    "num_layers": "layers",
    "depth": "layers",
    "num_heads": "heads",
    "embedding_dim": "dim",
    "word_embedding_dim": "dim",
    "dropout_rate": "dropout",
    "attention_dropout_rate": "attention_dropout",
    "stochastic_depth_rate": "stochastic_depth",
    "seq_pool": 'pooling, which takes "seqpool", "class_token" or "mean"',
    "attention_type": 'maps, e.g. ("euclid", "spd", "grassmann") for the type all',
    "ln_attention": 'map_norm, which takes "layernorm", "batchnorm" or "none"',
}
_ELSEWHERE = {
    "pretrained": "weights are read by ablate.models.load_weights(model, path)",
    "progress": "nothing is downloaded here; weights are read by ablate.models.load_weights(model, path)",
    "arch": "the name itself says it, and takes any L, P and C, e.g. cct_14_5x3_224",
    "stride": "it follows from kernel: max(1, kernel // 2 - 1)",
    "padding": "it follows from kernel: max(1, kernel // 2)",
}


class NamedModel(NamedTuple):
    """What a name says.

    Attributes:
        spec: The architecture.
        image_size: Height and width, or None where the name has no size.
        num_classes: Outputs of the head, or None where the name has neither a size nor a data set.
    """

    spec: ModelSpec
    image_size: tuple[int, int] | None
    num_classes: int | None


def parse(name: str) -> NamedModel:
    """Reads an official name, with or without its size.

    Without ``_c100`` (100 classes) or ``_fl`` (102), the number of classes follows the official factories: 10 below
    224 pixels; from 224 on ImageNet's 1000, but 102 for ``cct_7_7x2_224``.

    Raises:
        ValueError: The name is not of the grammar; the message lists near ones.
    """
    if name == _KERAS_IO:
        return NamedModel(_keras_io(), (32, 32), 10)
    if (parts := manifold_names.split(name)) is not None:
        return _manifold(name, *parts)
    match = _NAME.fullmatch(name)
    if match is None:
        raise _unknown_name(name)
    family, kernel, convs, size = match["family"].removesuffix("_lite"), match["kernel"], match["convs"], match["size"]
    if (convs is not None) != family.startswith("cct"):
        raise _unknown_name(name)
    if any(match[part] is not None and int(match[part]) < 1 for part in ("layers", "kernel", "convs", "size")):
        raise ValueError(f"the numbers of a model's name must be at least 1, got {name!r}.")
    leaves = deepcopy(_FAMILIES[family])
    if family == "cct_keras" and match["positional"] is None:
        leaves["options"]["positional"] = {"trained": False}
    spec = ModelSpec(
        **leaves,
        kernel=int(kernel),
        convs=int(convs or 1),
        positional=match["positional"] or "learnable",
        layers=int(match["layers"]),
    )
    image_size = None if size is None else (int(size), int(size))
    return NamedModel(spec, image_size, _classes(match))


def _manifold(name: str, kind: str, official: str, more: dict[str, Any], classes: int | None) -> NamedModel:
    """A name of the fork: what its kind adds to the official model behind it."""
    try:
        plain = parse(official)
    except ValueError:
        raise _unknown_name(name) from None
    spec = replace(plain.spec, **manifold_names.leaves(kind), **more)
    return NamedModel(spec, plain.image_size, plain.num_classes if classes is None else classes)


def _classes(match: re.Match[str]) -> int | None:
    if match["classes"]:
        return {"c100": 100, "fl": 102}[match["classes"]]
    if match["size"] is None:
        return None
    if int(match["size"]) < 224:
        return 10
    return 102 if match.group("family", "layers", "kernel", "convs", "size") == ("cct", "7", "7", "2", "224") else 1000


def _unknown_name(name: str) -> ValueError:
    message = unknown("a model's name", name, list_models())
    near = re.search(r" Did you mean .*", message)
    hint = near.group() if near else " list_models() lists those of the paper."
    return ValueError(f"a model's name must be {_GRAMMAR}, e.g. cct_7_3x1_32_sine_c100; got {name!r}.{hint}")


def list_models(pattern: str = "*") -> list[str]:
    """Names of the official models and the paper's others, each with learnable, sine and no positional embedding, of
    the two Keras ports, and of a fork's models with attention over several manifolds.

    Args:
        pattern: Shell pattern, e.g. ``"cct_*_32*"``.
    """
    names = [_with_positional(name, suffix) for name in (*_OFFICIAL, *_PAPER) for suffix in ("", "_sine", "_none")]
    return [name for name in (*names, *_PORTS, *manifold_names.listed()) if fnmatchcase(name, pattern)]


def matching(pattern: str) -> list[str]:
    """Names that a person may mean by a pattern: those on the list, else any name of the grammar, with its size.

    Args:
        pattern: Shell pattern, the beginning of a listed name up to an underscore, or a name of any L, P, C and size.

    Raises:
        ValueError: Nothing is named so; the message lists near names.
    """
    listed = list_models(pattern) or list_models(f"{pattern}_*")
    if not listed and parse(pattern).image_size is None:
        sized = re.sub(r"(_(?:sine|none))?(_c100|_fl)?$", r"_32\g<0>", pattern, count=1)
        raise ValueError(f"a name must have a size where it is not on the list, got {pattern!r}; try {sized}.")
    return listed or [pattern]


def _with_positional(name: str, suffix: str) -> str:
    base, classes = re.fullmatch(r"(.*?)(_c100|_fl)?", name).groups("")  # type: ignore[union-attr]
    return f"{base}{suffix}{classes}"


def presets() -> list[str]:
    """Named architectures without a size, e.g. ``cct_7_3x1``, as the data says it: what ``model=`` offers.

    Of the fork's, one of each kind.
    """
    bases = (re.sub(r"_\d+(_c100|_fl)?$", "", name) for name in (*_OFFICIAL, *_PAPER, *_PORTS))
    return [*dict.fromkeys(bases), *manifold_names.presets()]


def create_model(
    name: str,
    *,
    image_size: int | tuple[int, int] | None = None,
    in_channels: int = 3,
    num_classes: int | None = None,
    head: bool | str = True,
    maps: Sequence[str] | None = None,
    map_norm: str | None = None,
    **leaves: Any,
) -> "keras.Model":
    """Builds a model by its official name.

    Every leaf of `ablate.models.spec.ModelSpec` is a keyword: one that is None, or not given, stays as the name says.

    Args:
        name: E.g. ``"cct_7_3x1_32_c100"``; see the module's docstring.
        image_size: Side of the images in pixels, or ``(height, width)``; needed where the name has no size.
        in_channels: Channels of the images.
        num_classes: Outputs of the head; needed where the name has no size.
        head: Variant of the head (``linear``, ``mlp``); False ends the model in its features, ``(batch, dim)``.
        maps: Maps of ``attention=manifold``, any of euclid, spd and grassmann; with the norm that the named revision
            of the fork has with them.
        map_norm: Norm of these maps: layernorm, batchnorm or none.
        **leaves: Leaves of the spec. The preset's options of a slot stay where its variant stays.

    Returns:
        A model from float images ``(batch, height, width, in_channels)`` to logits ``(batch, num_classes)``.

    Raises:
        ValueError: The name or a keyword is unknown, or the combination makes no model.
    """
    for keyword in leaves:
        if keyword not in {leaf.name for leaf in fields(ModelSpec)}:
            raise _unknown_keyword(keyword)
    named = parse(name)
    input_shape = (*_sides(name, image_size, named.image_size), in_channels)
    classes = _given("num_classes", name, num_classes, named.num_classes) if head else None
    with needed_by("create_model"):
        from ablate.models.classifier import build

    given = {leaf: value for leaf, value in leaves.items() if value is not None}
    given |= {"head": head} if isinstance(head, str) else {}
    spec = _with_maps(_changed(named.spec, given), name, maps, map_norm)
    return build(spec, input_shape, classes, name=name)


def _with_maps(spec: ModelSpec, name: str, maps: Sequence[str] | None, map_norm: str | None) -> ModelSpec:
    """A spec with these maps in its attention, and with their norm."""
    if maps is None and map_norm is None:
        return spec
    if spec.attention != "manifold":
        raise ValueError(
            f"maps and map_norm must come with attention=manifold, got {name!r} with attention={spec.attention}; "
            "manifold_vit_…, manifold_cvt_… and manifold_cct_… have it."
        )
    if isinstance(maps, str):
        raise ValueError(f'maps must be a sequence of names, got {maps!r}; write ("{maps}",).')
    if maps is not None and not (isinstance(maps, Iterable) and all(isinstance(each, str) for each in maps)):
        raise ValueError(f'maps must be a sequence of names, got {maps!r}; write ("euclid", "spd").')
    seed = name.startswith(manifold_names.SEED)
    given = {} if maps is None else manifold_names.manifold_options(maps, seed=seed)
    given |= {} if map_norm is None else {"map_norm": map_norm}
    return replace(spec, options={**spec.options, "attention": {**spec.options.get("attention", {}), **given}})


def _with_leaves(signature: inspect.Signature) -> inspect.Signature:
    """The signature with the leaves of `ModelSpec` in the place of ``**leaves``."""
    own = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    leaves = [
        inspect.Parameter(leaf.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=leaf.type | None)  # type: ignore[operator]
        for leaf in fields(ModelSpec)
        if leaf.name not in signature.parameters
    ]
    return signature.replace(parameters=[*own, *leaves])


def _told(docstring: str) -> str:
    """The docstring with what `ModelSpec` says of its leaves in the place of ``**leaves``."""
    _, _, attributes = inspect.cleandoc(ModelSpec.__doc__ or "").partition("Attributes:\n")
    attributes = re.sub(r"^ +head: .*\n", "", attributes, flags=re.MULTILINE)  # told already
    return re.sub(r"^    \*\*leaves: .*$", lambda line: attributes, inspect.cleandoc(docstring), flags=re.MULTILINE)


create_model.__signature__ = _with_leaves(inspect.signature(create_model))  # type: ignore[attr-defined]
create_model.__doc__ = _told(create_model.__doc__ or "")  # both are empty under python -OO


def _changed(spec: ModelSpec, leaves: dict[str, Any]) -> ModelSpec:
    """A spec with other leaves; the preset's options of a slot leave with the variant that they belong to."""
    kept = {axis: own for axis, own in spec.options.items() if leaves.get(axis) in (None, getattr(spec, axis))}
    return replace(spec, **{"options": kept, **leaves})


def _sides(name: str, given: object, named: tuple[int, int] | None) -> tuple[int, int]:
    size: Any = _given("image_size", name, given, named)
    sides = (size, size) if isinstance(size, int) else tuple(size) if isinstance(size, list | tuple) else ()
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ValueError(f"image_size must be a positive integer or (height, width), got {size!r}.")
    return sides


def _given(keyword: str, name: str, given: Any, named: Any) -> Any:
    value = named if given is None else given
    if value is None:
        raise ValueError(f"{keyword} must be given, since the name {name!r} has no size; {name}_32 has one.")
    return value


def _unknown_keyword(keyword: str) -> ValueError:
    known = list(inspect.signature(create_model).parameters)[1:]
    if keyword in _OURS:
        return ValueError(f"create_model has no keyword {keyword!r}: use {_OURS[keyword]}.")
    if keyword in _ELSEWHERE:
        return ValueError(f"create_model has no keyword {keyword!r}: {_ELSEWHERE[keyword]}.")
    return ValueError(unknown("a keyword of create_model", keyword, known))
