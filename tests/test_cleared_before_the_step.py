"""Gradients that are cleared between backward and step, and those that only look as if they were."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_never_stepped import Step, batch, net
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish

Make = Callable[[Any], torch.optim.Optimizer]


def back(model: nn.Module, batch: Any) -> None:
    F.mse_loss(model(batch[0]), batch[1]).backward()


def too_late(to_none: bool) -> Step:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        back(model, batch)
        optimizer.zero_grad(set_to_none=to_none)
        optimizer.step()

    return step


def cleared_by_the_model(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
    back(model, batch)
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    model.zero_grad()
    optimizer.step()


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, 0.05)


def decaying(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, 1e-3)


def found(step: Step, make: Make = sgd) -> list[unvanish.Finding]:
    model = net()
    made = make(model.parameters())
    diagnosis = unvanish.diagnose(model, batch(), optimizer=made, step=step, steps=20)
    return [f for f in diagnosis.findings if f.severity != "note"]


def falls(step: Step, make: Make = sgd, calls: int = 400) -> float:
    """To which share of itself the loss falls, by plain torch."""
    model, (x, y) = net(), batch()
    optimizer, before = make(model.parameters()), float(F.mse_loss(model(x), y).detach())
    for _ in range(calls):
        step(model, optimizer, (x, y))
    return float(F.mse_loss(model(x), y).detach()) / before


@pytest.mark.parametrize("step", [too_late(True), too_late(False), cleared_by_the_model])
@pytest.mark.parametrize("make", [sgd, decaying])
def test_a_step_that_never_meets_a_gradient(step: Step, make: Make) -> None:
    assert falls(step, make) > 0.8
    (cleared,) = found(step, make)
    assert (cleared.name, cleared.severity) == ("not-in-optimizer", "broken")
    assert set(cleared.where) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert "cleared between backward and step" in (cleared.detail or "")


def test_it_is_no_good_news_then_that_gradients_were_cleared() -> None:
    model = net()
    diagnosis = unvanish.diagnose(
        model, batch(), optimizer=sgd(model.parameters()), step=too_late(True)
    )
    assert "stale-gradients" not in {out.name for out in diagnosis.ruled_out}


def within_backward(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
    """Each tensor is stepped as soon as its gradient is there."""

    def use(parameter: Tensor) -> None:
        with torch.no_grad():
            parameter.sub_(parameter.grad, alpha=0.05)  # type: ignore[arg-type]
        parameter.grad = None

    hooks = [p.register_post_accumulate_grad_hook(use) for p in model.parameters()]
    back(model, batch)
    for hook in hooks:
        hook.remove()
    optimizer.step()
    optimizer.zero_grad()


def by_hand(to_none: bool) -> Step:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        back(model, batch)
        with torch.no_grad():
            for p in model.parameters():
                p.sub_(p.grad, alpha=0.05)  # type: ignore[arg-type]
        optimizer.zero_grad(set_to_none=to_none)
        optimizer.step()

    return step


def two_in_turns(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
    """Both hold the same tensors; the other one has its turn first, and clears behind itself."""
    other = torch.optim.SGD(model.parameters(), 0.05)
    back(model, batch)
    other.step()
    other.zero_grad(set_to_none=False)
    optimizer.step()


def micro_batches(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
    """Gradients are gathered in a place of their own, and .grad is cleared after each part."""
    gathered = [torch.zeros_like(p) for p in model.parameters()]
    for part in (slice(0, 24), slice(24, 48)):
        back(model, (batch[0][part], batch[1][part]))
        for total, p in zip(gathered, model.parameters(), strict=True):
            total.add_(p.grad, alpha=0.5)  # type: ignore[arg-type]
        optimizer.zero_grad()
    for total, p in zip(gathered, model.parameters(), strict=True):
        p.grad = total
    optimizer.step()


def first_layer_at_rest(model: Any, optimizer: torch.optim.Optimizer, batch: Any) -> None:
    back(model, batch)
    model[0].zero_grad()
    optimizer.step()
    optimizer.zero_grad()


def rows_at_rest(model: Any, optimizer: torch.optim.Optimizer, batch: Any) -> None:
    optimizer.zero_grad()
    back(model, batch)
    model[0].weight.grad[:12] = 0
    optimizer.step()


def clipped(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
    optimizer.zero_grad()
    back(model, batch)
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


@pytest.mark.parametrize(
    "step",
    [
        within_backward,
        by_hand(True),
        by_hand(False),
        two_in_turns,
        micro_batches,
        first_layer_at_rest,
        rows_at_rest,
        clipped,
    ],
)
def test_gradients_that_are_used(step: Step) -> None:
    assert falls(step) < 0.5
    assert "not-in-optimizer" not in [f.name for f in found(step)]


def test_a_closure_of_an_optimizer_that_asks_for_one() -> None:
    def step(model: nn.Module, optimizer: Any, batch: Any) -> None:
        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = F.mse_loss(model(batch[0]), batch[1])
            loss.backward()
            return loss

        optimizer.zero_grad()
        optimizer.step(closure)

    def lbfgs(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.LBFGS(parameters, line_search_fn="strong_wolfe")

    assert falls(step, lbfgs, 20) < 0.1
    assert found(step, lbfgs) == []


def test_steps_that_a_loss_scaler_skips() -> None:
    """Its scale is far too large at first: no step is taken, and no gradient cleared in between."""
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        optimizer.zero_grad()
        scaler.scale(1e3 * F.mse_loss(model(batch[0]), batch[1])).backward()
        scaler.step(optimizer)
        scaler.update()

    assert all("cleared" not in (f.detail or "") for f in found(step))
