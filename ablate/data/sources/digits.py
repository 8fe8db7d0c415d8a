"""The 1,797 handwritten digits (8x8 grey) that scikit-learn ships: small enough for tests."""

import numpy as np

from ablate.data.arrays import Arrays, Raw
from ablate.data.sources import mnist
from ablate.data.sources.shipped import numbers
from ablate.data.spec import Counts, DataSpec, ImageShape
from ablate.data.split import TEST_SEED, stratified

MEAN = STD = None
TEST_FRACTION = 0.2


def describe(spec: DataSpec) -> tuple[ImageShape, int]:
    return (8, 8, 1), 10


def counts(spec: DataSpec) -> Counts:
    return Counts((142, 146, 142, 146, 145, 146, 145, 143, 139, 144))


def read(spec: DataSpec) -> Raw:
    """1,438 images to train and validate on, and 359 to test on, the same for every spec. Greys 0..16 become 0..255."""
    table = numbers("sklearn", "datasets/data/digits.csv.gz", columns=8 * 8 + 1)
    grey = np.rint(table[:, :-1] * (255 / 16)).astype(np.uint8)
    images = Arrays(grey.reshape(-1, 8, 8, 1), table[:, -1].astype(np.int64))
    train, test = stratified(images.y, TEST_FRACTION, TEST_SEED)
    return Raw(images.take(train), images.take(test), mnist.CLASSES)
