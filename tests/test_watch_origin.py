"""Where a loss that is not finite comes from, told before the backward pass has freed its graph."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from trainings import batches, mlp

import unvanish
from unvanish.watching.origin import origin_of


class WithStep(nn.Module):
    """Two layers with a function between them."""

    def __init__(self, between: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second, self.between = nn.Linear(4, 4), nn.Linear(4, 1), between

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.between(self.first(x))).sum()


def told(model: nn.Module, inputs: Tensor) -> tuple[str, tuple[str, ...]]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    origin = origin_of(model(inputs), names)
    assert origin is not None
    return origin.said, origin.where


@pytest.mark.parametrize(
    ("between", "maker"),
    [
        (lambda y: torch.log(y * 0), "Log"),
        (lambda y: torch.exp(y.abs() * 1e4), "Exp"),
        (lambda y: y / (y * 0), "Div"),
        (lambda y: torch.sqrt(-y.abs() - 1), "Sqrt"),
    ],
)
def test_the_operation_is_named(between: Callable[[Tensor], Tensor], maker: str) -> None:
    torch.manual_seed(0)
    said, _ = told(WithStep(between), torch.randn(3, 4))
    assert said.startswith(f"first seen in the result of {maker}")


def test_a_weight_that_is_not_finite_is_named() -> None:
    model = WithStep(torch.tanh)
    with torch.no_grad():
        model.second.weight[0, 1] = float("inf")
    said, where = told(model, torch.randn(3, 4))
    assert where == ("second.weight",)
    assert "itself" in said


def test_an_input_that_is_not_finite_comes_from_outside() -> None:
    inputs = torch.randn(3, 4)
    inputs[0, 0] = float("nan")
    said, where = told(WithStep(torch.tanh), inputs)
    assert "from outside" in said
    assert "first.weight" in where


def test_a_finite_loss_has_no_origin() -> None:
    model = WithStep(torch.tanh)
    assert origin_of(model(torch.randn(3, 4)), {}) is None


def test_an_alarm_bears_the_place() -> None:
    torch.manual_seed(0)
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with unvanish.watch(model, optimizer, strict=True) as monitor:
        for number, (inputs, targets) in enumerate(batches((16, 8))):
            optimizer.zero_grad()
            outputs = model(inputs)
            if number == 4:
                outputs = torch.log(outputs * 0)
            nn.functional.cross_entropy(outputs, targets).backward()
            optimizer.step()
    alarm = monitor.alarms[0]
    assert (alarm.name, alarm.step) == ("nonfinite-forward", 4)
    assert "first seen in the result of LogSoftmax, on what Log made" in (alarm.detail or "")
