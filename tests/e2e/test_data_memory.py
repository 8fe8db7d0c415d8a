"""Images larger than the memory they may take: read from disk, within a bound, and trained on to the same numbers."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

LIMIT = 64  # MiB; of these, the batches on their way and what decodes ahead take about 30
IMAGES = {"train": 1200, "test": 100}  # of 224x224 RGB: 187 MiB

READ = """
import json, re, resource, sys
from pathlib import Path
import numpy as np
from ablate.data import Batches, DataSpec, load
def peak():
    status = Path("/proc/self/status")
    if status.exists():  # getrusage starts from what the parent took, which pytest with TensorFlow in it makes much of
        return int(re.search(r"VmHWM:\\s+(\\d+) kB", status.read_text())[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
spec = json.loads(sys.argv[1])
load(DataSpec(**spec | {"source": "digits", "root": None, "image_size": None}))  # what imports and code take
before = peak()
splits = load(DataSpec(**spec))
total = 0
for x, y in Batches(splits.train, 32, seed=0).epoch(0):
    total += int(x.sum())
print(json.dumps({"extra": peak() - before, "digest": splits.digest, "total": total, "mean": splits.mean}))
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes of smooth 224-pixel images, as JPEG: small on disk, 187 MiB decoded."""
    root = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for part, count in IMAGES.items():
        for i in range(count):
            (folder := root / part / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
            small = Image.fromarray(generator.integers(0, 256, (4, 4, 3), dtype=np.uint8))
            small.resize((224, 224)).save(folder / f"{i}.jpg", quality=60)
    return root


def _read(photos, cache, limit):
    spec = {"source": "folder", "root": str(photos), "val_fraction": 0.1, "cache": str(cache), "memory_limit": limit}
    done = subprocess.run([sys.executable, "-c", READ, json.dumps(spec)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.full
def test_images_larger_than_the_limit_are_decoded_and_read_within_it(photos, tmp_path):
    decoding, again = (_read(photos, tmp_path / "file", LIMIT) for _ in range(2))
    memory = _read(photos, tmp_path / "memory", 10_000)
    print(
        f"peak MiB above the start: {decoding['extra']:.0f} decoding, {again['extra']:.0f} again, "
        f"{memory['extra']:.0f} in memory"
    )
    assert max(decoding["extra"], again["extra"]) < LIMIT
    assert memory["extra"] > 187
    for key in ("digest", "total", "mean"):
        assert decoding[key] == again[key] == memory[key]
