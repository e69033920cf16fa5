"""A training step that steps inside of its backward pass, by hooks that it puts on and takes off."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import unvanish

torch.manual_seed(0)
INPUTS = torch.randn(64, 6)
LABELS = INPUTS[:, :3].argmax(1)
loss_of = nn.CrossEntropyLoss()


def net() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 3))


def move(parameter: Tensor) -> None:
    with torch.no_grad():
        parameter.sub_(0.2 * parameter.grad if parameter.grad is not None else 0)
    parameter.grad = None


def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> Tensor:
    hooks = [p.register_post_accumulate_grad_hook(move) for p in model.parameters()]
    loss = loss_of(model(batch[0]), batch[1])
    loss.backward()
    for hook in hooks:
        hook.remove()
    optimizer.step()
    return loss.detach()


def hooks_on(model: nn.Module) -> int:
    return sum(len(p._post_accumulate_grad_hooks or ()) for p in model.parameters())  # type: ignore[attr-defined]


def test_it_learns() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.2)
    losses = [float(step(model, optimizer, (INPUTS, LABELS))) for _ in range(100)]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("loss", [None, loss_of])
def test_nothing_is_named_and_no_hook_is_left(loss: nn.Module | None) -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.2)
    found = unvanish.diagnose(model, (INPUTS, LABELS), loss, optimizer, step=step)
    assert found.healthy
    assert {p.state for p in found.trace.parameters} == {"reached"}
    assert not hooks_on(model)


def test_hooks_that_were_there_are_there_again() -> None:
    model = net()
    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(move)
    before = [p.detach().clone() for p in model.parameters()]
    assert unvanish.diagnose(model, (INPUTS, LABELS), loss_of).healthy
    assert hooks_on(model) == 4
    assert all(p.equal(q) for p, q in zip(model.parameters(), before, strict=True))
