"""Which test images belong together, as their folders say: several photographs of one object are no several objects.

It is read beside a run's record, and no run computes with it.
"""

import numpy as np
from numpy.typing import NDArray

from ablate.data.decode import Encoded, failure
from ablate.data.listing import File, composed, image_files
from ablate.data.roots import Root, open_root
from ablate.data.spec import DataError, DataSpec

SOURCE = "folder"
"""The source whose folders below a class group photographs; below the classes of published sets lie other classes."""


def together(spec: DataSpec, label: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Groups of test images: those in one folder below their class's (``test/CLASS/GROUP/IMAGE.png``).

    A folder below that belongs to it, and an image beside such folders is a group of its own. A folder that holds all
    images of its class says no more than the class does: where every class has one such folder, nothing is grouped.

    Args:
        spec: Where the images are.
        label: ``(images,)``, classes of the test images in the order of the data.

    Returns:
        ``(images,)``, number of each image's group, those of a group one after the other. None where folders group no
        two images, or do not hold any more what was read.
    """
    if spec.source != SOURCE:
        return None
    try:
        root = open_root(str(spec.root))
        files = [file for file in image_files(root, spec).files if file.part == "test"]
        if len(files) != len(label):  # data.skip_unreadable left some out, once they could not be decoded
            files = [file for file in files if failure(_encoded(root, file), spec.background_rgb) is None]
    except DataError:
        return None
    names = {name: number for number, name in enumerate(sorted({file.label for file in files}))}
    if [names[file.label] for file in files] != label.tolist():
        return None
    return _numbered(files, spec.class_level)


def _encoded(root: Root, file: File) -> Encoded:
    return Encoded(file.path, lambda: root.read(file.path), 0)


def _numbered(files: list[File], level: int) -> NDArray[np.int64] | None:
    groups = [_group(composed(file.path), level) for file in files]
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    classes = len({file.label for file in files})
    if len(numbers) in (classes, len(files)):
        return None
    return np.array([numbers[group] for group in groups], np.int64)


def _group(path: str, level: int) -> str:
    """The folder below its class's that an image lies in; the image itself where that is the class's own."""
    folders = path.split("/")
    above = 1 if folders[0] == "test" else 2  # test/, or the one folder that an archive wraps it in before that
    return "/".join(folders[: above + level + 1])
