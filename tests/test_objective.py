"""An optimizer that maximizes: right for what is to be climbed, wrong for a loss."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish

Objective = Callable[[nn.Module, tuple[Tensor, Tensor]], Tensor]


def gap(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """A Wasserstein critic's: data against samples, with a penalty on its slope."""
    real, fake = batch[0].requires_grad_(), batch[0].flip(0) + 1
    told = model(real)
    (slope,) = torch.autograd.grad(told.sum(), real, create_graph=True)
    return told.mean() - model(fake).mean() - 10 * (slope.norm(dim=1) - 1).pow(2).mean()


def reward(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return (model(batch[0]).softmax(1) * batch[0][:, :3]).sum(1).mean()


def likelihood(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Of a normal distribution, and a prior."""
    outputs = model(batch[0])
    return -(outputs - batch[1][:, None]).square().sum(1).mean() - 0.01 * outputs.square().mean()


def squares(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return (model(batch[0]) - batch[1][:, None]).square().mean()


def penalized(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    outputs = model(batch[0])
    return 0.5 * F.cross_entropy(outputs, (batch[1] > 0).long()) + 0.1 * outputs.abs().mean()


@pytest.mark.parametrize(
    ("objective", "severity"),
    [
        (gap, "note"),
        (reward, "note"),
        (likelihood, "note"),
        (squares, "broken"),
        (penalized, "broken"),
    ],
)
def test_maximizing(objective: Objective, severity: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 3))
    batch = torch.randn(64, 6), torch.randn(64)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, maximize=True)
    diagnosis = unvanish.diagnose(model, [batch], forward=objective, optimizer=optimizer)
    assert [(f.name, f.severity) for f in diagnosis.findings] == [("wrong-sign", severity)]


def test_a_multiplier_goes_up_while_the_rest_goes_down() -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"net": nn.Linear(6, 1), "price": nn.Linear(1, 1, bias=False)})
    batch = torch.randn(64, 6), torch.randn(64, 1)

    def forward(parts: nn.ModuleDict, given: tuple[Tensor, Tensor]) -> Tensor:
        outputs = parts["net"](given[0])
        excess = outputs.square().mean() - 0.1
        return F.mse_loss(outputs, given[1]) + parts["price"](excess.reshape(1)).sum()

    optimizer = torch.optim.Adam(
        [
            {"params": model["net"].parameters()},
            {"params": model["price"].parameters(), "maximize": True},
        ]
    )
    diagnosis = unvanish.diagnose(model, [batch], forward=forward, optimizer=optimizer)
    assert [(f.name, f.severity) for f in diagnosis.findings] == [("wrong-sign", "note")]
