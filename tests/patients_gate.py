"""Programs whose samples collapse or become strangers, or whose numbers leave half precision."""

import itertools
import math
from collections.abc import Callable

import torch
from patients import Patient, Program, blobs, classify, he, plain
from torch import Tensor, nn

Initialize = Callable[[nn.Linear], None]


def gain(value: float, bias: float = 0.0) -> Initialize:
    def initialize(layer: nn.Linear) -> None:
        nn.init.normal_(layer.weight, std=value / math.sqrt(layer.in_features))
        nn.init.normal_(layer.bias, std=bias)

    return initialize


def orthogonal(layer: nn.Linear) -> None:
    nn.init.orthogonal_(layer.weight)
    nn.init.zeros_(layer.bias)


def ten_classes(seed: int, width: int = 32) -> tuple[Tensor, Tensor]:
    return blobs(seed, features=width, classes=10)


def deep(
    depth: int,
    activation: Callable[[], nn.Module],
    initialize: Initialize,
    width: int = 32,
    norm: bool = False,
) -> Patient:
    def patient(seed: int) -> Program:
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for module in plain(depth, activation, initialize, width)[:-1]:
            layers.append(module)
            if norm and isinstance(module, nn.Linear):
                layers.append(nn.LayerNorm(width))
        return classify(nn.Sequential(*layers, nn.Linear(width, 10)), ten_classes(seed, width))

    return patient


def near_identical(seed: int) -> Program:
    """Similar from the start: nothing that depth did."""
    torch.manual_seed(seed)
    inputs, labels = ten_classes(seed)
    return classify(plain(10, nn.ReLU, he()), (inputs[:1] + 1e-3 * inputs, labels % 4))


def bottleneck(seed: int) -> Program:
    """An autoencoder: two directions are all that its middle can carry, by design."""
    torch.manual_seed(seed)
    widths = [32, 24, 12, 2, 12, 24]
    layers: list[nn.Module] = []
    for inside, outside in itertools.pairwise(widths):
        layers += [nn.Linear(inside, outside), nn.Tanh()]
    inputs, _ = ten_classes(seed)
    model = nn.Sequential(*layers, nn.Linear(24, 32))
    return {"model": model, "data": (inputs, inputs), "loss": nn.MSELoss()}


def small_convolutions(seed: int) -> Program:
    """Five convolutions at torch's own initialisation, biases and all."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for inside, outside in ((3, 8), (8, 16), (16, 16), (16, 32), (32, 32)):
        layers += [nn.Conv2d(inside, outside, 3, padding=1), nn.ReLU()]
    inputs, labels = blobs(seed, 32, 3 * 64, 10)
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)]
    return classify(nn.Sequential(*layers, *head), (inputs.view(32, 3, 8, 8), labels))


def trained(steps: int) -> Patient:
    """Nets on their way: outputs become alike within a class, and only there."""

    def patient(seed: int) -> Program:
        torch.manual_seed(seed)
        model, (inputs, labels) = plain(8, nn.ReLU, he()), blobs(seed)
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        for _ in range(steps):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), labels).backward()
            optimizer.step()
        model.zero_grad()
        return classify(model, (inputs, labels))

    return patient


SICK_GATE: dict[str, tuple[Patient, str, str]] = {
    "He-ReLU, 150 layers": (deep(150, nn.ReLU, he()), "collapsed-signal", ""),
    "He-ReLU, 100 layers of 32": (deep(100, nn.ReLU, he()), "collapsed-signal", ""),
    "layer norm and ReLU, 150 layers": (
        deep(150, nn.ReLU, gain(1.0), norm=True),
        "collapsed-signal",
        "",
    ),
    "tanh at gain 1, 100 layers": (deep(100, nn.Tanh, gain(1.0)), "collapsed-signal", ""),
    "tanh at gain 2, 40 layers": (
        deep(40, nn.Tanh, gain(2.0, 0.05), width=64),
        "chaotic-signal",
        "",
    ),
    "tanh at gain 1.5, 100 layers": (
        deep(100, nn.Tanh, gain(1.5, 0.05), width=64),
        "chaotic-signal",
        "",
    ),
    "layer norm and tanh, 100 layers": (
        deep(100, nn.Tanh, gain(1.0), width=64, norm=True),
        "chaotic-signal",
        "",
    ),
}

HEALTHY_GATE: dict[str, Patient] = {
    "He-ReLU, 10 layers": deep(10, nn.ReLU, he()),
    "He-ReLU, 20 layers": deep(20, nn.ReLU, he()),
    "He-ReLU, 20 layers of 128": deep(20, nn.ReLU, he(), width=128),
    "layer norm and ReLU, 10 layers": deep(10, nn.ReLU, gain(1.0), norm=True),
    "tanh at gain 1, 20 layers": deep(20, nn.Tanh, gain(1.0), width=64),
    "orthogonal tanh, 100 layers": deep(100, nn.Tanh, orthogonal, width=64),
    "near-identical samples": near_identical,
    "bottleneck": bottleneck,
    "small convolutions": small_convolutions,
    "ten steps in": trained(10),
    "trained": trained(300),
}


class Between(nn.Module):
    """Two linear layers with a function in between."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.body, self.head, self.function = nn.Linear(32, 8), nn.Linear(8, 4), function

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.function(self.body(x)))


