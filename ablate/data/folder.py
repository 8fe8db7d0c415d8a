"""Class folders of images under train/ and test/, in a directory or a zip: cifar2png's, or one's own photos."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from ablate.data import cache
from ablate.data.arrays import Raw
from ablate.data.decode import Encoded, decode_all, is_grey, open_image
from ablate.data.listing import File, LayoutError, Root, image_files, open_root
from ablate.data.originals import Originals
from ablate.data.spec import DataError, DataSpec, InputShape

__all__ = ["MEAN", "STD", "LayoutError", "describe", "read", "read_published"]

MEAN = STD = None


def describe(spec: DataSpec, *, test: tuple[str, ...] = ("test",)) -> tuple[InputShape, int]:
    """From the listing and the first image's header."""
    root = open_root(str(spec.root))
    files = image_files(root, level=spec.class_level, test=test)
    image = open_image(_encoded(root, files[0], 0))
    return (image.height, image.width, 1 if is_grey(image) else 3), len({file.label for file in files})


def read(spec: DataSpec, *, test: tuple[str, ...] = ("test",)) -> Raw:
    """Decodes every image once; later reads take the cache. Classes are numbered by sorted name.

    Args:
        spec: Where they are, and how they are wanted.
        test: What the folder of test images may be called; the first that is there.

    Raises:
        DataError: The layout, an image, or the sizes make no data set; or the cache cannot be written.
    """
    root = open_root(str(spec.root))
    files = image_files(root, level=spec.class_level, test=test)
    labels = tuple(sorted({file.label for file in files}))
    number = {label: i for i, label in enumerate(labels)}
    encoded = [_encoded(root, file, number[file.label]) for file in files]
    images = cache.decoded(
        spec,
        [f"{file.path} {file.stamp} {number[file.label]}" for file in files],
        len(files),
        lambda: decode_all(encoded, len(files), spec, str(root.path)),
    )
    if spec.image_size is not None:
        images = replace(images, originals=Originals(encoded, images.x.shape[-1]))
    tested = sum(file.part == "test" for file in files)  # they come first: files are sorted by part
    return Raw(images.take(slice(tested, None)), images.take(slice(tested)), labels, fitted=True)


def read_published(spec: DataSpec, num_classes: int, *, test: tuple[str, ...] = ("test",)) -> Raw:
    """Class folders of a published data set, which must have all its classes."""
    raw = read(spec, test=test)
    if len(raw.classes) != num_classes:
        raise DataError(
            f"{spec.root} must have {num_classes} classes with data.source={spec.source}, got {len(raw.classes)}; "
            "take data=folder for another data set, or set data.class_level for folders within folders."
        )
    return raw


def _encoded(root: Root, file: File, label: int) -> Encoded:
    return Encoded(str(Path(root.path, file.path)), partial(root.read, file.path), label)
