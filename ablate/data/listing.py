"""What files a set of class folders holds, be it a directory or a zip, without opening one image."""

import posixpath
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ablate.data.ordinary_files import LARGEST
from ablate.data.roots import Found, Root, shown
from ablate.data.spec import DataError, DataSpec
from ablate.paths import misread

VALIDATION = ("val", "valid", "validation")
"""What a folder of validation images beside ``train/`` and ``test/`` may be called."""

LISTED = 10
"""Files that an error names before it counts the rest."""

NAMED = 3
"""Files that a note names before it counts the rest."""

_IMAGES = frozenset(
    {
        *(".ai", ".arw", ".avif", ".avifs", ".cr2", ".cr3", ".crw", ".dng", ".emf", ".eps", ".exr", ".hdr", ".heic"),
        *(".heif", ".hif", ".j2c", ".j2k", ".jp2", ".jpc", ".jpf", ".jpx", ".jxl", ".jxr", ".nef", ".nrw", ".orf"),
        *(".pef", ".ps", ".raf", ".rw2", ".srw", ".svg", ".svgz", ".tif", ".tiff", ".wdp", ".webp", ".wmf", ".x3f"),
    }
)
"""Suffixes of images that not every Pillow reads, or none: a file of one that this Pillow does not read is lost."""

_LEAVE_OUT = "replace or remove {it}, or set data.skip_unreadable=true, which leaves {it} out"

_NO_PIXELS = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"})
"""Formats that Pillow registers and does not decode by itself: EPS runs Ghostscript, the others want a handler."""


class LayoutError(DataError):
    """There are no class folders of images under train/ and test/."""


@dataclass(frozen=True)
class File:
    """One image file.

    Attributes:
        part: ``train``, ``val`` or ``test``.
        label: Name of its class.
        path: Path of the file within the root.
    """

    part: str
    label: str
    path: str


@dataclass(frozen=True)
class Listing:
    """The images of a root.

    Attributes:
        files: Sorted by part, class and path; names compare in Unicode's composed form, so that a copy of them on
            another system, which may spell them otherwise, has the same order.
        notes: For people: what was left out, and what is there beside the images.
    """

    files: list[File]
    notes: tuple[str, ...]


@cache
def suffixes() -> frozenset[str]:
    """Suffixes of the files that are read: all whose format the Pillow that is installed decodes by itself."""
    from PIL import Image

    Image.init()
    # MPO, JPEG with a second picture behind the first, is opened as JPEG.
    formats = {*Image.OPEN, "MPO"} - _NO_PIXELS
    return frozenset(suffix for suffix, format in Image.registered_extensions().items() if format in formats)


@dataclass(frozen=True)
class _Parts:
    """Where the parts of a data set lie in a root.

    Attributes:
        root: Path of the root, for messages.
        found: What is in it.
        base: The folder that the parts are in, with its slash; empty at the top.
        names: Part -> its folder within the base.
        unused: Folders of validation images that nobody asked for.
        empty: Folders that are called like validation images, are wanted, and hold none.
    """

    root: Root
    found: Found
    base: str
    names: Mapping[str, str]
    unused: Sequence[str]
    empty: Sequence[str]

    def start(self, name: str) -> str:
        """What every path in one of their folders starts with."""
        return f"{self.base}{name}/"

    def inside(self, path: str) -> bool:
        return path.startswith(tuple(map(self.start, self.names.values())))


