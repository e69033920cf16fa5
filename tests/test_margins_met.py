"""Margins of a loss that are met: every gradient is exactly zero, and nothing is dead."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish

Loss = Callable[[Tensor, Tensor], Tensor]


def batch() -> tuple[Tensor, Tensor]:
    """Two classes, 1 and -1, with a gap between them."""
    inputs = torch.randn(64, 8)
    signs = torch.where(inputs[:, :1] > 0, 1.0, -1.0)
    inputs[:, :1] += 1.5 * signs
    return inputs, signs


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))


def hinge(outputs: Tensor, signs: Tensor) -> Tensor:
    return F.relu(1 - outputs * signs).mean() + 1


def clamped(outputs: Tensor, signs: Tensor) -> Tensor:
    return (1 - outputs * signs).clamp(min=0).mean() + 1


def largest(outputs: Tensor, signs: Tensor) -> Tensor:
    return torch.maximum(1 - outputs * signs, torch.zeros(())).mean() + 1


def floored(outputs: Tensor, signs: Tensor) -> Tensor:
    return F.mse_loss(outputs, signs).clamp(min=0.05)


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), 0.05)


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, loss_of: Loss, steps: int
) -> list[float]:
    """The losses of so many steps, each on samples of its own."""
    losses: list[float] = []
    for _ in range(steps):
        inputs, signs = batch()
        optimizer.zero_grad()
        value = loss_of(model(inputs), signs)
        value.backward()
        optimizer.step()
        losses.append(float(value.detach()))
    return losses


@pytest.mark.parametrize("loss_of", [hinge, clamped, largest])
def test_diagnosed_when_met(loss_of: Loss) -> None:
    model = net()
    assert (
        train(model, adam(model), loss_of, 120)[-1] == 1.0
    )  # at its least: what is left is the constant
    found = unvanish.diagnose(model, batch(), loss_of).findings
    assert all(finding.severity == "note" for finding in found)


@pytest.mark.parametrize("loss_of", [hinge, clamped, largest, floored])
def test_watched_until_met(loss_of: Loss, tmp_path: Path) -> None:
    model = net()
    optimizer = adam(model)
    with unvanish.watch(model, optimizer, tmp_path) as monitor:
        losses = train(model, optimizer, loss_of, 150)
    assert not any(bool(p.grad.any()) for p in model.parameters() if p.grad is not None)
    assert losses[-1] > 0
    assert [(alarm.name, alarm.step) for alarm in monitor.alarms] == []


@pytest.mark.parametrize("rate", [0.03, 0.1])
def test_a_net_that_dies_at_its_lowest_loss(rate: float, tmp_path: Path) -> None:
    """Nothing is its best answer so far, and it cannot leave it any more."""
    model = nn.Sequential(*net(), nn.ReLU())
    optimizer = torch.optim.Adam(model.parameters(), rate)
    inputs = torch.randn(64, 8)
    targets = 0.1 * torch.rand(64, 1) - 0.05
    losses: list[float] = []
    with unvanish.watch(model, optimizer, tmp_path) as monitor:
        for _ in range(80):
            optimizer.zero_grad()
            value = F.mse_loss(model(inputs), targets)
            value.backward()
            optimizer.step()
            losses.append(float(value.detach()))
    assert losses[-1] == min(losses) < losses[0]
    assert not bool(model(inputs).any())
    assert "dead-units" in [alarm.name for alarm in monitor.alarms]


def test_a_penalty_that_swings_behind_a_met_margin(tmp_path: Path) -> None:
    """Steps that replace the weights and a loss that doubles: a thousandth of what was gained."""

    def penalised(model: nn.Module) -> Loss:
        weights = list(model.parameters())
        return lambda outputs, signs: (
            F.relu(1 - outputs * signs).mean()
            + 1e-4 * torch.stack([(w**2).sum() for w in weights]).sum()
        )

    model = net()
    optimizer = adam(model)
    with unvanish.watch(model, optimizer, tmp_path) as monitor:
        losses = train(model, optimizer, penalised(model), 80)
    assert losses[60] > 2 * min(losses)
    assert [(alarm.name, alarm.step) for alarm in monitor.alarms] == []
