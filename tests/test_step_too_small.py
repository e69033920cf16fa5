"""Steps so small that float32 rounds them away are the smallest of all, and named all the same."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish

OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}


def clusters() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    labels = torch.arange(64) % 4
    centres = 2 * torch.randn(4, 16, generator=generator)
    return centres[labels] + torch.randn(64, 16, generator=generator), labels


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4)
    )


def names(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 0) -> list[str]:
    found = unvanish.diagnose(model, clusters(), F.cross_entropy, optimizer=optimizer, steps=steps)
    return [finding.name for finding in found.findings]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("rate", [1e-9, 1e-12, 1e-20])
@pytest.mark.parametrize("steps", [0, 20])
def test_steps_that_are_rounded_away_are_named(optimizer: str, rate: float, steps: int) -> None:
    model = net()
    assert names(model, OPTIMIZERS[optimizer](model.parameters(), rate), steps) == [
        "step-too-small"
    ]


def test_the_figure_is_what_would_be_without_rounding() -> None:
    model, rate = net(), 1e-15
    x, y = clusters()
    gradient = torch.autograd.grad(F.cross_entropy(model(x), y), [*model.parameters()])
    weights = [(w, g) for w, g in zip(model.parameters(), gradient, strict=True) if w.dim() == 2]
    exact = sorted(rate * float(g.norm() / w.detach().norm()) for w, g in weights)[1]
    found = unvanish.diagnose(
        model, (x, y), F.cross_entropy, optimizer=torch.optim.SGD(model.parameters(), rate)
    )
    assert found.findings[0].evidence["update_to_weight"] == pytest.approx(exact, rel=0.1)


def test_a_rate_that_a_scheduler_holds_down_is_no_fault() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1e-12)
    assert names(model, optimizer) == []


def test_no_rate_at_all_says_nothing_of_its_size() -> None:
    model = net()
    assert "step-too-small" not in names(model, torch.optim.SGD(model.parameters(), 0.0))


def test_weights_of_16_bits_are_another_finding() -> None:
    model = net().bfloat16()
    x, y = clusters()
    found = unvanish.diagnose(
        model,
        (x.bfloat16(), y),
        F.cross_entropy,
        optimizer=torch.optim.SGD(model.parameters(), 1e-3),
    )
    assert [f.name for f in found.findings] == ["half-precision-weights"]
