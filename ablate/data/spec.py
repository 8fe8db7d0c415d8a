"""Which images, how they are split, and what is done to them before the model; pure data, no reading here."""

from dataclasses import dataclass


@dataclass
class DataSpec:
    """One data set as a run sees it.

    Attributes:
        source: ``mnist5k``, ``digits``, ``folder``, ``cifar10``, ``cifar100``, ``mnist`` or ``fashion_mnist``.
        root: Folder or zip that holds the files; None lets the source find or download its own.
        image_size: ``[height, width]`` to resize to; None keeps the source's own size.
        val_fraction: Part of the training images held out for validation, stratified by class.
        split_seed: Seed of that split; the same for every seed of a sweep, so that runs differ in training alone.
        mean: Per channel, of pixels in 0..1; None takes the source's published or measured value.
        std: Likewise.
        cache: Folder for decoded images; None is ``ablate`` under the user's cache folder.
    """

    source: str = "mnist5k"
    root: str | None = None
    image_size: list[int] | None = None
    val_fraction: float = 0.1
    split_seed: int = 0
    mean: list[float] | None = None
    std: list[float] | None = None
    cache: str | None = None
