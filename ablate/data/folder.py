"""Class folders of images under train/ and test/, in a directory or a zip: cifar2png's, or one's own photos."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from ablate.data import cache
from ablate.data.arrays import Arrays, Raw
from ablate.data.contents import snapshot
from ablate.data.decode import Encoded, decode_all, shape
from ablate.data.listing import Directory, File, LayoutError, Root, image_files, open_root
from ablate.data.originals import Originals
from ablate.data.spec import DataError, DataSpec, InputShape

__all__ = ["MEAN", "STD", "LayoutError", "describe", "read", "read_published"]

MEAN = STD = None


def describe(spec: DataSpec, *, test: tuple[str, ...] = ("test",)) -> tuple[InputShape, int]:
    """From the listing and the first image's header."""
    root = open_root(str(spec.root))
    files = image_files(root, level=spec.class_level, test=test)
    return shape(_encoded(root, files[0], 0), spec.background_rgb), len({file.label for file in files})


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
    images = _decoded(root, files, encoded, spec)
    if spec.image_size is not None:
        images = replace(images, originals=Originals(encoded, images.x.shape[-1], spec.background_rgb))
    tested = sum(file.part == "test" for file in files)  # they come first: files are sorted by part
    return Raw(images.take(slice(tested, None)), images.take(slice(tested)), labels, fitted=True)


def _decoded(root: Root, files: Sequence[File], encoded: Sequence[Encoded], spec: DataSpec) -> Arrays:
    """The images by what their files hold, wherever these lie and whatever times they bear."""

    def decode() -> Iterator[cache.Example]:
        return decode_all(encoded, len(files), spec, str(root.path))

    labels = [str(image.label) for image in encoded]
    if not isinstance(root, Directory):  # a zip says of each file what it holds: its size and its sum
        held = [f"{file.stamp} {label}" for file, label in zip(files, labels, strict=True)]
        return cache.decoded(spec, held, len(files), decode)
    taken = snapshot([root.path / file.path for file in files], images=True)
    held = [taken.digest(cache.folder_for(spec)), *labels]
    return cache.decoded(spec, held, len(files), lambda: taken.watched(decode()))


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
