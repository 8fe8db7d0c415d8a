"""What files a set of class folders holds, be it a directory or a zip, without opening one image."""

import zipfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from ablate.data import files
from ablate.data.spec import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff")


class LayoutError(DataError):
    """There are no class folders of images under train/ and test/."""


@dataclass(frozen=True, order=True)
class File:
    """One image file.

    Attributes:
        part: ``train`` or ``test``.
        label: Name of its class.
        path: Within the root.
        stamp: Changes when the content does.
    """

    part: str
    label: str
    path: str
    stamp: str


class Root(ABC):
    """A place that holds files by relative path."""

    def __init__(self, path: Path):
        self.path = path

    @abstractmethod
    def stamps(self) -> dict[str, str]:
        """Every file with something that changes when its content does."""

    @abstractmethod
    def folders(self) -> set[str]:
        """Every folder, the empty ones included."""

    @abstractmethod
    def read(self, path: str) -> bytes:
        """The content of a file."""


class Directory(Root):
    def stamps(self) -> dict[str, str]:
        found = {}
        for path in self.path.rglob("*"):
            if path.is_file():
                stat = path.stat()
                # The root is part of it: two trees made by one script can agree in sizes and times.
                found[path.relative_to(self.path).as_posix()] = f"{self.path} {stat.st_size} {stat.st_mtime_ns}"
        return found

    def folders(self) -> set[str]:
        return {path.relative_to(self.path).as_posix() for path in self.path.rglob("*") if path.is_dir()}

    def read(self, path: str) -> bytes:
        return files.whole(self.path / path)


class Zip(Root):
    def __init__(self, path: Path):
        super().__init__(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(f"{path} must be a folder or a zip, got a damaged or other file ({error}).") from error
        files.check_expansion(str(path), path.stat().st_size, sum(entry.file_size for entry in self._zip.infolist()))

    def stamps(self) -> dict[str, str]:
        return {i.filename: f"{i.file_size} {i.CRC}" for i in self._zip.infolist() if not i.is_dir()}

    def folders(self) -> set[str]:
        return {name.rstrip("/") for name in self._zip.namelist() if name.endswith("/")}

    def read(self, path: str) -> bytes:
        entry = self._zip.getinfo(path)
        files.check_size(f"{path} in {self.path}", entry.file_size)
        return self._zip.read(entry)


def open_root(path: str) -> Root:
    """Opens ``data.root``.

    Raises:
        DataError: Nothing is there, or it is neither a directory nor a zip.
    """
    root = Path(path).expanduser().resolve()
    if root.is_dir():
        return Directory(root)
    if not root.exists():
        raise DataError(f"data.root must name a folder or a zip that exists, got {path}; correct data.root.")
    if not root.is_file():
        raise DataError(f"data.root must name a folder or a zip, got {path}, which is neither; correct data.root.")
    return Zip(root)


def image_files(root: Root, *, level: int = 1, test: tuple[str, ...] = ("test",)) -> list[File]:
    """All images, sorted by part, class and path. Hidden files, and files of other suffixes, are no images.

    Args:
        root: Where they are.
        level: So many folders below the part name a class; deeper ones belong to it.
        test: What the folder of test images may be called; the first that is there.

    Raises:
        LayoutError: There is no train/ or no test/, or they hold no class folders.
        DataError: A class is empty, an image lies above the classes, or those of test/ are not those of train/.
    """
    stamps = {path: stamp for path, stamp in root.stamps().items() if not _hidden(path)}
    tree = {path.rpartition("/")[0] for path in stamps} | {path for path in root.folders() if not _hidden(path)}
    base = _base(stamps, {"train", *test})
    names = {"train": "train", "test": next((n for n in test if _below(tree, f"{base}{n}/")), test[0])}
    files, folders = [], {}
    for part, name in names.items():
        start = f"{base}{name}/"
        folders[name] = _class_folders(root, name, _below(tree, start), level)
        for path, stamp in stamps.items():
            if not path.startswith(start) or not path.lower().endswith(SUFFIXES):
                continue
            if (label := _label(root, path, start, level)) is not None:
                files.append(File(part, label, path, stamp))
    _check_classes(root, {(names[file.part], file.label) for file in files}, folders)
    return sorted(files)


def _below(tree: set[str], start: str) -> set[str]:
    return {path.removeprefix(start) for path in tree if path.startswith(start)}


def _label(root: Root, path: str, start: str, level: int) -> str | None:
    """Name of an image's class; None for one that lies beside the class folders, which says nothing of a class."""
    *above, _ = path.removeprefix(start).split("/")
    if above and len(above) < level:
        raise DataError(
            f"{Path(root.path, path)} must lie {level} folders deep below {start} with data.class_level={level}; "
            "move it, or lower data.class_level."
        )
    return "/".join(above[:level]) or None


def _hidden(path: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.split("/"))


def _base(paths: dict[str, str], parts: set[str]) -> str:
    """Where train/ and test/ are: at the top, or in the one folder that an archive wraps them in."""
    tops = {path.split("/", 1)[0] for path in paths if "/" in path}
    if tops.intersection(parts) or len(tops) != 1:
        return ""
    return f"{tops.pop()}/"


def _class_folders(root: Root, part: str, below: set[str], level: int) -> set[str]:
    """Names of the class folders of a part, the empty ones included."""
    split = [path.split("/") for path in below]
    found = {"/".join(folders[:level]) for folders in split if len(folders) >= level}
    arranged = "/".join([part, *("CLASS" if i == level else "GROUP" for i in range(1, level + 1)), "IMAGE.png"])
    if not found:
        raise LayoutError(
            f"{root.path} must hold class folders of images under train/ and test/, got none under {part}/; "
            f"arrange it as {arranged}."
        )
    filled = {tuple(name.split("/")[:depth]) for name in found for depth in range(1, level)}
    for folders in sorted(split):
        if len(folders) < level and tuple(folders) not in filled:
            raise DataError(
                f"{root.path}: {part}/{'/'.join(folders)} must hold class folders with data.class_level={level}, got "
                f"none; arrange it as {arranged}, or lower data.class_level."
            )
    return found


def _check_classes(root: Root, filled: set[tuple[str, str]], folders: dict[str, set[str]]) -> None:
    """Checks that the parts have the same classes, and that none is empty.

    Args:
        root: For messages.
        filled: Part and class of every image.
        folders: Part -> its classes.
    """
    (train, one), (test, other) = folders.items()
    if one != other:
        only = {train: sorted(one - other), test: sorted(other - one)}
        where = "; ".join(f"only under {part}/: {', '.join(names[:5])}" for part, names in only.items() if names)
        raise DataError(
            f"{root.path} must have the same classes under {train}/ and {test}/, got {where}; add or remove them."
        )
    for part, labels in folders.items():
        for label in sorted(labels):
            if (part, label) not in filled:
                raise DataError(
                    f"{root.path}: class folder {part}/{label} must hold images ({' '.join(SUFFIXES)}), got none; "
                    "add some, or remove the class from both parts."
                )
