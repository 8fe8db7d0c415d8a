"""How fast does attention over manifolds train, beside the fork's own formulas in PyTorch? In turns on the same cores.

    python -m benchmarks.manifold                                            # both models: ten minutes
    python -m benchmarks.manifold --torch-python PATH/bin/python             # PyTorch in another environment

The formulas are `benchmarks.sides_manifold`'s; turns, ratios and the file are those of `benchmarks.throughput`.
"""

import argparse
import json
import os
import sys
from datetime import date
from pathlib import Path

from benchmarks.contender import FORMULAS
from benchmarks.throughput import OURS, RESULTS, compare, gpu, shown

MODELS = ("manifold_vit_6_4_32", "manifold_cct_7_3x2_32")


def main(arguments: list[str]) -> None:
    """Measures, prints a table, and writes a dated JSON file."""
    about = (__doc__ or "").split("\n", 1)[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.manifold", description=about)
    parser.add_argument("--models", nargs="+", default=MODELS, help=f"names of the zoo ({' '.join(MODELS)})")
    parser.add_argument("--tasks", nargs="+", default=["train 128"], help="what, with the batch size (train 128)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side, of which the median counts (5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a turn, which is at least one step (2)")
    parser.add_argument("--threads", type=int, default=2, help="of each side (2)")
    parser.add_argument("--torch-python", default=sys.executable, help="Python that has PyTorch")
    parser.add_argument("--out", type=Path, default=RESULTS / f"manifold-{date.today()}.json", help="file to write")
    told = parser.parse_args(arguments)
    told.sides, told.dropout, told.earlier = [OURS, FORMULAS], 0.0, None
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    result = {"date": str(date.today()), "backend": backend, "gpu": gpu(), "models": {}}
    for name in told.models:
        result["models"][name] = compare(name, told)
        shown(name, result["models"][name])
    told.out.parent.mkdir(parents=True, exist_ok=True)
    told.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    print(f"written to {told.out}")


if __name__ == "__main__":
    main(sys.argv[1:])
