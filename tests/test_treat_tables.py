"""A table as it comes, numbers in thousands on both sides: either scaling alone is no cure."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish
from unvanish.nn import Standardize


def houses(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Area, year, lot, distance and rooms; what one costs."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(count, 5, generator=generator)
    scales = torch.tensor([500.0, 30.0, 3000.0, 4000.0, 2.0])
    inputs = torch.tensor([1800.0, 1970.0, 9000.0, 4000.0, 5.0]) + drawn * scales
    worth = torch.tensor([150.0, 900.0, 4.0, -9.0, 8000.0])
    noise = 1e4 * torch.randn(count, generator=generator)
    return inputs, ((drawn * scales) @ worth + 3e5 + noise)[:, None]


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(5, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1)
    )


def explained(model: nn.Module) -> float:
    """After 200 steps at the user's own rate, of fresh samples."""
    inputs, prices = houses(800, 1)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(200):
        optimizer.zero_grad()
        F.mse_loss(model(inputs), prices).backward()
        optimizer.step()
    fresh, wanted = houses(400, 2)
    return 1 - float((F.mse_loss(model(fresh), wanted) / wanted.var()).detach())


def test_both_sides_are_scaled_together() -> None:
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    found = unvanish.treat(model, houses(800, 1), F.mse_loss, optimizer, keep="layers")
    assert "scale-target" in found.remedies
    inserted = [part for part in found.model.modules() if isinstance(part, Standardize)]
    assert sorted(part.undo for part in inserted) == [False, True]
    assert explained(net()) < 0 < 0.9 < explained(found.model)
