"""Class folders of images under train/ and test/, in a directory or a zip: cifar2png's, or one's own photos."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from ablate.data import cache
from ablate.data.arrays import Arrays, Raw
from ablate.data.contents import snapshot
from ablate.data.damaged import readable, still_damaged
from ablate.data.decode import Encoded, decode_all, shape, taken_as_upright, why_damaged
from ablate.data.listing import File, LayoutError, Listing, image_files
from ablate.data.originals import Originals
from ablate.data.resize import Example
from ablate.data.roots import Root, Zip, open_root, shown
from ablate.data.spec import Counts, DataError, DataSpec, ImageShape

__all__ = ["MEAN", "STD", "LayoutError", "counts", "describe", "read", "read_published"]

MEAN = STD = None


def describe(spec: DataSpec, *, test: tuple[str, ...] = ("test",)) -> tuple[ImageShape, int]:
    """From the listing and the header of the first image that has one; damaged ones are named when all are read."""
    root, listing = _listed(spec, test)
    return _first_shape(root, listing.files, spec), len({file.label for file in listing.files})


def _first_shape(root: Root, files: list[File], spec: DataSpec) -> ImageShape:
    refused: DataError | None = None
    for file in files:
        try:
            return shape(_encoded(root, file, 0), spec.background_rgb)
        except DataError as error:
            refused = refused or error
    raise refused or LayoutError(f"{root.path} must hold images, got none.")


def counts(spec: DataSpec, *, test: tuple[str, ...] = ("test",)) -> Counts:
    """From the listing."""
    files = _listed(spec, test)[1].files
    trained = Counter(file.label for file in files if file.part == "train")
    return Counts(tuple(trained[label] for label in sorted(trained)), any(file.part == "val" for file in files))


def read(spec: DataSpec, *, test: tuple[str, ...] = ("test",)) -> Raw:
    """Decodes every image once; later reads take the cache. Classes are numbered by sorted name.

    Args:
        spec: Where they are, and how they are wanted.
        test: What the folder of test images may be called; the first that is there.

    Raises:
        DataError: The layout, an image, or the sizes make no data set; or the cache cannot be written.
    """
    root, listing = _listed(spec, test)
    files = listing.files
    labels = tuple(sorted({file.label for file in files}))
    number = {label: i for i, label in enumerate(labels)}
    encoded = [_encoded(root, file, number[file.label]) for file in files]
    kept = _decoded(root, files, encoded, spec)
    images, upright = kept.images, taken_as_upright(kept.unread_exif, lambda i: shown(files[i].path))
    if spec.image_size is not None:
        images = replace(images, originals=Originals(encoded, images.x.shape[-1], spec.background_rgb))
    images, rows, told = readable(
        images,
        spec,
        str(root.path),
        lambda i: why_damaged(encoded[i], spec.background_rgb).removeprefix(f"{root.path}/"),
    )
    whole = [files[i] for i in rows.tolist()]
    _check_left(root, files, whole)
    # Sorted by part, test stands first, then training, then validation.
    tested = sum(file.part == "test" for file in whole)
    trained = tested + sum(file.part == "train" for file in whole)
    return Raw(
        images.take(slice(tested, trained)),
        images.take(slice(tested)),
        labels,
        val=images.take(slice(trained, None)) if trained < len(whole) else None,
        fitted=True,
        notes=(*listing.notes, *upright, *told),
    )


def _decoded(root: Root, files: Sequence[File], encoded: Sequence[Encoded], spec: DataSpec) -> cache.Kept:
    """The images by what their files hold, wherever these lie and whatever times they bear."""

    def decode() -> Iterator[Example]:
        return decode_all(encoded, len(files), spec, str(root.path))

    def holds(found: Arrays) -> bool:
        return len(found) != len(files) or still_damaged(found, encoded, spec.background_rgb)

    labels = [str(image.label) for image in encoded]
    if isinstance(root, Zip):  # it says of each file what it holds: its size and its sum
        held = [f"{root.stamp(file.path)} {label}" for file, label in zip(files, labels, strict=True)]
        return cache.decoded(spec, held, len(files), decode, holds=holds)
    taken = snapshot([root.path / file.path for file in files])
    held = [taken.digest(cache.folder_for(spec)), *labels]
    return cache.decoded(spec, held, len(files), lambda: taken.watched(decode()), holds=holds)


def read_published(spec: DataSpec, num_classes: int, *, test: tuple[str, ...] = ("test",)) -> Raw:
    """Class folders of a published data set, which must have all its classes."""
    raw = read(spec, test=test)
    if len(raw.classes) != num_classes:
        raise DataError(
            f"{spec.root} must have {num_classes} classes with data.source={spec.source}, got {len(raw.classes)}; "
            "take data=folder for another data set, or set data.class_level for folders within folders."
        )
    return raw


def _listed(spec: DataSpec, test: tuple[str, ...]) -> tuple[Root, Listing]:
    root = open_root(str(spec.root))
    return root, image_files(root, spec, test=test)


def _check_left(root: Root, files: list[File], kept: list[File]) -> None:
    """Raises DataError where all images of a class in one part are damaged."""
    gone = {(file.part, file.label) for file in files} - {(file.part, file.label) for file in kept}
    if gone:
        part, label = min(gone)
        raise DataError(
            f"{root.path}: class {label} must have an image in {part}/ that can be read, got none; add some, or remove "
            "the class from all parts."
        )


def _encoded(root: Root, file: File, label: int) -> Encoded:
    return Encoded(shown(str(Path(root.path, file.path))), partial(root.read, file.path), label)
