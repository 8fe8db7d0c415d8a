"""Oxford Flowers-102: 2,040 photographs to train on, 6,149 to test on, 102 classes.

Through tensorflow-datasets, where training and validation split (1,020 each) are both trained on; or class folders
under ``train/`` and ``test/``.

Source of mean and std: the official configuration ``configs/datasets/flowers102.yml``.
"""

from ablate.data.arrays import Raw
from ablate.data.sources import prepared
from ablate.data.spec import Counts, DataSpec, ImageShape

MEAN = (0.4353, 0.3773, 0.2872)
STD = (0.2966, 0.2455, 0.2698)

_PREPARED = prepared.Prepared("oxford_flowers102", ("train", "validation"), "test", classes=102)


def describe(spec: DataSpec) -> tuple[ImageShape, int]:
    return prepared.describe(spec, _PREPARED)


def counts(spec: DataSpec) -> Counts | None:
    return prepared.counts(spec, _PREPARED)


def read(spec: DataSpec) -> Raw:
    return prepared.read(spec, _PREPARED)
