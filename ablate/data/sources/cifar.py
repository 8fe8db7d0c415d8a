"""CIFAR as its authors publish it for Python: pickled batches, read without running anything they may hold.

Without ``data.root`` they lie in Keras' cache. Keras would unpickle what is there; here Keras only downloads.
"""

import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ablate.data import ordinary_files
from ablate.data.arrays import Arrays, Raw, checked_labels
from ablate.data.sources import folder
from ablate.data.sources.download import fetched
from ablate.data.sources.pickled import read_batch
from ablate.data.spec import Counts, DataError, DataSpec, ImageShape
from ablate.paths import keras_folder


@dataclass(frozen=True)
class Published:
    """How one of the two data sets is laid out.

    Attributes:
        origin: Where the archive is published.
        sha256: SHA-256 of the archive, in hexadecimal.
        folder: What it unpacks to.
        train: Names of the training batches.
        test: Name of the test batch.
        labels: Key of the labels within a batch.
        classes: Names, by label.
    """

    origin: str
    sha256: str
    folder: str
    train: tuple[str, ...]
    test: str
    labels: str
    classes: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all batches."""
        return (*self.train, self.test)

    def batches(self, spec: DataSpec) -> Path | None:
        """The folder of pickled batches under ``data.root``, if that is what is there."""
        root = Path(str(spec.root)).expanduser()
        return next((path for path in (root / self.folder, root) if (path / self.test).is_file()), None)


def describe(spec: DataSpec, published: Published) -> tuple[ImageShape, int]:
    if spec.root is None or published.batches(spec) is not None:
        return (32, 32, 3), len(published.classes)
    return folder.describe(spec)


def counts(spec: DataSpec, published: Published) -> Counts | None:
    """Counts as published, or of class folders; batches under ``data.root`` may be cut short."""
    if spec.root is None:
        return Counts((50_000 // len(published.classes),) * len(published.classes))
    return None if published.batches(spec) is not None else folder.counts(spec)


def read(spec: DataSpec, published: Published) -> Raw:
    """Reads Keras' cache, into which it may have to be downloaded, or what is under ``data.root``: the pickled batches,
    or class folders of images.

    Raises:
        DataError: Neither is there, or a file is damaged, or cannot be downloaded.
    """
    if spec.root is None:
        return _raw(published, _cached(spec.source, published))
    batches = published.batches(spec)
    if batches is None:
        return _class_folders(spec, published)
    return _raw(published, _folder(batches, published, "download it again"))


def _raw(published: Published, parts: Mapping[str, Arrays]) -> Raw:
    train = [parts[name] for name in published.train]
    whole = Arrays(np.concatenate([part.x for part in train]), np.concatenate([part.y for part in train]))
    return Raw(whole, parts[published.test], published.classes)


def _cached(source: str, published: Published) -> dict[str, Arrays]:
    """The batches in Keras' cache: of the archive, whose digest Keras checks, or unpacked where that is not there."""
    kept = keras_folder() / "datasets"
    name = f"{published.folder}-target"  # as keras.datasets calls it, which finds there what is downloaded here
    unpacked = (kept / name / published.folder, kept / published.folder / published.folder, kept / published.folder)
    found = [folder for folder in unpacked if all((folder / batch).exists() for batch in published.names)]
    if found and not (kept / f"{name}_archive").exists():
        return _folder(found[0], published, f"remove {found[0]}, and it is downloaded again")
    return _archive(fetched(source, f"{name}_archive", published.origin, published.sha256), published)


def _archive(path: Path, published: Published) -> dict[str, Arrays]:
    """The batches in an archive whose digest has been checked; nothing is unpacked to the disk."""
    wanted = {f"{published.folder}/{name}": name for name in published.names}
    with tarfile.open(path) as archive:
        members = ((wanted[member.name], archive.extractfile(member)) for member in archive if member.name in wanted)
        return {
            name: _batch(path / name, member.read(), published, "remove the archive")
            for name, member in members
            if member is not None
        }


def _folder(folder: Path, published: Published, remedy: str) -> dict[str, Arrays]:
    return {name: _batch(folder / name, _content(folder / name), published, remedy) for name in published.names}


def _content(path: Path) -> bytes:
    try:
        return ordinary_files.whole(path)
    except FileNotFoundError:
        raise DataError(f"{path} is missing; unpack the whole archive into data.root.") from None
    except OSError as error:
        raise DataError(f"{path} could not be read ({error.strerror}); make it readable.") from error


def _class_folders(spec: DataSpec, published: Published) -> Raw:
    try:
        return folder.read_published(spec, len(published.classes))
    except folder.LayoutError as error:
        raise DataError(
            f"{spec.root} holds no pickled batches ({published.folder}/{published.test}), and {error}"
        ) from error


def _batch(path: Path, content: bytes, published: Published, remedy: str) -> Arrays:
    try:
        batch = read_batch(content)
        labels = batch.get(published.labels.encode())
        x, y = _pixels(batch.get(b"data")), checked_labels(labels, len(published.classes))
    except Exception as error:  # A damaged pickle can fail in any way.
        reason = str(error).rstrip(".") or type(error).__name__
        raise DataError(f"{path} must be a batch of CIFAR ({reason}); {remedy}.") from error
    if len(x) != len(y):
        raise DataError(f"{path} must hold one label an image, got {len(y)} for {len(x)} images; {remedy}.")
    return Arrays(x, y)


def _pixels(data: object) -> NDArray[np.uint8]:
    """``(images, 32, 32, 3)`` of rows that hold all reds, then all greens, then all blues."""
    if not isinstance(data, np.ndarray):
        raise ValueError("its data are no array")
    if data.dtype != np.uint8 or data.shape[1:] not in ((3072,), (3, 32, 32)):
        raise ValueError(f"its data must be (images, 3072) uint8, got {data.shape} {data.dtype}")
    return np.ascontiguousarray(data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