def between(function: Callable[[Tensor], Tensor]) -> Patient:
    def patient(seed: int) -> Program:
        torch.manual_seed(seed)
        return classify(Between(function), blobs(seed))

    return patient


def positive(x: Tensor) -> Tensor:
    """Zero where x is below zero; unlike relu it lets NaN through on the way back."""
    return x * (x > 0)


def masked_row(x: Tensor) -> Tensor:
    scores = x.view(8, 8, 8) @ x.view(8, 8, 8).transpose(1, 2)
    hidden = torch.zeros(8, 8, 8, dtype=torch.bool)
    hidden[2, 5] = True
    weights = torch.softmax(scores.masked_fill(hidden, -math.inf), -1)
    return (weights @ x.view(8, 8, 8)).view(64, 8)


def no_length(x: Tensor) -> Tensor:
    return (x - x) / torch.sqrt(((x - x) ** 2).sum(1, keepdim=True))


NONFINITE: dict[str, tuple[Patient, str, str]] = {
    "log(0)": (between(lambda x: torch.log(positive(x))), "forward", "the logarithm of zero"),
    "log(-1)": (between(torch.log), "forward", "the logarithm of a negative number"),
    "1 / 0": (between(lambda x: x / torch.relu(x)), "forward", "a division by zero"),
    "0 / 0 in a norm": (between(no_length), "forward", "zero divided by zero"),
    "sqrt(-1)": (between(torch.sqrt), "forward", "the root of a negative number"),
    "exp(big)": (between(lambda x: torch.exp(1000 * x)), "forward", "an overflow of the exp"),
    "masked row": (between(masked_row), "forward", "a row that is masked all over"),
    "where, log": (
        between(lambda x: torch.where(x > 0, torch.log(positive(x)), x)),
        "backward",
        "the branch that",
    ),
    "where, sqrt": (
        between(lambda x: torch.where(x > 0, torch.sqrt(positive(x)), x)),
        "backward",
        "the branch that",
    ),
    "where, division": (
        between(lambda x: torch.where(x > 0, 1 / positive(x), x)),
        "backward",
        "the branch that",
    ),
    "sqrt(0)": (
        between(lambda x: torch.sqrt(positive(x))),
        "backward",
        "the derivative of a root",
    ),
}


class InHalf(nn.Module):
    """Computes in float16 under autocast, keeps its weights in float32."""

    def __init__(self, depth: int, activation: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.net = plain(depth, activation)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.float16):
            return self.net(x).float()


def in_half(
    factor: float, depth: int = 5, activation: Callable[[], nn.Module] = nn.Tanh
) -> Patient:
    def patient(seed: int) -> Program:
        torch.manual_seed(seed)

        def loss(outputs: Tensor, labels: Tensor) -> Tensor:
            return factor * nn.functional.cross_entropy(outputs, labels)

        return {"model": InHalf(depth, activation), "data": blobs(seed), "loss": loss}

    return patient


SICK_GATE["autocast, a loss of 1e-5"] = (in_half(1e-5), "half-precision-underflow", "net")
HEALTHY_GATE |= {
    "autocast": in_half(1.0),
    "autocast, ReLU": in_half(1.0, 8, nn.ReLU),
    "autocast, the loss scaled": in_half(1024.0),
}
