"""A spec to arrays: read, resize, split, measure, name."""

import numpy as np
from numpy.typing import NDArray

from ablate.data.arrays import Arrays, Raw, Splits, digest, moments
from ablate.data.resize import resize
from ablate.data.spec import DataError, DataSpec, module_of
from ablate.data.split import stratified


def load(spec: DataSpec) -> Splits:
    """Reads a data set.

    Raises:
        DataError: The spec or the files cannot be used.
    """
    spec.check()
    source = module_of(spec.source)
    raw: Raw = source.read(spec)
    train, val = _split(raw, spec)
    parts = {
        name: Arrays(resize(part.x, spec.size), part.y)
        for name, part in {"train": train, "val": val, "test": raw.test}.items()
    }
    mean, std = _normalisation(spec, source.MEAN, source.STD, parts["train"].x)
    return Splits(**parts, classes=raw.classes, mean=mean, std=std, digest=digest(raw.classes, parts))


def _split(raw: Raw, spec: DataSpec) -> tuple[Arrays, Arrays]:
    kept, held = stratified(raw.train.y, spec.val_fraction, spec.split_seed)
    if spec.val_fraction and not len(held):
        raise DataError(
            f"data.val_fraction must hold out at least one image, got {spec.val_fraction} of {len(raw.train)} images; "
            "raise it, or set data.val_fraction=0 with train.select=last."
        )
    return raw.train.take(kept), raw.train.take(held)


def _normalisation(
    spec: DataSpec, mean: tuple[float, ...] | None, std: tuple[float, ...] | None, x: NDArray[np.uint8]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What the spec says, else what is published, else what the training images have."""
    if mean is None or std is None:
        mean, std = moments(x)
    mean = mean if spec.mean is None else tuple(float(value) for value in spec.mean)
    std = std if spec.std is None else tuple(float(value) for value in spec.std)
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != x.shape[-1]:
            raise DataError(f"data.{name} must have {x.shape[-1]} values, one a channel, got {len(values)}.")
    if min(std) <= 0:
        raise DataError(f"every channel must vary over the training images, got std {list(std)}; set data.std.")
    return mean, std
