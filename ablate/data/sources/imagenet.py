"""ImageNet-1k: 1,281,167 photographs to train on, 1,000 classes, tested on its 50,000 validation images.

Class folders under ``train/`` and ``val/``, named by WordNet id; or through tensorflow-datasets, which wants the two
archives fetched by hand.

Source of mean and std: the official configuration ``configs/datasets/imagenet.yml``.
"""

from ablate.data.arrays import Raw
from ablate.data.sources import prepared
from ablate.data.spec import Counts, DataSpec, ImageShape

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

_PREPARED = prepared.Prepared(
    "imagenet2012", ("train",), "validation", classes=1000, test_folders=("val", "validation", "test")
)


def describe(spec: DataSpec) -> tuple[ImageShape, int]:
    return prepared.describe(spec, _PREPARED)


def counts(spec: DataSpec) -> Counts | None:
    return prepared.counts(spec, _PREPARED)


def read(spec: DataSpec) -> Raw:
    return prepared.read(spec, _PREPARED)
