"""A hinge in the loss is no layer of units: all of it at zero means solved, not dead."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from patients import blobs
from torch import Tensor, nn

import unvanish

SEEDS = (0, 1, 2)


def solved(seed: int) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    """A net whose margins are all met with room to spare: it has learned its batch."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 1))
    inputs, labels = blobs(seed, classes=2)
    sides = 2.0 * labels - 1
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        F.softplus(-sides * model(inputs).squeeze(1)).mean().backward()
        optimizer.step()
    with torch.no_grad():
        model[2].weight *= 20
        model[2].bias *= 20
    assert float((sides * model(inputs).detach().squeeze(1)).min()) > 1
    model.zero_grad()
    return model, (inputs, sides)


def hinge(outputs: Tensor, sides: Tensor) -> Tensor:
    return F.relu(1 - sides * outputs.squeeze(1)).mean()


def squared_hinge(outputs: Tensor, sides: Tensor) -> Tensor:
    return torch.clamp_min(1 - sides * outputs.squeeze(1), 0).pow(2).sum()


class WithLoss(nn.Module):
    """A model that hands out its loss, as many do."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: Tensor, sides: Tensor) -> Tensor:
        return hinge(self.inner(inputs), sides)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("loss", [hinge, squared_hinge])
def test_met_margins_are_no_dead_units(seed: int, loss: Callable[..., Tensor]) -> None:
    model, data = solved(seed)
    diagnosis = unvanish.diagnose(model, data, loss)
    assert diagnosis.healthy, [(f.name, f.where) for f in diagnosis.findings]


@pytest.mark.parametrize("seed", SEEDS)
def test_met_margins_beside_a_penalty(seed: int) -> None:
    model, data = solved(seed)

    def forward(net: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
        return hinge(net(batch[0]), batch[1]) + 1e-4 * net[2].weight.pow(2).sum()

    assert unvanish.diagnose(model, [data], forward=forward).healthy


@pytest.mark.parametrize("seed", SEEDS)
def test_met_margins_inside_of_the_model(seed: int) -> None:
    model, data = solved(seed)
    program = {"data": [data], "forward": lambda net, batch: net(*batch)}
    assert unvanish.diagnose(WithLoss(model), **program).healthy


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("place", ["in the model", "in the loss"])
def test_dead_outputs_stay_a_fault(seed: int, place: str) -> None:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 12))
    nn.init.constant_(model[2].bias, -50.0)
    data = blobs(seed)[0], torch.rand(64, 12)
    loss = F.mse_loss
    if place == "in the model":
        model.append(nn.ReLU())
    else:
        loss = lambda outputs, targets: F.mse_loss(F.relu(outputs), targets)  # noqa: E731
    assert unvanish.diagnose(model, data, loss).findings[0].name == "dead-units"
