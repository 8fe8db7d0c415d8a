"""CIFAR as its authors publish it for Python: pickled batches, read without running anything they may hold."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ablate.data import files, folder
from ablate.data.arrays import Arrays, Raw, checked_labels
from ablate.data.download import downloaded
from ablate.data.pickled import read_batch
from ablate.data.spec import Counts, DataError, DataSpec, InputShape


@dataclass(frozen=True)
class Published:
    """How one of the two data sets is laid out.

    Attributes:
        folder: What the published archive unpacks to.
        train: Names of the training batches.
        test: Name of the test batch.
        labels: Key of the labels within a batch.
        classes: Names, by label.
    """

    folder: str
    train: tuple[str, ...]
    test: str
    labels: str
    classes: tuple[str, ...]

    def batches(self, spec: DataSpec) -> Path | None:
        """The folder of pickled batches under ``data.root``, if that is what is there."""
        root = Path(str(spec.root)).expanduser()
        return next((path for path in (root / self.folder, root) if (path / self.test).is_file()), None)


def describe(spec: DataSpec, published: Published) -> tuple[InputShape, int]:
    if spec.root is None or published.batches(spec) is not None:
        return (32, 32, 3), len(published.classes)
    return folder.describe(spec)


def counts(spec: DataSpec, published: Published) -> Counts | None:
    """As published, or of class folders; batches under ``data.root`` may be cut short."""
    if spec.root is None:
        return Counts((50_000 // len(published.classes),) * len(published.classes))
    return None if published.batches(spec) is not None else folder.counts(spec)


def read(spec: DataSpec, published: Published) -> Raw:
    """Downloads, or reads what is under ``data.root``: the pickled batches, or class folders of images.

    Raises:
        DataError: Neither is there, or a file is damaged.
    """
    if spec.root is None:
        return downloaded(spec.source, published.classes)
    batches, classes = published.batches(spec), published.classes
    if batches is None:
        return _class_folders(spec, published)
    parts = [_batch(batches / name, published.labels, len(classes)) for name in published.train]
    whole = Arrays(np.concatenate([part.x for part in parts]), np.concatenate([part.y for part in parts]))
    return Raw(whole, _batch(batches / published.test, published.labels, len(classes)), classes)


def _class_folders(spec: DataSpec, published: Published) -> Raw:
    try:
        return folder.read_published(spec, len(published.classes))
    except folder.LayoutError as error:
        raise DataError(
            f"{spec.root} holds no pickled batches ({published.folder}/{published.test}), and {error}"
        ) from error


def _batch(path: Path, labels: str, num_classes: int) -> Arrays:
    try:
        batch = read_batch(files.whole(path))
        x, y = _pixels(batch.get(b"data")), checked_labels(batch.get(labels.encode()), num_classes)
    except FileNotFoundError:
        raise DataError(f"{path} is missing; unpack the whole archive into data.root.") from None
    except DataError:
        raise
    except Exception as error:  # A damaged pickle can fail in any way.
        reason = str(error).rstrip(".") or type(error).__name__
        raise DataError(f"{path} must be a batch of CIFAR ({reason}); download it again.") from error
    if len(x) != len(y):
        raise DataError(f"{path} must hold one label an image, got {len(y)} for {len(x)} images; download it again.")
    return Arrays(x, y)


def _pixels(data: object) -> NDArray[np.uint8]:
    """``(images, 32, 32, 3)`` of rows that hold all reds, then all greens, then all blues."""
    if not isinstance(data, np.ndarray):
        raise ValueError("its data are no array")
    if data.dtype != np.uint8 or data.shape[1:] not in ((3072,), (3, 32, 32)):
        raise ValueError(f"its data must be (images, 3072) uint8, got {data.shape} {data.dtype}")
    return np.ascontiguousarray(data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
