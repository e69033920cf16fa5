"""Nets and data for small trainings."""

import functools
import itertools
from collections.abc import Callable, Iterable

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

Batches = Callable[[int], tuple[Tensor, Tensor]]


@functools.cache
def digits() -> tuple[Tensor, Tensor]:
    """1,797 images of 8 x 8, standardised as a whole, and their labels."""
    data = load_digits()
    images = torch.tensor(data.data, dtype=torch.float32)
    return (images - images.mean()) / images.std(), torch.tensor(data.target)


def batches(seed: int, size: int = 64) -> Batches:
    """A random batch of digits for each step."""
    draw = torch.Generator().manual_seed(seed)
    images, labels = digits()

    def batch(step: int) -> tuple[Tensor, Tensor]:
        chosen = torch.randint(len(labels), (size,), generator=draw)
        return images[chosen], labels[chosen]

    return batch


def mlp(widths: Iterable[int], activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers with an activation between them."""
    widths = list(widths)
    parts: list[nn.Module] = []
    for number, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        parts += [activation()] if number else []
        parts += [nn.Linear(inputs, outputs)]
    return nn.Sequential(*parts)


class Residual(nn.Module):
    """x + W2 f(W1 norm(x)), with or without a branch that starts at zero."""

    def __init__(self, width: int, zero: bool = False, drop: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, width)
        self.down = nn.Linear(width, width)
        self.drop = drop
        if zero:
            nn.init.zeros_(self.down.weight)
            nn.init.zeros_(self.down.bias)

    def forward(self, signal: Tensor) -> Tensor:
        if self.training and self.drop and float(torch.rand(())) < self.drop:
            return signal
        return signal + self.down(F.relu(self.up(self.norm(signal))))


def residual(blocks: int, width: int = 32, **more: object) -> nn.Sequential:
    """A residual MLP on the digits."""
    middle = [Residual(width, **more) for _ in range(blocks)]  # type: ignore[arg-type]
    return nn.Sequential(nn.Linear(64, width), *middle, nn.LayerNorm(width), nn.Linear(width, 10))


def cnn(norm: bool = True, blocks: int = 3, width: int = 8) -> nn.Sequential:
    """Convolutions (with biases before their norms) on the digits as images."""
    parts: list[nn.Module] = [nn.Unflatten(1, (1, 8, 8))]
    for number in range(blocks):
        parts += [nn.Conv2d(width if number else 1, width, 3, padding=1)]
        parts += [nn.BatchNorm2d(width)] if norm else []
        parts += [nn.ReLU()]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, 10))


class Transformer(nn.Module):
    """Rows of a digit as eight tokens."""

    def __init__(self, layers: int = 2, width: int = 16, norm_first: bool = True) -> None:
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.place = nn.Parameter(torch.zeros(8, width))
        layer = nn.TransformerEncoderLayer(
            width, 2, 2 * width, 0.1, batch_first=True, norm_first=norm_first
        )
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.embed(images.view(-1, 8, 8)) + self.place
        return self.head(self.layers(tokens).mean(1))


class Recurrent(nn.Module):
    """Digits read row by row."""

    def __init__(self, kind: type[nn.RNNBase] = nn.LSTM, width: int = 24) -> None:
        super().__init__()
        self.cell = kind(8, width, batch_first=True)  # type: ignore[call-arg]
        self.head = nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.cell(images.view(-1, 8, 8))[0][:, -1])


class Adapted(nn.Module):
    """A frozen linear layer with two trainable factors, the second of which starts at zero."""

    def __init__(self, frozen: nn.Linear, rank: int = 4, zero_both: bool = False) -> None:
        super().__init__()
        self.frozen = frozen.requires_grad_(False)
        self.first = nn.Parameter(torch.randn(rank, frozen.in_features) * (0 if zero_both else 0.1))
        self.second = nn.Parameter(torch.zeros(frozen.out_features, rank))

    def forward(self, signal: Tensor) -> Tensor:
        return self.frozen(signal) + signal @ self.first.T @ self.second.T


class Experts(nn.Module):
    """One of many experts for each sample; most get none in a batch. ``dense``: zeros, not None."""

    def __init__(self, many: int = 8, dense: bool = False) -> None:
        super().__init__()
        self.first = nn.Linear(64, 16)
        self.router = nn.Linear(16, many)
        self.experts = nn.ModuleList(mlp([16, 16, 16]) for _ in range(many))
        self.head = nn.Linear(16, 10)
        self.dense = dense

    def forward(self, images: Tensor) -> Tensor:
        signal = F.relu(self.first(images))
        gates = F.softmax(self.router(signal) * 3, dim=-1)
        value, chosen = gates.max(-1)
        mixed = torch.zeros_like(signal)
        for number, expert in enumerate(self.experts):
            mine = chosen == number
            if self.dense:
                mixed = mixed + expert(signal) * (value * mine)[:, None]
            elif mine.any():
                mixed = mixed.index_add(
                    0, mine.nonzero()[:, 0], expert(signal[mine]) * value[mine][:, None]
                )
        return self.head(signal + mixed)
