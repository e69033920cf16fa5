"""Detached values that go on into what trains are listed; targets and straight-through sums are not."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish
from unvanish.causes.cause import Expected

NAME = "passed-on-without-gradient"

torch.manual_seed(0)
WORDS = torch.randint(0, 6, (32, 7))
LABELS = WORDS[:, 0] % 3
INPUTS = torch.randn(32, 16)


def as_it_is(value: Tensor) -> Tensor:
    return value


def data_of(value: Tensor) -> Tensor:
    return value.data


class Recurrent(nn.Module):
    def __init__(self, cut: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.cut = cut
        self.embedding = nn.Embedding(6, 8)
        self.cell = nn.GRUCell(8, 16)
        self.out = nn.Linear(16, 3)

    def forward(self, words: Tensor) -> Tensor:
        state = torch.zeros(len(words), 16)
        for step in range(words.shape[1]):
            state = self.cell(self.embedding(words[:, step]), self.cut(state))
        return self.out(state)


class Block(nn.Module):
    def __init__(self, cut: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.cut = cut
        self.branch = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 16), nn.GELU())

    def forward(self, inputs: Tensor) -> Tensor:
        return self.cut(inputs) + self.branch(inputs)


def residual(cut: Callable[[Tensor], Tensor]) -> nn.Sequential:
    return nn.Sequential(nn.Linear(16, 16), *(Block(cut) for _ in range(4)), nn.Linear(16, 3))


def listed(model: nn.Module, inputs: Tensor = INPUTS, loss: Any = None) -> list[Expected]:
    """What is listed, of a program in which nothing is named."""
    torch.manual_seed(1)
    found = unvanish.diagnose(model, (inputs, LABELS), loss or nn.CrossEntropyLoss())
    assert found.healthy
    return [e for e in found.expected if e.name == NAME]


@pytest.mark.parametrize("cut", [Tensor.detach, data_of])
def test_a_state_that_is_cut_between_time_steps_is_listed(cut: Callable[[Tensor], Tensor]) -> None:
    model = Recurrent(cut)
    (said,) = listed(model, WORDS)
    assert said.evidence == {"count": 6.0}  # the first state is zeros and nothing else
    model(torch.cat([WORDS[:, :-1], torch.zeros(32, 1, dtype=torch.long)], 1)).sum().backward()
    rows = model.embedding.weight.grad
    assert rows is not None
    assert rows[0].count_nonzero() == 8  # the last word
    assert rows[1:].count_nonzero() == 0


def test_a_skip_connection_that_is_cut_is_listed() -> None:
    (said,) = listed(residual(Tensor.detach))
    assert (said.where, said.evidence) == (("1", "2", "3", "4"), {"count": 4.0})
    assert "branch alone" in said.because


@pytest.mark.parametrize("model", [Recurrent(as_it_is), residual(as_it_is)])
def test_nothing_is_listed_where_nothing_is_cut(model: nn.Module) -> None:
    assert listed(model, WORDS if isinstance(model, Recurrent) else INPUTS) == []


class Quantised(nn.Module):
    """Weights and values that are rounded straight through, a codebook, a norm taken for a number."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(16, 16), nn.Linear(16, 16)
        self.step = nn.Parameter(torch.tensor(0.1))
        self.codes = nn.Embedding(8, 16)
        self.out = nn.Linear(16, 3)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        weight = self.first.weight
        weight = weight + (torch.round(weight * 32) / 32 - weight).detach()
        scaled = F.linear(inputs, weight, self.first.bias) / self.step
        value = (scaled + (scaled.round() - scaled).detach()) * self.step
        value = value / value.norm(dim=1, keepdim=True).detach()
        value = self.second(value)
        near = self.codes(torch.cdist(value, self.codes.weight).argmin(1))
        apart = F.mse_loss(near, value.detach()) + F.mse_loss(value, near.detach())
        return self.out(value + (near - value).detach()), apart


def quantised_loss(outputs: tuple[Tensor, Tensor], labels: Tensor) -> Tensor:
    return F.cross_entropy(outputs[0], labels) + outputs[1]


class Alike(nn.Module):
    """Two views of a sample, one of which is the target of the other; a head on detached values."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.predictor = residual(as_it_is), nn.Linear(3, 3)
        self.head = nn.Linear(3, 3)
        self.teacher = copy.deepcopy(self.body).requires_grad_(False)

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        one, other = self.body(inputs), self.body(inputs + 0.1)
        return self.predictor(one), other.detach(), self.head(one.detach()), self.teacher(inputs)


def alike_loss(outputs: tuple[Tensor, ...], labels: Tensor) -> Tensor:
    predicted, target, head, taught = outputs
    return (
        F.mse_loss(predicted, target)
        + F.mse_loss(predicted, taught)
        + F.cross_entropy(head, labels)
    )


class Gumbel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.scale = nn.Linear(16, 4), nn.Linear(4, 3), nn.Linear(16, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        soft = self.first(inputs).softmax(1)
        hard = F.one_hot(soft.argmax(1), 4).float()
        return self.second(hard - soft.detach() + soft) + self.scale(inputs)[:, :3]


@pytest.mark.parametrize(
    ("model", "loss"), [(Quantised(), quantised_loss), (Alike(), alike_loss), (Gumbel(), None)]
)
def test_targets_and_what_goes_straight_through_are_not(model: nn.Module, loss: Any) -> None:
    assert listed(model, loss=loss) == []


def test_what_is_not_on_the_way_to_the_loss_is_not() -> None:
    model = Recurrent(as_it_is)
    found = unvanish.diagnose(model, [(WORDS, LABELS)], forward=_logging)
    assert found.healthy
    assert not [e for e in found.expected if e.name == NAME]


def _logging(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    assert isinstance(model, Recurrent)
    state = model.cell(model.embedding(batch[0][:, 0]), torch.zeros(32, 16))
    model.cell(model.embedding(batch[0][:, 1]), state.detach())  # looked at, and let go
    return F.cross_entropy(model(batch[0]), batch[1])
