"""CIFAR as its authors publish it for Python: pickled batches, read without running anything they may hold."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from ablate.data import folder
from ablate.data.arrays import Arrays, Raw
from ablate.data.download import downloaded
from ablate.data.spec import Counts, DataError, DataSpec, InputShape


class _Unpickler(pickle.Unpickler):
    """Builds NumPy arrays and plain containers; every other name is refused, so a hostile file cannot run code."""

    def find_class(self, module: str, name: str) -> Any:
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            # The function itself moved between NumPy 1 and 2; an array's own recipe names it in both.
            return np.empty(0).__reduce__()[0]
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        if (module, name) == ("_codecs", "encode"):
            return _encode
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no CIFAR batch needs")


def _encode(text: str, encoding: str) -> bytes:
    """Stands for ``codecs.encode``, as Python 3 writes bytes in old pickles: latin-1 and nothing else."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"it asks for the codec {encoding}, which no CIFAR batch needs")
    return text.encode("latin-1")


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
        with path.open("rb") as file:
            batch = _unpickle(file)
        x = np.asarray(batch[b"data"], np.uint8).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        y = np.asarray(batch[labels.encode()], np.int64)
    except FileNotFoundError:
        raise DataError(f"{path} is missing; unpack the whole archive into data.root.") from None
    except Exception as error:  # A damaged pickle can fail in any way.
        raise DataError(f"{path} must be a batch of CIFAR ({error}); download it again.") from error
    if len(x) != len(y) or (len(y) and not 0 <= y.min() <= y.max() < num_classes):
        raise DataError(f"{path} must hold one label below {num_classes} an image; download it again.")
    return Arrays(np.ascontiguousarray(x), y)


def _unpickle(file: IO[bytes]) -> dict[bytes, Any]:
    batch = _Unpickler(file, encoding="bytes").load()
    if not isinstance(batch, dict):
        raise pickle.UnpicklingError(f"it holds a {type(batch).__name__}")
    # Batches written by Python 3 have text keys.
    return {key.encode() if isinstance(key, str) else key: value for key, value in batch.items()}
