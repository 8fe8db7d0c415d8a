"""Names of a fork of the official code: what each adds to the official name that it ends in.

The fork (iliasprc/Compact-Transformers at 31975a0; its older revision bd55c27 is ``seed_…`` here) puts attention over
several manifolds in the place of softmax attention: Konstantinidis et al. 2022, arXiv 2207.08569. A name is one of
``KINDS``, and behind it an official name without its family: ``manifold_vit_6_4_32_sine`` is ``vit_6_4_32_sine`` with
manifold attention. A name means what it says: ``_sine`` is a sine embedding, as it is in the fork.

The fork's classes take the type of attention as a keyword, which its script sets to ``all`` (in the older revision to
``riem``). A name means that type; `manifold_options` says what the others are.

| type there | maps | their norm |
| --- | --- | --- |
| ``all`` | euclid, spd, grassmann | LayerNorm; in the older revision BatchNorm, beside a table that nothing uses |
| ``gm`` | euclid, grassmann | LayerNorm; the older revision has no such type |
| ``spd`` | euclid, spd | none |
| ``riem``, of the older revision | euclid, spd | LayerNorm |
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

MAPS = ("euclid", "spd", "grassmann")
SEED = "seed_"
"""What the names of the older revision begin with."""

KINDS = {
    "manifold_vit": "vit",
    "manifold_cvt": "cvt",
    "manifold_cct": "cct",
    "riemmanian_vit": "vit",
    "grassmanian_vit": "vit",
    "grassmanian_cct": "cct",
    "early_fusion__vit": "vit",
    "img_riem_vit": "vit",
    "img_gm_vit": "vit",
    "gm_riem_vit": "vit",
    "img_gm_riem_vit": "vit",
}
"""Beginning of a name -> the official family that stands behind it."""
_OLDER = ("manifold_vit", "manifold_cvt", "manifold_cct", "riemmanian_vit", "grassmanian_vit", "grassmanian_cct")
"""Kinds whose form in the older revision is known."""
_NAME = re.compile(rf"(?P<seed>{SEED})?(?P<kind>{'|'.join(KINDS)})_(?P<rest>.+)")

SIZED: Mapping[str, tuple[str, dict[str, Any], int]] = {
    "manifold_vit_nano_12_p16": ("vit_12_16_224", {"dim": 128, "heads": 4, "mlp_ratio": 4.0}, 10),
    "manifold_vit_tiny_12_p16": ("vit_12_16_224", {"dim": 192, "heads": 4, "mlp_ratio": 4.0}, 10),
    "manifold_vit_small_12_p16": ("vit_12_16_224", {"dim": 384, "heads": 8, "mlp_ratio": 4.0}, 10),
    "manifold_cct_nano": ("cct_12_7x2_224", {"dim": 128, "heads": 4, "mlp_ratio": 4.0}, 1000),
    "manifold_cct_tiny": ("cct_12_7x2_224", {"dim": 192, "heads": 4, "mlp_ratio": 4.0}, 1000),
}
"""Names that say a size in a word -> the official name behind it, further leaves, and the number of classes."""

_PATCHES = ("2_4_32", "4_4_32", "6_4_32", "7_4_32")
_CONVS = ("2_3x2_32", "4_3x2_32", "6_3x1_32", "6_3x2_32", "7_3x1_32", "7_3x1_32_c100", "7_3x2_32", "7_7x2_224")
_LARGE = ("14_7x2_224", "14_7x2_384", "14_7x2_384_fl")


def listed() -> list[str]:
    """The fork's factories, those of its last revision first."""
    last = [f"{kind}_{rest}" for kind in KINDS for rest in _rests(kind)] + list(SIZED)
    return [*last, *(f"{SEED}{name}" for name in last if name.startswith(_OLDER))]


def presets() -> list[str]:
    """One architecture of each kind without a size, as its table has it, and those that say their size in a word."""
    last = [f"{kind}_{'7_3x2' if family == 'cct' else '6_4'}" for kind, family in KINDS.items()] + list(SIZED)
    return [*last, *(f"{SEED}{name}" for name in last if name.startswith(_OLDER))]


def forms() -> list[str]:
    """Names of each kind for any L, P and C, with ``[seed_]`` where there is an older revision's too."""
    rest = {"vit": "L_P", "cvt": "L_P", "cct": "L_PxC"}
    return [f"{f'[{SEED}]' if kind in _OLDER else ''}{kind}_{rest[family]}" for kind, family in KINDS.items()]


