"""How fast do we train and predict, beside PyTorch and plain Keras? Images a second, in turns on the same cores.

    python -m benchmarks.throughput                                          # all models and sides: half an hour
    python -m benchmarks.throughput --models cct_2_3x2_32 --rounds 3         # adds to the file of the day, task by task
    python -m benchmarks.throughput --torch-python PATH/bin/python           # PyTorch in another environment
    python -m benchmarks.throughput --earlier CHECKOUT --sides ours          # beside another commit's, in its checkout
    KERAS_BACKEND=jax python -m benchmarks.throughput                        # ours and Keras on JAX, as on a GPU

PyTorch's sides need ``pip install -e '.[bench]'`` there. Each side is a process of its own that waits while the
others compute (`benchmarks.contender`); a round gives every side a turn; a ratio is the median of the rounds' ratios.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

from ablate.provenance import provenance
from benchmarks.contender import SIDES
from benchmarks.models import MODELS, described

RESULTS = Path(__file__).parent / "results"
IMAGES = Path(__file__).parents[1] / "docs" / "images"
TASKS = ("train 128", "train 64", "predict 128", "predict 1")
BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")
SHARED = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
"""Several processes live on one GPU."""
OURS, EAGER, COMPILED, KERAS = "ours", "PyTorch", "PyTorch compiled", "Keras"
EARLIER = "ours, earlier"
"""Ours as another checkout has it."""
FORWARDS = {"train": 3, "predict": 1}
"""Forward passes' worth of products: a backward pass multiplies twice as much."""

Result = dict[str, Any]


def main(arguments: list[str]) -> None:
    """Measures, prints a table, writes a dated JSON file, and draws it."""
    told = _parse(arguments)
    kept = json.loads(told.out.read_text("utf-8")) if told.out.is_file() else {}
    result = {"date": str(date.today()), "backend": BACKEND, "gpu": gpu(), "models": kept.get("models", {})}
    for name in told.models:
        found = compare(name, told)
        shown(name, found)
        result["models"][name] = merged(result["models"].get(name), found)
        told.out.parent.mkdir(parents=True, exist_ok=True)
        told.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    print(f"written to {told.out}")
    if any(EAGER in task["images_per_second"] for each in result["models"].values() for task in each["tasks"].values()):
        told.image.parent.mkdir(parents=True, exist_ok=True)
        draw(result["models"], told.image)
        print(f"drawn in {told.image}")


def _parse(arguments: list[str]) -> argparse.Namespace:
    about = (__doc__ or "").split("\n", 1)[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.throughput", description=about)
    parser.add_argument("--models", nargs="+", default=MODELS, help=f"names of the zoo ({' '.join(MODELS)})")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=sides_here(), help="who takes part")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS, help="and what in, with the batch size")
    parser.add_argument("--dropout", type=float, default=0.0, help="of tokens, beside the paper's 0.1 on attention (0)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side, of which the median counts (5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a turn, which is at least one step (2)")
    parser.add_argument("--threads", type=int, default=2, help="of each side (2)")
    parser.add_argument("--torch-python", default=sys.executable, help="Python that has PyTorch and vit-pytorch")
    parser.add_argument("--earlier", type=Path, help="a checkout of another commit, whose ours takes part")
    name = "throughput" if BACKEND == "tensorflow" else f"throughput-{BACKEND}"
    parser.add_argument("--out", type=Path, default=RESULTS / f"{name}-{date.today()}.json", help="file to write")
    parser.add_argument("--image", type=Path, default=IMAGES / f"{name}.png", help="picture to draw")
    return parser.parse_args(arguments)


def sides_here() -> list[str]:
    """All sides; bfloat16 only where the processor multiplies it."""
    quick = has_bfloat16() or gpu() is not None
    return [side for side in SIDES if quick or not side.endswith("bfloat16")]


def gpu() -> str | None:
    """Name of the first NVIDIA GPU of this machine."""
    if shutil.which("nvidia-smi") is None:
        return None
    ask = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    names = subprocess.run(ask, capture_output=True, text=True).stdout.split("\n")
    return names[0] or None


def has_bfloat16() -> bool:
    """Whether Linux names AVX512-BF16 or AMX among the processor's instructions."""
    try:
        words = set(Path("/proc/cpuinfo").read_text("utf-8").split())
    except OSError:
        return False
    return bool(words & {"avx512_bf16", "amx_bf16"})


def compare(name: str, told: argparse.Namespace) -> Result:
    """All tasks of one model."""
    model = described(name, told.dropout)
    with ExitStack() as stack:
        named = [*told.sides, EARLIER] if told.earlier else told.sides
        sides = {side: stack.enter_context(_Process(side, told)) for side in named}
        result: Result = {
            "date": str(date.today()),
            "load_average": os.getloadavg()[0],
            **provenance(),
            **({"earlier": commit(told.earlier)} if told.earlier else {}),
            "model": model,
            "threads": told.threads,
            "first_seconds": {},
            "peak_mib": {},
            "tasks": {},
        }
        for task in told.tasks:
            measured = _task(sides, model, task, told, result["first_seconds"])
            result["tasks"][task] = {**measured, "load_average": result["load_average"], **provenance()}
            if task == told.tasks[0]:
                result["peak_mib"] = {side: round(each.ask(do="memory")["peak"]) for side, each in sides.items()}
        return result


def commit(checkout: Path) -> str | None:
    """The commit that a checkout has; None where git knows none."""
    ask = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    return subprocess.run(ask, capture_output=True, text=True).stdout.strip() or None


def merged(before: Result | None, found: Result) -> Result:
    """The tasks of both, the later ones where both have one; each says of which commit it is."""
    if before is None:
        return found
    peaks = {**found["peak_mib"], **before["peak_mib"]}  # by the end of the first task that was asked for
    return {**found, "tasks": {**before["tasks"], **found["tasks"]}, "peak_mib": peaks}


