"""CIFAR-100: 60,000 colour images, 32x32, 100 fine classes, from keras.datasets or from files under ``data.root``."""

from ablate.data.arrays import Raw
from ablate.data.sources import cifar
from ablate.data.spec import Counts, DataSpec, ImageShape

MEAN = (0.5071, 0.4867, 0.4408)
STD = (0.2675, 0.2565, 0.2761)

_NAMES = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
    castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
    elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
    man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
    pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
    skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
    tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
_PUBLISHED = cifar.Published(
    origin="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
    folder="cifar-100-python",
    train=("train",),
    test="test",
    labels="fine_labels",
    classes=tuple(_NAMES.split()),
)


def describe(spec: DataSpec) -> tuple[ImageShape, int]:
    return cifar.describe(spec, _PUBLISHED)


def counts(spec: DataSpec) -> Counts | None:
    return cifar.counts(spec, _PUBLISHED)


def read(spec: DataSpec) -> Raw:
    return cifar.read(spec, _PUBLISHED)
