"""How do time and memory grow with pixels, layers, batch, points in the queue and runs in the store?

    python -m benchmarks.growth                              # 10 to 10,000 points and runs: about ten minutes
    python -m benchmarks.growth --axes points runs --largest 1000

Each value of an axis is measured in a process of its own, whose peak of memory is told beside what it held before. The
slope is that of a line through the logarithms: 1 is linear, 0 does not grow, 2 is quadratic. Of points, filling the
queue, handing out the first (for which a worker reads all, as it does again in a twentieth of its time at most) and
handing out a further one are measured; of runs, reading all of them and reading one study of ten among them; of a
study's runs, its report.
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
AXES = {
    "pixels": (16, 24, 32, 48, 64),
    "layers": (1, 2, 4, 8),
    "batch": (16, 32, 64, 128),
    "points": TENS,
    "runs": TENS,
    "study": TENS,
}
"""Axis -> values; pixels are an image's side, a study's are its runs."""
LABELS = {
    "pixels": "side in pixels",
    "points": "points in the queue",
    "runs": "runs in the store",
    "study": "runs of a study",
}
COUNTED = ("points", "runs", "study")
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
    found = {**kept, **axes}
    axes = {axis: found[axis] for axis in AXES if axis in found}
    result = {"date": str(date.today()), "load_average": os.getloadavg()[0], **provenance(), "axes": axes}
    for place in (told.out, told.image):
        place.parent.mkdir(parents=True, exist_ok=True)
    told.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    draw(result["axes"], told.image)
    print(f"written to {told.out} and {told.image}")


def _axis(axis: str, largest: int) -> dict[str, Any]:
    values = [value for value in AXES[axis] if axis not in COUNTED or value <= largest]
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
        if axis == "study":
            return _study(value, Path(folder))
    return _step(**{axis: value})


def _seconds(act: Callable[[], Any]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


# ------------------------------------------------------------------------------------------------------------- models


def _step(pixels: int = 32, layers: int = 2, batch: int = 64) -> Measured:
    """A training step of a CCT of one convolution."""
    import keras

    from ablate.training.hardware import import_keras

    import_keras()
    from ablate.models.classifier import build
    from ablate.models.spec import ModelSpec
    from ablate.training.optimizer import AdamW
    from ablate.training.steps.compiled import compile_step

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
    from ablate.design.points import span
    from ablate.design.sweep import SweepSpec
    from ablate.sweep.queue import Study

    # Ten seeds, and as many axes of ten levels as that takes; the others have one, so that every point has as many.
    axes = ("train.lr", "train.weight_decay", "train.label_smoothing")
    ten, full = [0.01 * number for number in range(10)], len(str(points)) - 2
    levels: dict[str, list[Any]] = {axis: ten[: 10 if place < full else 1] for place, axis in enumerate(axes)}
    study = Study(f"sqlite:///{folder}/optuna.db", "growth", span(SweepSpec(), levels, list(range(10)))[0])
    before = peak_memory()

    def hand_out() -> None:
        claim = study.claim()
        if claim is None:
            raise RuntimeError(f"a queue of {points} points must have one left, and has none.")
        study.complete(claim, 0.5, "run")

    fill = _seconds(study.fill)
    first = _seconds(hand_out)
    one = statistics.median(_seconds(hand_out) for _ in range(5))
    again = _seconds(study.fill)
    study.close()
    return {
        "seconds to fill": fill,
        "seconds the first": first,
        "seconds a further one": one,
        "seconds to open": again,
        "MiB more": peak_memory() - before,
    }


# ------------------------------------------------------------------------------------------------------------- store


def _store(runs: int, folder: Path) -> Measured:
    from ablate.tracking import Store, TrackingSpec, read_runs

    tracking = TrackingSpec(uri=f"sqlite:///{folder}/mlflow.db")
    params = {f"model.leaf_{number}": number for number in range(PARAMETERS)}
    run = Store(tracking).start_run("point 0", params, {"ablate.study": "study 0"})
    run.log({f"final.{number}": number / 7 for number in range(METRICS)})
    run.finish("finished")
    multiply(folder / "mlflow.db", run.run_id, [{"ablate.study": f"study {number // 10}"} for number in range(1, runs)])
    read_runs(tracking, study="study 1")  # imports, once
    before = peak_memory()
    one = statistics.median(_seconds(lambda: read_runs(tracking, study="study 1")) for _ in range(3))
    every = _seconds(lambda: read_runs(tracking))
    return {"seconds to read all": every, "seconds to read ten": one, "MiB more": peak_memory() - before}


def _study(runs: int, folder: Path) -> Measured:
    from ablate.report import report_study
    from ablate.tracking import Store, TrackingSpec

    rates, seeds = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3), range(runs // 5)
    points = [(rate, seed) for rate in rates for seed in seeds]
    told = {"name": "points", "question": "?", "axes": {"train.lr": rates}, "seeds": [*seeds], "points": runs}
    tracking = TrackingSpec(uri=f"sqlite:///{folder}/mlflow.db")
    store = Store(tracking)
    parent = store.sweep_run("points-1", {"ablate.sweep": json.dumps(told)})
    params = {"train.epochs": 6, "train.lr": rates[0], "data.source": "digits", "data.root": None}
    run = store.start_run("x", params, {"ablate.study": "points-1", "ablate.point": _point(*points[0])}, parent=parent)
    run.log({"final.test_top1_percent": 80.0, "cost.params": 10})
    run.finish("finished")
    generator = np.random.default_rng(0)
    others = [
        {"train.lr": str(rate), "ablate.point": _point(rate, seed), "final.test_top1_percent": generator.normal(80, 1)}
        for rate, seed in points[1:]
    ]
    multiply(folder / "mlflow.db", run.run_id, others)
    report = lambda: report_study(tracking, "points", "text")  # noqa: E731
    before = peak_memory()
    seconds = _seconds(report)
    if f"{len(seeds)}  " not in (text := report()):
        raise RuntimeError(f"a report of {runs} runs must count {len(seeds)} of each rate, and says: {text}")
    return {"seconds to report": seconds, "MiB more": peak_memory() - before}


def _point(rate: float, seed: int) -> str:
    return json.dumps([["train.lr", rate], ["seed", seed]], separators=(",", ":"))


def multiply(database: Path, run: str, others: list[dict[str, Any]]) -> None:
    """Puts copies of a run into MLflow's own tables, each with other values of some parameters, tags and metrics.

    As if they had been trained: writing them by MLflow's calls takes hours.
    """
    with sqlite3.connect(database) as link:
        for table in ("runs", "params", "latest_metrics", "tags"):
            columns = [line[1] for line in link.execute(f"pragma table_info({table})")]
            patterns = [
                dict(zip(columns, row, strict=True))
                for row in link.execute(f"select * from {table} where run_uuid = ?", [run])
            ]
            rows = (
                tuple({**row, "run_uuid": f"{number:032x}", **_other(row, values)}.values())
                for number, values in enumerate(others)
                for row in patterns
            )
            link.executemany(f"insert into {table} ({','.join(columns)}) values ({','.join('?' * len(columns))})", rows)
    link.close()


def _other(row: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    return {"value": values[row["key"]]} if row.get("key") in values else {}


# ------------------------------------------------------------------------------------------------------------ picture


def draw(axes: dict[str, Any], path: Path) -> None:
    """A panel an axis, both scales logarithmic, the slope in the legend."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    from ablate.report.pages.figures import COLOURS

    figure, panels = pyplot.subplots(1, len(axes), figsize=(3.4 * len(axes), 3.6), squeeze=False)
    for panel, (axis, found) in zip(panels[0], axes.items(), strict=True):
        for what, colour, marker in zip(found["slopes"], COLOURS, "os^Dv", strict=False):
            heights = [max(each[what], 1e-4) for each in found["measured"].values()]
            label = f"{what}: slope {found['slopes'][what]}"
            panel.loglog(found["values"], heights, marker=marker, color=colour, label=label)
        panel.set(xlabel=LABELS.get(axis, axis))
        panel.set_xticks(found["values"], [f"{value:,}" for value in found["values"]])
        panel.minorticks_off()
        panel.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(0, 1.32))
        panel.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    main(sys.argv[1:])
