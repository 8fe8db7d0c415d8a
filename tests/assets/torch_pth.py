"""Writes torch.pth beside it, by PyTorch itself: ``python tests/assets/torch_pth.py`` where torch and omegaconf are.

A small model's weights and their half as an average, in a checkpoint with what trainers keep beside them. The tests
read the file and need no PyTorch. It was written by torch 2.13.0 and NumPy 2.4.6 on Python 3.11.
"""

import argparse
import enum
from collections import Counter, OrderedDict, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PureWindowsPath

import numpy as np
import torch
from omegaconf import OmegaConf


class Mode(enum.Enum):
    """Of a trainer's own."""

    FIT = "fit"


@dataclass
class Settings:
    """Of a trainer's own."""

    root: Path = Path("/data")


model = torch.nn.Linear(3, 2)
with torch.no_grad():
    model.weight.copy_(torch.arange(6.0).reshape(2, 3))
    model.bias.copy_(torch.tensor([6.0, 7.0]))
optimizer = torch.optim.AdamW(model.parameters())
average = torch.optim.swa_utils.AveragedModel(torch.compile(model), avg_fn=lambda old, new, count: new)
with torch.no_grad():
    for parameter in average.parameters():
        parameter /= 2
before = {name: value.clone() for name, value in model.state_dict().items()}
model(torch.ones(1, 3)).sum().backward()
optimizer.step()
torch.save(
    {
        "state_dict": OrderedDict((f"module.{name}", value) for name, value in before.items()),
        "state_dict_ema": average.state_dict(),
        "optimizer": optimizer.state_dict(),
        "odd": {"half": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)},
        "numpy": [
            np.float64(0.5),
            np.int64(3),
            np.bool_(True),
            np.arange(3),
            np.dtype("f4"),
            np.datetime64("2026-01-02"),
        ],
        "torch": [
            torch.device("cuda:0"),
            torch.float32,
            torch.Size([1, 2]),
            torch.nn.Linear,
            torch.get_rng_state()[:8],
        ],
        "paths": [Path("/data/a"), PureWindowsPath("c:/a")],
        "dates": [datetime(2026, 1, 2), datetime(2026, 1, 2, tzinfo=UTC), timedelta(1)],
        "args": argparse.Namespace(lr=1e-3, betas=(0.9, 0.999), root=Path("/data")),
        "dicts": [OrderedDict(a=1), defaultdict(list, a=[1]), Counter("aab"), {(1, 2): 3, None: 4}],
        "config": OmegaConf.create({"model": {"dims": [1, 2]}, "same": "${model.dims}"}),
        "others": [{1, 2}, frozenset("a"), b"abc", 1j, range(3), Mode.FIT, Settings()],
    },
    Path(__file__).with_name("torch.pth"),
)
