"""An optimizer that was made over the network that another one holds already."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_gradients_left_to_others import Players, adam, judged, points
from torch import nn

import unvanish

Step = Callable[[Any, Any, Any], None]


def both_turns(critic: torch.optim.Optimizer) -> Step:
    def step(model: Any, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        z = torch.randn(64, 4)
        critic.zero_grad()
        real = judged(model.critic(batch[0]), True)
        (real + judged(model.critic(model.maker(z).detach()), False)).backward()
        critic.step()
        optimizer.zero_grad()
        judged(model.critic(model.maker(z)), True).backward()
        optimizer.step()

    return step


def diagnosed(model: nn.Module, optimizer: torch.optim.Optimizer, step: Step) -> Any:
    x = points()
    return unvanish.diagnose(model, [(x, x)], optimizer=optimizer, step=step)


@pytest.mark.parametrize("wrong", [True, False])
def test_the_makers_optimizer(wrong: bool) -> None:
    model = Players()
    step, made = both_turns(adam(model.critic)), adam(model.critic if wrong else model.maker)
    found = [f for f in diagnosed(model, made, step).findings if f.severity != "note"]
    before = [p.detach().clone() for p in model.maker.parameters()]
    for _ in range(20):
        step(model, made, (points(),))
    moved = not all(map(torch.equal, before, model.maker.parameters()))
    assert moved is not wrong
    assert [(f.name, f.severity) for f in found] == [("not-in-optimizer", "broken")] * wrong
    assert all(name.startswith("maker.") for f in found for name in f.where)


class Slow(torch.optim.Optimizer):
    """Looks ahead: steps an inner optimizer over the same tensors."""

    def __init__(self, inner: torch.optim.Optimizer) -> None:
        super().__init__([p for g in inner.param_groups for p in g["params"]], {"lr": 1e-3})
        self.inner = inner

    def step(self, closure: Any = None) -> None:
        self.inner.step()


class Sharpness(torch.optim.Optimizer):
    """Climbs to the worst neighbour first; the second of its two steps is the inner optimizer's."""

    def __init__(self, inner: torch.optim.Optimizer) -> None:
        super().__init__([p for g in inner.param_groups for p in g["params"]], {"lr": 1e-3})
        self.inner = inner

    def second_step(self) -> None:
        self.inner.step()


def critics_turn(inner: torch.optim.Optimizer, said: str) -> Step:
    """The maker, which this turn does not train, gets a gradient as nobody detaches it."""

    def step(model: Any, optimizer: Any, batch: Any) -> None:
        inner.zero_grad()
        optimizer.zero_grad()
        real = judged(model.critic(batch[0]), True)
        (real + judged(model.critic(model.maker(torch.randn(64, 4))), False)).backward()
        getattr(optimizer, said)()

    return step


@pytest.mark.parametrize(("kind", "said"), [(Slow, "step"), (Sharpness, "second_step")])
def test_an_optimizer_inside_of_another(kind: type[Any], said: str) -> None:
    model = Players()
    inner = adam(model.critic)
    diagnosis = diagnosed(model, kind(inner), critics_turn(inner, said))
    assert diagnosis.healthy, diagnosis.findings


def test_the_inner_one_is_given() -> None:
    model = Players()
    inner = adam(model.critic)
    outer = Slow(inner)

    def step(model: Any, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        outer.inner = optimizer
        optimizer.zero_grad()
        real = judged(model.critic(batch[0]), True)
        (real + judged(model.critic(model.maker(torch.randn(64, 4))), False)).backward()
        outer.step()

    diagnosis = diagnosed(model, inner, step)
    assert diagnosis.healthy, diagnosis.findings
