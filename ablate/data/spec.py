"""Which images, how they are split, and what is done to them before the model; pure data, no reading here."""

import importlib
from dataclasses import dataclass
from types import ModuleType

from ablate import registry

InputShape = tuple[int, int, int]
"""Height, width, channels."""

SOURCES = {
    "mnist5k": "ablate.data.mnist5k",
    "digits": "ablate.data.digits",
    "folder": "ablate.data.folder",
    "cifar10": "ablate.data.cifar10",
    "cifar100": "ablate.data.cifar100",
    "mnist": "ablate.data.mnist",
    "fashion_mnist": "ablate.data.fashion_mnist",
}
"""Where each source lives: a module with ``describe(spec)``, ``read(spec)``, ``MEAN`` and ``STD`` (None: measured)."""


class DataError(ValueError):
    """Data that cannot be used; the message names the file or the leaf, and says what to do."""


@dataclass
class DataSpec:
    """One data set as a run sees it.

    Attributes:
        source: ``mnist5k``, ``digits``, ``folder``, ``cifar10``, ``cifar100``, ``mnist`` or ``fashion_mnist``.
        root: Folder or zip that holds the files; None lets the source find or download its own.
        image_size: ``[height, width]`` to resize to; None keeps the source's own size.
        val_fraction: Part of the training images held out for validation, stratified by class; 0 holds out none.
        split_seed: Seed of that split; the same for every seed of a sweep, so that runs differ in training alone.
        mean: Per channel, of pixels in 0..1; None takes the source's published or measured value.
        std: Likewise.
        cache: Folder for decoded images; None is ``ablate`` under the user's cache folder.
    """

    source: str = "mnist5k"
    root: str | None = None
    image_size: list[int] | None = None
    val_fraction: float = 0.1
    split_seed: int = 0
    mean: list[float] | None = None
    std: list[float] | None = None
    cache: str | None = None

    def check(self) -> None:
        """Raises DataError for a spec that no data set can satisfy."""
        module_of(self.source)
        if self.root is not None and self.source in ("mnist5k", "digits"):
            raise DataError(
                f"data.root must be null with data.source={self.source}, which ships with a package, got {self.root}; "
                "leave it out, or take data=folder."
            )
        if self.root is None and self.source == "folder":
            raise DataError(
                "data.root must name a folder or a zip with data.source=folder, got null; set data.root=PATH."
            )
        if self.image_size is not None and (len(self.image_size) != 2 or min(self.image_size) < 1):
            raise DataError(f"data.image_size must be [height, width], both at least 1, got {list(self.image_size)}.")
        if not 0 <= self.val_fraction < 1:
            raise DataError(f"data.val_fraction must be at least 0 and below 1, got {self.val_fraction}.")
        if self.split_seed < 0:
            raise DataError(f"data.split_seed must be at least 0, got {self.split_seed}.")
        if self.std is not None and min(self.std, default=0.0) <= 0:
            raise DataError(f"data.std must be above 0 in every channel, got {list(self.std)}.")

    @property
    def size(self) -> tuple[int, int] | None:
        """``image_size`` as a pair."""
        return None if self.image_size is None else (self.image_size[0], self.image_size[1])


def module_of(source: str) -> ModuleType:
    """The module that reads a source.

    Raises:
        DataError: There is no such source.
    """
    if source not in SOURCES:
        raise DataError(registry.unknown("data.source", source, SOURCES))
    return importlib.import_module(SOURCES[source])


def describe(spec: DataSpec) -> tuple[InputShape, int]:
    """What a model will get, without decoding images: built-in sources know it, a folder is listed and one header read.

    A folder of both grey and colour images may be described by a grey one; it loads as colour.

    Returns:
        (height, width, channels), and the number of classes.

    Raises:
        DataError: The spec or the files cannot be used.
    """
    spec.check()
    shape, num_classes = module_of(spec.source).describe(spec)
    height, width = spec.size or shape[:2]
    return (height, width, shape[2]), num_classes
