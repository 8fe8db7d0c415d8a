"""Which device each of several processes sees."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence


def gpus(environment: Mapping[str, str]) -> list[str]:
    """The GPUs that this process may use, by their names for ``CUDA_VISIBLE_DEVICES``; asks no framework.

    Args:
        environment: Environment of the process; what it says of visible devices holds.
    """
    told = environment.get("CUDA_VISIBLE_DEVICES")
    if told is not None:
        names = [name.strip() for name in told.split(",") if name.strip()]
        return names[: names.index("-1")] if "-1" in names else names
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False).stdout
    return [str(number) for number, _ in enumerate(line for line in listed.splitlines() if line.startswith("GPU "))]


def share(number: int, devices: Sequence[str]) -> dict[str, str]:
    """Environment of a worker: one GPU of its own, or one that several share, its memory taken as it is needed.

    Args:
        number: Number of the worker, from 0.
        devices: What ``gpus`` found.
    """
    if not devices:
        return {}
    return {
        "CUDA_VISIBLE_DEVICES": devices[number % len(devices)],
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }


def share_of_cores(workers: int) -> int:
    """A worker's share of this machine's cores."""
    return max(1, (os.cpu_count() or 1) // workers)
