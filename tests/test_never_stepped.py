"""A training step in which the optimizer's step is never called, and ones that call it now and then."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish

Step = Callable[[nn.Module, torch.optim.Optimizer, Any], Any]


def batch() -> tuple[Tensor, Tensor]:
    x = torch.randn(48, 6, generator=torch.Generator().manual_seed(0))
    return x, x[:, :1] - x[:, 1:2]


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 1))


def backward_alone(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
    optimizer.zero_grad()
    F.mse_loss(model(batch[0]), batch[1]).backward()


def only_scheduled() -> Step:
    """The schedule is stepped and the optimizer is not."""
    schedules = dict[int, Any]()

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        backward_alone(model, optimizer, batch)
        if id(optimizer) not in schedules:
            schedules[id(optimizer)] = torch.optim.lr_scheduler.StepLR(optimizer, 1000, 0.5)
        schedules[id(optimizer)].step()

    return step


def accumulating(calls: int) -> Step:
    """Gradients of so many calls to one step."""
    taken = [0]

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        (F.mse_loss(model(batch[0]), batch[1]) / calls).backward()
        taken[0] += 1
        if taken[0] % calls == 0:
            optimizer.step()
            optimizer.zero_grad()

    return step


def diagnosed(step: Step, steps: int) -> tuple[unvanish.Diagnosis, nn.Module]:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    before = [p.detach().clone() for p in model.parameters()]
    found = unvanish.diagnose(
        model, batch(), nn.MSELoss(), optimizer=optimizer, step=step, steps=steps
    )
    assert all(map(torch.equal, before, model.parameters()))
    return found, model


def moves(step: Step, calls: int) -> bool:
    """Whether so many calls of it move a weight, by plain torch."""
    model = net()
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    for _ in range(calls):
        step(model, optimizer, batch())
    return not all(map(torch.equal, before, model.parameters()))


def left_out(diagnosis: unvanish.Diagnosis) -> list[unvanish.Finding]:
    return [f for f in diagnosis.findings if f.name == "not-in-optimizer"]


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler")
@pytest.mark.parametrize("make", [lambda: backward_alone, only_scheduled])
def test_a_step_that_is_never_taken(make: Callable[[], Step]) -> None:
    assert not moves(make(), 200)
    diagnosis, model = diagnosed(make(), 20)
    [found] = left_out(diagnosis)
    assert found.severity == "broken"
    assert set(found.where) == {name for name, _ in model.named_parameters()}
    assert "never stepped" in (found.detail or "")
    assert "not-in-optimizer" not in {item.name for item in diagnosis.ruled_out}


def test_gradients_of_four_calls() -> None:
    assert not moves(accumulating(4), 3)
    assert moves(accumulating(4), 4)
    diagnosis, _ = diagnosed(accumulating(4), 20)
    assert diagnosis.healthy, [f.name for f in diagnosis.findings]
    assert "not-in-optimizer" in {item.name for item in diagnosis.ruled_out}


@pytest.mark.parametrize("step", [backward_alone, accumulating(32)])
def test_few_calls_may_be_an_accumulation(step: Step) -> None:
    assert not moves(step, 16)
    diagnosis, _ = diagnosed(step, 2)
    assert left_out(diagnosis) == []


def test_a_step_that_uses_the_optimizer_it_was_made_with() -> None:
    """Not the one that is handed to it."""
    model = net()
    mine = torch.optim.SGD(model.parameters(), 0.05)

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        mine.zero_grad()
        F.mse_loss(model(batch[0]), batch[1]).backward()
        mine.step()

    diagnosis = unvanish.diagnose(model, batch(), nn.MSELoss(), optimizer=mine, step=step, steps=20)
    assert left_out(diagnosis) == []


class Distilled(nn.Module):
    """A student beside a teacher that runs without a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher, self.student = net(), net()

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.teacher(x)
        return (self.student(x) - wanted).square().mean(1) + self.student(x).square().mean(1)


def test_only_what_the_gradient_reaches_is_counted() -> None:
    torch.manual_seed(1)
    model = Distilled()
    optimizer = torch.optim.SGD(model.student.parameters(), 0.01)
    model(batch()[0]).mean().backward()
    reached = [name for name, p in model.named_parameters() if p.grad is not None]
    model.zero_grad()
    assert len(reached) == 4
    assert len(list(model.parameters())) == 8
    diagnosis = unvanish.diagnose(
        model, batch(), lambda outputs, _: outputs.mean(), optimizer, steps=5
    )
    [out] = [item for item in diagnosis.ruled_out if item.name == "not-in-optimizer"]
    assert out.evidence["trainable"] == 4
    assert "all of the 4 tensors that the gradient reaches are stepped" in str(diagnosis)


def by_hand(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
    backward_alone(model, optimizer, batch)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.sub_(parameter.grad, alpha=0.05)


def test_weights_that_move_without_the_optimizer() -> None:
    assert moves(by_hand, 1)
    diagnosis, _ = diagnosed(by_hand, 20)
    assert left_out(diagnosis) == []


def learning_starts(first: int) -> Step:
    """Samples are gathered before anything is learned of them."""
    taken = [0]

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        taken[0] += 1
        if taken[0] > first:
            backward_alone(model, optimizer, batch)
            optimizer.step()

    return step


def test_a_memory_that_is_filled_first() -> None:
    assert moves(learning_starts(100), 101)
    diagnosis, _ = diagnosed(learning_starts(1000), 20)
    assert left_out(diagnosis) == []


def test_another_optimizer_that_moves_its_own() -> None:
    """The one that is given holds the first layer and is never stepped."""
    model = net()
    first = torch.optim.SGD(model[0].parameters(), 0.05)
    others = dict[int, torch.optim.Optimizer]()

    def step(model: Any, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        mine = others.setdefault(id(model), torch.optim.SGD(model[2].parameters(), 0.05))
        model.zero_grad()
        F.mse_loss(model(batch[0]), batch[1]).backward()
        mine.step()

    diagnosis = unvanish.diagnose(
        model, batch(), nn.MSELoss(), optimizer=first, step=step, steps=20
    )
    assert any({"0.weight", "0.bias"} <= set(f.where) for f in left_out(diagnosis))
