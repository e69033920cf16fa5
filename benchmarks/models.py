"""The models that are measured: a ResNet-18, GPT-2 small, plain nets of any depth."""

import os
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """He et al. 2016, figure 2, with the projection shortcut where shapes change."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outside)
        self.relu = nn.ReLU(inplace=True)
        self.down: nn.Module = nn.Identity()
        if stride > 1 or inside != outside:
            projection = nn.Conv2d(inside, outside, 1, stride, bias=False)
            self.down = nn.Sequential(projection, nn.BatchNorm2d(outside))

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
        out += self.down(x)
        return self.relu(out)


def resnet18(device: str) -> tuple[nn.Module, Any, Callable[..., Tensor]]:
    """ResNet-18 on 8 images (64 on a GPU) of 224 x 224."""
    torch.manual_seed(0)
    stem = nn.Sequential(
        nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
    )
    widths = ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1))
    blocks: list[nn.Module] = []
    inside = 64
    for outside, stride in widths:
        blocks.append(BasicBlock(inside, outside, stride))
        inside = outside
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))
    model = nn.Sequential(stem, *blocks, head).to(device)
    samples = 64 if device == "cuda" else 8
    inputs = torch.randn(samples, 3, 224, 224, device=device)
    return model, (inputs, torch.randint(1000, (samples,), device=device)), F.cross_entropy


def gpt2(device: str) -> tuple[nn.Module, Any, Callable[..., Tensor]]:
    """GPT-2 small (124 M parameters), random weights, 2 x 128 tokens (8 x 512 on a GPU)."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config()).to(device)
    shape = (8, 512) if device == "cuda" else (2, 128)
    tokens = torch.randint(50257, shape, device=device)
    return model, ({"input_ids": tokens, "labels": tokens}, None), lambda outputs, _: outputs.loss


def plain_mlp(depth: int, device: str) -> tuple[nn.Module, Any, Callable[..., Tensor]]:
    """A plain ReLU net of width 64, He-initialised, on a batch of 64."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(depth):
        layer = nn.Linear(64, 64)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        layers += [layer, nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(64, 10)).to(device)
    inputs = torch.randn(64, 64, device=device)
    return model, (inputs, torch.randint(10, (64,), device=device)), F.cross_entropy


PROGRAMS = {"resnet18": resnet18, "gpt2": gpt2}
