"""What the paper printed: each number of its tables, the model and the data it is about, and how it was got."""

from collections.abc import Mapping
from dataclasses import dataclass

from ablate.tasks.classify import paper

BEST_OF = 4
"""Runs of which the paper prints the best (its Table 1)."""

_DATA = {
    "CIFAR-10_top1_pct": ("CIFAR-10", "cifar10"),
    "CIFAR-100_top1_pct": ("CIFAR-100", "cifar100"),
    "FashionMNIST_top1_pct": ("Fashion-MNIST", "fashion_mnist"),
    "MNIST_top1_pct": ("MNIST", "mnist"),
}
_POSITIONAL = {"learnable": "learnable", "sinusoidal": "sine", "none": "none"}
_NAMES = {
    "ViT-12/16": "vit_12_16_32",
    "ViT-Lite-7/8": "vit_7_8_32",
    "CVT-7/8": "cvt_7_8_32",
    "CCT-7/7": "cct_7_7x1_32",
    "CCT-7/3x2": "cct_7_3x2_32",
    "CCT-7/3x1": "cct_7_3x1_32",
    "CCT-7/7x1-noSeqPool": "cct_7_7x1_32",
    "CCT-7/7x2": "cct_7_7x2_224",
    "CCT-14/7x2": "cct_14_7x2_384",
}
"""Rows of tables that have no column with our names."""
_QUOTED = ("ResNet1k-v2*", "Proxyless-G")
"""Rows of Table 1 whose number another paper's abstract prints."""
_AGAINST = {paper.CONTRADICTED: "CONTRADICTED by", paper.DIFFERS: "not verified, and DIFFERS from"}
_PAPER_CIFAR = {"cifar10": "paper_cifar", "cifar100": "paper_cifar100"}
_FORK_CIFAR = {"cifar10": "manifold_cifar", "cifar100": "manifold_cifar100"}


@dataclass(frozen=True)
class Procedure:
    """How a number was got, as far as its source says.

    Attributes:
        said: The procedure in words.
        runs: Number of runs of which the number is the best; None where it is not stated.
        select: What chose the epoch, in the words of ``train.select``; None where it is not stated.
        epochs: Epochs of training, as ``train.epochs``; None where they are not stated.
        recipe: Our recipe of the same settings, with further words; empty where they are not on record.
    """

    said: str
    runs: int | None = None
    select: str | None = None
    epochs: int | None = None
    recipe: tuple[str, ...] = ()


@dataclass(frozen=True)
class Printed:
    """One published number.

    Attributes:
        value: Top-1, percent, with the digits that are printed.
        verified: Somebody held the number against its source, and no second source has another.
        standing: Word of the column ``verified``: ``yes``, ``no``, ``contradicted`` or ``differs``.
        evidence: How sure the number is, in words, with the second source and its value.
        origin: Where it is printed: a paper's table or a file of the official repository.
        rule: How the number was got.
        name: The model as ``python -m ablate models`` knows it; None for one that we do not build, or not so.
        source: Our name of the data set.
        positional: Our name of the positional embedding; None is the named model's own.
        pooling: Our name of the pooling; None is the named model's own.
        augmented: Whether training images were augmented; None matches either.
        epochs: Epochs of training in tables whose rows differ by them; None matches any.
    """

    value: str
    verified: bool
    standing: str
    evidence: str
    origin: str
    rule: Procedure
    name: str | None
    source: str
    positional: str | None = None
    pooling: str | None = None
    augmented: bool | None = None
    epochs: int | None = None


_ON_TEST = "best of 4 runs, each at the epoch that was best on the test set"
_UNKNOWN = Procedure("number of runs and settings not stated")
_README = Procedure("one number, number of runs not stated")
TITLES = {
    "table1": "Table 1: from scratch on small images",
    "pe_ablation": "Positional embeddings",
    "vit_to_cct_steps": "From ViT to CCT, step by step",
    "longer_training": "Longer training",
    "imagenet": "ImageNet",
    "flowers102": "Flowers-102",
    "manifold": "Attention over several manifolds",
}
"""Table -> its title; the layouts there are."""