def image_files(root: Root, spec: DataSpec, *, test: tuple[str, ...] = ("test",)) -> Listing:
    """All images; hidden files, and files of other suffixes, are none.

    Args:
        root: The place that holds the images.
        spec: Says how many folders below the part name a class (deeper ones belong to it), whether validation images
            are wanted, and whether files that cannot be read may be left out.
        test: What the folder of test images may be called; the first that is there.

    Raises:
        LayoutError: There is no train/ or no test/, or they hold no class folders.
        DataError: A class is empty or has no name in UTF-8, an image lies above the classes, the classes of the parts
            differ, or a file cannot be read.
    """
    parts = _parts(root, test, validation=spec.val_fraction > 0)
    folders = {name: _class_folders(parts, name, spec.class_level) for name in parts.names.values()}
    lost = _lost(parts)
    if lost and not spec.skip_unreadable:
        raise unreadable(str(root.path), [f"{shown(path)} ({why})" for path, why in lost.items()])
    files = []
    for part, name in parts.names.items():
        for path in _images(parts.found, parts.start(name)):
            label = None if path in lost else _label(root, path, parts.start(name), spec.class_level)
            if label is not None:
                files.append(File(part, composed(label), path))
    _check_filled(parts, files, _classes(root, folders))
    files.sort(key=lambda file: (file.part, file.label, composed(file.path), file.path))
    return Listing(files, tuple(_notes(parts, lost, files)))


def composed(name: str) -> str:
    """A name in Unicode's composed form (NFC), which Linux keeps as it is typed; macOS keeps the decomposed one."""
    return unicodedata.normalize("NFC", name)


def unreadable(where: str, told: Sequence[str], count: int | None = None, *, remedy: str = _LEAVE_OUT) -> DataError:
    """The error about images that cannot be read, all of them together.

    Args:
        where: What they are part of.
        told: The images, each with the reason, or the first of them.
        count: Number of images that cannot be read; None where all are told.
        remedy: What to do about ``{it}``.
    """
    count = len(told) if count is None else count
    these, it = ("", "it") if count == 1 else (f"{count} are not: ", "them")
    more = f", and {count - LISTED} more" if count > LISTED else ""
    return DataError(
        f"every image of {where} must be readable, but {these}{', '.join(told[:LISTED])}{more}; {remedy.format(it=it)}."
    )


# --------------------------------------------------------------------------------------------------- where parts are


def _parts(root: Root, test: tuple[str, ...], *, validation: bool) -> _Parts:
    found = root.contents()
    base = _base(found, {"train", *test})
    names = {"train": "train", "test": next((name for name in test if _below(found, f"{base}{name}/")), test[0])}
    there = [name for name in VALIDATION if name not in test and _is_there(found, f"{base}{name}")]
    own = [name for name in there if _holds_classes(found, f"{base}{name}/")]
    if len(own) > 1 and validation:
        raise DataError(
            f"{root.path} must have one folder of validation images, got {' and '.join(f'{name}/' for name in own)}; "
            "merge them, or rename what is none."
        )
    if own and validation:
        names["val"] = own[0]
    empty = [name for name in there if name not in own]
    return _Parts(root, found, base, names, *((), empty) if validation else (own, ()))


def _base(found: Found, parts: set[str]) -> str:
    """Where train/ and test/ are: at the top, or in the one folder that an archive wraps them in."""
    tops = {path.split("/", 1)[0] for path in found.files if "/" in path}
    if tops.intersection(parts) or len(tops) != 1:
        return ""
    return f"{tops.pop()}/"


def _below(found: Found, start: str) -> set[str]:
    return {path.removeprefix(start) for path in found.folders if path.startswith(start)}


def _holds_classes(found: Found, start: str) -> bool:
    """Whether there are class folders with images, or with what would be an error under train/."""
    return bool(_below(found, start)) and any(
        path.startswith(start) for path in (*_images(found, start), *_unread(found))
    )


def _is_there(found: Found, path: str) -> bool:
    if path in found.lost or path in found.left_out:  # which is told with the reason
        return False
    return path in found.folders or bool(_below(found, f"{path}/")) or f"{path}.dvc" in found.files


def _suffix(path: str) -> str:
    return posixpath.splitext(path)[1].lower()


def _is_image(path: str) -> bool:
    return _suffix(path) in suffixes()


def _images(found: Found, start: str) -> list[str]:
    return [path for path in found.files if path.startswith(start) and _is_image(path)]


# ------------------------------------------------------------------------------------------ what classes there are


