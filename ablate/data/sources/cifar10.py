"""CIFAR-10: 60,000 colour images, 32x32, 10 classes, from keras.datasets or from files under ``data.root``."""

from ablate.data.arrays import Raw
from ablate.data.sources import cifar
from ablate.data.spec import Counts, DataSpec, ImageShape

MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2616)

_PUBLISHED = cifar.Published(
    origin="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    folder="cifar-10-batches-py",
    train=("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"),
    test="test_batch",
    labels="labels",
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
)


def describe(spec: DataSpec) -> tuple[ImageShape, int]:
    return cifar.describe(spec, _PUBLISHED)


def counts(spec: DataSpec) -> Counts | None:
    return cifar.counts(spec, _PUBLISHED)


def read(spec: DataSpec) -> Raw:
    return cifar.read(spec, _PUBLISHED)