class _Process:
    """A side's process."""

    def __init__(self, side: str, told: argparse.Namespace) -> None:
        python = told.torch_python if side.startswith("PyTorch") else sys.executable
        root = (told.earlier if side == EARLIER else Path(__file__).parents[1]).resolve()
        self.side = side
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.contender", OURS if side == EARLIER else side, str(told.threads)],
            cwd=root,
            env={**os.environ, **SHARED, "OMP_NUM_THREADS": str(told.threads)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if side != "PyTorch" else None,
            text=True,
        )

    def __enter__(self) -> "_Process":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, **words: Any) -> dict[str, float]:
        """One line there and one back."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError(f"the process of side {self.side} must have pipes, and has none.")
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            alone = "run --sides ours in its checkout" if self.side == EARLIER else "try it alone: --sides"
            raise SystemExit(f"side {self.side!r} ended while asked to {words['do']}; {alone}.")
        answer: dict[str, float] = json.loads(line)
        return answer


def _task(
    sides: dict[str, _Process], model: Result, task: str, told: argparse.Namespace, first: dict[str, Any]
) -> Result:
    what, batch = task.split()
    for side, process in sides.items():
        seconds = process.ask(do="build", what=what, model=model, batch=int(batch))["first"]
        first.setdefault(side, {})[task] = round(seconds, 2)
    rounds: list[dict[str, dict[str, float]]] = []
    for _ in range(told.rounds):
        rounds.append({side: _turn(process, int(batch), told.seconds) for side, process in sides.items()})
    # By a matrix so large that only multiplying counts.
    gflops = {side: process.ask(do="matmul", side=2048)["gflops"] for side, process in sides.items()}
    forward = 2e-9 * model["macs"] * FORWARDS[what]
    rates = {side: statistics.median(each[side]["rate"] for each in rounds) for side in sides}
    return {
        "images_per_second": {side: round(rate, 1) for side, rate in rates.items()},
        "ours_over": {side: round(_ratio(rounds, side), 3) for side in sides if OURS in sides and side != OURS},
        "half_over_eager": round(_ratio(rounds, EAGER, "ours bfloat16"), 3)
        if {EAGER, "ours bfloat16"} <= set(sides)
        else None,
        "of_matrix_rate": {side: round(rate * forward / gflops[side], 3) for side, rate in rates.items()},
        "matrix_gflops": {side: round(value, 1) for side, value in gflops.items()},
        "rounds": rounds,
    }


def _turn(process: _Process, batch: int, seconds: float) -> dict[str, float]:
    spent = process.ask(do="run", seconds=seconds)
    images = spent["steps"] * batch
    return {"rate": images / spent["seconds"], "per_cpu_second": images / max(spent["cpu"], 1e-9)}


def _ratio(rounds: list[dict[str, dict[str, float]]], peer: str, ours: str = OURS) -> float:
    return statistics.median(each[ours]["rate"] / each[peer]["rate"] for each in rounds)


def shown(name: str, result: Result) -> None:
    """Prints a model's rates and ratios."""
    print(f"{name}: {result['model']['parameters']:,} parameters, load {result['load_average']:.1f}")
    for task, found in result["tasks"].items():
        print(f"  {task:14}{'images/s':>10}{'ours over':>11}{'of matrix rate':>16}")
        for side, rate in found["images_per_second"].items():
            ratio = found["ours_over"].get(side)
            over = f"{ratio:.2f}" if ratio else ""
            print(f"    {side:18}{rate:>10,.1f}{over:>9}{100 * found['of_matrix_rate'][side]:>14.0f} %")
    for side, memory in result["peak_mib"].items():
        print(f"  {side:18} held at most {memory:,} MiB by the end of {next(iter(result['tasks']))}")


def draw(models: dict[str, Result], path: Path) -> None:
    """Every side's speed over PyTorch's, a model a row, a task a panel."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    from ablate.report.pages.figures import COLOURS

    tasks = [task for task in TASKS if any(task in result["tasks"] for result in models.values())]
    figure, axes = pyplot.subplots(1, len(tasks), figsize=(3.2 * len(tasks), 1.6 + 0.5 * len(models)), sharey=True)
    marks = dict(zip([*SIDES, EARLIER], zip(COLOURS, "osD^vPX*", strict=False), strict=True))
    for ax, task in zip([axes] if len(tasks) == 1 else axes, tasks, strict=True):
        for row, result in enumerate(models.values()):
            rates = result["tasks"].get(task, {}).get("images_per_second", {})
            for side in (side for side in rates if EAGER in rates):
                colour, marker = marks[side]
                label = side if side not in ax.get_legend_handles_labels()[1] else None
                ax.plot(rates[side] / rates[EAGER], row, marker, color=colour, label=label, markersize=8, alpha=0.85)
        ax.axvline(1, color="grey", linewidth=1)
        what, batch = task.split()
        ax.set(title=f"{'training' if what == 'train' else 'inference'}, batch {batch}", xlabel="times PyTorch eager")
        ax.set_yticks(range(len(models)), list(models))
        ax.set_xlim(left=0)
        ax.invert_yaxis() if ax is (axes if len(tasks) == 1 else axes[0]) else None
        ax.spines[["top", "right"]].set_visible(False)
    named: dict[str, Any] = {}
    for ax in figure.axes:
        handles, labels = ax.get_legend_handles_labels()
        named |= dict(zip(labels, handles, strict=True))
    figure.legend(named.values(), named, loc="lower center", ncols=len(named), frameon=False)
    figure.tight_layout(rect=(0, 0.1, 1, 1))
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    main(sys.argv[1:])
