"""Rates that fall from layer to layer: where they end so low that float32 rounds every step away."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish

STEPS = 20


def words() -> tuple[Tensor, Tensor]:
    """Forty words and one of five answers to each: to be known by heart."""
    said = torch.arange(160)[:, None] % 40
    return said, (7 * said[:, 0] + said[:, 0] // 5) % 5


def clusters() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    labels = torch.arange(64) % 4
    centres = 2 * torch.randn(4, 2, generator=generator)
    return centres[labels] + 0.3 * torch.randn(64, 2, generator=generator), labels


def net() -> nn.Sequential:
    """Far more features of two numbers than four clusters ask for."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 4)
    )


def reader() -> nn.Sequential:
    """Two numbers for a word."""
    torch.manual_seed(0)
    table = nn.Sequential(nn.Embedding(40, 2), nn.Flatten())
    return nn.Sequential(*table, nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 5))


def layered(model: Any, factor: float, rate: float = 1e-2, **options: Any) -> list[dict[str, Any]]:
    """Each layer has ``factor`` times the rate of the one above it."""
    layers = [layer for layer in model if isinstance(layer, nn.Linear | nn.Embedding)]
    return [
        {"params": [*layer.parameters()], "lr": rate * factor**depth, **options}
        for depth, layer in enumerate(reversed(layers))
    ]


def said(model: nn.Module, batch: Any, optimizer: torch.optim.Optimizer) -> list[unvanish.Finding]:
    found = unvanish.diagnose(model, batch, F.cross_entropy, optimizer, steps=STEPS).findings
    return [finding for finding in found if finding.name == "step-too-small"]


def train(model: nn.Module, batch: Any, optimizer: torch.optim.Optimizer, steps: int) -> float:
    """Real training, which does not know of the diagnosis."""
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
    return float(F.cross_entropy(model(batch[0]), batch[1]).detach())


def test_the_table_is_needed() -> None:
    model, other = reader(), reader()
    optimizer = torch.optim.Adam(layered(model, 1e-6, 0.05))
    (found,) = said(model, words(), optimizer)
    assert found.severity == "harmful"
    assert found.where == ("0.weight",)
    assert "rounded away" in (found.detail or "")
    before = model[0].weight.detach().clone()
    reached = train(model, words(), optimizer, 300)
    assert torch.equal(model[0].weight, before)
    assert train(other, words(), torch.optim.Adam(layered(other, 1.0, 0.05)), 300) < 0.5 * reached


def test_the_first_layer_is_not_needed() -> None:
    model, other = net(), net()
    optimizer = torch.optim.Adam(layered(model, 1e-7))
    (found,) = said(model, clusters(), optimizer)
    assert found.severity == "note"
    reached = train(model, clusters(), optimizer, 300)
    even = train(other, clusters(), torch.optim.Adam(layered(other, 1.0)), 300)
    assert max(reached, even) < 0.02


def test_rates_that_fall_by_a_little() -> None:
    model = net()
    optimizer = torch.optim.Adam(layered(model, 0.5))
    assert said(model, clusters(), optimizer) == []
    before = model[0].weight.detach().clone()
    train(model, clusters(), optimizer, STEPS)
    assert not torch.equal(model[0].weight, before)


def test_a_warm_up_of_the_lower_layers() -> None:
    model = net()
    optimizer = torch.optim.Adam(layered(model, 1.0))
    rise = lambda step: min(1.0, 1e-14 + step / 1e3)  # noqa: E731
    torch.optim.lr_scheduler.LambdaLR(optimizer, [lambda _: 1.0, rise, rise])
    assert optimizer.param_groups[2]["lr"] < 1e-15
    assert said(model, clusters(), optimizer) == []


def test_a_gradient_too_small_for_any_rate() -> None:
    """Its layer has the smaller rate, and would not move with the larger one either."""
    model = net()
    model[0].weight.register_hook(lambda gradient: 1e-12 * gradient)
    assert said(model, clusters(), torch.optim.SGD(layered(model, 0.1, 0.1))) == []


def test_an_epsilon_above_the_gradient() -> None:
    model = net()
    groups = layered(model, 1e-7)
    groups[-1]["eps"] = 1e3
    assert said(model, clusters(), torch.optim.Adam(groups)) == []


@pytest.mark.parametrize("steps", [0, 5])
def test_too_few_steps_to_say_so(steps: int) -> None:
    model = net()
    made = torch.optim.Adam(layered(model, 1e-7))
    assert unvanish.diagnose(model, clusters(), F.cross_entropy, made, steps=steps).healthy
