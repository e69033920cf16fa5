"""Adagrad divides by all squares so far: its steps shrink, and a rate that is too small is named."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import unvanish


@pytest.mark.parametrize(("rate", "small"), [(1e-4, True), (0.05, False)])
@pytest.mark.parametrize("steps", [0, 20])
def test_steps_that_shrink_as_they_go(rate: float, small: bool, steps: int) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(128, 8)
    targets = torch.sin(inputs @ torch.randn(8, 1))
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 1))
    optimizer = torch.optim.Adagrad(model.parameters(), rate)
    found = unvanish.diagnose(model, (inputs, targets), F.mse_loss, optimizer, steps=steps)
    assert [f.name for f in found.findings] == (["step-too-small"] if small else [])
    first = F.mse_loss(model(inputs), targets).item()
    for _ in range(1000):
        optimizer.zero_grad()
        F.mse_loss(model(inputs), targets).backward()
        optimizer.step()
    assert (F.mse_loss(model(inputs), targets).item() > 0.6 * first) == small
