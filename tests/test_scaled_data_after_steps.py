"""What an optimizer remembers is of the data as they were: with scaled data it begins anew."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import unvanish
from unvanish.training.optimizer_copy import begin_anew

OPTIMIZERS: tuple[Any, ...] = (torch.optim.Adam, torch.optim.AdamW, torch.optim.Adagrad)


def regression(mean: float, spread: float) -> tuple[Tensor, Tensor]:
    inputs = torch.randn(256, 10)
    return inputs, mean + spread * (inputs[:, :1] + 0.5 * inputs[:, 1:2])


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, Tensor], steps: int
) -> float:
    """Takes so many steps; the share of the variance that is not explained then."""
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(batch[0]), batch[1]).backward()
        optimizer.step()
    return nn.functional.mse_loss(model(batch[0]), batch[1]).item() / batch[1].var().item()


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 1))


@pytest.mark.parametrize("steps", [0, 20])
@pytest.mark.parametrize("allowed", [0, 20])
@pytest.mark.parametrize("made", OPTIMIZERS)
def test_unscaled_targets_are_found_after_steps(made: Any, allowed: int, steps: int) -> None:
    torch.manual_seed(0)
    batch, model = regression(200_000, 60_000), net()
    optimizer = made(model.parameters(), lr=1e-3)
    assert train(model, optimizer, batch, steps) > 5
    found = unvanish.diagnose(model, batch, nn.MSELoss(), optimizer=optimizer, steps=allowed)
    assert [f.name for f in found.findings if f.severity != "note"] == ["unscaled-target"]


def test_what_was_found_is_true() -> None:
    """The same net learns scaled targets, and does not learn them as they are."""
    torch.manual_seed(0)
    inputs, targets = regression(200_000, 60_000)
    scaled = inputs, (targets - targets.mean()) / targets.std()
    ends: list[float] = []
    for batch in ((inputs, targets), scaled):
        model = net()
        ends.append(train(model, torch.optim.Adam(model.parameters(), lr=1e-3), batch, 400))
    assert ends[0] > 5
    assert ends[1] < 0.1


def test_a_fresh_start_that_does_as_well_is_not_held_against_the_targets() -> None:
    """One huge gradient is remembered, and holds every step down: whatever the targets' scale is."""
    torch.manual_seed(0)
    batch, model = regression(30, 10), net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02, betas=(0.9, 0.99999))
    train(model, optimizer, batch, 1)
    for state in optimizer.state.values():
        state["exp_avg"].zero_()
        state["exp_avg_sq"].fill_(1e12)
        state["step"].fill_(100_000)
    found = unvanish.diagnose(model, batch, nn.MSELoss(), optimizer=optimizer, steps=20)
    assert "unscaled-target" not in [f.name for f in found.findings]


@pytest.mark.parametrize("made", [torch.optim.SGD, torch.optim.Adam, torch.optim.Adagrad])
def test_an_optimizer_that_begins_anew_steps_as_a_new_one(made: Any) -> None:
    options: dict[str, Any] = {"momentum": 0.9} if made is torch.optim.SGD else {}
    torch.manual_seed(0)
    batch, model = regression(0, 1), net()
    optimizer = made(model.parameters(), lr=0.01, **options)
    train(model, optimizer, batch, 5)
    twin = net()
    twin.load_state_dict(model.state_dict())
    begin_anew(optimizer)
    train(model, optimizer, batch, 3)
    train(twin, made(twin.parameters(), lr=0.01, **options), batch, 3)
    for own, other in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(own, other)
