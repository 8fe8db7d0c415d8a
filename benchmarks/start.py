"""How long until something happens, and what does a second worker bring?

    python -m benchmarks.start                       # commands, a cold start, one worker against two: five minutes
    python -m benchmarks.start --parts commands      # adds to the file of the same day

Commands are timed from start to end, the median of some. A cold start is a process that builds CCT-2/3x2 and takes
a step: the ratio is its time over that of TensorFlow's bare import and of tracing that step. Workers
share the cores: a sweep of a small model is run by one and by two, in turns.
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
from typing import Any

from ablate.provenance import provenance
from benchmarks.picture import bars

RESULTS = Path(__file__).parent / "results"
IMAGES = Path(__file__).parents[1] / "docs" / "images"
PARTS = ("commands", "cold", "workers")
GOALS = {"commands": 2.0, "cold": 1.5, "workers": 1.2}
POINTS = """question: How long does a plan of 100 points take?
base: {model: tiny, data: digits, train.epochs: 1}
axes: {train.lr: [1e-4, 2e-4, 5e-4, 1e-3, 2e-3]}
seeds: 20
"""
SMALL = """question: What does a second worker bring?
base: {{model: tiny, data: digits, train.epochs: {epochs}, train.batch_size: 64, tracking.log_model: false}}
axes: {{train.lr: [5e-4, 1e-3, 2e-3, 4e-3]}}
seeds: 2
"""
RECORDS = """
import json
from ablate.tracking import Store, TrackingSpec
rates, seeds = [1e-4, 2e-4, 5e-4, 1e-3, 2e-3], range(20)
told = {"name": "points", "question": "?", "axes": {"train.lr": rates}, "seeds": [*seeds], "points": 100}
store = Store(TrackingSpec())
parent = store.sweep_run("points-1", {"ablate.sweep": json.dumps(told)})
for rate in rates:
    for seed in seeds:
        point = json.dumps([["train.lr", rate], ["seed", seed]], separators=(",", ":"))
        params = {"train.epochs": 6, "train.lr": rate, "data.source": "digits", "data.root": None}
        run = store.start_run("x", params, {"ablate.study": "points-1", "ablate.point": point}, parent=parent)
        run.log({"final.test_top1_percent": 80 + 1e3 * rate + seed % 7, "cost.params": 10})
        run.finish("finished")
"""
IMPORT = "import time; t = time.perf_counter(); import tensorflow; print(time.perf_counter() - t)"
COLD = """
import json, time
started = time.perf_counter()
from ablate.training.hardware import import_keras
import_keras()
import numpy as np
from ablate.models import create_model
from ablate.training.optimizer import AdamW
from ablate.training.steps.compiled import compile_step
step = compile_step(create_model("cct_2_3x2_32", num_classes=10), AdamW())
x, y, one = np.zeros((64, 32, 32, 3), "uint8"), np.zeros(64, "int64"), np.ones(3, "float32")
batch = (x, y, np.ones(64, "float32"), one, one, 0.1)
before = time.perf_counter()
float(step.train(*batch)[0])
after = time.perf_counter()
float(step.train(*batch)[0])
print(json.dumps({"all": after - started, "tracing": after - before - (time.perf_counter() - after)}))
"""


def main(arguments: list[str]) -> None:
    """Measures, prints, writes a dated JSON file, and draws it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure")
    parser.add_argument("--rounds", type=int, default=3, help="of each, of which the median counts (3)")
    parser.add_argument("--epochs", type=int, default=20, help="of each training that workers share (20)")
    parser.add_argument("--out", type=Path, default=RESULTS / f"start-{date.today()}.json", help="file to write")
    parser.add_argument("--image", type=Path, default=IMAGES / "start.png", help="picture to draw")
    told = parser.parse_args(arguments)
    acts = {"commands": _commands, "cold": _cold, "workers": _workers}
    kept = json.loads(told.out.read_text("utf-8")) if told.out.is_file() else {}
    about = {"date": str(date.today()), "load_average": os.getloadavg()[0], **provenance()}
    result: dict[str, Any] = kept | about
    for part in told.parts:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "sweeps").mkdir()
            result[part] = acts[part](Path(folder), told)
        print(f"{part}: {json.dumps(result[part])} (goal: {GOALS[part]})", flush=True)
    told.out.parent.mkdir(parents=True, exist_ok=True)
    told.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    draw(result, told.image)
    print(f"written to {told.out} and {told.image}")


def draw(result: dict[str, Any], path: Path) -> None:
    """A panel a part that was measured, with its goal."""
    panels = {
        "commands": ("seconds of a command", lambda found: found),
        "cold": ("cold start over import and tracing", lambda found: {"CCT-2/3x2": found["ratio"]}),
        "workers": ("two workers over one", lambda found: {"tiny, digits": found["ratio"]}),
    }
    there = {title: read(result[part]) for part, (title, read) in panels.items() if part in result}
    bars(there, path, {title: GOALS[part] for part, (title, _) in panels.items()})


def _commands(folder: Path, told: argparse.Namespace) -> dict[str, float]:
    """Seconds of each command that must not wait for TensorFlow."""
    (folder / "sweeps" / "points.yaml").write_text(POINTS, "utf-8")
    _records(folder)
    commands = {
        "--help": ["--help"],
        "models": ["models"],
        "plan of 100 points": ["plan", "+sweep=points"],
        "report of 100 runs": ["report", "points"],
    }
    found = {}
    for name, words in commands.items():
        command = [sys.executable, "-m", "ablate", *words]
        found[name] = round(statistics.median(_seconds(command, folder) for _ in range(told.rounds)), 2)
    return found


def _records(folder: Path) -> None:
    """A store of 100 made-up runs: nobody trained the sweep's points, but each has an accuracy."""
    subprocess.run([sys.executable, "-c", RECORDS], cwd=folder, capture_output=True, check=True)


def _cold(folder: Path, told: argparse.Namespace) -> dict[str, float]:
    """Seconds of bare import, of tracing, of everything, and everything over the two."""
    rounds = []
    for _ in range(told.rounds):
        bare = float(_said([sys.executable, "-c", IMPORT]))
        ours: dict[str, float] = json.loads(_said([sys.executable, "-c", COLD]))
        rounds.append({"import": bare, **ours, "ratio": ours["all"] / (bare + ours["tracing"])})
    return {name: round(statistics.median(each[name] for each in rounds), 2) for name in rounds[0]}


def _workers(folder: Path, told: argparse.Namespace) -> dict[str, float]:
    """Seconds of a sweep by one worker, by two, and their ratio."""
    (folder / "sweeps" / "small.yaml").write_text(SMALL.format(epochs=told.epochs), "utf-8")
    rounds = [{n: _sweep(folder, turn, n) for n in (1, 2)} for turn in range(told.rounds)]
    ratio = statistics.median(each[1] / each[2] for each in rounds)
    alone, shared = (statistics.median(each[n] for each in rounds) for n in (1, 2))
    return {"one worker": round(alone, 1), "two workers": round(shared, 1), "ratio": round(ratio, 2)}


def _sweep(folder: Path, turn: int, workers: int) -> float:
    store = folder / f"{turn}-{workers}"
    (store / "sweeps").mkdir(parents=True)
    (store / "sweeps" / "small.yaml").write_text((folder / "sweeps" / "small.yaml").read_text("utf-8"), "utf-8")
    return _seconds([sys.executable, "-m", "ablate", "+sweep=small", f"workers={workers}"], store)


def _seconds(command: list[str], folder: Path) -> float:
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)
    return time.perf_counter() - started


def _said(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]


if __name__ == "__main__":
    main(sys.argv[1:])
