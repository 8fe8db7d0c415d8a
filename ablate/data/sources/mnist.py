"""MNIST: 70,000 handwritten digits, 28x28 grey, from keras.datasets or from IDX files under ``data.root``."""

from ablate.data.arrays import Raw
from ablate.data.sources import idx
from ablate.data.sources.download import downloaded
from ablate.data.spec import Counts, DataSpec, ImageShape

MEAN = (0.1307,)
STD = (0.3081,)
CLASSES = tuple("0123456789")


def describe(spec: DataSpec) -> tuple[ImageShape, int]:
    return (28, 28, 1), 10


def counts(spec: DataSpec) -> Counts | None:
    """Counts as published; what lies under ``data.root`` may be less."""
    return None if spec.root else Counts((5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949))


def read(spec: DataSpec) -> Raw:
    return downloaded("mnist", CLASSES) if spec.root is None else idx.read_folder(spec.root, CLASSES)
