"""The nets and the training loop that the experiments share: plain torch, nothing of ours."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from unvanish.lessons.data import clusters

Measured = dict[str, float]

LOSS = nn.CrossEntropyLoss()


def plain(
    activation: Callable[[], nn.Module],
    depth: int,
    *,
    gain: float | None = None,
    width: int = 64,
    norm: bool = False,
    seed: int = 0,
) -> nn.Sequential:
    """``depth`` layers of ``width``; normal weights of ``gain`` / root of fan-in (None: torch's own)."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for _ in range(depth):
        linear = nn.Linear(width, width)
        if gain is not None:
            nn.init.normal_(linear.weight, std=gain / math.sqrt(width))
            nn.init.zeros_(linear.bias)
        layers += [linear, *([nn.BatchNorm1d(width)] if norm else []), activation()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def train(
    model: nn.Module,
    data: tuple[Tensor, Tensor],
    optimizer: torch.optim.Optimizer,
    steps: int,
    clip: float | None = None,
) -> list[float]:
    """The loss at each step; ends early where it is no number."""
    losses: list[float] = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = LOSS(model(data[0]), data[1])
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            break
        loss.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
    return losses


def right(model: nn.Module, data: tuple[Tensor, Tensor]) -> float:
    """The share of right answers."""
    with torch.no_grad():
        return (model(data[0]).argmax(1) == data[1]).float().mean().item()


def halves(seed: int = 0) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Ten clusters: 256 samples to train on, 256 others."""
    inputs, labels = clusters(seed, samples=512)
    return (inputs[:256], labels[:256]), (inputs[256:], labels[256:])


def gradients_at(model: nn.Sequential, data: tuple[Tensor, Tensor]) -> list[float]:
    """The norm of the loss's gradient at the output of every module, from the input to the loss."""
    states, outputs = data[0].requires_grad_(True), list[Tensor]()
    for module in model:
        states = module(states)
        outputs.append(states)
    norms = torch.autograd.grad(LOSS(states, data[1]), [data[0], *outputs])
    data[0].requires_grad_(False)
    return [norm.double().norm().item() for norm in norms]


def decades(norms: Iterable[float]) -> float:
    """log10 of the first over the last: negative where the gradient is lost towards the input."""
    first, *_, last = norms
    return math.log10(max(first, 1e-45) / last)
