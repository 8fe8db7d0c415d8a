"""Where does a training step's time go? TensorFlow's profile of one, by what its operations are for.

    python -m benchmarks.operations                                    # CCT-2/3x2, CVT-7/4, CCT-7/3x1; two minutes
    python -m benchmarks.operations --models cvt_7_4_32 --batch 64

A group's milliseconds are those of its kernels, summed over the threads that run them and divided by the steps: what
waits and what dispatches is in none. Products are told by the operation, everything else by the layer that made it.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from ablate.provenance import provenance
from benchmarks.models import INPUT_SHAPE, MODELS, NUM_CLASSES
from benchmarks.picture import stacked

RESULTS = Path(__file__).parent / "results"
IMAGES = Path(__file__).parents[1] / "docs" / "images"
PRODUCTS = {"attention's products": "BatchMatMul", "dense layers": "MatMul", "convolutions": "Conv2D"}
"""Group -> part of an operation's kind; the first that fits."""
PLACES = {
    "pools and ReLU": "tokenizer",
    "softmax, masks, heads": "attention",
    "LayerNorm": "norm",
    "GELU": "mlp",
    "drop path": "drop_path",
    "AdamW": "adamw",
}
"""Group -> part of an operation's name; the first that fits."""


def main(arguments: list[str]) -> None:
    """Measures, prints shares, writes a dated JSON file, and draws it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.operations", description=(__doc__ or "").split("\n", 1)[0]
    )
    models = [name for name in MODELS if not name.startswith("vit")]
    parser.add_argument("--models", nargs="+", default=models, help="names of the zoo")
    parser.add_argument("--batch", type=int, default=32, help="images (32)")
    parser.add_argument("--steps", type=int, default=4, help="that are profiled, after two that are not (4)")
    parser.add_argument("--threads", type=int, default=2, help="of TensorFlow (2)")
    parser.add_argument("--out", type=Path, default=RESULTS / f"operations-{date.today()}.json", help="file to write")
    parser.add_argument("--image", type=Path, default=IMAGES / "operations.png", help="picture to draw")
    told = parser.parse_args(arguments)
    found = {name: profiled(name, told) for name in told.models}
    about = {"batch": told.batch, "threads": told.threads, "load_average": os.getloadavg()[0], **provenance()}
    for place in (told.out, told.image):
        place.parent.mkdir(parents=True, exist_ok=True)
    told.out.write_text(json.dumps({"date": str(date.today()), **about, "models": found}, indent=1) + "\n", "utf-8")
    shares = {name: {group: 100 * part for group, part in each["shares"].items()} for name, each in found.items()}
    stacked(shares, told.image, "% of the kernels' time in a training step")
    print(f"written to {told.out} and {told.image}")


def profiled(name: str, told: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of each group in a step, their shares, the longest operations, and the step's own time."""
    import tensorflow as tf

    from benchmarks.sides_keras import Ours

    generator = np.random.default_rng(0)
    x = generator.integers(0, 256, (told.batch, *INPUT_SHAPE), dtype=np.uint8)
    described = {"name": name, "input_shape": INPUT_SHAPE, "num_classes": NUM_CLASSES, "dropout": 0.0}
    step = Ours(told.threads).train(described, x, generator.integers(0, NUM_CLASSES, told.batch))
    step(), step()
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        started = time.perf_counter()
        for _ in range(told.steps):
            step()
        seconds = (time.perf_counter() - started) / told.steps
        tf.profiler.experimental.stop()
        kernels = _kernels(Path(folder))
    found = _grouped({kernel: spent / told.steps for kernel, spent in kernels.items()})
    print(
        f"{name}, batch {told.batch}: {1000 * seconds:.0f} ms a step, kernels {sum(found['milliseconds'].values()):.0f}"
    )
    for group, spent in found["milliseconds"].items():
        print(f"  {group:24}{spent:>9.1f} ms{100 * found['shares'][group]:>6.1f} %")
    return {"step_milliseconds": round(1000 * seconds, 1), **found}


def _kernels(folder: Path) -> Counter[str]:
    """Milliseconds of each kernel, by ``name:kind``, of all threads."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    spent: Counter[str] = Counter()
    space = xplane_pb2.XSpace()
    space.ParseFromString(next(folder.rglob("*.xplane.pb")).read_bytes())
    for plane in space.planes:
        for event in (event for line in plane.lines for event in line.events):
            name = plane.event_metadata[event.metadata_id].name
            # The others are the executor's own, "ExecutorState::Process", and Python's, "$file.py:1 call".
            if ":" in name and "::" not in name and not name.startswith(("$", "EagerLocalExecute")):
                spent[name] += event.duration_ps / 1e9
    return spent


def _grouped(kernels: dict[str, float]) -> dict[str, Any]:
    groups: Counter[str] = Counter()
    for kernel, spent in kernels.items():
        groups[group(kernel)] += spent
    longest = sorted(kernels.items(), key=lambda each: -each[1])[:20]
    return {
        "milliseconds": {name: round(spent, 2) for name, spent in groups.most_common()},
        "shares": {name: round(spent / groups.total(), 4) for name, spent in groups.most_common()},
        "longest": {kernel: round(spent, 2) for kernel, spent in longest},
    }


def group(kernel: str) -> str:
    """What an operation ``name:kind`` is for."""
    name, _, kind = kernel.rpartition(":")
    by_kind = (each for each, part in PRODUCTS.items() if part in kind and "norm" not in name)
    by_name = (each for each, part in PLACES.items() if part in name)
    return next(by_kind, next(by_name, "rest"))


if __name__ == "__main__":
    main(sys.argv[1:])
