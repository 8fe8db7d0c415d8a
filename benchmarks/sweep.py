"""What does a sweep cost beside its trainings? Wall time of 20 small trials against bare ``model.fit`` of the same.

    python -m benchmarks.sweep                     # four rates x five seeds of CCT-2/3x2 on mnist5k
    python -m benchmarks.sweep --epochs 4 --rounds 3

A round runs both, one after the other, each in a process of its own. The bare side imports Keras once, then builds,
compiles and fits each trial as a plain script would, with Keras' own AdamW on the same arrays; only its import and the
calls of ``fit`` count. The sweep's side is ``python -m ablate +sweep=…`` from start to table, records and all.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from ablate.provenance import provenance
from benchmarks.picture import bars

RESULTS = Path(__file__).parent / "results"
IMAGES = Path(__file__).parents[1] / "docs" / "images"
RATES, SEEDS = (5e-4, 1e-3, 2e-3, 4e-3), 5
SWEEP = """question: What does a sweep cost beside its trainings?
base: {{model: cct_2_3x2, train.epochs: {epochs}, train.batch_size: 64}}
axes: {{train.lr: {rates}}}
seeds: {seeds}
"""
BARE = """
import json, sys, time
started = time.perf_counter()
import keras
spent = {"import": time.perf_counter() - started, "fit": 0.0}
import numpy as np
from ablate.data import DataSpec, load
from ablate.models import create_model
epochs, rates, seeds = json.loads(sys.argv[1])
splits = load(DataSpec())
def arrays(part):
    return (part.x.astype("float32") / 255 - splits.mean) / splits.std, part.y
(x, y), val = arrays(splits.train), arrays(splits.val)
for lr in rates:
    for seed in range(seeds):
        keras.utils.set_random_seed(seed)
        model = create_model("cct_2_3x2", image_size=splits.input_shape[:2], in_channels=1, num_classes=10)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.AdamW(lr, weight_decay=0.06), loss, metrics=["accuracy"], jit_compile=False)
        started = time.perf_counter()
        model.fit(x, y, batch_size=64, epochs=epochs, validation_data=val, verbose=0)
        spent["fit"] += time.perf_counter() - started
print(json.dumps(spent))
"""


def main(arguments: list[str]) -> None:
    """Measures, prints the ratio, writes a dated JSON file, and draws it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweep", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--epochs", type=int, default=2, help="of each trial (2)")
    parser.add_argument("--rounds", type=int, default=3, help="of both sides, of which the median ratio counts (3)")
    parser.add_argument("--out", type=Path, default=RESULTS / f"sweep-{date.today()}.json", help="file to write")
    parser.add_argument("--image", type=Path, default=IMAGES / "sweep.png", help="picture to draw")
    told = parser.parse_args(arguments)
    rounds = [{"bare": _bare(told.epochs), "sweep_seconds": _sweep(told.epochs)} for _ in range(told.rounds)]
    ratios = [each["sweep_seconds"] / (each["bare"]["import"] + each["bare"]["fit"]) for each in rounds]
    trials = len(RATES) * SEEDS
    result = {
        "date": str(date.today()),
        "trials": trials,
        "epochs": told.epochs,
        "load_average": os.getloadavg()[0],
        **provenance(),
        "rounds": rounds,
        "ratio": statistics.median(ratios),
    }
    told.out.parent.mkdir(parents=True, exist_ok=True)
    told.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    seconds = {
        "sweep": statistics.median(each["sweep_seconds"] for each in rounds),
        "trainings and one import": statistics.median(sum(each["bare"].values()) for each in rounds),
    }
    bars({f"seconds of {trials} trials": seconds}, told.image)
    for each, ratio in zip(rounds, ratios, strict=True):
        bare = each["bare"]
        print(
            f"sweep {each['sweep_seconds']:.1f} s, import {bare['import']:.1f} + fit {bare['fit']:.1f} s: {ratio:.2f}"
        )
    print(
        f"a sweep of {trials} trials takes {result['ratio']:.2f} times its bare trainings and one import (goal: 1.10)"
    )


def _bare(epochs: int) -> dict[str, float]:
    words = json.dumps([epochs, RATES, SEEDS])
    done = subprocess.run([sys.executable, "-c", BARE, words], capture_output=True, text=True, check=True)
    spent: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return spent


def _sweep(epochs: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "sweeps").mkdir()
        text = SWEEP.format(epochs=epochs, rates=list(RATES), seeds=SEEDS)
        (Path(folder) / "sweeps" / "overhead.yaml").write_text(text, "utf-8")
        started = time.perf_counter()
        command = [sys.executable, "-m", "ablate", "+sweep=overhead", "workers=1"]
        subprocess.run(command, cwd=folder, capture_output=True, check=True)
        return time.perf_counter() - started


if __name__ == "__main__":
    main(sys.argv[1:])
