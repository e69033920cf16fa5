"""Programs whose samples collapse or become strangers, or whose numbers leave half precision."""

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
    for inside, outside in zip(widths, widths[1:], strict=False):
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