def _label(root: Root, path: str, start: str, level: int) -> str | None:
    """Name of an image's class; None for one that lies beside the class folders, which says nothing of a class."""
    *above, _ = path.removeprefix(start).split("/")
    if above and len(above) < level:
        raise DataError(
            f"{shown(str(Path(root.path, path)))} must lie {level} folders deep below {start} with "
            f"data.class_level={level}; move it, or lower data.class_level."
        )
    return "/".join(above[:level]) or None


def _class_folders(parts: _Parts, part: str, level: int) -> set[str]:
    """Names of the class folders of a part, the empty ones included."""
    split = [path.split("/") for path in _below(parts.found, parts.start(part))]
    found = {"/".join(folders[:level]) for folders in split if len(folders) >= level}
    arranged = "/".join([part, *("CLASS" if i == level else "GROUP" for i in range(1, level + 1)), "IMAGE.png"])
    if not found:
        raise LayoutError(
            f"{parts.root.path} must hold class folders of images under train/ and test/, got none under {part}/; "
            f"arrange it as {arranged}{_instead(parts, part)}."
        )
    filled = {tuple(name.split("/")[:depth]) for name in found for depth in range(1, level)}
    for folders in sorted(split):
        if len(folders) < level and tuple(folders) not in filled:
            raise DataError(
                f"{parts.root.path}: {part}/{shown('/'.join(folders))} must hold class folders with "
                f"data.class_level={level}, got none; arrange it as {arranged}, or lower data.class_level."
            )
    return found


def _instead(parts: _Parts, part: str) -> str:
    """Why a part may lack class folders, or what may be meant to be it."""
    path = f"{parts.base}{part}"
    if why := parts.found.lost.get(path) or parts.found.left_out.get(path):
        return f" ({part} is {why})"
    for name in {*parts.unused, parts.names.get("val")} - {None}:
        return f" (to be tested on {name}/, rename it to {part}/)" if part == parts.names["test"] else ""
    return ""


