"""The architectures of the corpus, small enough for a CPU."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Make = Callable[[], nn.Module]


def mlp(
    inputs: int, width: int, depth: int, outputs: int, activation: Make = nn.ReLU, norm: Any = None
) -> nn.Sequential:
    """``depth`` hidden layers; with ``norm``, one after each linear layer."""
    layers: list[nn.Module] = []
    for level in range(depth):
        layers.append(nn.Linear(inputs if level == 0 else width, width))
        if norm is not None:
            layers.append(norm(width))
        layers.append(activation())
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def convnet(
    width: int, depth: int, classes: int, activation: Make = nn.ReLU, norm: bool = False
) -> nn.Sequential:
    """Plain 3x3 convolutions, mean over the plane, linear head."""
    layers: list[nn.Module] = []
    for level in range(depth):
        layers.append(nn.Conv2d(3 if level == 0 else width, width, 3, padding=1))
        if norm:
            layers.append(nn.BatchNorm2d(width))
        layers.append(activation())
    tail = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, classes)]
    return nn.Sequential(*layers, *tail)


def weighted(model: nn.Module) -> list[tuple[str, Any]]:
    """Linear and convolution modules with their names, in order."""
    return [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]


def he(model: nn.Module, scale: float = 1.0, gain: float = 2.0) -> nn.Module:
    """Variance gain / fan_in times ``scale`` squared, biases zero."""
    for _, layer in weighted(model):
        fan = layer.weight[0].numel()
        nn.init.normal_(layer.weight, std=scale * math.sqrt(gain / fan))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return model


class Block(nn.Module):
    """Two convolutions with batch norm around a skip."""

    def __init__(self, width: int, zero: bool = False) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)
        self.conv2, self.norm2 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)
        if zero:
            nn.init.zeros_(self.norm2.weight)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)), inplace=True)))
        branch += x
        return F.relu(branch)


def resnet(width: int, blocks: int, classes: int, zero: bool = False) -> nn.Sequential:
    stem = [nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    tail = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, classes)]
    return nn.Sequential(*stem, *[Block(width, zero) for _ in range(blocks)], *tail)


class LinearSum(nn.Module):
    """x + relu(Wx), optionally scaled down."""

    def __init__(self, width: int, scale: float = 1.0) -> None:
        super().__init__()
        self.linear, self.scale = nn.Linear(width, width), scale
        he(self)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * torch.relu(self.linear(x))


class Sequences(nn.Module):
    """A recurrent layer of torch and a head, on the last step or on every one."""

    def __init__(
        self, kind: Any, features: int, width: int, classes: int, last: bool = True, **options: Any
    ) -> None:
        super().__init__()
        self.memory = kind(features, width, batch_first=True, **options)
        self.head, self.last = nn.Linear(width, classes), last

    def forward(self, x: Tensor) -> Tensor:
        states = self.memory(x)[0]
        return self.head(states[:, -1] if self.last else states)


class CellLoop(nn.Module):
    """A cell called once a step."""

    def __init__(self, kind: Any, features: int, width: int, classes: int) -> None:
        super().__init__()
        self.cell, self.head, self.width = (
            kind(features, width),
            nn.Linear(width, classes),
            width,
        )

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), self.width)
        carry = x.new_zeros(len(x), self.width)
        for step in range(x.shape[1]):
            if isinstance(self.cell, nn.LSTMCell):
                state, carry = self.cell(x[:, step], (state, carry))
            else:
                state = self.cell(x[:, step], state)
        return self.head(state)


class Attention(nn.Module):
    """Multi-head attention written out."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out, self.heads = nn.Linear(width, width), heads

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        n, t, d = x.shape
        q, k, v = (
            f(x).view(n, t, self.heads, -1).transpose(1, 2)
            for f in (self.query, self.key, self.value)
        )
        scores = q @ k.transpose(-1, -2) / math.sqrt(d // self.heads)
        if mask is not None:
            scores = scores.masked_fill(mask, -math.inf)
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(n, t, d)
        return self.out(mixed)


class TransformerBlock(nn.Module):
    """Attention and two dense layers, each around a skip."""

    def __init__(self, width: int, heads: int, post: bool) -> None:
        super().__init__()
        self.attention, self.post = Attention(width, heads), post
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        if self.post:
            x = self.norm1(x + self.attention(x))
            return self.norm2(x + self.down(F.gelu(self.up(x))))
        x = x + self.attention(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    """Tokens to a class."""

    def __init__(
        self, vocabulary: int, width: int, blocks: int, classes: int, post: bool = False
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.place = nn.Parameter(0.02 * torch.randn(64, width))
        self.blocks = nn.ModuleList(TransformerBlock(width, 4, post) for _ in range(blocks))
        self.norm = nn.Identity() if post else nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens) + self.place[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(1))


class AutoEncoder(nn.Module):
    """Down to a code and back up through the same widths."""

    def __init__(self, features: int, widths: Sequence[int], activation: Make) -> None:
        super().__init__()
        sizes = (features, *widths)
        self.encoder, self.decoder = nn.Sequential(), nn.Sequential()
        for a, b in pairwise(sizes):
            self.encoder.extend([nn.Linear(a, b), activation()])
        for b, a in zip(sizes[:0:-1], sizes[-2::-1], strict=True):
            self.decoder.extend([nn.Linear(b, a), activation()])
        del self.decoder[-1]

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


class UNet(nn.Module):
    """Two levels; the plane in, a plane of class scores out."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.down1, self.down2 = self._double(3, width), self._double(width, 2 * width)
        self.bottom = self._double(2 * width, 2 * width)
        self.up2 = self._double(4 * width, width)
        self.up1, self.head = self._double(2 * width, width), nn.Conv2d(width, classes, 1)

    @staticmethod
    def _double(inside: int, outside: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(inside, outside, 3, padding=1), nn.BatchNorm2d(outside), nn.ReLU(inplace=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        first = self.down1(x)
        second = self.down2(F.max_pool2d(first, 2))
        low = F.interpolate(self.bottom(F.max_pool2d(second, 2)), scale_factor=2)
        middle = F.interpolate(self.up2(torch.cat([low, second], 1)), scale_factor=2)
        return self.head(self.up1(torch.cat([middle, first], 1)))


class Adapted(nn.Module):
    """A frozen linear layer with a low-rank correction."""

    def __init__(self, inputs: int, outputs: int, rank: int) -> None:
        super().__init__()
        self.base = nn.Linear(inputs, outputs).requires_grad_(False)
        self.a, self.b = nn.Linear(inputs, rank, bias=False), nn.Linear(rank, outputs, bias=False)
        nn.init.zeros_(self.b.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.b(self.a(x))


def cross_entropy(model: nn.Module, data: Any, **more: Any) -> dict[str, Any]:
    """The arguments of ``diagnose`` for a classifier."""
    return {"model": model, "data": data, "loss": nn.CrossEntropyLoss(), **more}


def squares(model: nn.Module, data: Any, **more: Any) -> dict[str, Any]:
    """The arguments of ``diagnose`` for a regression."""
    return {"model": model, "data": data, "loss": nn.MSELoss(), **more}


def adam(model: nn.Module, rate: float = 3e-3, **options: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam([p for p in model.parameters() if p.requires_grad], rate, **options)


def sgd(model: nn.Module, rate: float = 0.1, **options: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], rate, **options)
