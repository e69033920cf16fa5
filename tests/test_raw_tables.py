"""Tables as they come, inputs and targets in their own units, and rates a million times too large."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish

SEEDS = (0, 1, 2)


def houses(seed: int) -> tuple[Tensor, Tensor]:
    """Area, year and rooms; a price in the hundred thousands."""
    source = torch.Generator().manual_seed(seed)
    area = 50 + 200 * torch.rand(256, generator=source)
    year = 1900 + 120 * torch.rand(256, generator=source)
    rooms = torch.randint(1, 8, (256,), generator=source).float()
    price = 2000 * area + 500 * (year - 1900) + 10000 * rooms
    return torch.stack([area, year, rooms], 1), price[:, None]


def scaled(values: Tensor) -> Tensor:
    return (values - values.mean(0)) / values.std(0)


def net(seed: int, inputs: int = 3) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1)
    )


def trained(inputs: Tensor, targets: Tensor, seed: int, rate: float) -> float:
    """Loss after 50 steps over the variance of the targets."""
    model = net(seed, inputs.shape[1])
    optimizer = torch.optim.SGD(model.parameters(), rate)
    for _ in range(50):
        optimizer.zero_grad()
        F.mse_loss(model(inputs), targets).backward()
        optimizer.step()
    return float(F.mse_loss(model(inputs), targets).detach() / targets.var())


@pytest.mark.parametrize("steps", [0, 20])
@pytest.mark.parametrize("seed", SEEDS)
def test_inputs_and_targets_that_only_together_are_mended_are_both_named(
    seed: int, steps: int
) -> None:
    inputs, targets = houses(seed)
    assert not math.isfinite(trained(inputs, targets, seed, 1e-2))
    assert not trained(inputs, scaled(targets), seed, 1e-2) < 1
    assert not trained(scaled(inputs), targets, seed, 1e-2) < 1
    assert trained(scaled(inputs), scaled(targets), seed, 1e-2) < 0.6
    model = net(seed)
    optimizer = torch.optim.SGD(model.parameters(), 1e-2)
    diagnosis = unvanish.diagnose(
        model, (inputs, targets), F.mse_loss, optimizer=optimizer, steps=steps
    )
    named = [f.name for f in diagnosis.findings if f.severity != "note"]
    assert named[:2] == ["unscaled-input", "unscaled-target"]


@pytest.mark.parametrize("steps", [0, 20])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_rate_at_which_a_ten_thousandth_still_diverges_is_too_large(
    seed: int, steps: int
) -> None:
    inputs, _ = houses(seed)
    inputs = scaled(inputs)
    targets = inputs.sum(1, keepdim=True).tanh()
    assert not trained(inputs, targets, seed, 1e6 * 1e-4) < 1
    assert trained(inputs, targets, seed, 1e6 * 1e-8) < 1
    model = net(seed)
    optimizer = torch.optim.SGD(model.parameters(), 1e6)
    diagnosis = unvanish.diagnose(
        model, (inputs, targets), F.mse_loss, optimizer=optimizer, steps=steps
    )
    first = diagnosis.findings[0]
    assert (first.name, first.severity) == ("step-too-large", "broken")
    assert first.evidence["better_rate"] < 1e-4
