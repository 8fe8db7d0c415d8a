"""Fashion-MNIST: 70,000 pictures of clothing, 28x28 grey, from keras.datasets or from IDX files under ``data.root``."""

from ablate.data.arrays import Raw
from ablate.data.sources import idx
from ablate.data.sources.download import downloaded
from ablate.data.spec import Counts, DataSpec, ImageShape

MEAN = (0.2860,)
STD = (0.3530,)
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def describe(spec: DataSpec) -> tuple[ImageShape, int]:
    return (28, 28, 1), 10


def counts(spec: DataSpec) -> Counts | None:
    """Counts as published; what lies under ``data.root`` may be less."""
    return None if spec.root else Counts((6000,) * 10)


def read(spec: DataSpec) -> Raw:
    return downloaded("fashion_mnist", CLASSES) if spec.root is None else idx.read_folder(spec.root, CLASSES)