def _classes(root: Root, folders: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Names of the classes of each part, composed, once they are fit to be compared and recorded.

    Raises:
        DataError: A name is not UTF-8 or has control characters, two folders of a part have one name, or the parts
            differ.
    """
    classes: dict[str, set[str]] = {}
    for part, names in folders.items():
        known = classes[part] = set[str]()
        for name in sorted(names):
            if wrong := misread(f"{root.path}: the name of a class folder", f"{part}/{name}"):
                raise DataError(wrong)
            if shown(name) != name:
                raise DataError(
                    f"{root.path}: the name of a class folder must be UTF-8 without control characters, got "
                    f"{part}/{shown(name)}; rename it."
                )
            if composed(name) in known:
                raise DataError(
                    f"{root.path} must have one folder for each class, got two under {part}/ that are both called "
                    f"{composed(name)}, composed and decomposed (Unicode's NFC and NFD); merge them."
                )
            known.add(composed(name))
    train, *others = classes
    for other in others:
        _check_alike(root, {part: classes[part] for part in (train, other)})
    return classes


def _check_alike(root: Root, classes: Mapping[str, set[str]]) -> None:
    (train, one), (test, other) = classes.items()
    if one == other:
        return
    only = {train: sorted(one - other), test: sorted(other - one)}
    where = "; ".join(f"only under {part}/: {', '.join(names[:5])}" for part, names in only.items() if names)
    near = {name.strip().casefold(): name for name in only[train]}
    alike = [(near[key], name) for name in only[test] if (key := name.strip().casefold()) in near]
    hint = f" ({alike[0][0]!r} and {alike[0][1]!r} differ in case or spaces alone)" if alike else ""
    raise DataError(
        f"{root.path} must have the same classes under {train}/ and {test}/, got {where}{hint}; add or remove them."
    )


def _check_filled(parts: _Parts, files: list[File], classes: Mapping[str, set[str]]) -> None:
    """Raises DataError for a class without an image in a part."""
    filled = {(parts.names[file.part], file.label) for file in files}
    for part, labels in classes.items():
        for label in sorted(labels):
            if (part, label) not in filled:
                why = parts.found.left_out.get(f"{parts.start(part)}{label}")
                raise DataError(
                    f"{parts.root.path}: class folder {part}/{label} must hold images (.png, .jpg or another suffix of "
                    f"Pillow's) that can be read, got none{f', since it is {why}' if why else ''}; add some, or remove "
                    "the class from all parts."
                )


# -------------------------------------------------------------------------------------------------- what is not read


def _lost(parts: _Parts) -> dict[str, str]:
    """Images of the parts that are there and cannot be read, with the reason; sorted."""
    return {path: why for path, why in sorted(_unread(parts.found).items()) if parts.inside(path)}


def _unread(found: Found) -> dict[str, str]:
    lost = dict(found.lost)
    elsewhere = _IMAGES - suffixes()
    for path in found.files:
        suffix = _suffix(path)
        if suffix in elsewhere:
            lost[path] = f"{suffix} is not read here"
        elif found.files[path] > LARGEST and _is_image(path):
            lost[path] = f"{found.files[path]} bytes, more than the {LARGEST} that are read"
        elif suffix == ".dvc" and _is_image(path[:-4]) and path[:-4] not in found.files:
            lost[path] = "it stands for an image that dvc pull brings"
    return lost


def _notes(parts: _Parts, lost: Mapping[str, str], files: list[File]) -> Iterator[str]:
    """A line for each kind of what is there and not read, and one for validation images of the folder's own."""
    told = [path for path in parts.found.files if parts.inside(path) and path not in lost]
    beside = [path for path in told if path.count("/") == parts.base.count("/") + 1 and _is_image(path)]
    yield from note("images that cannot be, by data.skip_unreadable=true", _reasons(lost))
    yield from note("files that are no images by their suffix", [path for path in told if not _is_image(path)])
    yield from note("what is hidden or a link", _reasons(_unseen(parts, lost)))
    yield from note("images beside the class folders", beside)
    yield from note("folders of images beside those of the parts", _folders_beside(parts))
    for name in parts.unused:
        yield f"{name}/ is not read, since data.val_fraction=0 asks for no validation images."
    for name in parts.empty:
        place = f"{name}.dvc" if f"{parts.base}{name}.dvc" in parts.found.files else f"{name}/"
        yield f"{place} is there and holds no image that is read, so it validates nothing."
    if images := sum(file.part == "val" for file in files):
        yield (
            f"validation takes the {images} images of {parts.names['val']}/, and data.val_fraction holds out none of "
            "train/ (0 leaves them unread)."
        )


def _unseen(parts: _Parts, lost: Mapping[str, str]) -> dict[str, str]:
    """What was not looked at in the parts or in their stead, and may hold images: what systems leave beside files
    (``.DS_Store``, ``._0.png``) does not."""

    def at_the_top(path: str) -> bool:
        return path.removeprefix(parts.base) in VALIDATION

    return {
        path: why
        for path, why in {**parts.found.left_out, **parts.found.lost}.items()
        if path not in lost
        and (parts.inside(path) or at_the_top(path))
        and (why != "hidden" or _is_image(path))
        and not (posixpath.basename(path).startswith("._") or "__MACOSX" in path)
    }


def _folders_beside(parts: _Parts) -> set[str]:
    outside = [path for path in parts.found.files if path.startswith(parts.base) and not parts.inside(path)]
    below = [path.removeprefix(parts.base) for path in outside if _is_image(path)]
    return {path.split("/")[0] for path in below if "/" in path} - {*parts.unused}


def _reasons(paths: Mapping[str, str]) -> list[str]:
    return [f"{path} ({why})" for path, why in paths.items()]


def note(what: str, names: Iterable[str], count: int | None = None) -> Iterator[str]:
    """One line of what is not read, or none where nothing is to be told.

    Args:
        what: What is not read, in the plural, such as ``damaged images``.
        names: Names of what is not read, or of the first of it.
        count: Number of what is not read; None where all of it is named.
    """
    found = sorted(map(shown, names))
    count = len(found) if count is None else count
    if count:
        yield f"not read: {what} ({count}): {listed(found, count)}."


def listed(names: Sequence[str], count: int) -> str:
    """The first of them, and how many more there are."""
    more = f" and {count - NAMED} more" if count > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"
