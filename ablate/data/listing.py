"""What files a set of class folders holds, be it a directory or a zip, without opening one image."""

import zipfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from ablate.data.spec import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
PARTS = ("train", "test")


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
        return (self.path / path).read_bytes()


class Zip(Root):
    def __init__(self, path: Path):
        super().__init__(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(f"{path} must be a folder or a zip, got a damaged or other file ({error}).") from error

    def stamps(self) -> dict[str, str]:
        return {i.filename: f"{i.file_size} {i.CRC}" for i in self._zip.infolist() if not i.is_dir()}

    def folders(self) -> set[str]:
        return {name.rstrip("/") for name in self._zip.namelist() if name.endswith("/")}

    def read(self, path: str) -> bytes:
        return self._zip.read(path)


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
    return Zip(root)


def image_files(root: Root) -> list[File]:
    """All images, sorted by part, class and path. Hidden files, and files of other suffixes, are no images.

    Raises:
        LayoutError: There is no train/ or no test/, or they hold no class folders.
        DataError: A class is empty, or the classes of test/ are not those of train/.
    """
    stamps = {path: stamp for path, stamp in root.stamps().items() if not _hidden(path)}
    base = _base(root, stamps)
    files, folders = [], {part: _class_folders(root, base, part, stamps) for part in PARTS}
    for path, stamp in stamps.items():
        inside = path.removeprefix(base).split("/") if path.startswith(base) else []
        if len(inside) >= 3 and inside[0] in PARTS and path.lower().endswith(SUFFIXES):
            files.append(File(inside[0], inside[1], path, stamp))
    _check_classes(root, files, folders)
    return sorted(files)


def _hidden(path: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.split("/"))


def _base(root: Root, paths: dict[str, str]) -> str:
    """Where train/ and test/ are: at the top, or in the one folder that an archive wraps them in."""
    tops = {path.split("/", 1)[0] for path in paths if "/" in path}
    if tops.intersection(PARTS) or len(tops) != 1:
        return ""
    return f"{tops.pop()}/"


def _class_folders(root: Root, base: str, part: str, paths: dict[str, str]) -> set[str]:
    """Names of the class folders of a part, the empty ones included."""
    start = f"{base}{part}/"
    above = {path.rpartition("/")[0] for path in paths} | {path for path in root.folders() if not _hidden(path)}
    found = {path.removeprefix(start).split("/")[0] for path in above if path.startswith(start)}
    if not found:
        raise LayoutError(
            f"{root.path} must hold class folders of images under train/ and test/, got none under {part}/; "
            f"arrange it as {part}/CLASS/IMAGE.png."
        )
    return found


def _check_classes(root: Root, files: list[File], folders: dict[str, set[str]]) -> None:
    train, test = (folders[part] for part in PARTS)
    if train != test:
        only = {"train": sorted(train - test), "test": sorted(test - train)}
        where = "; ".join(f"only under {part}/: {', '.join(names[:5])}" for part, names in only.items() if names)
        raise DataError(
            f"{root.path} must have the same classes under train/ and test/, got {where}; add or remove them."
        )
    filled = {(file.part, file.label) for file in files}
    for part in PARTS:
        for label in sorted(folders[part]):
            if (part, label) not in filled:
                raise DataError(
                    f"{root.path}: class folder {part}/{label} must hold images ({' '.join(SUFFIXES)}), got none; "
                    "add some, or remove the class from both parts."
                )