LABELS = {
    "table1": {"model": "model"},
    "pe_ablation": {
        "model": "model",
        "positional_embedding": "positional embedding",
        "extra_augmentation_and_tuning": "augmentation and tuning",
    },
    "vit_to_cct_steps": {
        "model": "model",
        **{name: name for name in ("cls_or_pool", "n_conv", "conv_size", "augmentation", "tuning")},
    },
    "longer_training": {"model": "model", "epochs": "epochs", "positional_embedding": "positional embedding"},
    "imagenet": {"model": "model", "resolution": "resolution", "epochs": "epochs"},
    "flowers102": {
        "model": "model",
        "resolution": "resolution",
        "pretraining": "pretraining",
        "positional_embedding": "positional embedding",
    },
    "manifold": {"table": "table", "model": "model", "maps": "maps", "marks": "marks"},
}
"""Table -> column of its file that names a row -> the column's head."""
_COLUMNS = {
    "imagenet": {"top1_pct": ("ImageNet-1k", "imagenet")},
    "flowers102": {"top1_pct": ("Flowers-102", "flowers102")},
    "manifold": {**_DATA, "TinyImageNet_top1_pct": ("Tiny ImageNet", "tiny_imagenet")},
}
COSTS = {"params_M": "M params", "MACs_G": "G MACs"}
"""Column of a table's file with parameters or MACs -> the column's head."""


COST_IMAGES = "32x32x3"
"""Height, width and channels of the images that the paper's parameters and MACs of small models are counted at."""
_LAYER_NORM = (
    "MACs as published count layer normalisation too, ours do not: for CCT-7/3x1, 1.19 G there are 1.182 G here"
)
NOTES = {
    "table1": (
        "one count of parameters and MACs is printed for four data sets; ours give it at 32x32x3 (ablate verify)",
        _LAYER_NORM,
        "at which size the paper trained on MNIST and Fashion-MNIST, which come as 28x28x1, is not on record",
    ),
    "pe_ablation": (
        "yes(dagger) is Table 1's later recipe of 300 epochs, and not what the steps from ViT to CCT call tuning",
        "sinusoidal as printed: the official functions at cd11f09 build a learnable embedding whatever they are asked",
    ),
    "vit_to_cct_steps": (
        "augmentation and tuning are of the first version (200 epochs, as the README gives for CVT-7/4); Table 1 has a "
        "later recipe of 300, and higher numbers for the same models",
        _LAYER_NORM,
        "rows of CCT differ in more than one thing: kernel and number of convolutions change together from 7x1 to 3x2, "
        "and 3x1 has 256 tokens where 3x2 has 64",
    ),
    "longer_training": (
        "length and positional embedding change together between 300 and 1500 epochs: no row tells one from the other",
        "sinusoidal as printed: the official functions at cd11f09 build a learnable embedding whatever they are asked",
    ),
    "imagenet": (
        "300 and 310 epochs are one training: the official configuration has 300 epochs and 10 of cooldown",
        "MACs are counted in two ways: 5.53 G with attention's matrix products and layer normalisation, 5.11 G without",
        "the rows of Table 3 differ in epochs (120 and 300), and their recipes are not on record",
    ),
    "manifold": (
        "another recipe: the accuracies of the row euclid are the official README's of 2021, after 200 epochs; the "
        "gain of any row over it mixes recipe and attention, and Euclid alone with norm and fusion was not run there",
        "no dropout: manifold CCT was trained without attention dropout and drop path, CCT beside it with 0.1 of each",
        "does not count out: no way of counting gives the printed parameters or MACs (ablate verify has the nearest)",
        "the best epoch was chosen on the test set, and the number of runs is not stated",
        "late fusion: each map has an encoder of its own, and one head reads the features of all",
    ),
}
"""Table -> what must be known before its rows are compared with each other or with ours."""


def columns(table: str) -> Mapping[str, tuple[str, str]]:
    """Column of a table's file with results, percent -> the column's head, and our name of the data set."""
    return _COLUMNS.get(table, _DATA)


