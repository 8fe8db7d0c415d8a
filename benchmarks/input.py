"""Does the input starve the model? Decoding, augmentation and the training step, each alone, then together.

    python -m benchmarks.input                                              # generated pictures, 32x32
    python -m benchmarks.input data=cifar10 data.root=PATH augment=crop_flip   # words as for ablate

Everything is images a second, the median of several passes. The step alone gets one batch again and again; together,
it gets batches as a training does, made ahead by ``augment.workers`` threads on the same cores.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from datetime import date
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ablate.config.compose import compose, to_config
from ablate.data import Batches, DataSpec, Splits, load
from ablate.data.augment.augmenter import Augmenter
from ablate.provenance import provenance
from ablate.tasks.classify.spec import RunSpec
from ablate.training.hardware import import_keras, prepare
from benchmarks.picture import bars

WORDS = ["model=cct_2_3x2", "augment=paper_cifar10", "train.batch_size=128", "data.val_fraction=0"]
PICTURES = 2560
RESULTS = Path(__file__).parent / "results"
IMAGES = Path(__file__).parents[1] / "docs" / "images"


def main(arguments: list[str]) -> None:
    """Measures, prints a table, writes a dated JSON file, and draws it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.input", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("words", nargs="*", help="as for ablate: data=cifar10 data.root=PATH hardware.threads=2")
    parser.add_argument("--steps", type=int, default=20, help="batches a pass (20)")
    parser.add_argument("--passes", type=int, default=5, help="passes, of which the median counts (5)")
    parser.add_argument("--out", type=Path, default=RESULTS / f"input-{date.today()}.json", help="file to write")
    parser.add_argument("--image", type=Path, default=IMAGES / "input.png", help="picture to draw")
    told = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        spec = _spec(told.words, Path(folder))
        import_keras()
        prepare(spec.hardware)
        result = measure(spec, Path(folder) / "cache", steps=told.steps, passes=told.passes)
    result = {
        "date": str(date.today()),
        "words": told.words,
        "load_average": os.getloadavg()[0],
        **provenance(),
    } | result
    told.out.parent.mkdir(parents=True, exist_ok=True)
    told.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    bars({"images a second": result["images_per_second"]}, told.image)
    _print(result)
    print(f"written to {told.out} and {told.image}")


def _spec(words: list[str], folder: Path) -> RunSpec:
    data = [] if any(word.startswith("data=") for word in words) else ["data=folder", f"data.root={_pictures(folder)}"]
    return to_config(compose([*WORDS, *data, *words])).point()


def _pictures(folder: Path) -> Path:
    """Smooth pictures of 32x32 in 10 classes, as PNG: what is done to them takes as long as to photographs."""
    generator = np.random.default_rng(0)
    for part, count in (("train", PICTURES), ("test", 10)):
        for i in range(count):
            place = folder / "pictures" / part / str(i % 10)
            place.mkdir(parents=True, exist_ok=True)
            small = Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            small.resize((32, 32), Image.Resampling.BICUBIC).save(place / f"{i}.png")
    return folder / "pictures"


def measure(spec: RunSpec, cache: Path, *, steps: int, passes: int) -> dict[str, Any]:
    """Images a second of each stage.

    Args:
        spec: Data, augmentation, model, batch size, threads.
        cache: An empty folder, so that files are decoded.
        steps: Batches a pass.
        passes: Of each stage.
    """
    spec.data.cache = str(cache)
    decode, splits = _decode(spec.data)
    result: dict[str, Any] = {"spec": {name: asdict(getattr(spec, name)) for name in ("augment", "hardware")}}
    rates = {"decode": decode, "read decoded": _decode(spec.data)[0]}
    rates["gather"] = _rate(partial(_batches, spec, splits, workers=None), steps, passes)
    for workers in (1, 2):
        rates[f"augment, {workers} thread{'s' * (workers > 1)}"] = _rate(
            partial(_batches, spec, splits, workers=workers), steps, passes
        )
    step = _step(spec, splits)
    first = next(_batches(spec, splits, workers=1))
    rates["step"] = _rate(lambda: [first] * steps, steps, passes, step)
    plain = next(_batches(spec, splits, workers=None))
    rates["step, labels as integers"] = _rate(lambda: [plain] * steps, steps, passes, step)
    workers = max(1, spec.augment.workers)
    rates["step with input"] = _rate(partial(_batches, spec, splits, workers=workers), steps, passes, step)
    best = max(rates["augment, 1 thread"], rates["augment, 2 threads"])
    return result | {
        "images_per_second": {name: round(rate, 1) for name, rate in rates.items()},
        "input_over_step": round(best / rates["step"], 2),
        "step_slower_with_input_percent": round(100 * (rates["step"] / rates["step with input"] - 1), 1),
    }


def _decode(spec: DataSpec) -> tuple[float, Splits]:
    started = time.perf_counter()
    splits = load(spec)
    return (len(splits.train) + len(splits.test)) / (time.perf_counter() - started), splits


def _batches(spec: RunSpec, splits: Splits, *, workers: int | None) -> Iterator[tuple[Any, Any]]:
    """Batches without end; workers=None leaves the images as they are."""
    augmenter = None
    if workers is not None:
        augmenter = Augmenter(spec.augment, 0, splits.num_classes, splits.mean, splits.std)
    batches = Batches(splits.train, spec.train.batch_size, 0, augmenter, workers=workers or 1)
    epoch = 0
    while True:
        yield from (batch for batch in batches.epoch(epoch) if len(batch[1]) == spec.train.batch_size)
        epoch += 1


def _step(spec: RunSpec, splits: Splits) -> Callable[[Any, Any], Any]:
    """One training step, that waits for its result."""
    import keras

    from ablate.models.classifier import build
    from ablate.training.optimizer import AdamW
    from ablate.training.steps.compiled import compile_step

    model = build(spec.model, splits.input_shape, splits.num_classes)
    optimizer = AdamW()
    step = compile_step(model, optimizer)
    optimizer.learning_rate = spec.train.lr
    real = keras.config.floatx()
    scale = (1 / (255 * np.array(splits.std))).astype(real)
    shift = (-np.array(splits.mean) / np.array(splits.std)).astype(real)
    weight = np.ones(spec.train.batch_size, real)
    return lambda x, y: float(step.train(x, y, weight, scale, shift, spec.train.label_smoothing)[0])


def _rate(
    start: Callable[[], Iterable[tuple[Any, Any]]],
    steps: int,
    passes: int,
    work: Callable[[Any, Any], Any] = lambda x, y: None,
) -> float:
    """Images a second, the median of passes after one that warms up."""
    rates = []
    for _ in range(passes + 1):
        source = iter(start())
        started, images = time.perf_counter(), 0
        for x, y in islice(source, steps):
            work(x, y)
            images += len(x)
        rates.append(images / (time.perf_counter() - started))
    return statistics.median(rates[1:])


def _print(result: dict[str, Any]) -> None:
    for name, rate in result["images_per_second"].items():
        print(f"{name:28}{rate:>12,.0f} images/s")
    print(f"input over step: {result['input_over_step']} times")
    print(f"a step with its input takes {result['step_slower_with_input_percent']} % longer than without")


if __name__ == "__main__":
    main(sys.argv[1:])
