"""A spec to arrays: read, split, fit, measure, name."""

import logging
import math
import sys
from collections.abc import Iterator
from functools import cache as cache_of_calls

import numpy as np
from numpy.typing import NDArray

from ablate.data import cache
from ablate.data.arrays import Arrays, Images, Raw, Splits, digest, image_sums, moments
from ablate.data.on_disk import Stored
from ablate.data.resize import Example, fit_all
from ablate.data.spec import DataError, DataSpec, check_moments, module_of
from ablate.data.split import check_held, fewer, stratified
from ablate.escaping import terminal

logger = logging.getLogger(__name__)

_TOGETHER = 256
"""Images that are fitted at once on their way into a file."""


def load(spec: DataSpec) -> Splits:
    """Reads a data set.

    Raises:
        DataError: The spec or the files cannot be used.
    """
    spec.check()
    source = module_of(spec.source)
    raw: Raw = source.read(spec)
    train, val = _split(raw, spec)
    parts = _fitted(raw, train, val, spec)
    mean, std = _normalisation(spec, source.MEAN, source.STD, parts["train"].x)
    notes = (*raw.notes, *_unvalidated(raw, val, spec))
    for note in notes:
        say(f"data.source={spec.source}{f' data.root={spec.root}' if spec.root else ''}: {note}")
    return Splits(**parts, classes=raw.classes, mean=mean, std=std, digest=digest(raw.classes, parts), notes=notes)


@cache_of_calls
def say(text: str) -> None:
    """Tells something of the data, once a process: on stderr, and in the run's log."""
    logger.info("%s", text)
    print(terminal(text), file=sys.stderr)


def _split(raw: Raw, spec: DataSpec) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    kept, held = stratified(raw.train.y, spec.val_fraction if raw.val is None else 0, spec.split_seed)
    if raw.val is None:
        check_held(len(held), len(raw.train), spec)
    # Validation first, so that runs on more and on fewer images are selected by the same ones.
    part = fewer(raw.train.y[kept], fraction=spec.fraction, per_class=spec.per_class, seed=spec.split_seed)
    return kept[part], held


def _unvalidated(raw: Raw, held: NDArray[np.int64], spec: DataSpec) -> Iterator[str]:
    """Which classes have no validation image, and whether there are other than ``data.val_fraction`` asks for."""
    if raw.val is not None or not len(held):
        return
    without = sorted(set(range(len(raw.classes))) - set(raw.train.y[held].tolist()))
    if without:
        names = ", ".join(raw.classes[label] for label in without[:5])
        more = f" and {len(without) - 5} more" if len(without) > 5 else ""
        yield (
            f"{len(without)} of {len(raw.classes)} classes have no validation image, since they have one training "
            f"image: {names}{more}."
        )
    asked = round(len(raw.train) * spec.val_fraction)
    if len(held) < asked:
        yield (
            f"validation has {len(held)} images, fewer than the {asked} of data.val_fraction={spec.val_fraction:g}, so "
            "that every class keeps a training image."
        )
    if len(held) > asked:
        yield (
            f"validation has {len(held)} images, more than the {asked} of data.val_fraction={spec.val_fraction:g}, so "
            "that every class of two or more training images has one."
        )


def _fitted(raw: Raw, train: NDArray[np.int64], val: NDArray[np.int64], spec: DataSpec) -> dict[str, Arrays]:
    """The parts at their size and channels; in memory, or in a file where they would be too large for it."""
    parts = {"train": raw.train.take(train), "val": raw.train.take(val), "test": raw.test}
    if raw.fitted:
        return parts if raw.val is None else parts | {"val": raw.val}
    _, height, width, channels = raw.train.x.shape
    shape = (*(spec.size or (height, width)), spec.channels or channels)
    if sum(map(len, parts.values())) * math.prod(shape) > cache.memory_bytes(spec):
        whole = _all_in_a_file(raw, spec)
        rows = {"train": train, "val": val, "test": len(raw.train) + np.arange(len(raw.test))}
        return {name: whole.take(chosen) for name, chosen in rows.items()}
    return {name: Arrays(fit_all(_in_memory(part.x), spec), part.y) for name, part in parts.items()}


def _all_in_a_file(raw: Raw, spec: DataSpec) -> Arrays:
    """Training and test images, fitted a few at a time and written, or found written; whatever part of them is used."""

    def examples() -> Iterator[Example]:
        for part in (raw.train, raw.test):
            for start in range(0, len(part), _TOGETHER):
                chosen = slice(start, start + _TOGETHER)
                fitted = fit_all(_in_memory(part.x[chosen]), spec)
                yield from map(Example, fitted, part.y[chosen].tolist())

    names = [image_sums(part.x).tobytes().hex() for part in (raw.train, raw.test)]
    return cache.decoded(spec, names, len(raw.train) + len(raw.test), examples).images


def _in_memory(x: Images) -> NDArray[np.uint8]:
    if isinstance(x, Stored):
        raise TypeError("images of a file are fitted as they are written")
    return x


def _normalisation(
    spec: DataSpec, mean: tuple[float, ...] | None, std: tuple[float, ...] | None, x: Images
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What the spec says, else what is published, else what the training images have."""
    channels = x.shape[-1]
    check_moments(spec, channels)
    mean, std = _told(spec.mean, mean, channels), _told(spec.std, std, channels)
    if mean is None or std is None:
        measured = moments(x)
        mean, std = mean or measured[0], std or measured[1]
    if min(std) <= 0:
        raise DataError(f"every channel must vary over the training images, got std {list(std)}; set data.std.")
    return mean, std


def _told(own: list[float] | None, published: tuple[float, ...] | None, channels: int) -> tuple[float, ...] | None:
    """The spec's values, or the published ones if they hold for so many channels.

    A grey image's value holds for each channel of its RGB; what is published of colours says nothing of their grey.
    """
    if own is not None:
        return tuple(float(value) for value in own)
    if published is not None and len(published) == 1:
        return published * channels
    return published if published is not None and len(published) == channels else None
