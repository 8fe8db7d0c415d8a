"""How do time and memory grow with pixels, layers, batch, points in the queue and runs in the store?

    python -m benchmarks.growth                              # 10 to 10,000 points and runs: about ten minutes
    python -m benchmarks.growth --axes points runs --largest 1000

Each value of an axis is measured in a process of its own, whose peak of memory is told beside what it held before. The
slope is that of a line through the logarithms: 1 is linear, 0 does not grow, 2 is quadratic. Of points, filling the
queue and handing out one point are measured; of runs, reading all of them and reading one study of ten among them.
"""

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from ablate.provenance import provenance
from benchmarks.contender import peak_memory

RESULTS = Path(__file__).parent / "results"
IMAGES = Path(__file__).parents[1] / "docs" / "images"
TENS = (10, 100, 1_000, 10_000)
AXES = {"pixels": (16, 32, 64, 96), "layers": (1, 2, 4, 8), "batch": (16, 32, 64, 128), "points": TENS, "runs": TENS}
"""Axis -> values; pixels are an image's side."""
PARAMETERS, METRICS = 60, 12
"""A made-up run has about as many as a real one."""

Measured = dict[str, float]


def main(arguments: list[str]) -> None:
    """Measures, prints slopes, writes a dated JSON file, and draws it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--axes", nargs="+", choices=AXES, default=list(AXES), help="what grows")
    parser.add_argument("--largest", type=int, default=TENS[-1], help=f"number of points and runs ({TENS[-1]})")
    parser.add_argument("--out", type=Path, default=RESULTS / f"growth-{date.today()}.json", help="file to write")
    parser.add_argument("--image", type=Path, default=IMAGES / "growth.png", help="picture to draw")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)  # axis and value, of a process of its own
    told = parser.parse_args(arguments)
    if told.one:
        print(json.dumps(_measure(told.one[0], int(told.one[1]))))
        return
    kept = json.loads(told.out.read_text("utf-8"))["axes"] if told.out.is_file() else {}
    axes = {axis: _axis(axis, told.largest) for axis in told.axes}
    result = {"date": str(date.today()), "load_average": os.getloadavg()[0], **provenance(), "axes": {**kept, **axes}}
    for place in (told.out, told.image):
        place.parent.mkdir(parents=True, exist_ok=True)
    told.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    draw(result["axes"], told.image)
    print(f"written to {told.out} and {told.image}")


def _axis(axis: str, largest: int) -> dict[str, Any]:
    values = [value for value in AXES[axis] if axis not in ("points", "runs") or value <= largest]
    measured = {str(value): _apart(axis, value) for value in values}
    slopes = {
        what: round(slope(values, [each[what] for each in measured.values()]), 2) for what in measured[str(values[0])]
    }
    for what, power in slopes.items():
        numbers = ", ".join(f"{measured[str(value)][what]:.3g} at {value:,}" for value in values)
        print(f"{axis}: {what} grows as {axis}^{power}: {numbers}", flush=True)
    return {"values": values, "measured": measured, "slopes": slopes}


def _apart(axis: str, value: int) -> Measured:
    command = [sys.executable, "-m", "benchmarks.growth", "--one", axis, str(value)]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True, check=True)
    measured: Measured = json.loads(done.stdout.splitlines()[-1])
    return measured


def slope(values: list[int], found: list[float]) -> float:
    """Power by which it grows over the upper half of the values, where constants weigh least."""
    upper = slice(len(values) // 2 - 1 if len(values) > 2 else 0, None)
    floor = 1e-9  # a memory that did not grow at all
    return float(np.polyfit(np.log(values[upper]), np.log(np.maximum(found[upper], floor)), 1)[0])


def _measure(axis: str, value: int) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        if axis == "points":
            return _queue(value, Path(folder))
        if axis == "runs":
            return _store(value, Path(folder))
    return _step(**{axis: value})


def _seconds(act: Callable[[], Any]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


# ------------------------------------------------------------------------------------------------------------- models


def _step(pixels: int = 32, layers: int = 2, batch: int = 64) -> Measured:
    """A training step of a CCT of one convolution."""
    import keras

    from ablate.hardware import import_keras

    import_keras()
    from ablate.models.classifier import build
    from ablate.specs import ModelSpec
    from ablate.training.optimizer import AdamW
    from ablate.training.step import compile_step

    model = build(ModelSpec(convs=1, layers=layers, dim=64, heads=2, mlp_ratio=1.0), (pixels, pixels, 3), 10)
    step = compile_step(model, AdamW())
    x, y = np.zeros((batch, pixels, pixels, 3), np.uint8), np.zeros(batch, np.int64)
    weight, scale = np.ones(batch, keras.config.floatx()), np.ones(3, keras.config.floatx())
    before = peak_memory()
    act = lambda: float(step.train(x, y, weight, scale, scale, 0.1)[0])  # noqa: E731
    tracing = _seconds(act)
    step_seconds = statistics.median(_seconds(act) for _ in range(5))
    return {"seconds a step": step_seconds, "seconds to the first": tracing, "MiB more": peak_memory() - before}


# ------------------------------------------------------------------------------------------------------------- queue


def _queue(points: int, folder: Path) -> Measured:
    from ablate.sweep.space import SweepSpec, span
    from ablate.sweep.study import Study

    levels = {"train.lr": [0.001 * (1 + number) for number in range(points // 10)]}
    study = Study(f"sqlite:///{folder}/optuna.db", "growth", span(SweepSpec(), levels, list(range(10)))[0])
    before = peak_memory()

    def hand_out() -> None:
        claim = study.claim()
        if claim is None:
            raise RuntimeError(f"a queue of {points} points must have one left, and has none.")
        study.complete(claim, 0.5, "run")

    fill = _seconds(study.fill)
    one = statistics.median(_seconds(hand_out) for _ in range(5))
    again = _seconds(study.fill)
    study.close()
    return {
        "seconds to fill": fill,
        "seconds a point": one,
        "seconds to open": again,
        "MiB more": peak_memory() - before,
    }


# ------------------------------------------------------------------------------------------------------------- store


def _store(runs: int, folder: Path) -> Measured:
    from ablate.tracking import Store, TrackingSpec, read_runs

    tracking = TrackingSpec(uri=f"sqlite:///{folder}/mlflow.db")
    first = Store(tracking).start_run("point 0", {}, {"ablate.study": "study 0"})
    first.finish("finished")
    copy_run(folder / "mlflow.db", runs)
    read_runs(tracking, study="study 1")  # imports, once
    before = peak_memory()
    one = statistics.median(_seconds(lambda: read_runs(tracking, study="study 1")) for _ in range(3))
    every = _seconds(lambda: read_runs(tracking))
    return {"seconds to read all": every, "seconds to read ten": one, "MiB more": peak_memory() - before}


def copy_run(database: Path, runs: int) -> None:
    """Puts runs into MLflow's own tables, ten to a study, as if they had been trained: writing them takes hours."""
    with sqlite3.connect(database) as link:
        columns = [line[1] for line in link.execute("pragma table_info(runs)")]
        pattern = dict(zip(columns, link.execute("select * from runs limit 1").fetchone(), strict=True))
        for table in ("params", "metrics", "latest_metrics", "tags", "runs"):
            link.execute(f"delete from {table}")
        ids = [f"{number:032x}" for number in range(runs)]
        rows = [tuple({**pattern, "run_uuid": run}.values()) for run in ids]
        link.executemany(f"insert into runs ({','.join(columns)}) values ({','.join('?' * len(columns))})", rows)
        _entries(link, ids)
    link.close()


