"""One side of a comparison, in a process of its own: told by lines of JSON what to do, it answers how it went.

    python -m benchmarks.contender PyTorch 2 <<< '{"do": "matmul", "side": 1024}'      # who, and threads

A process waits without computing between two lines, so that several take turns on the same cores. What a side is made
of stands in `benchmarks.sides_keras` and `benchmarks.sides_torch`; this file imports neither Keras nor PyTorch, nor
anything of ablate, so that a peer may live in another environment.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

SIDES = {
    "ours": "sides_keras:Ours",
    "ours bfloat16": "sides_keras:OursHalf",
    "Keras": "sides_keras:PlainKeras",
    "PyTorch": "sides_torch:Eager",
    "PyTorch compiled": "sides_torch:Compiled",
    "PyTorch bfloat16": "sides_torch:EagerHalf",
    "PyTorch compiled bfloat16": "sides_torch:CompiledHalf",
}
"""Name -> module of this package, and class."""

FORMULAS = "PyTorch formulas"
PEERS = {FORMULAS: "sides_manifold:Formulas"}
"""Those of one kind of model alone, which `benchmarks.manifold` asks for."""

SHORTEST, LARGEST = 0.01, 16_384
"""Seconds of a product that tell a rate, and the side that is large enough in any case."""

Call = Callable[[], Any]
"""One step, whose result has come when it returns."""


class Side(Protocol):
    """What is compared. A model is described by the keys that `benchmarks.throughput.described` writes."""

    def __init__(self, threads: int) -> None: ...

    def train(self, model: dict[str, Any], x: Any, y: Any) -> Call:
        """One training step on images ``(batch, height, width, channels)`` in uint8 and integer labels."""

    def predict(self, model: dict[str, Any], x: Any) -> Call:
        """Logits of such images."""

    def product(self, side: int) -> Call:
        """The product of two square matrices, in the type that the side computes in."""


def main(arguments: list[str]) -> None:
    """Answers until stdin ends."""
    name, threads = arguments[0], int(arguments[1])
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])  # JAX takes no other word for it
    # Answers alone go to stdout: whatever libraries print is turned to stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    module, _, kind = (SIDES | PEERS)[name].partition(":")
    server = _Server(getattr(importlib.import_module(f"benchmarks.{module}"), kind)(threads))
    for line in sys.stdin:
        words = json.loads(line)
        print(json.dumps(getattr(server, f"do_{words.pop('do')}")(**words)), file=answers, flush=True)


class _Server:
    def __init__(self, side: Side) -> None:
        self._side = side
        self._call: Call = lambda: None

    def do_build(self, what: str, model: dict[str, Any], batch: int) -> dict[str, float]:
        """Makes a step and takes it twice. Returns the seconds until the first result had come."""
        generator = np.random.default_rng(0)
        x = generator.integers(0, 256, (batch, *model["input_shape"]), dtype=np.uint8)
        y = generator.integers(0, model["num_classes"], batch)
        started = time.perf_counter()
        self._call = self._side.train(model, x, y) if what == "train" else self._side.predict(model, x)
        self._call()
        first = time.perf_counter() - started
        self._call()
        return {"first": first}

    def do_matmul(self, side: int) -> dict[str, float]:
        """GFLOP/s of the fastest of a few products, of larger matrices where those are done too soon to be timed."""
        while True:
            call = self._side.product(side)
            call()
            seconds = min(_timed(call) for _ in range(4))
            if seconds > SHORTEST or side >= LARGEST:
                return {"gflops": 2e-9 * side**3 / seconds}
            side *= 2

    def do_run(self, seconds: float) -> dict[str, float]:
        """Takes steps for so many seconds, at least one."""
        cpu, started = time.process_time(), time.perf_counter()
        steps, spent = 0, 0.0
        while spent < seconds:
            self._call()
            steps, spent = steps + 1, time.perf_counter() - started
        return {"steps": steps, "seconds": spent, "cpu": time.process_time() - cpu}

    def do_memory(self) -> dict[str, float]:
        """Most memory that this process ever held, in MiB."""
        return {"peak": peak_memory()}


def _timed(call: Call) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def peak_memory() -> float:
    """VmHWM of this process in MiB. Linux keeps it; unlike getrusage's, it does not start from the parent's."""
    for line in Path("/proc/self/status").read_text("utf-8").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status must have a line VmHWM, and has none; run this on Linux.")


if __name__ == "__main__":
    main(sys.argv[1:])
