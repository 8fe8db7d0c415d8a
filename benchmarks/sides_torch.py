"""PyTorch's side: vit-pytorch's CCT, and its encoder behind a patch convolution for ViT-Lite and CVT.

vit-pytorch's ``cct.py`` is the official computation: convolutions and pools, q, k, v in one layer, dropout on attention
weights, drop path, the second residual from normalised tokens, SeqPool or a class token. It has no patches before that
encoder, so a plain ``torch.nn.Conv2d`` cuts them here. Where there is a GPU, it computes there.
"""

# The file alone is loaded: the package imports torchvision for other models, which has to match torch's build.
import importlib.util
import sys
from typing import Any

import torch
from torch import nn

from ablate.installation import missing
from benchmarks.contender import Call

SMOOTHING, DECAY, RATE = 0.1, 0.06, 5e-4
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def _load_cct() -> Any:
    package = importlib.util.find_spec("vit_pytorch")
    if package is None or not package.submodule_search_locations:
        raise ImportError(missing("each of the PyTorch sides", "vit_pytorch"))
    spec = importlib.util.spec_from_file_location("vit_pytorch_cct", f"{package.submodule_search_locations[0]}/cct.py")
    if spec is None or spec.loader is None:
        raise ImportError("vit-pytorch must have a file cct.py, and has none; take version 1.26.11.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where torch.compile looks for it
    spec.loader.exec_module(module)
    return module


class _Model(nn.Module):
    """Tokens by convolution or by patches, then vit-pytorch's classifier."""

    def __init__(self, model: dict[str, Any]) -> None:
        super().__init__()
        cct = _load_cct()
        _, _, channels = model["input_shape"]
        self.patches = model["tokenizer"] == "patch"
        if self.patches:
            self.tokenizer = nn.Conv2d(channels, model["dim"], model["kernel"], stride=model["kernel"])
        else:
            side = {"stride": model["stride"], "padding": model["padding"], "n_conv_layers": model["convs"]}
            widths = {"n_input_channels": channels, "n_output_channels": model["dim"]}
            self.tokenizer = cct.Tokenizer(model["kernel"], **side, **widths, activation=nn.ReLU)
        self.classifier = cct.TransformerClassifier(
            seq_pool=model["pooling"] == "seqpool",
            embedding_dim=model["dim"],
            num_layers=model["layers"],
            num_heads=model["heads"],
            mlp_ratio=model["mlp_ratio"],
            num_classes=model["num_classes"],
            dropout_rate=model["dropout"],
            attention_dropout=model["attention_dropout"],
            stochastic_depth_rate=model["stochastic_depth"],
            positional_embedding="learnable",
            sequence_length=model["tokens"] - (model["pooling"] == "class_token"),  # it counts that one itself
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.tokenizer(x)
        return self.classifier(tokens.flatten(2).transpose(1, 2) if self.patches else tokens)


class Eager:
    """As it is written, with AdamW's fused kernel, which is PyTorch's fastest."""

    compiled = False
    half = False

    def __init__(self, threads: int) -> None:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision("high")  # on a GPU, as JAX and TensorFlow do without being asked

    def train(self, model: dict[str, Any], x: Any, y: Any) -> Call:
        net = self.made(model).to(DEVICE).train()
        if (found := sum(p.numel() for p in net.parameters())) != model["parameters"]:
            raise RuntimeError(f"both models must have {model['parameters']} parameters, PyTorch's has {found}.")
        optimizer = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY, fused=True)
        forward, loss = self._forward(net), nn.CrossEntropyLoss(label_smoothing=SMOOTHING)
        images, labels = torch.from_numpy(x), torch.from_numpy(y).to(DEVICE)

        def step() -> float:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(DEVICE, torch.bfloat16, enabled=self.half):
                value = loss(forward(_normalised(images)), labels)
            value.backward()
            optimizer.step()
            return float(value.item())

        return step

    def predict(self, model: dict[str, Any], x: Any) -> Call:
        forward, images = self._forward(self.made(model).to(DEVICE).eval()), torch.from_numpy(x)

        def step() -> Any:
            with torch.inference_mode(), torch.autocast(DEVICE, torch.bfloat16, enabled=self.half):
                return forward(_normalised(images)).float().cpu().numpy()

        return step

    def product(self, side: int) -> Call:
        kind = torch.bfloat16 if self.half else torch.float32
        a, b = (torch.rand(side, side, device=DEVICE).to(kind) for _ in range(2))
        return lambda: float((a @ b)[0, 0].item())

    def made(self, model: dict[str, Any]) -> nn.Module:
        """The model of a description."""
        return _Model(model)

    def _forward(self, net: nn.Module) -> Any:
        # Each step its own graph of fixed shape, which is the faster kind.
        return torch.compile(net, dynamic=False) if self.compiled else net


class Compiled(Eager):
    """Its model by ``torch.compile``, once for each batch size."""

    compiled = True


class EagerHalf(Eager):
    """Under ``torch.autocast`` to bfloat16."""

    half = True


class CompiledHalf(Compiled):
    """Both."""

    half = True


def _normalised(images: torch.Tensor) -> torch.Tensor:
    return images.to(DEVICE).permute(0, 3, 1, 2).float().mul(1 / 127.5).sub(1)