def cost_images(table: str, row: Mapping[str, str]) -> str:
    """Height, width and channels of the images that a row's parameters and MACs are counted at."""
    return f"{row['resolution']}x{row['resolution']}x3" if "resolution" in LABELS[table] else COST_IMAGES


def printed(table: str, row: Mapping[str, str], column: str, source: str) -> Printed:
    """One number of a row.

    Args:
        table: One of ``TITLES``.
        row: The table's row, by column.
        column: Column of the table's file with the number, a top-1 in percent.
        source: Our name of the data set.
    """
    name = row.get("name") or _NAMES.get(row["model"])
    positional = _POSITIONAL.get(row.get("positional_embedding", ""))
    augmented = {"no": False, "yes": True, "yes(dagger)": True}.get(
        row.get("augmentation") or row.get("extra_augmentation_and_tuning", "")
    )
    tuned = row.get("tuning") == "yes"  # which settings the tuning ended in is not on record
    other = row["model"].endswith(("*", "Distilled")) or row.get("pretraining", "none") != "none"
    epochs = int(row["epochs"]) if table == "longer_training" else None
    return Printed(
        value=row[column],
        verified=row["verified"] == paper.YES,
        standing=row["verified"],
        evidence=_evidence(row, column),
        origin=row["source"],
        rule=_rule(table, row, column, source, name),
        name=None if other or tuned else name or None,
        source=source,
        positional=positional,
        pooling="class_token" if row["model"].endswith("noSeqPool") else None,
        augmented=augmented,
        epochs=epochs,
    )


def _evidence(row: Mapping[str, str], column: str) -> str:
    where, other = row.get("second", ""), paper.second(row, column)
    if not other:
        said = "verified" if row["verified"] == paper.YES else "not verified"
    elif row["verified"] == paper.YES:
        said = f"verified, and confirmed by the {where}"
    elif row["verified"] == paper.NO:
        said = f"not verified; the same in the {where}"
    else:
        pairs = {head: paper.second(row, key) for key, (head, _) in _DATA.items() if paper.second(row, key)}
        values = ", ".join(f"{value} for {head}" for head, value in pairs.items()) or other
        said = f"{_AGAINST[row['verified']]} the {where}, which has {values}"
    return f"{said}; {note}" if (note := row.get("note")) else said


def _rule(table: str, row: Mapping[str, str], column: str, source: str, name: str | None) -> Procedure:
    if table == "manifold":
        return _fork_rule(row, source)
    if table == "table1" and row["model"] in _QUOTED:
        return Procedure("the number of its own paper, number of runs not stated")
    if table == "table1" and row["model"].endswith("*"):
        epochs = row[f"{column.removesuffix('_top1_pct')}_epochs"]
        return Procedure(f"best of {BEST_OF} runs; {epochs} epochs, {row['positional_embedding']} embedding", BEST_OF)
    tuned = table == "table1" or row.get("extra_augmentation_and_tuning") == "yes(dagger)"
    if tuned and name and source in _PAPER_CIFAR:
        # the official file for this model and data set turns erasing off
        more = ("augment.erasing_probability=0",) if (name, source) == ("cct_7_3x1_32", "cifar10") else ()
        recipe = (f"recipe={_PAPER_CIFAR[source]}", *more)
        return Procedure(f"{_ON_TEST}; 300 epochs", BEST_OF, "test", 300, recipe)
    if table in ("table1", "pe_ablation", "vit_to_cct_steps"):
        return Procedure("best of 4 runs; settings not on record", BEST_OF)
    return _README if "README" in row["source"] else _UNKNOWN


def _fork_rule(row: Mapping[str, str], source: str) -> Procedure:
    if row["verified"] != paper.YES:
        return _UNKNOWN
    if "another recipe" in row["marks"]:
        return Procedure("the official README's number, of another recipe (200 epochs)")
    said = "one number at the epoch that was best on the test set, number of runs not stated"
    if source not in _FORK_CIFAR:
        return Procedure(said, None, "test")
    return Procedure(f"{said}; 300 epochs", None, "test", 300, (f"recipe={_FORK_CIFAR[source]}",))
