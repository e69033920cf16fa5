"""Inputs so small that next to nothing of them reaches the output; and small ones that do no harm."""

from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish


def digits(divided: float = 1.0) -> tuple[Tensor, Tensor]:
    data = load_digits()
    return torch.tensor(data.data[:256] / 16 / divided, dtype=torch.float32), torch.tensor(
        data.target[:256]
    )


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


def net(*first: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*first, nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))


def image_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 10),
    )


def sgd(model: nn.Module, rate: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), rate, momentum=0.9)


def adam(model: nn.Module, rate: float = 3e-3) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), rate)


def said(
    model: nn.Module, batch: Any, optimizer: torch.optim.Optimizer, steps: int = 20
) -> list[unvanish.Finding]:
    found = unvanish.diagnose(model, batch, F.cross_entropy, optimizer, steps=steps).findings
    return [f for f in found if f.severity != "note" and f.because is None]


def right(model: nn.Module, batch: Any, optimizer: torch.optim.Optimizer, steps: int) -> float:
    """The share of answers that are right after real training, which knows nothing of a diagnosis."""
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        optimizer.step()
    return float((model(batch[0]).argmax(1) == batch[1]).float().mean())


@pytest.mark.parametrize("optimizer", [sgd, adam])
@pytest.mark.parametrize("make", [net, image_net])
def test_pixels_that_were_divided_three_times(make: Any, optimizer: Any) -> None:
    model, batch = make(), digits(255.0**2)
    (found,) = said(model, batch, optimizer(model))
    assert (found.name, found.severity) == ("unscaled-input", "harmful")
    assert "so small" in (found.detail or "")
    assert right(model, batch, optimizer(model), 150) < 0.35
    other, scaled = make(), digits()
    assert right(other, scaled, optimizer(other), 150) > 0.9


def rare_words() -> tuple[Tensor, Tensor]:
    """Bags of eight of four hundred words: their root mean square is small, and no word is."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(10, (256,), generator=generator)
    words = 40 * labels[:, None] + torch.randint(40, (256, 8), generator=generator)
    return torch.zeros(256, 400).scatter_(1, words, 0.3), labels


def bag() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(400, 48), nn.ReLU(), nn.Linear(48, 10))


WELL = [
    (lambda: net(nn.BatchNorm1d(64)), digits(50.0), sgd),
    (lambda: net(nn.LayerNorm(64)), digits(50.0), sgd),
    (lambda: net(Times(1e4)), digits(1e4), sgd),
    (net, digits(20.0), adam),
    (bag, rare_words(), sgd),
]


@pytest.mark.parametrize(("make", "batch", "optimizer"), WELL)
def test_small_inputs_that_do_no_harm(make: Any, batch: Any, optimizer: Any) -> None:
    model = make()
    assert float(batch[0].square().mean().sqrt()) < 0.1
    assert said(model, batch, optimizer(model)) == []
    assert right(model, batch, optimizer(model), 300) > 0.85


def test_a_rate_that_makes_up_for_it() -> None:
    """A linear classifier of inputs a hundred times smaller, at ten thousand times the rate."""
    torch.manual_seed(0)
    model, batch = nn.Linear(64, 10, bias=False), digits(100.0)
    optimizer = torch.optim.SGD(model.parameters(), 1e3)
    assert said(model, batch, optimizer) == []
    assert right(model, batch, optimizer, 200) > 0.9


def test_a_rate_that_is_too_large_with_small_inputs() -> None:
    torch.manual_seed(0)
    model, batch = nn.Linear(64, 10), digits(100.0)
    found = said(model, batch, torch.optim.SGD(model.parameters(), 3e3))
    assert "unscaled-input" not in [f.name for f in found]


@pytest.mark.parametrize("steps", [0, 5])
def test_a_start_that_says_nothing_yet(steps: int) -> None:
    model = net()
    assert said(model, digits(255.0**2), adam(model), steps) == []
