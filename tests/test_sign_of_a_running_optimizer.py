"""What an optimizer remembers of earlier gradients is not asked for the sign of its steps."""

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish

Make = Callable[[Any], torch.optim.Optimizer]


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 3))


def batch() -> tuple[Tensor, Tensor]:
    x = torch.randn(64, 8, generator=torch.Generator().manual_seed(1))
    return x, x[:, :3].argmax(1)


def remembering(model: nn.Module, make: Make, factor: float) -> torch.optim.Optimizer:
    """An optimizer whose buffers hold the gradient of now times a factor."""
    optimizer = make(model.parameters())
    x, y = batch()
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(F.cross_entropy(model(x), y), parameters)
    for p, gradient in zip(parameters, gradients, strict=True):
        if isinstance(optimizer, torch.optim.SGD):
            optimizer.state[p]["momentum_buffer"] = factor * gradient
        else:
            held = {"exp_avg": factor * gradient, "exp_avg_sq": (factor * gradient) ** 2}
            optimizer.state[p] = {"step": torch.tensor(100.0), **held}
    return optimizer


def cosine_to_descent(model: nn.Module, optimizer: torch.optim.Optimizer) -> float:
    """Between the next step and the direction of steepest descent, by plain torch."""
    x, y = batch()
    before = [p.detach().clone() for p in model.parameters()]
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    down = torch.cat([-p.grad.flatten() for p in model.parameters() if p.grad is not None])
    optimizer.step()
    pairs = zip(model.parameters(), before, strict=True)
    step = torch.cat([(new.detach() - old).flatten() for new, old in pairs])
    return float(F.cosine_similarity(step, down, dim=0))


def sgd(**more: Any) -> Make:
    return functools.partial(torch.optim.SGD, lr=0.01, momentum=0.9, **more)


def adam(**more: Any) -> Make:
    return functools.partial(torch.optim.Adam, lr=1e-3, **more)


def named(model: nn.Module, optimizer: torch.optim.Optimizer, **more: Any) -> list[str]:
    found = unvanish.diagnose(model, batch(), nn.CrossEntropyLoss(), optimizer, **more)
    return [f.name for f in found.findings if f.severity != "note"]


HEALTHY = (sgd(), sgd(nesterov=True), sgd(weight_decay=1e-2), adam(), adam(amsgrad=False))
CLIMBING = (sgd(maximize=True), adam(maximize=True))


@pytest.mark.parametrize("make", HEALTHY)
@pytest.mark.parametrize("more", [{}, {"steps": 5}])
def test_gradients_of_before_that_point_the_other_way(make: Make, more: dict[str, int]) -> None:
    model, twin = net(), net()
    assert cosine_to_descent(twin, remembering(twin, make, -20.0)) < -0.5
    assert "wrong-sign" not in named(model, remembering(model, make, -20.0), **more)


@pytest.mark.parametrize("make", CLIMBING)
@pytest.mark.parametrize("factor", [20.0, -20.0])
def test_a_loss_that_is_made_larger_is_named_whatever_is_remembered(
    make: Make, factor: float
) -> None:
    model = net()
    assert "wrong-sign" in named(model, remembering(model, make, factor))
    assert "wrong-sign" in named(model, make(model.parameters()), steps=5)


def backwards(make: Make) -> Make:
    """Torch refuses a negative rate where it is given, and takes it later."""

    def made(parameters: Any) -> torch.optim.Optimizer:
        optimizer = make(parameters)
        for group in optimizer.param_groups:
            group["lr"] = -group["lr"]
        return optimizer

    return made


@pytest.mark.parametrize("make", [sgd(), adam()])
def test_a_negative_rate_is_named_whatever_is_remembered(make: Make) -> None:
    model, twin = net(), net()
    assert cosine_to_descent(twin, backwards(make)(twin.parameters())) < 0
    assert "wrong-sign" in named(model, remembering(model, backwards(make), 20.0))
    assert "wrong-sign" in named(model, backwards(make)(model.parameters()), steps=5)