def _entries(link: sqlite3.Connection, ids: list[str]) -> None:
    params = ((f"model.leaf_{n}", str(n), run) for run in ids for n in range(PARAMETERS))
    link.executemany("insert into params (key, value, run_uuid) values (?, ?, ?)", params)
    metrics = ((f"final.{n}", n / 7, 0, 0, 0, run) for run in ids for n in range(METRICS))
    into = "insert into latest_metrics (key, value, timestamp, step, is_nan, run_uuid) values (?, ?, ?, ?, ?, ?)"
    link.executemany(into, metrics)
    tags = (("ablate.study", f"study {number // 10}", run) for number, run in enumerate(ids))
    link.executemany("insert into tags (key, value, run_uuid) values (?, ?, ?)", tags)


# ------------------------------------------------------------------------------------------------------------ picture


def draw(axes: dict[str, Any], path: Path) -> None:
    """A panel an axis, both scales logarithmic, the slope in the legend."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    from ablate.figures import COLOURS

    figure, panels = pyplot.subplots(1, len(axes), figsize=(3.4 * len(axes), 3.6), squeeze=False)
    for panel, (axis, found) in zip(panels[0], axes.items(), strict=True):
        for what, colour, marker in zip(found["slopes"], COLOURS, "os^D", strict=False):
            heights = [max(each[what], 1e-4) for each in found["measured"].values()]
            label = f"{what}: slope {found['slopes'][what]}"
            panel.loglog(found["values"], heights, marker=marker, color=colour, label=label)
        panel.set(xlabel=axis)
        panel.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(0, 1.32))
        panel.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    main(sys.argv[1:])
