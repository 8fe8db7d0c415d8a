"""Data sets that tensorflow-datasets prepares; its files are read in their order, and the images decoded by Pillow."""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ablate.data import cache
from ablate.data.arrays import Raw
from ablate.data.contents import snapshot
from ablate.data.damaged import readable
from ablate.data.decode import Encoded, decode_all, taken_as_upright
from ablate.data.sources import folder
from ablate.data.spec import Counts, DataError, DataSpec, ImageShape
from ablate.installation import install


@dataclass(frozen=True)
class Prepared:
    """How a data set is called there, and as class folders.

    Attributes:
        name: In tensorflow-datasets.
        train: Names of the splits that are trained on, validation included: ``data.val_fraction`` cuts our own.
        test: Name of the split that is tested on.
        classes: Number of classes.
        test_folders: What the folder of test images may be called where the data lies in class folders.
    """

    name: str
    train: tuple[str, ...]
    test: str
    classes: int
    test_folders: tuple[str, ...] = ("test",)

    def in_folders(self, spec: DataSpec) -> bool:
        """Whether ``data.root`` is a zip, or has class folders; what else it is, is tensorflow-datasets'."""
        if spec.root is None:
            return False
        root = Path(spec.root).expanduser()
        return not root.is_dir() or any(root.glob("train")) or any(root.glob("*/train"))


def describe(spec: DataSpec, prepared: Prepared) -> tuple[ImageShape, int]:
    height, width = _size(spec)
    if prepared.in_folders(spec):
        return folder.describe(spec, test=prepared.test_folders)
    return (height, width, 3), prepared.classes


def _size(spec: DataSpec) -> tuple[int, int]:
    """Height and width of all images, which must be said."""
    if spec.size is None:
        raise DataError(
            f"data.image_size must be set with data.source={spec.source}, whose images differ in size, got null; "
            "set data.image_size=[HEIGHT,WIDTH]."
        )
    return spec.size


def counts(spec: DataSpec, prepared: Prepared) -> Counts | None:
    """Counts of class folders; what tensorflow-datasets has is not known before it is read."""
    return folder.counts(spec, test=prepared.test_folders) if prepared.in_folders(spec) else None


def read(spec: DataSpec, prepared: Prepared) -> Raw:
    """Reads class folders, or what tensorflow-datasets has prepared below ``data.root``; or lets it download.

    Raises:
        DataError: Nothing of both is there and it cannot be downloaded; tensorflow-datasets is not installed; or an
            image is damaged.
    """
    _size(spec)
    if prepared.in_folders(spec):
        return folder.read_published(spec, prepared.classes, test=prepared.test_folders)
    builder = _builder(spec, prepared)
    splits = (*prepared.train, prepared.test)
    count = sum(builder.info.splits[split].num_examples for split in splits)
    taken = snapshot([Path(path) for split in splits for path in builder.info.splits[split].filepaths])
    kept = cache.decoded(
        spec,
        [taken.digest(cache.folder_for(spec)), *(f"{s} {builder.info.splits[s].num_examples}" for s in splits)],
        count,
        lambda: taken.watched(decode_all(_encoded(builder, splits), count, spec, prepared.name)),
    )
    numbers = [(split, i) for split in splits for i in range(builder.info.splits[split].num_examples)]
    upright = taken_as_upright(kept.unread_exif, lambda i: _name(builder, *numbers[i]))
    images, rows, told = readable(
        kept.images, spec, prepared.name, lambda i: f"{_name(builder, *numbers[i])} could not be decoded"
    )
    if not 0 <= images.y.min() <= images.y.max() < prepared.classes:
        raise DataError(
            f"labels of {builder.data_dir} must be from 0 to {prepared.classes - 1}, got {images.y.min()} to "
            f"{images.y.max()}; have tensorflow-datasets prepare it again."
        )
    trained = int(np.searchsorted(rows, count - builder.info.splits[prepared.test].num_examples))
    names = tuple(builder.info.features["label"].names)
    return Raw(images.take(slice(trained)), images.take(slice(trained, None)), names, fitted=True, notes=upright + told)


def _name(builder: Any, split: str, number: int) -> str:
    return f"image {number} of {builder.name}/{split}"


def _encoded(builder: Any, splits: tuple[str, ...]) -> Iterator[Encoded]:
    for split in splits:
        try:
            for i, example in enumerate(_examples(builder, split)):
                yield Encoded(_name(builder, split, i), _Given(example["image"]), int(example["label"]))
        except Exception as error:  # TensorFlow's own kinds, by which it tells of damaged records.
            raise DataError(
                f"split {split} in {builder.data_dir} could not be read ({' '.join(str(error).split())[:300]}); "
                "remove that folder, and have tensorflow-datasets prepare it again."
            ) from error


def _examples(builder: Any, split: str) -> Any:
    """In the order of the files, the images still encoded."""
    tfds = _library(builder.name)
    examples = builder.as_dataset(
        split=split,
        shuffle_files=False,
        decoders={"image": tfds.decode.SkipDecoding()},
        read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
    )
    return tfds.as_numpy(examples)


@dataclass(frozen=True)
class _Given:
    content: bytes

    def __call__(self) -> bytes:
        return self.content


def _library(name: str) -> Any:
    try:
        return importlib.import_module("tensorflow_datasets")
    except ImportError as error:
        raise _not_installed(name, error) from error


def _not_installed(name: str, error: ImportError) -> DataError:
    return DataError(
        f"tensorflow-datasets must be installed to read {name} ({error}); run: {install('tfds')}, "
        "or set data.root to class folders of its images."
    )


def _builder(spec: DataSpec, prepared: Prepared) -> Any:
    tfds = _library(prepared.name)
    if spec.root is not None:
        return tfds.builder_from_directory(_version(Path(spec.root).expanduser(), prepared))
    try:
        builder = tfds.builder(prepared.name)
        builder.download_and_prepare()
    except ImportError as error:  # what it needs besides, it imports where it is used
        raise _not_installed(prepared.name, error) from error
    except Exception as error:  # Networks, checksums and files to be fetched by hand each fail in their own way.
        raise DataError(
            f"{prepared.name} could not be prepared by tensorflow-datasets ({' '.join(str(error).split())[:300]}); "
            "connect to the network once, or set data.root to class folders of its images or to a folder that holds "
            f"{prepared.name}/VERSION."
        ) from error
    return builder


def _version(root: Path, prepared: Prepared) -> Path:
    """The newest prepared version below a folder, or the folder itself if it is one."""
    found = [root] if (root / "dataset_info.json").is_file() else []
    found += sorted((path.parent for path in root.glob(f"{prepared.name}/*/dataset_info.json")), key=_number)
    if not found:
        raise DataError(
            f"{root} must hold class folders under train/ and {prepared.test_folders[0]}/, or {prepared.name}/VERSION "
            "as tensorflow-datasets prepares it, got neither; correct data.root."
        )
    return found[-1]


def _number(folder: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in folder.name.split(".") if part.isdigit())
