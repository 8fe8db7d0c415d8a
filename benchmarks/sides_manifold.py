"""PyTorch's side for multi-manifold attention: a fork's formulas as plain modules.

The fork is iliasprc/Compact-Transformers at 31975a0. Written anew from its formulas, since nobody publishes it as a
package: tokenizers, blocks and SeqPool are the official ones. As in the fork, the absolute value of the SPD map is a
norm over an axis of size 1.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks.sides_torch import Eager


class Attention(nn.Module):
    """All three maps, LayerNorm over them, a 1 x 1 convolution, softmax."""

    def __init__(self, model: dict[str, Any]) -> None:
        super().__init__()
        dim, self.heads, tokens = model["dim"], model["heads"], model["tokens"]
        self.qkv = nn.Linear(dim, 3 * dim)
        self.scales = nn.Parameter(torch.full((3,), (dim // self.heads) ** -0.5))
        self.norm = nn.LayerNorm((3 * self.heads, tokens, tokens))
        self.fusion = nn.Conv2d(3 * self.heads, self.heads, 1)
        self.dropout = nn.Dropout(model["attention_dropout"])
        self.projection = nn.Linear(dim, dim)
        self.projection_dropout = nn.Dropout(model["dropout"])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, dim = x.shape
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        euclid = self.scales[0] * (q @ k.transpose(-1, -2))
        spd = self.dropout(self.scales[1] * (_covariance(q) @ _covariance(k)).unsqueeze(-1).norm(dim=-1))
        bases = torch.linalg.qr(q)[0], torch.linalg.qr(k)[0]
        grassmann = self.scales[2] * (bases[0] @ bases[1].transpose(-1, -2)).square()
        maps = self.norm(torch.cat([euclid, spd, grassmann], dim=1))
        weights = self.dropout(self.fusion(maps).softmax(dim=-1))
        mixed = (weights @ v).transpose(1, 2).reshape(batch, tokens, dim)
        return self.projection_dropout(self.projection(mixed))


def _covariance(x: torch.Tensor) -> torch.Tensor:
    centred = x - x.mean(dim=-1, keepdim=True)
    return centred @ centred.transpose(-1, -2) / (x.shape[-1] - 1)


class Block(nn.Module):
    """The official block around it: the second residual starts from the normalised tensor."""

    def __init__(self, model: dict[str, Any], drop_path: float) -> None:
        super().__init__()
        dim, width = model["dim"], int(model["dim"] * model["mlp_ratio"])
        self.norm_1, self.attention, self.norm_2 = nn.LayerNorm(dim), Attention(model), nn.LayerNorm(dim)
        dropout = nn.Dropout(model["dropout"])
        self.mlp = nn.Sequential(nn.Linear(dim, width), nn.GELU(), dropout, nn.Linear(width, dim), dropout)
        self.drop_path = drop_path

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm_2(x + self._dropped(self.attention(self.norm_1(x))))
        return x + self._dropped(self.mlp(x))

    def _dropped(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or self.drop_path == 0:
            return x
        kept = torch.rand(len(x), 1, 1, device=x.device) >= self.drop_path
        return x * kept / (1 - self.drop_path)


class Model(nn.Module):
    """Tokens by convolution or by patches, learnable places, blocks, class token or SeqPool, a linear head."""

    def __init__(self, model: dict[str, Any]) -> None:
        super().__init__()
        dim, channels = model["dim"], model["input_shape"][-1]
        if model["tokenizer"] == "patch":
            self.tokenizer: nn.Module = nn.Conv2d(channels, dim, model["kernel"], stride=model["kernel"])
        else:
            widths = [channels, *[64] * (model["convs"] - 1), dim]
            side = {"stride": model["stride"], "padding": model["padding"], "bias": False}
            stages = [
                nn.Sequential(nn.Conv2d(a, b, model["kernel"], **side), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
                for a, b in pairwise(widths)
            ]
            self.tokenizer = nn.Sequential(*stages)
        self.seqpool = model["pooling"] == "seqpool"
        if self.seqpool:
            self.pool = nn.Linear(dim, 1)
        else:
            self.class_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.places = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, model["tokens"], dim), std=0.2))
        self.dropout = nn.Dropout(model["dropout"])
        rates = torch.linspace(0, model["stochastic_depth"], model["layers"]).tolist()
        self.blocks = nn.Sequential(*(Block(model, rate) for rate in rates))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, model["num_classes"])
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.tokenizer(x).flatten(2).transpose(1, 2)
        if not self.seqpool:
            x = torch.cat([self.class_token.expand(len(x), -1, -1), x], dim=1)
        x = self.norm(self.blocks(self.dropout(x + self.places)))
        if self.seqpool:
            pooled = functional.softmax(self.pool(x), dim=1).transpose(-1, -2) @ x
            return self.head(pooled.squeeze(-2))
        return self.head(x[:, 0])


class Formulas(Eager):
    """As they are written."""

    def made(self, model: dict[str, Any]) -> nn.Module:
        return Model(model)
