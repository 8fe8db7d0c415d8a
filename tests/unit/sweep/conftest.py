"""A sweep of a test's own, and folders of images for it."""

import itertools
import shutil

import numpy as np
import pytest
from PIL import Image

BASE = "base: {model: tiny, data: digits, train.epochs: 2}\n"


@pytest.fixture
def sweep(write_sweep):
    """Writes a sweep file into a working directory of its own; gives the words that ask for it."""

    def write(text, *words):
        write_sweep(BASE + text)
        return ["+sweep=mine", *words]

    return write


@pytest.fixture
def folders(tmp_path):
    """Two folders of images that differ, and a copy of the first."""
    for root, shade in (("raw", 10), ("cleaned", 90)):
        for part, name in itertools.product(("train", "test"), ("cat", "dog")):
            folder = tmp_path / root / part / name
            folder.mkdir(parents=True)
            for number in range(4):
                pixels = np.full((8, 8, 3), shade + 20 * number + 5 * (name == "dog"), np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    shutil.copytree(tmp_path / "raw", tmp_path / "copy")
    return tmp_path