def _rests(kind: str) -> Iterator[str]:
    for rest in _CONVS if KINDS[kind] == "cct" else _PATCHES:
        yield from (rest, re.sub(r"^(.*?)(_c100)?$", r"\1_sine\2", rest))
    yield from _LARGE if KINDS[kind] == "cct" else ()


def split(name: str) -> tuple[str, str, dict[str, Any], int | None] | None:
    """A name of the fork's kinds in its parts; None for any other.

    Returns:
        Its kind, with ``seed_`` for the older revision; the official name behind it; further leaves; and the number of
        classes, where the official name does not say it.

    Raises:
        ValueError: What the kind was in the older revision is not known.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    seed, kind, rest = match["seed"] or "", match["kind"], match["rest"]
    if seed and kind not in _OLDER:
        raise ValueError(
            f"a name that begins with {SEED} must be of a kind whose form in the older revision is known, "
            f"{', '.join(_OLDER)}, got {name!r}; {name.removeprefix(SEED)} is the last revision's."
        )
    official, leaves, classes = SIZED.get(f"{kind}_{rest}", (f"{KINDS[kind]}_{rest}", {}, None))
    return seed + kind, official, dict(leaves), classes


def leaves(kind: str) -> dict[str, Any]:
    """Leaves of the model that a kind sets, beside those of the official family behind it."""
    seed, kind = kind.startswith(SEED), kind.removeprefix(SEED)
    if kind.startswith("manifold"):
        maps = ("euclid", "spd") if seed else MAPS
        # The fork's manifold CCT drops neither attention weights nor paths; all its other classes do, with 0.1.
        rates = {"attention_dropout": 0.0, "stochastic_depth": 0.0} if kind == "manifold_cct" else {}
        options = {"attention": manifold_options(maps, seed=seed)}
        return {"attention": "manifold", "qkv_bias": True, "options": options, **rates}
    if kind == "riemmanian_vit":
        return _spd_distance(seed=seed)
    if kind.startswith("grassmanian"):
        return _grassmann(4 if kind == "grassmanian_cct" else 8, seed=seed)
    if kind == "early_fusion__vit":
        return {"options": {"tokenizer": {"observability": [4, 4], "early_fusion": True}}}
    return {"branches": _branches(kind.removesuffix("_vit"))}


def _branches(kinds: str) -> dict[str, dict[str, Any]]:
    """Late fusion: each of the fork's encoders by the word that the fork has for it, image first."""
    order = 8 if "img" in kinds else 4
    known = {"img": {"attention": "softmax"}, "gm": _grassmann(order), "riem": _spd_distance()}
    words = {"img": "img", "gm": "om", "riem": "riem"}
    return {words[kind]: known[kind] for kind in kinds.split("_")}


def _spd_distance(*, seed: bool = False) -> dict[str, Any]:
    options = {"unused_scale": True, **({"map_norm": "rows"} if seed else {})}
    return {"attention": "spd_distance", "qkv_bias": True, "options": {"attention": options}}


def _grassmann(order: int, *, seed: bool = False) -> dict[str, Any]:
    stage = {"observability": [order, 3 if order == 8 else 4]}
    options = {"tokenizer": stage, "attention": {"form": "squared"} if seed else {"unused_scale": True}}
    return {"attention": "grassmann_projection", "qkv_bias": True, "options": options}


def is_older(spec: Any) -> bool:
    """Whether of the fork's two revisions only the older one builds such manifold attention."""
    own = spec.variant("attention")
    if not hasattr(own, "unused_table"):
        return False
    return bool(own.unused_table or (list(own.maps) == ["euclid", "spd"] and own.map_norm == "layernorm"))


def manifold_options(maps: Iterable[str], *, seed: bool = False) -> dict[str, Any]:
    """Options of ``attention=manifold`` that a revision has with maps.

    Args:
        maps: Any of ``MAPS``.
        seed: Whether the older revision's are meant.
    """
    chosen = [each for each in MAPS if each in set(maps)] + [each for each in maps if each not in MAPS]
    every = set(chosen) == set(MAPS)
    if seed:
        norm = "batchnorm" if every else "layernorm"
        return {"maps": chosen, "map_norm": norm, "spd_dropout": every, "unused_table": every}
    norm = "none" if set(chosen) == {"euclid", "spd"} else "layernorm"
    return {"maps": chosen, "map_norm": norm, "spd_dropout": every}
