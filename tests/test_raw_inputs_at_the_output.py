"""Raw inputs drive an output onto its flat ends: the inputs are to blame, not the loss."""

import pytest
import torch
from torch import nn

import unvanish


def policy(scale: float) -> tuple[nn.Sequential, tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(3)
    mixed = torch.randn(8, 2, generator=generator) / 2
    states = torch.randn(256, 8, generator=generator)
    actions = 0.8 * torch.tanh(states @ mixed)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU())
    model.extend([nn.Linear(128, 2), nn.Tanh()])
    return model, (scale * states, actions)


def loss_after(scale: float, steps: int) -> float:
    model, (inputs, targets) = policy(scale)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(inputs), targets).backward()
        optimizer.step()
    return float(nn.functional.mse_loss(model(inputs), targets).detach())


@pytest.mark.parametrize("steps", [0, 20])
def test_a_tanh_of_raw_states(steps: int) -> None:
    model, batch = policy(300.0)
    share = (model(batch[0]).detach().abs() > 0.99).float().mean()
    assert float(share) > 0.9
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    found = unvanish.diagnose(model, batch, nn.MSELoss(), optimizer, steps=steps).findings
    causes = [finding.name for finding in found if finding.because is None]
    assert causes == ["unscaled-input"]


def test_the_same_states_at_unit_scale_are_learned_and_quiet() -> None:
    assert loss_after(1.0, 200) < 0.01 < 0.1 < loss_after(300.0, 200)
    model, batch = policy(1.0)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    assert unvanish.diagnose(model, batch, nn.MSELoss(), optimizer, steps=20).healthy
