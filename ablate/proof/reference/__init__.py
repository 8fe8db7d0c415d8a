"""Where the reference data of the official code lies inside the package; README.md beside it says what it is."""

import csv
from importlib.resources import files
from importlib.resources.abc import Traversable

MODELS = ("cct_2_3x2_32_learnable", "cvt_2_4_32_sine", "vit_lite_2_4_32_none")
"""The golden models that are shipped: each family and each positional embedding once."""


MANIFOLD_MODELS = (
    *("manifold_cct_2_3x2_24_all_noln_none", "seed_manifold_cvt_2_4_16_riem_learnable"),
    *("seed_manifold_vit_2_4_16_all_learnable", "seed_riemmanian_vit_2_4_16_sine"),
    "seed_grassmanian_cct_2_3x2_16_learnable",
)
"""Those of a fork with attention over several manifolds: each map, each norm, and the observability matrix."""


def variants() -> Traversable:
    """The CSV of 122 official models with their parameters and MACs."""
    return files(__name__) / "variants.csv"


def variant_rows() -> list[dict[str, str]]:
    """The rows of `variants`, by column."""
    return list(csv.DictReader(variants().read_text("utf-8").splitlines()))


def manifold_rows() -> list[dict[str, str]]:
    """The 339 models of the fork with their parameters and MACs, by column."""
    return list(csv.DictReader((files(__name__) / "manifold_variants.csv").read_text("utf-8").splitlines()))


def golden(name: str, suffix: str) -> Traversable:
    """A file of a golden model.

    Args:
        name: One of `MODELS` or `MANIFOLD_MODELS`.
        suffix: ``".json"``, ``".npz"`` or ``".safetensors"``.
    """
    return files(__name__) / "golden" / f"{name}{suffix}"
