"""Small trainings for the guard benchmark, and the faults that are put into them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

STEPS = 130
STRIKES = 56
"""The step at which a fault strikes."""
BATCH = 32


class Fading(torch.autograd.Function):
    """What passes forward unchanged and backward times a factor: a gradient that vanishes there."""

    @staticmethod
    def forward(context: Any, inputs: Tensor, factor: float) -> Tensor:
        context.factor = factor
        return inputs.view_as(inputs)

    @staticmethod
    def backward(context: Any, *gradients: Any) -> Any:
        return gradients[0] * context.factor, None


class Stages(nn.Module):
    """Parts in a row; ``fade`` is what the gradient is multiplied by between two of them."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.fade = 1.0

    def forward(self, x: Tensor) -> Tensor:
        for i, part in enumerate(self.parts):
            x = part(Fading.apply(x, self.fade) if i and self.fade != 1 else x)
        return x


def dense(inside: int, outside: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inside, outside), nn.ReLU())


def mlp() -> Stages:
    return Stages(dense(64, 48), dense(48, 48), dense(48, 48), dense(48, 48), nn.Linear(48, 10))


def cnn() -> Stages:
    def block(inside: int, outside: int, stride: int) -> nn.Module:
        convolution = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(outside), nn.ReLU())

    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10))
    return Stages(
        nn.Unflatten(1, (1, 8, 8)), block(1, 8, 1), block(8, 16, 2), block(16, 24, 2), head
    )


class Rows(nn.Module):
    """A recurrent layer over the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRU(8, 32, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(x.reshape(-1, 8, 8))[0][:, -1]


def gru() -> Stages:
    return Stages(Rows(), dense(32, 32), nn.Linear(32, 10))


class Tokens(nn.Module):
    """Tokens and where they stand."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(16, 32), nn.Embedding(8, 32)

    def forward(self, x: Tensor) -> Tensor:
        return self.token(x) + self.place.weight


class Block(nn.Module):
    """One pre-norm transformer block that sees only the past."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(32), nn.LayerNorm(32)
        self.mix, self.out = nn.Linear(32, 96), nn.Linear(32, 32)
        self.feed = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))

    def forward(self, x: Tensor) -> Tensor:
        parts = self.mix(self.first(x)).unflatten(-1, (3, 2, 16)).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(*parts, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).flatten(2))
        return x + self.feed(self.second(x))


def transformer() -> Stages:
    head = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 16))
    return Stages(Tokens(), Block(), head)


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training and held-out digits, standardised, in an order that does not depend on the seed."""
    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images, dtype=torch.float32) / 16
    x, y = (x - x.mean()) / x.std(), torch.tensor(labels)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x, y = x[order], y[order]
    return x[:1297], y[:1297], x[1297:], y[1297:]


def second_order() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sequences in which a token follows from the two before it, seven times in eight."""
    draw = torch.Generator().manual_seed(0)
    table = torch.randint(16, (16, 16), generator=draw)
    tokens = torch.randint(16, (2400, 9), generator=draw)
    for place in range(2, 9):
        follows = torch.rand(2400, generator=draw) < 7 / 8
        expected = table[tokens[:, place - 2] // 8, tokens[:, place - 1]]
        tokens[:, place] = torch.where(follows, expected, tokens[:, place])
    x, y = tokens[:, :-1], tokens[:, 1:]
    return x[:2000], y[:2000], x[2000:], y[2000:]


@dataclass(frozen=True)
class Task:
    """A training: model, optimizer, data. The metric is the accuracy on held-out samples."""

    name: str
    model: Callable[[], Stages]
    optimizer: Callable[[Any], torch.optim.Optimizer]
    data: Callable[[], tuple[Tensor, Tensor, Tensor, Tensor]]


def sgd(rate: float) -> Callable[[Any], torch.optim.Optimizer]:
    return lambda parameters: torch.optim.SGD(parameters, lr=rate, momentum=0.9)


def adam(rate: float) -> Callable[[Any], torch.optim.Optimizer]:
    return lambda parameters: torch.optim.Adam(parameters, lr=rate)


TASKS = (
    Task("mlp", mlp, sgd(0.05), digits),
    Task("cnn", cnn, sgd(0.05), digits),
    Task("gru", gru, adam(0.01), digits),
    Task("transformer", transformer, adam(0.01), second_order),
)


@dataclass(frozen=True)
class Fault:
    """What goes wrong. ``half``: gradients are kept in half precision, ``scaler``: by a loss scaler."""

    name: str
    what: str
    batch: Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]] = lambda step, x, y: (x, y)
    loss: Callable[[int, Tensor], Tensor] = lambda step, loss: loss
    token_loss: Callable[[int, Tensor], Tensor] = lambda step, loss: loss
    rate: Callable[[int], float] = lambda step: 1.0
    fade: Callable[[int], float] = lambda step: 1.0
    half: bool = False
    scaler: bool = False


def strange_inputs(factor: float) -> Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]:
    def batch(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return (x * factor if step == STRIKES and x.is_floating_point() else x), y

    return batch


def loss_times(factor: float, batches: int) -> Callable[[int, Tensor], Tensor]:
    return lambda step, loss: loss * factor if STRIKES <= step < STRIKES + batches else loss


FAULTS = (
    Fault("none", "nothing"),
    Fault(
        "spike",
        "one batch with inputs × 1000 (tokens: with a loss × 1000)",
        strange_inputs(1000.0),
        token_loss=loss_times(1000.0, 1),
    ),
    Fault(
        "nan",
        "one batch of NaN (tokens: a NaN loss)",
        strange_inputs(math.nan),
        token_loss=loss_times(math.nan, 1),
    ),
    Fault(
        "rate", "the learning rate × 20 from then on", rate=lambda s: 20.0 if s >= STRIKES else 1.0
    ),
    Fault(
        "overflow",
        "gradients in half precision without a loss scaler, one batch whose loss is × 1e7",
        loss=loss_times(1e7, 1),
        half=True,
    ),
    Fault(
        "scale-collapse",
        "gradients in half precision under a GradScaler, forty batches with an infinite loss",
        loss=loss_times(math.inf, 40),
        half=True,
        scaler=True,
    ),
    Fault(
        "vanishing",
        "between every two stages the gradient falls by 5 % more at each step, from the first on",
        fade=lambda step: 0.95**step,
    ),
)
